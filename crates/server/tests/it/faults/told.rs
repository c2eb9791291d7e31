//! Change and event (I3), and the order of the events (I8): what the database holds against what a webhook for everything was told.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::report::Report;
use crate::crash::ledger::Ledger;
use crate::crash::stage::Stage;
use crate::support::webhook_sink::{Received, WebhookSink};

/// An event as the database holds it.
struct Event {
    id: String,
    name: String,
    /// The id of a customer or a login, without its prefix.
    subject: String,
    secret: String,
}

/// Everything is done, and `sink` was subscribed to everything from the start.
pub async fn check(stage: &Stage, ledger: &Ledger, sink: &WebhookSink, report: &mut Report) {
    let rows = stage.database.rows("SELECT id, name, subject, secret_ref FROM events ORDER BY number").await.unwrap();
    let events: Vec<Event> = rows
        .into_iter()
        .map(|row| {
            let [id, name, subject, secret] = <[String; 4]>::try_from(row).unwrap();
            let subject = subject.rsplit_once('_').map_or(subject.clone(), |(_, bare)| bare.to_owned());
            Event { id: format!("evt_{id}"), name, subject, secret }
        })
        .collect();
    delivered(&events.iter().map(|event| event.id.as_str()).collect(), &sink.calls(), report);
    customers(stage, ledger, &events, report).await;
    resets(stage, &events, report).await;
    assert_eq!(stage.column("SELECT COUNT(*) FROM backlogs WHERE waiting <> 0").await, ["0"], "nothing waits, and nothing is counted as waiting");
}

/// Each event of `ids` came at least once, and always as the same message. What came is an event.
pub fn delivered(ids: &BTreeSet<&str>, calls: &[Received], report: &mut Report) {
    let mut told: HashMap<&str, &[u8]> = HashMap::new();
    for call in calls {
        let id = call.header("webhook-id");
        assert!(ids.contains(id), "{id} was told, and is no event");
        if let Some(before) = told.insert(id, &call.body) {
            assert_eq!(before, call.body, "{id} was told in two ways");
            report.duplicates += 1;
        }
    }
    report.lost.extend(ids.iter().filter(|id| !told.contains_key(*id)).map(|id| format!("the webhook was not told of {id}")));
}

/// A customer, and a change of one, has one event; the first of them is that of its creation.
async fn customers(stage: &Stage, ledger: &Ledger, events: &[Event], report: &mut Report) {
    let mut of: HashMap<&str, Vec<&str>> = HashMap::new();
    for event in events.iter().filter(|event| event.name.starts_with("customer.")) {
        of.entry(&event.subject).or_default().push(&event.name);
    }
    let accounts: HashMap<&str, _> = ledger.accounts.iter().map(|account| (account.address.as_str(), account)).collect();
    let customers = stage.database.rows("SELECT id, email FROM customers").await.unwrap();
    for customer in &customers {
        let (id, address) = (&customer[0], &customer[1]);
        let Some(names) = of.remove(id.as_str()) else {
            report.lost.push(format!("the creation of {address} has no event"));
            continue;
        };
        assert_eq!(names[0], "customer.created", "{address}: {names:?}");
        assert!(names[1..].iter().all(|name| *name == "customer.updated"), "{address}: {names:?}");
        let (least, unsure) = accounts.get(address.as_str()).map_or((0, 0), |account| (account.changes, account.unsure));
        report.lost.extend((names.len()..=least).map(|_| format!("a change of {address} has no event: {names:?}")));
        assert!(names.len() - 1 <= least + unsure, "{least} changes of {address} are sure and {unsure} may be: {names:?}");
    }
    assert!(of.is_empty(), "events of customers that are not there: {of:?}");
}

/// A reset that was issued has one event, and one that was used has one more, which comes after the first and before the next that is issued.
async fn resets(stage: &Stage, events: &[Event], report: &mut Report) {
    let rows = stage.database.rows("SELECT id, identity_id, used_at FROM password_resets").await.unwrap();
    let mut issued: BTreeMap<&str, usize> = rows.iter().map(|row| (row[0].as_str(), 0)).collect();
    let used: HashMap<&str, &str> = rows.iter().filter(|row| !row[2].is_empty()).map(|row| (row[0].as_str(), row[1].as_str())).collect();
    let mut open: BTreeSet<&str> = BTreeSet::new();
    for event in events {
        match event.name.as_str() {
            "auth.password_reset" => {
                *issued.get_mut(event.secret.as_str()).unwrap_or_else(|| panic!("{} is of a reset that is not there", event.id)) += 1;
                if let Some(login) = used.get(event.secret.as_str()) {
                    assert!(open.insert(login), "{}: issued before the event of the last one's use", event.id);
                }
            }
            "auth.password_updated" => assert!(open.remove(event.subject.as_str()), "{}: no reset of {} was used", event.id, event.subject),
            _ => {}
        }
    }
    assert!(issued.values().all(|events| *events < 2), "a reset has two events: {issued:?}");
    report.lost.extend(issued.iter().filter(|(_, events)| **events == 0).map(|(jti, _)| format!("the reset {jti} has no event")));
    report.lost.extend(open.iter().map(|login| format!("the use of a reset of {login} has no event")));
}
