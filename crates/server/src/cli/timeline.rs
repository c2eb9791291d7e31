//! `vestibule customer timeline`.

use clap::{ArgGroup, Args};
use vestibule_engine::model::ids::CustomerId;
use vestibule_engine::ops::timeline;
use vestibule_engine::provider::emailpass;

use super::{Failure, OfTenant, print_json};
use crate::admin::timeline::shown;

#[derive(Args)]
#[command(group = ArgGroup::new("whose").args(["email", "id"]).required(true))]
pub struct Timeline {
    #[command(flatten)]
    of: OfTenant,
    /// The address that registered.
    #[arg(long)]
    email: Option<String>,
    /// `cus_…`
    #[arg(long)]
    id: Option<String>,
    #[arg(long)]
    json: bool,
}

impl Timeline {
    pub async fn run(self) -> Result<(), Failure> {
        let (engine, tenant) = self.of.open().await?;
        let found = if let Some(text) = self.id {
            let id: CustomerId = text.parse().map_err(|()| Failure::Usage(format!("`{text}` is no customer id")))?;
            let found = timeline::of_customer(&engine, &tenant, id).await?;
            found.ok_or_else(|| Failure::Failed(format!("tenant {} has no customer {id}", tenant.slug)))?
        } else {
            timeline::of_address(&engine, &tenant, &emailpass::address(&self.email.unwrap_or_default())?).await?
        };
        if self.json {
            print_json(&shown(&found));
            return Ok(());
        }
        for step in &found.steps {
            let number = step.number.map_or_else(|| "-".to_owned(), |number| number.to_string());
            let (subscriber, answer) = (step.subscriber.as_deref().unwrap_or_default(), step.answer.as_deref().unwrap_or_default());
            println!("{}\t{}\t{}\t{number}\t{subscriber}\t{}", step.at, step.what.as_str(), step.name.as_str(), answer.replace(['\n', '\r'], " "));
        }
        println!("{}", found.last_reset);
        Ok(())
    }
}
