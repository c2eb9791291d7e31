//! Lists the templates of mails, so that a further language is nothing but its files.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=mail");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("mail");
    let mut table = String::from("&[\n");
    for message in sorted(&root)? {
        for locale in sorted(&message)? {
            for file in sorted(&locale)? {
                let name = file.strip_prefix(&root).map_err(io::Error::other)?;
                writeln!(table, "(\"{}\", include_str!(\"{}\")),", name.display(), file.display()).map_err(io::Error::other)?;
            }
        }
    }
    table.push(']');
    let out = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("OUT_DIR is not set"))?;
    fs::write(Path::new(&out).join("mail.rs"), table)
}

fn sorted(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut entries = fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    entries.sort();
    Ok(entries)
}
