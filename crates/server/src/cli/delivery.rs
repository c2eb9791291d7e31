//! `vestibule delivery`: what became of a mail or a webhook, and another try for what was given up.

use std::str::FromStr;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};
use vestibule_engine::Engine;
use vestibule_engine::model::event::EventName;
use vestibule_engine::model::ids::DeliveryId;
use vestibule_engine::model::tenant::Tenant;
use vestibule_engine::model::time::{Span, Timestamp};
use vestibule_engine::ops;
use vestibule_engine::ops::delivery::{DeliveryRow, Ending, Filter, WAITING};

use super::{ConfigFile, Failure, OfTenant, print_json, tenant};

#[derive(Args)]
pub struct DeliveryCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Lists deliveries, the newest first.
    List {
        #[command(flatten)]
        file: ConfigFile,
        /// Of this tenant alone. Without it, of each.
        #[arg(long)]
        tenant: Option<String>,
        #[arg(long, value_enum)]
        state: Option<State>,
        #[command(flatten)]
        which: Which,
        /// Of each tenant so many at most.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
        #[arg(long)]
        json: bool,
    },
    /// Shows one delivery.
    Show {
        #[command(flatten)]
        of: OfTenant,
        id: Id,
        #[arg(long)]
        json: bool,
    },
    /// Has what was given up tried again, by id or by range. A running server begins within a second.
    Retry {
        #[command(flatten)]
        of: OfTenant,
        /// These, one by one.
        #[arg(conflicts_with_all = ["from", "to", "since", "until"])]
        ids: Vec<Id>,
        #[command(flatten)]
        which: Which,
    },
}

#[derive(Args)]
struct Which {
    /// `mail`, or a webhook's id as `vestibule webhook list` prints it.
    #[arg(long)]
    subscriber: Option<String>,
    /// Of this event, for example `auth.password_reset`.
    #[arg(long, value_parser = event)]
    event: Option<EventName>,
    /// The first by id.
    #[arg(long, value_name = "ID")]
    from: Option<Id>,
    /// The last by id.
    #[arg(long, value_name = "ID")]
    to: Option<Id>,
    /// Made not before: a time such as 2026-11-23T15:00:00Z, or so long ago, such as 2h.
    #[arg(long, value_name = "TIME")]
    since: Option<Moment>,
    /// Made not after: the same.
    #[arg(long, value_name = "TIME")]
    until: Option<Moment>,
}

#[derive(Clone, Copy)]
struct Id(DeliveryId);

impl FromStr for Id {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|()| format!("`{text}` is no delivery's id"))
    }
}

#[derive(Clone, Copy)]
enum Moment {
    At(Timestamp),
    Ago(Span),
}

impl FromStr for Moment {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let at = text.parse().map(Self::At);
        at.or_else(|()| text.parse().map(Self::Ago)).map_err(|_| format!("`{text}` is no time: write for example 2026-11-23T15:00:00Z or 2h"))
    }
}

fn event(text: &str) -> Result<EventName, String> {
    EventName::parse(text).ok_or_else(|| format!("there is no event `{text}`"))
}

#[derive(Clone, Copy, ValueEnum)]
enum State {
    Waiting,
    Delivered,
    Superseded,
    Expired,
    Dead,
}

impl State {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => WAITING,
            Self::Delivered => Ending::Delivered.as_str(),
            Self::Superseded => Ending::Superseded.as_str(),
            Self::Expired => Ending::Expired.as_str(),
            Self::Dead => Ending::Dead.as_str(),
        }
    }
}

impl Which {
    fn has_range(&self) -> bool {
        self.from.is_some() || self.to.is_some() || self.since.is_some() || self.until.is_some()
    }

    fn filter(self, engine: &Engine, state: Option<State>) -> Filter {
        let time = |moment| match moment {
            Moment::At(at) => at,
            Moment::Ago(ago) => engine.clock.now().before(ago.0),
        };
        Filter {
            from: self.from.map(|id| id.0),
            to: self.to.map(|id| id.0),
            since: self.since.map(time),
            until: self.until.map(time),
            state: state.map(State::as_str),
            subscriber: self.subscriber,
            event: self.event,
        }
    }
}

impl DeliveryCommand {
    pub async fn run(self) -> Result<(), Failure> {
        match self.what {
            What::List { file, tenant: only, state, which, limit, json } => {
                let engine = file.engine().await?;
                let filter = which.filter(&engine, state);
                let slugs = match only {
                    Some(slug) => vec![slug],
                    None => ops::tenant::list(&engine).await?.into_iter().map(|tenant| tenant.slug).collect(),
                };
                list(&engine, slugs, &filter, limit, json).await
            }
            What::Show { of, id, json } => {
                let (engine, tenant) = of.open().await?;
                let shown = shown(&tenant, &ops::delivery::show(&engine, &tenant, id.0).await?);
                if json {
                    print_json(&shown);
                } else if let Value::Object(fields) = shown {
                    for (name, value) in fields {
                        println!("{name}\t{}", text(&value));
                    }
                }
                Ok(())
            }
            What::Retry { of, ids, which } => {
                if ids.is_empty() && !which.has_range() {
                    return Err(Failure::Usage("say which: ids, or a range by --from and --to, or by --since and --until".into()));
                }
                let (engine, tenant) = of.open().await?;
                if ids.is_empty() {
                    println!("{}", ops::delivery::retry_all(&engine, &tenant, &which.filter(&engine, None)).await?);
                    return Ok(());
                }
                retry(&engine, &tenant, &ids).await
            }
        }
    }
}

async fn list(engine: &Engine, slugs: Vec<String>, filter: &Filter, limit: i64, json: bool) -> Result<(), Failure> {
    let mut all = Vec::new();
    for slug in slugs {
        let tenant = tenant(engine, &slug).await?;
        for row in ops::delivery::list(engine, &tenant, filter, limit).await? {
            let shown = shown(&tenant, &row);
            if json {
                all.push(shown);
            } else {
                let columns = ["id", "tenant", "state", "attempts", "subscriber", "event", "created_at", "answer"];
                println!("{}", columns.map(|name| shown.get(name).map_or_else(String::new, text)).join("\t"));
            }
        }
    }
    if json {
        print_json(&Value::Array(all));
    }
    Ok(())
}

/// Tries each; what cannot be retried is said of each.
async fn retry(engine: &Engine, tenant: &Tenant, ids: &[Id]) -> Result<(), Failure> {
    let mut refused = Vec::new();
    for Id(id) in ids {
        match ops::delivery::retry(engine, tenant, *id).await {
            Ok(()) => println!("{id}"),
            Err(e) => refused.push(e.message.into_owned()),
        }
    }
    if refused.is_empty() { Ok(()) } else { Err(Failure::Failed(refused.join("\nvestibule: "))) }
}

fn shown(tenant: &Tenant, row: &DeliveryRow) -> Value {
    let is_waiting = row.state == WAITING;
    json!({
        "id": row.id.to_string(),
        "tenant": tenant.slug,
        "event_id": row.event.to_string(),
        "event": row.event_name,
        "subscriber": row.subscriber,
        "state": row.state,
        "attempts": row.attempts,
        "answer": row.answer,
        "created_at": row.created_at.to_string(),
        // What a worker has is due again when its lease ends.
        "next_try_at": is_waiting.then(|| row.due_at.to_string()),
        "done_at": row.done_at.map(|at| at.to_string()),
    })
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
