//! `vestibule`: see `vestibule --help`.

use std::process::ExitCode;

/// Requests allocate a lot of small things; this allocator is quicker at that than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    vestibule::cli::main()
}
