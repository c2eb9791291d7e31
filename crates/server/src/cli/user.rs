//! `vestibule user`.

use std::io::{BufRead, IsTerminal};

use clap::{Args, Subcommand};
use serde_json::json;
use vestibule_engine::{ops, provider::emailpass};

use super::{Failure, OfTenant, print_json};

#[derive(Args)]
pub struct UserCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Creates a member of a shop's staff. Asks for the password unless it is given.
    Create {
        #[command(flatten)]
        of: OfTenant,
        #[arg(long)]
        email: String,
        /// Seen by everybody on this machine; better: --password-stdin.
        #[arg(long, conflicts_with = "password_stdin")]
        password: Option<String>,
        /// Reads the password from the first line of standard input.
        #[arg(long)]
        password_stdin: bool,
        #[arg(long)]
        json: bool,
    },
}

impl UserCommand {
    pub async fn run(self) -> Result<(), Failure> {
        let What::Create { of, email, password, password_stdin, json } = self.what;
        let email = emailpass::address(&email).map_err(|e| Failure::Usage(e.message.into_owned()))?;
        let password = match password {
            Some(password) => password,
            None if password_stdin || !std::io::stdin().is_terminal() => line()?,
            None => ask()?,
        };
        let (engine, tenant) = of.open().await?;
        let id = ops::user::create(&engine, &tenant, &email, &password).await?;
        if json {
            print_json(&json!({"id": id.to_string(), "email": email.as_written()}));
        } else {
            println!("{id}");
        }
        Ok(())
    }
}

/// The first line of standard input.
pub(super) fn line() -> Result<String, Failure> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(|e| Failure::Failed(format!("standard input: {e}")))?;
    let line = line.trim_end_matches(['\r', '\n']).to_owned();
    if line.is_empty() { Err(Failure::Usage("standard input was empty".into())) } else { Ok(line) }
}

/// Asks on the terminal, without showing what is typed.
fn ask() -> Result<String, Failure> {
    rpassword::prompt_password("Password: ").map_err(|e| Failure::Failed(format!("terminal: {e}")))
}
