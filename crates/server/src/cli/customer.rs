//! `vestibule customer`.

use std::fmt::Display;
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use vestibule_engine::Engine;
use vestibule_engine::error::Error;
use vestibule_engine::model::tenant::Tenant;
use vestibule_engine::ops::customer_import::{Imported, Outcome, check_hash, import};
use vestibule_engine::provider::emailpass;

use super::{Failure, OfTenant, print_json, timeline};
use crate::api::customer::profile;
use crate::api::validate::Fields;

/// Customers per transaction.
const BATCH: usize = 100;

#[derive(Args)]
pub struct CustomerCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Imports customers of a Medusa server with their ids and passwords. What was imported before stays as it is, so a run may be repeated.
    Import {
        #[command(flatten)]
        of: OfTenant,
        #[arg(long)]
        json: bool,
        /// One JSON object per line: `id`, `email`, and if known `auth_identity_id`, `password_hash`, `first_name`, `last_name`, `company_name`, `phone`, `metadata`.
        customers: PathBuf,
    },
    /// Shows what happened to a customer, in order, and what became of the last request for a new password.
    Timeline(timeline::Timeline),
}

/// What became of the lines.
#[derive(Default)]
struct Tally {
    imported: usize,
    present: usize,
    /// The number of the line, and why.
    refused: Vec<(usize, String)>,
}

impl CustomerCommand {
    pub async fn run(self) -> Result<(), Failure> {
        let (of, json, customers) = match self.what {
            What::Timeline(command) => return command.run().await,
            What::Import { of, json, customers } => (of, json, customers),
        };
        let (engine, tenant) = of.open().await?;
        let lines = File::open(&customers).map_err(|e| Failure::Usage(format!("{}: {e}", customers.display())))?;
        let mut tally = Tally::default();
        let mut batch = Vec::new();
        for (number, line) in (1..).zip(BufReader::new(lines).lines()) {
            let line = line.map_err(|e| Failure::Failed(format!("{}: {e}", customers.display())))?;
            match read(&line) {
                Ok(None) => {}
                Ok(Some(customer)) => batch.push((number, customer)),
                Err(e) => tally.refused.push((number, e.message.into_owned())),
            }
            if batch.len() == BATCH {
                tally.take(&engine, &tenant, std::mem::take(&mut batch)).await?;
            }
        }
        tally.take(&engine, &tenant, batch).await?;
        tally.refused.sort_unstable();
        if json {
            let refused: Vec<Value> = tally.refused.iter().map(|(line, reason)| json!({"line": line, "reason": reason})).collect();
            print_json(&json!({"imported": tally.imported, "present": tally.present, "refused": refused}));
        } else {
            println!("imported {}, there already {}, refused {}", tally.imported, tally.present, tally.refused.len());
        }
        match tally.refused.as_slice() {
            [] => Ok(()),
            refused => {
                Err(Failure::Failed(refused.iter().map(|(line, reason)| format!("line {line}: {reason}")).collect::<Vec<_>>().join("\nvestibule: ")))
            }
        }
    }
}

impl Tally {
    async fn take(&mut self, engine: &Engine, tenant: &Arc<Tenant>, batch: Vec<(usize, Imported)>) -> Result<(), Failure> {
        let (numbers, customers): (Vec<usize>, Vec<Imported>) = batch.into_iter().unzip();
        for (number, outcome) in numbers.into_iter().zip(import(engine, tenant, customers).await?) {
            match outcome {
                Outcome::Imported => self.imported += 1,
                Outcome::Present => self.present += 1,
                Outcome::Refused(reason) => self.refused.push((number, reason.to_owned())),
            }
        }
        if std::io::stderr().is_terminal() {
            eprint!("\r{} imported", self.imported);
        }
        Ok(())
    }
}

/// The customer of a line; `None` for an empty one. What is wrong is said without the line, which holds a hash.
fn read(line: &str) -> Result<Option<Imported>, Error> {
    if line.trim().is_empty() {
        return Ok(None);
    }
    let mut fields = Fields::of(serde_json::from_str(line).map_err(|_| Error::invalid("it is no JSON"))?)?;
    let (id, email) = (fields.required_string("id"), fields.required_string("email"));
    let (login, password_hash) = (fields.string("auth_identity_id").into_value(), fields.string("password_hash").into_value());
    let profile = profile(&mut fields);
    fields.finish()?;
    password_hash.as_deref().map(check_hash).transpose()?;
    let id = exact("id", &id.unwrap_or_default())?;
    let login = login.map(|text| exact("auth_identity_id", &text)).transpose()?;
    Ok(Some(Imported { id, login, email: emailpass::address(&email.unwrap_or_default())?, password_hash, profile }))
}

/// An id exactly as it will be shown again: what tokens and the shop's other tables say must go on meaning the same.
fn exact<T: FromStr + Display>(name: &str, text: &str) -> Result<T, Error> {
    let read = text.parse().ok().filter(|id: &T| id.to_string() == text);
    read.ok_or_else(|| Error::invalid(format!("{name} is no id of Medusa's: a prefix and 26 characters")))
}
