//! A shop's own words for its messages.

use std::sync::Arc;

use crate::Engine;
use crate::error::Result;
use crate::limits::{self, Limit, ticket};
use crate::model::event::{Event, EventName};
use crate::model::ids::{EventId, TenantId, UserId};
use crate::model::template::Template;
use crate::model::tenant::{Message, Tenant};
use crate::ops::event::message_for;
use crate::store;
use crate::store::event::Range;

/// How far back `recent` looks.
const LOOKED_AT: i64 = 1_000;
/// How many events it finds.
const FOUND: usize = 10;

/// Keeps `template` in the place of what the shop had for its message and language. Judge it before, by `notify::template::check`:
/// what cannot be rendered is not sent. The next mail is made from it.
pub async fn set(engine: &Engine, tenant: &Tenant, template: Template) -> Result<()> {
    let input = Arc::new((tenant.id, template));
    engine
        .db
        .write(move |tx| {
            let input = input.clone();
            Box::pin(async move { store::template::set(tx, input.0, &input.1).await })
        })
        .await
}

/// Goes back to the built-in words. False: the shop had none of its own.
pub async fn remove(engine: &Engine, tenant: &Tenant, message: Message, locale: &str) -> Result<bool> {
    let input = Arc::new((tenant.id, locale.to_owned()));
    engine
        .db
        .write(move |tx| {
            let input = input.clone();
            Box::pin(async move { store::template::remove(tx, input.0, message, &input.1).await })
        })
        .await
}

/// All that the shop has, by message and language.
pub async fn list(engine: &Engine, tenant: &Tenant) -> Result<Vec<Template>> {
    let tenant = tenant.id;
    engine.db.read(move |reader| Box::pin(store::template::list(reader, tenant))).await
}

/// What the shop has for `message`, by language.
pub async fn of_message(engine: &Engine, tenant: TenantId, message: Message) -> Result<Vec<Template>> {
    engine.db.read(move |reader| Box::pin(store::template::of_message(reader, tenant, message))).await
}

/// An event that was told, to look at the mail that it makes.
pub async fn recorded(engine: &Engine, tenant: &Tenant, id: EventId) -> Result<Option<Event>> {
    let tenant = tenant.id;
    engine.db.read(move |reader| Box::pin(store::event::by_id(reader, tenant, id))).await
}

/// The newest events that make `message`, among the last that were told, the newest first.
pub async fn recent(engine: &Engine, tenant: &Tenant, message: Message) -> Result<Vec<Event>> {
    let tenant = tenant.id;
    let names: Vec<EventName> = EventName::ALL.into_iter().filter(|name| message_for(*name) == Some(message)).collect();
    let found = engine
        .db
        .read(move |reader| {
            let names = names.clone();
            Box::pin(async move {
                let until = store::sequence::state(reader, tenant).await?.last;
                store::event::page(reader, tenant, Range { after: until.saturating_sub(LOOKED_AT), until, names: &names, most: LOOKED_AT }).await
            })
        })
        .await?;
    Ok(found.into_iter().rev().take(FOUND).map(|found| found.event).collect())
}

/// Takes one mail from what `member` may send to try how mails look.
///
/// # Errors
/// `TooManyRequests` when the budget is spent.
pub async fn admit_try(engine: &Engine, tenant: &Arc<Tenant>, member: UserId) -> Result<()> {
    let input = Arc::new((tenant.clone(), [ticket(engine, tenant, Limit::TriedMails, &member.bare())]));
    let refusal = engine
        .db
        .write(move |tx| {
            let input = input.clone();
            Box::pin(async move { limits::take(tx, &input.0, &input.1).await })
        })
        .await?;
    refusal.map_or(Ok(()), Err)
}
