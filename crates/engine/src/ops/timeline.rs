//! What happened to one customer, in order, and why a mail did not come: for the shop's staff.

use crate::Engine;
use crate::error::Result;
use crate::model::email::Email;
use crate::model::event::{EventName, NumberedEvent};
use crate::model::identity::{ActorType, Identity};
use crate::model::ids::{CustomerId, EventId, TenantId};
use crate::model::tenant::Tenant;
use crate::model::time::Timestamp;
use crate::ops::event::{self, MAILER};
use crate::ops::sweep::DELIVERIES_KEPT;
use crate::provider::emailpass;
use crate::store::delivery::DeliveryRow;
use crate::store::password_reset::ResetRow;
use crate::store::{self, Reader};

/// How many events a timeline goes back, per login and for the customer.
const MOST: i64 = 100;

/// A step of the timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub at: Timestamp,
    pub what: What,
    /// The event that it belongs to.
    pub event: EventId,
    pub name: EventName,
    /// Its number, if it has one already.
    pub number: Option<i64>,
    /// Of a delivery: to whom.
    pub subscriber: Option<String>,
    /// Of a delivery: what the subscriber, or the mail server, answered.
    pub answer: Option<String>,
}

/// What a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A link was asked for.
    Asked,
    /// The event happened: of a reset, the link was issued.
    Happened,
    /// It is to be delivered.
    Queued,
    /// It was tried, and will be again. `at` is when it was queued.
    Tried,
    Delivered,
    Superseded,
    Expired,
    /// Given up.
    Dead,
    /// The hosted page was shown with the link: by its owner, or a program that looks into mails.
    Opened,
    Used,
    /// A newer link took its place.
    Replaced,
}

impl What {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Happened => "happened",
            Self::Queued => "queued",
            Self::Tried => "tried",
            Self::Delivered => "delivered",
            Self::Superseded => "superseded",
            Self::Expired => "expired",
            Self::Dead => "dead",
            Self::Opened => "opened",
            Self::Used => "used",
            Self::Replaced => "replaced",
        }
    }

    fn of_state(told: &DeliveryRow) -> Option<Self> {
        match told.state.as_str() {
            "delivered" => Some(Self::Delivered),
            "superseded" => Some(Self::Superseded),
            "expired" => Some(Self::Expired),
            "dead" => Some(Self::Dead),
            _ => (told.attempts > 0).then_some(Self::Tried),
        }
    }
}

/// What is known of one customer, or of one address.
#[derive(Debug)]
pub struct Timeline {
    pub steps: Vec<Step>,
    /// What became of the last request for a new password, in a sentence.
    pub last_reset: String,
}

/// What the sentence about the last reset depends on besides rows.
#[derive(Debug, Clone)]
struct Setting {
    now: Timestamp,
    /// Who hears of a reset and gets no link with it.
    without_link: Vec<String>,
}

impl Setting {
    fn of(engine: &Engine, tenant: &Tenant) -> Self {
        let without_link = event::without_secret(&tenant.settings, engine.config.nats.as_ref(), EventName::PasswordReset);
        Self { now: engine.clock.now(), without_link }
    }
}

/// The timeline of a customer. `None`: there is none with this id.
pub async fn of_customer(engine: &Engine, tenant: &Tenant, id: CustomerId) -> Result<Option<Timeline>> {
    let (tenant, setting) = (tenant.id, Setting::of(engine, tenant));
    engine
        .db
        .read(move |reader| {
            Box::pin(async move {
                if store::customer::by_id(reader, tenant, id).await?.is_none() {
                    return Ok(None);
                }
                let logins = store::identity::of_actor(reader, tenant, &ActorType::customer(), &id.bare()).await?;
                let mut events = store::event::of_subject(reader, tenant, &id.to_string(), Timestamp::from_micros(0), MOST).await?;
                for login in &logins {
                    events.extend(of_login(reader, tenant, login).await?);
                }
                timeline(reader, tenant, &setting, &logins, events).await.map(Some)
            })
        })
        .await
}

/// The timeline of the customer, or of the login without one, that registered with `email`.
pub async fn of_address(engine: &Engine, tenant: &Tenant, email: &Email) -> Result<Timeline> {
    let (tenant_id, key) = (tenant.id, emailpass::key(&ActorType::customer(), email));
    let found = engine.db.read(move |reader| Box::pin(async move { store::identity::by_key(reader, tenant_id, &key).await })).await?;
    let customer = found.as_ref().and_then(|login| login.actor_id.as_ref()?.parse().ok());
    if let Some(customer) = customer
        && let Some(timeline) = of_customer(engine, tenant, customer).await?
    {
        return Ok(timeline);
    }
    let (tenant, setting, logins): (_, _, Vec<_>) = (tenant.id, Setting::of(engine, tenant), found.into_iter().collect());
    engine
        .db
        .read(move |reader| {
            Box::pin(async move {
                let mut events = Vec::new();
                for login in &logins {
                    events.extend(of_login(reader, tenant, login).await?);
                }
                timeline(reader, tenant, &setting, &logins, events).await
            })
        })
        .await
}

/// The events of a login. An address may have had another owner before: theirs are not shown.
async fn of_login(reader: &mut Reader, tenant: TenantId, login: &Identity) -> Result<Vec<NumberedEvent>> {
    let from = login.created_at;
    let mut events = store::event::of_subject(reader, tenant, &login.id.to_string(), from, MOST).await?;
    if login.key.provider == emailpass::NAME {
        let address = format!("{}:{}", login.key.actor_type, login.key.entity_id);
        events.extend(store::event::of_subject(reader, tenant, &address, from, MOST).await?);
    }
    Ok(events)
}

/// A reset that was issued, and its deliveries.
#[derive(Debug)]
struct Issued {
    at: Timestamp,
    told: Vec<DeliveryRow>,
}

async fn timeline(reader: &mut Reader, tenant: TenantId, setting: &Setting, logins: &[Identity], mut events: Vec<NumberedEvent>) -> Result<Timeline> {
    events.sort_by_key(|found| (found.event.created_at, found.number.unwrap_or(i64::MAX), found.event.id));
    let (mut steps, mut newest) = (Vec::new(), None);
    for found in events {
        let told = store::delivery::of_event(reader, tenant, found.event.id).await?;
        let reset = match &found.event.secret_ref {
            Some(jti) => store::password_reset::find(reader, tenant, jti).await?,
            None => None,
        };
        steps.extend(of_event(&found, reset.as_ref(), &told));
        if found.event.name == EventName::PasswordReset {
            newest = Some(Issued { at: found.event.created_at, told });
        }
    }
    // Steps of one instant and one event stay in the order in which they were gathered, which is the order of their causes.
    steps.sort_by_key(|step| (step.at, step.number.unwrap_or(i64::MAX)));
    let mut refused_at = None;
    for login in logins {
        refused_at = refused_at.max(store::identity::reset_refused_at(reader, tenant, login.id).await?);
    }
    Ok(Timeline { steps, last_reset: sentence(setting, !logins.is_empty(), refused_at, newest.as_ref()) })
}

fn of_event(NumberedEvent { event, number }: &NumberedEvent, reset: Option<&ResetRow>, told: &[DeliveryRow]) -> Vec<Step> {
    let step = |at, what| Step { at, what, event: event.id, name: event.name, number: *number, subscriber: None, answer: None };
    let mut steps = Vec::new();
    steps.extend(reset.map(|reset| step(reset.asked_at, What::Asked)));
    steps.push(step(event.created_at, What::Happened));
    for told in told {
        let to = |at, what, answer| Step { subscriber: Some(told.subscriber.clone()), answer, ..step(at, what) };
        steps.push(to(told.created_at, What::Queued, None));
        steps.extend(What::of_state(told).map(|what| to(told.done_at.unwrap_or(told.created_at), what, told.answer.clone())));
    }
    if let Some(reset) = reset {
        let ends = [(reset.opened_at, What::Opened), (reset.used_at, What::Used), (reset.voided_at, What::Replaced)];
        steps.extend(ends.into_iter().filter_map(|(at, what)| at.map(|at| step(at, what))));
    }
    steps
}

/// What became of the last request: "why is there no mail?", answered.
fn sentence(setting: &Setting, known: bool, refused_at: Option<Timestamp>, newest: Option<&Issued>) -> String {
    if !known {
        return "Unknown address: no customer's login has it, so nothing was sent.".into();
    }
    if let Some(at) = refused_at.filter(|at| newest.is_none_or(|issued| issued.at < *at)) {
        return format!("Over the limit: at {at} the address had asked for too many links, so no new one was sent.");
    }
    let Some(issued) = newest else { return "No link was issued: nobody asked for one lately, or a request still waits to be issued.".into() };
    if issued.told.is_empty() && setting.now.since(issued.at) >= DELIVERIES_KEPT {
        return format!("No longer known: a link was issued at {}, and what became of its deliveries is kept for 14 days.", issued.at);
    }
    let Some(told) = asked_about(setting, &issued.told) else {
        return format!("Nobody subscribed: neither the mailer nor a webhook heard of the link that was issued at {}.", issued.at);
    };
    let (who, answer) = (told.subscriber.as_str(), told.answer.as_deref().filter(|answer| !answer.is_empty()).unwrap_or("nothing"));
    let at = told.done_at.unwrap_or(told.created_at);
    match What::of_state(told) {
        Some(What::Delivered) => format!("Delivered to {who} at {at}, which answered: {answer}"),
        Some(What::Superseded) => format!("Superseded at {at}: a newer link was issued, or this one was used, before {who} could be told."),
        Some(What::Expired) => format!("Expired: the link had ended at {at}, before {who} could be told."),
        Some(What::Dead) => format!("Refused: given up at {at}; the last answer of {who} was: {answer}"),
        Some(What::Tried) => format!("Not delivered yet: {who} was tried {} times, and answered last: {answer}", told.attempts),
        _ => format!("Not sent yet: it waits for {who} since {}.", told.created_at),
    }
}

/// The delivery that brought the link, or else the last that was to: a mail, and without one whoever else was told of the link.
fn asked_about<'d>(setting: &Setting, told: &'d [DeliveryRow]) -> Option<&'d DeliveryRow> {
    let mailed = told.iter().any(|told| told.subscriber == MAILER);
    let counts = |told: &&DeliveryRow| if mailed { told.subscriber == MAILER } else { !setting.without_link.contains(&told.subscriber) };
    let of_link = || told.iter().filter(counts).rev();
    of_link().find(|told| told.state == "delivered").or_else(|| of_link().next())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::DeliveryId;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(1_800_000_000 + seconds)
    }

    fn told(subscriber: &str, state: &str, attempts: i64, answer: Option<&str>) -> DeliveryRow {
        DeliveryRow {
            id: DeliveryId(ulid::Ulid::nil()),
            event: EventId(ulid::Ulid::nil()),
            event_name: None,
            subscriber: subscriber.into(),
            state: state.into(),
            attempts,
            answer: answer.map(str::to_owned),
            held: false,
            due_at: at(1),
            created_at: at(1),
            done_at: (state != "waiting").then(|| at(2)),
        }
    }

    fn setting(now: Timestamp) -> Setting {
        Setting { now, without_link: vec!["nats".to_owned()] }
    }

    #[test]
    fn why_there_is_no_mail_is_one_sentence() {
        let issued = |told: Vec<DeliveryRow>| Some(Issued { at: at(1), told });
        for (known, refused, newest, begins) in [
            (false, None, None, "Unknown address"),
            (true, None, None, "No link was issued"),
            (true, Some(at(0)), None, "Over the limit"),
            (true, Some(at(2)), issued(vec![told("mail", "delivered", 1, Some("250"))]), "Over the limit"),
            (true, Some(at(0)), issued(vec![]), "Nobody subscribed"),
            (true, Some(at(1)), issued(vec![]), "Nobody subscribed"),
            (true, None, issued(vec![told("mail", "waiting", 1, None)]), "Not delivered yet: mail was tried 1 times, and answered last: nothing"),
            (
                true,
                None,
                issued(vec![told("mail", "delivered", 1, Some("250 OK"))]),
                "Delivered to mail at 2027-01-15T08:00:02.000Z, which answered: 250 OK",
            ),
            (
                true,
                None,
                issued(vec![told("mail", "dead", 9, Some("550 no such user"))]),
                "Refused: given up at 2027-01-15T08:00:02.000Z; the last answer of mail was: 550 no such user",
            ),
            (true, None, issued(vec![told("mail", "superseded", 1, None)]), "Superseded"),
            (true, None, issued(vec![told("mail", "expired", 1, None)]), "Expired"),
            (true, None, issued(vec![told("mail", "waiting", 0, None)]), "Not sent yet"),
            (
                true,
                None,
                issued(vec![told("mail", "waiting", 2, Some("450 later"))]),
                "Not delivered yet: mail was tried 2 times, and answered last: 450 later",
            ),
            (true, None, issued(vec![told("mail", "delivered", 1, Some("250")), told("webhook:1", "dead", 1, None)]), "Delivered to mail"),
            (true, None, issued(vec![told("webhook:1", "delivered", 1, Some("200"))]), "Delivered to webhook:1"),
            (true, None, issued(vec![told("nats", "delivered", 1, Some("stored"))]), "Nobody subscribed"),
            (true, None, issued(vec![told("webhook:1", "dead", 9, None), told("nats", "delivered", 1, None)]), "Refused"),
            (true, None, issued(vec![told("mail", "delivered", 1, Some("250")), told("mail", "superseded", 1, None)]), "Delivered to mail"),
        ] {
            let said = sentence(&setting(at(1)), known, refused, newest.as_ref());
            assert!(said.starts_with(begins) && !said.contains('\n'), "{begins}: {said}");
        }
        let kept = i64::try_from(DELIVERIES_KEPT.as_secs()).unwrap();
        for (later, begins) in [(kept - 1, "Nobody subscribed"), (kept, "No longer known")] {
            let said = sentence(&setting(at(1 + later)), true, None, issued(vec![]).as_ref());
            assert!(said.starts_with(begins), "{said}");
        }
    }
}
