//! `vestibule check`.

use clap::Args;
use serde_json::json;

use super::{ConfigFile, Failure, print_json};
use crate::config;

#[derive(Args)]
pub struct Check {
    #[command(flatten)]
    file: ConfigFile,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

impl Check {
    pub fn run(self) -> Result<(), Failure> {
        let findings = self.file.judged().map_or_else(|e| config::Findings { errors: vec![e], warnings: Vec::new() }, |(_, findings)| findings);
        if self.json {
            print_json(&json!({"ok": findings.errors.is_empty(), "errors": findings.errors, "warnings": findings.warnings}));
        } else {
            for warning in &findings.warnings {
                println!("warning: {warning}");
            }
            for error in &findings.errors {
                println!("error: {error}");
            }
            if findings.errors.is_empty() {
                println!("The configuration is good.");
            }
        }
        if findings.errors.is_empty() { Ok(()) } else { Err(Failure::Usage("the configuration has errors".into())) }
    }
}
