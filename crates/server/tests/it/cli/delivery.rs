//! `vestibule delivery` and `vestibule webhook` beside a running server.

use serde_json::{Value, json};

use super::{LOCAL, config};
use crate::support::app::{customer, publishable_key};
use crate::support::binary::{Desk, Running};
use crate::support::webhook_sink::WebhookSink;

/// Two shops, the first with a webhook at `sink`.
fn desk(sink: &WebhookSink) -> Desk {
    let hook = sink.webhook("/hook", &["customer.created"]);
    let outbound = "[outbound]\nallow_private = [\"127.0.0.1/32\"]\n";
    let shop = |slug: &str| format!("[[tenants]]\nslug = \"{slug}\"\npublishable_keys = [\"{}\"]\n", publishable_key(slug));
    let hook = format!("[[tenants.webhooks]]\nurl = \"{}\"\nsecret = \"{}\"\nevents = [\"customer.created\"]\n", hook.url, hook.secret.expose());
    Desk::new(&config(LOCAL, &format!("{outbound}{}{hook}{}", shop("acme"), shop("globex"))))
}

async fn sign_up(server: &Running, name: &str) {
    customer(&server.shop("acme.localhost", &publishable_key("acme")), &format!("{name}@example.com")).await;
}

/// What `delivery list` prints once there are `n` of them.
async fn listed(desk: &Desk, words: &[&str], n: usize) -> Vec<Value> {
    let words = [&["delivery", "list", "--json"], words].concat();
    for _ in 0..500 {
        let Value::Array(found) = desk.run(&words).json() else { panic!("no list") };
        if found.len() == n {
            return found;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("there are not {n} of {words:?}: {}", desk.run(&words).json());
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name}: {value}"))
}

#[tokio::test]
async fn a_webhook_that_said_410_is_off_until_it_is_enabled_and_then_gets_what_it_missed() {
    let sink = WebhookSink::start().await;
    let desk = desk(&sink);
    let server = desk.serve();
    sink.answer(&["410 Gone"]);
    sign_up(&server, "first").await;
    let dead = listed(&desk, &["--state", "dead"], 1).await.remove(0);
    let off = desk.run(&["webhook", "list", "--tenant", "acme", "--json"]).json();
    let hook = text(&off[0], "id").to_owned();
    assert!(off[0]["disabled_at"].is_string() && off[0]["events"] == json!(["customer.created"]), "{off}");
    assert_eq!((text(&dead, "subscriber"), text(&dead, "event"), text(&dead, "tenant")), (hook.as_str(), "customer.created", "acme"));
    assert!(text(&dead, "answer").starts_with("410") && dead["attempts"] == 1 && dead["next_try_at"].is_null(), "{dead}");
    assert!(desk.run(&["webhook", "list", "--tenant", "acme"]).expect(0).stdout.contains("\toff since "));

    sign_up(&server, "second").await;
    let missed = listed(&desk, &["--state", "dead"], 2).await.remove(0);
    assert_eq!((text(&missed, "answer"), sink.calls().len()), ("the webhook is switched off", 1));

    // What is off stays off for a retry, too.
    let id = text(&dead, "id");
    assert_eq!(desk.run(&["delivery", "retry", "--tenant", "acme", id]).expect(0).stdout, format!("{id}\n"));
    listed(&desk, &["--state", "dead"], 2).await;
    let enable = ["webhook", "enable", "--tenant", "acme", hook.as_str()];
    desk.run(&["webhook", "enable", "--tenant", "globex", &hook]).expect_words(1, &["globex has no webhook"]);
    desk.run(&enable).expect(0);
    desk.run(&enable).expect_words(1, &["is on already"]);
    desk.run(&["delivery", "retry", "--tenant", "globex", id]).expect_words(1, &["was not found"]);
    desk.run(&["delivery", "retry", "--tenant", "globex", "--since", "1h"]).expect(0);
    desk.run(&["delivery", "retry", "--tenant", "acme", id]).expect(0);
    listed(&desk, &["--state", "delivered"], 1).await;
    desk.run(&["delivery", "retry", "--tenant", "acme", id, text(&missed, "id")]).expect(1);
    listed(&desk, &["--state", "delivered", "--subscriber", &hook, "--event", "customer.created", "--tenant", "acme"], 2).await;
    let calls = sink.wait_for(3).await;
    assert!(calls[0].header("webhook-id") == calls[1].header("webhook-id") && calls.iter().all(|call| sink.verifies(call)));
    desk.run(&["delivery", "retry", "--tenant", "acme", id]).expect_words(1, &["was delivered at", "not sent again"]);

    let shown = desk.run(&["delivery", "show", "--tenant", "acme", id, "--json"]).json();
    assert_eq!((text(&shown, "state"), text(&shown, "answer"), &shown["attempts"]), ("delivered", "200", &json!(1)));
    assert!(desk.run(&["delivery", "show", "--tenant", "acme", id]).expect(0).stdout.contains("state\tdelivered\n"));
    desk.run(&["delivery", "show", "--tenant", "globex", id]).expect_words(1, &["was not found"]);
    desk.run(&["webhook", "disable", "--tenant", "acme", &hook]).expect(0);
    desk.run(&["webhook", "disable", "--tenant", "acme", &hook]).expect_words(1, &["is off already"]);
}

#[tokio::test]
async fn deliveries_are_found_and_retried_by_range_and_by_time() {
    let sink = WebhookSink::start().await;
    let desk = desk(&sink);
    let server = desk.serve();
    let hook = text(&desk.run(&["webhook", "list", "--tenant", "acme", "--json"]).json()[0], "id").to_owned();
    desk.run(&["webhook", "disable", "--tenant", "acme", &hook]).expect(0);
    for name in ["a", "b", "c", "d"] {
        sign_up(&server, name).await;
    }
    let dead = listed(&desk, &["--state", "dead"], 4).await;
    let [d, c, b, a] = [0, 1, 2, 3].map(|place| text(&dead[place], "id"));
    assert!(a < b && b < c && c < d, "the newest first");
    for (words, found) in [
        (vec!["--limit", "3"], 3),
        (vec!["--from", b, "--to", c], 2),
        (vec!["--since", text(&dead[1], "created_at"), "--until", text(&dead[1], "created_at")], 1),
        (vec!["--since", "1h"], 4),
        (vec!["--until", "1h"], 0),
        (vec!["--tenant", "globex"], 0),
        (vec!["--subscriber", "mail"], 0),
        (vec!["--event", "auth.password_reset"], 0),
        (vec!["--state", "expired"], 0),
    ] {
        assert_eq!(desk.run(&[&["delivery", "list", "--json"], words.as_slice()].concat()).json().as_array().unwrap().len(), found, "{words:?}");
    }
    let plain = desk.run(&["delivery", "list", "--to", a]).expect(0).stdout;
    assert!(plain.starts_with(&format!("{a}\tacme\tdead\t1\t{hook}\tcustomer.created\t")), "{plain}");

    desk.run(&["webhook", "enable", "--tenant", "acme", &hook]).expect(0);
    let retry = |words: &[&str]| desk.run(&[&["delivery", "retry", "--tenant", "acme"], words].concat()).expect(0).stdout;
    assert_eq!(retry(&["--from", b, "--to", c, "--subscriber", "mail"]), "0\n");
    assert_eq!(retry(&["--from", b, "--to", c]), "2\n");
    listed(&desk, &["--state", "delivered", "--from", b, "--to", c], 2).await;
    assert_eq!(retry(&["--until", "1h"]), "0\n");
    assert_eq!(retry(&["--since", "1h", "--event", "customer.created"]), "2\n", "what was delivered is not dead");
    listed(&desk, &["--state", "delivered"], 4).await;
    sink.wait_for(4).await;
}
