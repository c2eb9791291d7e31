//! `vestibule openapi`.

use std::io::Write as _;

use super::Failure;
use crate::openapi;

pub fn run() -> Result<(), Failure> {
    // Not `print!`, which panics when the reader of a pipe has read enough.
    std::io::stdout().write_all(openapi::text().as_bytes()).map_err(|e| Failure::Failed(e.to_string()))
}
