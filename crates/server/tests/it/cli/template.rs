//! `vestibule template`: set, list, remove, and look at a mail before it is sent.

use serde_json::{Value, json};
use vestibule_engine::notify::sink::SmtpSink;

use super::{LOCAL, config};
use crate::support::app::{ADDRESS, publishable_key};
use crate::support::binary::Desk;

const RESET: [&str; 4] = ["--tenant", "acme", "--message", "password_reset"];

/// A desk with the tenant `acme`, whose mails go to `sink`.
fn desk(sink: &SmtpSink) -> Desk {
    let acme = "[[tenants]]\nslug = \"acme\"\n[tenants.mail]\nfrom = \"Acme <no-reply@acme.example>\"\n";
    let (key, transport) = (publishable_key("acme"), sink.address());
    let acme = acme.replace("slug", &format!("publishable_keys = [\"{key}\"]\nslug"));
    let desk = Desk::new(&config(LOCAL, &format!("{acme}transport = \"smtp://{transport}\"\n")));
    // Declared tenants are made by the server.
    desk.serve().stop();
    desk
}

fn template(desk: &Desk, verb: &str, words: &[&str]) -> crate::support::binary::Ended {
    desk.run(&[&["template", verb][..], &RESET, words].concat())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn words_are_set_listed_shown_and_removed() {
    let sink = SmtpSink::start();
    let desk = desk(&sink);
    desk.write("subject.txt", "Moin von {{ shop }}\n");
    desk.write("body.txt", "Hier: {{ url }}\n");
    let built_in = template(&desk, "preview", &["--locale", "de-CH", "--json"]).json();
    assert_eq!((&built_in["locale"], &built_in["subject"]), (&json!("de"), &json!("Neues Passwort für Acme")));
    assert!(built_in["text"].as_str().unwrap().contains("https://shop.example/reset-password?token=sample"));
    // Before it is set.
    let draft = template(&desk, "preview", &["--locale", "de", "--subject", "subject.txt", "--json"]).json();
    assert_eq!(draft["subject"], "Moin von Acme");
    assert_eq!(template(&desk, "preview", &["--locale", "de", "--json"]).json(), built_in);

    let set = ["--locale", "de", "--sender", "Moin <moin@acme.example>", "--subject", "subject.txt", "--text", "body.txt"];
    let ended = template(&desk, "set", &set).expect(0);
    assert!(ended.stderr.contains("body.txt does not use `minutes`") && ended.stdout.is_empty(), "{ended:?}");
    let listed = desk.run(&["template", "list", "--tenant", "acme", "--json"]).json();
    let expected = json!([{"message": "password_reset", "locale": "de", "sender": "Moin <moin@acme.example>", "subject": "Moin von {{ shop }}",
        "text": "Hier: {{ url }}\n", "html": null}]);
    assert_eq!(listed, expected);
    let listed = desk.run(&["template", "list", "--tenant", "acme"]).expect(0).stdout;
    assert_eq!(listed, "password_reset\tde\tsender,subject,text\n");
    let shown = template(&desk, "preview", &["--locale", "de"]).expect(0);
    let head = "From: Moin <moin@acme.example>\nSubject: Moin von Acme\nContent-Language: de\n\nHier: https://shop.example/";
    assert!(shown.stdout.starts_with(head) && shown.stdout.contains("<html lang=\"de\""), "{}", shown.stdout);

    let shown = template(&desk, "preview", &["--locale", "de", "--send-to", "owner@acme.example"]).expect(0);
    assert!(shown.stderr.contains("250 "), "{}", shown.stderr);
    let mails = sink.mails();
    assert_eq!((mails.len(), mails[0].from.as_str(), mails[0].to.as_slice()), (1, "moin@acme.example", ["owner@acme.example".to_owned()].as_slice()));
    assert!(mails[0].part("text/plain").unwrap().contains("Hier: https://shop.example/reset-password?token=sample"));

    template(&desk, "remove", &["--locale", "de"]).expect(0);
    template(&desk, "remove", &["--locale", "de"]).expect_words(1, &["no words of its own"]);
    assert_eq!(desk.run(&["template", "list", "--tenant", "acme", "--json"]).json(), json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_words_are_refused_in_words_and_not_kept() {
    let sink = SmtpSink::start();
    let desk = desk(&sink);
    for (text, words) in [
        ("no link", "body.txt: `{{ url }}` is missing"),
        ("x\n{{ url | upper }}", "body.txt: line 2: only values"),
        ("{{ url }} {{ password }}", "`password` is not known to password_reset"),
        ("{% if minutes == 1 %}{{ url }}", "body.txt: "),
    ] {
        desk.write("body.txt", text);
        for verb in ["set", "preview"] {
            template(&desk, verb, &["--locale", "de", "--text", "body.txt"]).expect_words(2, &[words]);
        }
    }
    template(&desk, "set", &["--locale", "de"]).expect_words(2, &["nothing is given"]);
    template(&desk, "set", &["--locale", "../x", "--sender", "a@b.example"]).expect_words(2, &["is no language"]);
    template(&desk, "set", &["--locale", "fr", "--sender", "a@b.example"]).expect_words(2, &["no built-in words"]);
    template(&desk, "set", &["--locale", "de", "--text", "nothing.txt"]).expect_words(1, &["nothing.txt"]);
    desk.run(&["template", "set", "--tenant", "acme", "--message", "welcome", "--locale", "de"]).expect_words(2, &["password_reset"]);
    assert_eq!(desk.run(&["template", "list", "--tenant", "acme", "--json"]).json(), json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recorded_event_is_shown_as_it_was_told() {
    let sink = SmtpSink::start();
    let desk = desk(&sink);
    let server = desk.serve();
    let acme = server.shop("acme.localhost", &publishable_key("acme"));
    acme.register(ADDRESS, "a-password-99").await.expect_status(200);
    let body = json!({"identifier": ADDRESS, "metadata": {"locale": "de"}});
    acme.post("/auth/customer/emailpass/reset-password").json(&body).send().await.expect_status(201);
    let mail = sink.wait_for(1, std::time::Duration::from_secs(10)).await.unwrap().remove(0);
    server.stop();
    let rows = vestibule_engine::testing::rows_of_file(&desk.path("v.db"), "SELECT id FROM events WHERE name = 'auth.password_reset'").await.unwrap();
    let shown: Value = desk.run(&["template", "preview", "--tenant", "acme", "--event", &rows[0], "--json"]).json();
    assert_eq!((&shown["message"], &shown["locale"]), (&json!("password_reset"), &json!("de")));
    let text = shown["text"].as_str().unwrap();
    assert!(text.contains(ADDRESS) && text.contains("token=sample") && mail.part("text/plain").unwrap().contains("Guten Tag"));
    desk.run(&["template", "preview", "--tenant", "acme", "--event", "evt_x"]).expect_words(2, &["is no event id"]);
    let unknown = "evt_01M84S77XJ8BVH81B179KQ8Y5B";
    desk.run(&["template", "preview", "--tenant", "acme", "--event", unknown]).expect_words(1, &["no such event"]);
}

/// What a command put into its own inbox would go with it.
#[tokio::test]
async fn a_mail_for_the_inbox_of_the_server_is_not_sent_by_a_command() {
    let desk = Desk::new(&config(LOCAL, &super::ACME.replace("smtp://127.0.0.1:1", "inbox")));
    desk.serve().stop();
    let preview = ["template", "preview", "--tenant", "acme", "--message", "password_reset"];
    desk.run(&preview).expect(0);
    desk.run(&[&preview[..], &["--send-to", "owner@acme.example"]].concat()).expect_words(1, &["the inbox is in the memory of the server"]);
}
