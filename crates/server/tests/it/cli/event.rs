//! `vestibule event`, beside a running server.

use serde_json::{Value, json};

use super::{ACME, LOCAL, config};
use crate::support::app::{ADDRESS, customer, publishable_key};
use crate::support::binary::{Desk, within_a_second};

#[tokio::test]
async fn events_are_listed_shown_and_told_once_more() {
    let desk =
        Desk::new(&config(LOCAL, &ACME.replace("[tenants.mail]", &format!("publishable_keys = [\"{}\"]\n[tenants.mail]", publishable_key("acme")))));
    let server = desk.serve();
    let shop = server.shop("acme.localhost", &publishable_key("acme"));
    customer(&shop, ADDRESS).await;
    let list = |more: &[&str]| desk.run(&[&["event", "list", "--tenant", "acme", "--json"], more].concat()).json();
    let created = within_a_second(async || {
        let events = list(&["--name", "customer.created"]);
        events.get(0).cloned().ok_or_else(|| format!("{events}"))
    })
    .await;
    assert_eq!((&created["type"], &created["metadata"]), (&json!("customer.created"), &json!({"tenant": "acme"})));
    let number = created["number"].to_string();
    assert_eq!(list(&["--after", &number, "--name", "customer.*"]), json!([]));
    let all = list(&["--limit", "1"]);
    assert_eq!((all.as_array().map(Vec::len), &all[0]["number"]), (Some(1), &json!(1)));
    let id = created["id"].as_str().unwrap();
    let lines = desk.run(&["event", "list", "--tenant", "acme", "--name", "customer.created"]).expect(0).stdout;
    assert_eq!(lines, format!("{number}\t{}\tcustomer.created\t{id}\n", created["timestamp"].as_str().unwrap()));
    let mut shown = desk.run(&["event", "show", "--tenant", "acme", id, "--json"]).json();
    assert_eq!(shown["deliveries"].take(), json!([]), "no mail is sent for it");
    shown.as_object_mut().unwrap().remove("deliveries");
    assert_eq!(shown, created);
    // A terminal would obey what a stranger wrote.
    let written = json!({"identifier": ADDRESS, "metadata": {"x": "\u{9b}2J\u{7f}"}});
    shop.post("/auth/customer/emailpass/reset-password").json(&written).send().await.expect_status(201);
    let asked = within_a_second(async || {
        let events = list(&["--name", "auth.password_reset"]);
        events.get(0).cloned().ok_or_else(|| format!("{events}"))
    })
    .await;
    assert_eq!(asked["data"]["metadata"], written["metadata"], "JSON says what was sent");
    let asked = asked["id"].as_str().unwrap();
    for words in [&["event", "show", "--tenant", "acme", asked][..], &["event", "show", "--tenant", "acme", asked, "--json"]] {
        let stdout = desk.run(words).expect(0).stdout;
        assert!(stdout.contains(r"\u009b2J\u007f") && !stdout.contains(|c: char| c.is_control() && !"\n\t".contains(c)), "{stdout}");
    }
    let replay = |subscriber: &str| desk.run(&["event", "replay", "--tenant", "acme", "--subscriber", subscriber, "--from", "1", "--to", &number]);
    assert_eq!(replay("mail").expect(0).stdout, "0\n", "the mailer hears none of them");
    replay("webhook:1").expect_words(2, &["has no subscriber webhook:1; it has: mail (the mailer)"]);
    desk.run(&["event", "list", "--tenant", "acme", "--name", "auth"]).expect_words(2, &["there is no event auth"]);
    desk.run(&["event", "show", "--tenant", "acme", "x"]).expect_words(2, &["`x` is no event id"]);
    desk.run(&["event", "show", "--tenant", "acme", "evt_01K0000000000000000000000A"]).expect_words(1, &["has no event"]);
    assert_eq!(list(&["--after", "0", "--limit", "1"])[0]["data"].get("token"), None::<&Value>);
}
