//! `vestibule event`.

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use vestibule_engine::Engine;
use vestibule_engine::model::event::{EventName, NumberedEvent};
use vestibule_engine::model::ids::EventId;
use vestibule_engine::model::tenant::Tenant;
use vestibule_engine::ops::delivery::DeliveryRow;
use vestibule_engine::ops::event::{self, Wanted};

use super::{Failure, OfTenant, print_json, printable};
use crate::admin::event::one;

#[derive(Args)]
pub struct EventCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Lists a tenant's events in the order of their numbers.
    List {
        #[command(flatten)]
        of: OfTenant,
        /// Events with a higher number than this one; from the oldest that is kept on if nothing is said.
        #[arg(long, value_name = "NUMBER")]
        after: Option<i64>,
        /// How many at most.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
        /// A name, or a prefix such as `customer.*`; may be given several times.
        #[arg(long)]
        name: Vec<String>,
        #[arg(long)]
        json: bool,
    },
    /// Shows an event and what became of its deliveries.
    Show {
        #[command(flatten)]
        of: OfTenant,
        /// `evt_…`
        id: String,
        #[arg(long)]
        json: bool,
    },
    /// Tells one subscriber of a range of events once more. Secrets that were replaced, used or have expired are not sent.
    Replay {
        #[command(flatten)]
        of: OfTenant,
        /// `mail`, or the URL of a webhook.
        #[arg(long)]
        subscriber: String,
        /// The first number.
        #[arg(long)]
        from: i64,
        /// The last number.
        #[arg(long)]
        to: i64,
    },
}

impl EventCommand {
    pub async fn run(self) -> Result<(), Failure> {
        match self.what {
            What::List { of, after, limit, name, json } => {
                let (engine, tenant) = of.open().await?;
                let names = EventName::covered(&name).map_err(|nothing| Failure::Usage(format!("there is no event {nothing}")))?;
                let events = list(&engine, &tenant, Wanted { after, after_id: None, names, most: limit }).await?;
                if json {
                    print_json(&Value::Array(events.iter().map(|event| one(&tenant, event)).collect()));
                } else {
                    events.iter().for_each(line);
                }
                Ok(())
            }
            What::Show { of, id, json } => {
                let (engine, tenant) = of.open().await?;
                let id: EventId = id.parse().map_err(|()| Failure::Usage(format!("`{id}` is no event id")))?;
                let found = event::show(&engine, &tenant, id).await?;
                let (event, told) = found.ok_or_else(|| Failure::Failed(format!("tenant {} has no event {id}", tenant.slug)))?;
                show(&tenant, &event, &told, json);
                Ok(())
            }
            What::Replay { of, subscriber, from, to } => {
                let (engine, tenant) = of.open().await?;
                let made = event::replay(&engine, &tenant, &subscriber, from, to).await?;
                println!("{made}");
                Ok(())
            }
        }
    }
}

/// Pages until there are as many as are wanted: one looks through so many numbers, whatever it finds.
async fn list(engine: &Engine, tenant: &Tenant, mut wanted: Wanted) -> Result<Vec<NumberedEvent>, Failure> {
    let mut events = Vec::new();
    loop {
        let page = event::list(engine, tenant, &wanted).await?;
        wanted.most -= i64::try_from(page.events.len()).unwrap_or(i64::MAX);
        events.extend(page.events);
        if wanted.most <= 0 || page.next >= page.last {
            return Ok(events);
        }
        wanted.after = Some(page.next);
    }
}

fn line(NumberedEvent { event, number }: &NumberedEvent) {
    let number = number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    println!("{number}\t{}\t{}\t{}", event.created_at, event.name.as_str(), event.id);
}

fn show(tenant: &Tenant, event: &NumberedEvent, told: &[DeliveryRow], json: bool) {
    if json {
        let mut shown = one(tenant, event);
        if let Some(shown) = shown.as_object_mut() {
            shown.insert("deliveries".into(), told.iter().map(delivery).collect());
        }
        return print_json(&shown);
    }
    line(event);
    println!("{}", printable(&Value::Object(event.event.data.clone()).to_string()));
    for told in told {
        let at = told.done_at.unwrap_or(told.created_at);
        println!("{}\t{}\t{at}\t{}\t{}", told.subscriber, told.state, told.attempts, told.answer.as_deref().unwrap_or_default());
    }
}

fn delivery(told: &DeliveryRow) -> Value {
    json!({
        "id": told.id.to_string(), "subscriber": told.subscriber, "state": told.state, "attempts": told.attempts, "answer": told.answer,
        "created_at": told.created_at.to_string(), "done_at": told.done_at.map(|at| at.to_string()),
    })
}
