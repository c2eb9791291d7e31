//! `/app/templates`: what a store's mails say, drafts, and mails that a member of the staff tries.

use std::time::Duration;

use http::Method;
use serde_json::json;
use vestibule_engine::model::template::Template;
use vestibule_engine::notify::sink::Mode;
use vestibule_engine::ops;

use crate::app_sign_in::{STAFF, assert_guarded, assert_led_to, member, post, sign_in};
use crate::support::app::{ADDRESS, TestApp, customer};
use crate::support::client::{Answer, Shop};
use crate::support::{each_db, raw};

const ROOM: &str = "/app/templates";
const PREVIEW: &str = "/app/templates/preview";
const SEND: &str = "/app/templates/send";
const HTML: &str = "/app/templates/html";
const REMOVE: &str = "/app/templates/remove";
const BUILT_IN: &str = "Choose a new password for Acme";
const GERMAN: &str = "Neues Passwort für Acme";

async fn staff(app: &TestApp) -> (Shop, String) {
    member(app, "acme", STAFF).await;
    let acme = app.acme();
    let cookie = sign_in(&acme, STAFF).await;
    (acme, cookie)
}

/// The page's source as a browser reads it: the templates write a slash in a value as a reference.
fn source(page: &Answer) -> String {
    page.text.replace("&#x2f;", "/")
}

async fn own(app: &TestApp, slug: &str) -> Vec<Template> {
    let tenant = ops::tenant::by_slug(&app.engine, slug).await.unwrap();
    ops::template::list(&app.engine, &tenant).await.unwrap()
}

/// What stands behind `name` in the list of headers.
fn shown(page: &Answer, name: &str) -> String {
    let source = source(page);
    let rest = source.split(&format!("<dt>{name}</dt><dd>")).nth(1).unwrap_or_else(|| panic!("no {name}: {source}"));
    rest.split("</dd>").next().unwrap().replace("<strong>", "").replace("</strong>", "")
}

/// A form for the reset mail in English.
fn form<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [[("message", "password_reset"), ("locale", "en")].as_slice(), more].concat()
}

#[track_caller]
fn assert_framed(frame: &Answer) {
    let policy = frame.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; ") && policy.ends_with("; sandbox"), "{policy}: neither scripts nor an origin");
    assert!(policy.contains("frame-ancestors 'self'") && !policy.contains("script-src") && !policy.contains("allow-"), "{policy}");
    assert_eq!((frame.header("cache-control"), frame.header("referrer-policy")), ("no-store", "no-referrer"));
    assert_eq!((frame.header("x-content-type-options"), frame.header("content-type")), ("nosniff", "text/html; charset=utf-8"));
}

each_db! {
    async fn each_message_is_shown_in_each_language(app: TestApp) {
        let (acme, cookie) = staff(app).await;
        for (query, subject, word) in [
            ("", BUILT_IN, "Hello,"),
            ("?message=password_reset&locale=en", BUILT_IN, "Hello,"),
            ("?message=password_reset&locale=de", GERMAN, "Guten Tag,"),
            ("?message=password_reset&locale=de-AT", GERMAN, "Guten Tag,"),
            ("?message=password_changed&locale=en", "Your password at Acme was changed", "Hello,"),
            ("?message=password_changed&locale=de", "Ihr Passwort bei Acme wurde geändert", "Guten Tag,"),
            ("?message=password_reset&locale=fr", BUILT_IN, "There are no words in fr: the mail is in en."),
        ] {
            let page = acme.get(&format!("{ROOM}{query}")).cookie(&cookie).send().await.expect_status(200);
            assert_guarded(&page);
            assert_eq!(shown(&page, "From"), "Acme &lt;no-reply@acme.example&gt;", "{query}");
            assert_eq!((shown(&page, "Subject").as_str(), shown(&page, "Own words").as_str()), (subject, "none"), "{query}");
            assert!(page.text.contains(word), "{query}: {}", page.text);
            assert!(page.text.contains("sandbox=\"\""), "{query}");
            let frame = acme.get(&format!("{HTML}{query}")).cookie(&cookie).send().await.expect_status(200);
            assert_framed(&frame);
            let language = if word == "Guten Tag," { "de" } else { "en" };
            assert!(frame.text.contains(&format!("<html lang=\"{language}\"")), "{query}: {}", frame.text);
        }
        // The store's language is where one begins.
        app.restart_acme(|acme| acme.mail.locale = Some("de".into())).await;
        let page = app.acme().get(ROOM).cookie(&cookie).send().await.expect_status(200);
        assert_eq!(shown(&page, "Subject"), GERMAN);
    }

    async fn a_recorded_event_gives_address_and_language(app: TestApp) {
        let (acme, cookie) = staff(app).await;
        customer(&acme, ADDRESS).await;
        let asked = json!({"identifier": ADDRESS, "metadata": {"locale": "de"}});
        acme.post("/auth/customer/emailpass/reset-password").json(&asked).send().await.expect_status(201);
        app.take_all_mail().await;
        app.numbered().await;
        let named = app.rows("SELECT id FROM events WHERE name = 'auth.password_reset'").await;
        let event = format!("evt_{}", named[0]);
        let page = acme.get(&format!("{ROOM}?event={event}")).cookie(&cookie).send().await.expect_status(200);
        assert_eq!((shown(&page, "Subject").as_str(), shown(&page, "To").as_str()), (GERMAN, ADDRESS));
        assert!(page.text.contains(&format!("<option value=\"{event}\">{ADDRESS}, ")), "it can be chosen");
        assert!(source(&page).contains(&format!("src=\"{HTML}?message=password_reset&amp;event={event}\"")), "{}", page.text);
        assert!(acme.get(&format!("{HTML}?event={event}")).cookie(&cookie).send().await.text.contains(ADDRESS));
        // No link of anybody's: a sample.
        assert!(page.text.contains("token=sample") && !page.text.contains("token=eyJ"));
        let signed_in = app.rows("SELECT id FROM events WHERE name = 'auth.signed_in'").await;
        let signed_in = format!("?event={}", signed_in[0]);
        let crossed = format!("?message=password_changed&event={event}");
        for (query, status, words) in [
            ("?event=evt_01K0000000000000000000000A", 404, "There is no such event"),
            ("?event=nonsense", 400, "This is no id of an event"),
            (signed_in.as_str(), 400, "No mail is sent for this event"),
            (crossed.as_str(), 400, "Another mail is sent for this event"),
            ("?message=nonsense", 400, "There is no such message"),
            ("?locale=../x", 400, "A language is"),
        ] {
            let page = acme.get(&format!("{ROOM}{query}")).cookie(&cookie).send().await.expect_status(status);
            assert!(page.text.contains(words), "{query}: {}", page.text);
            assert_guarded(&page);
            acme.get(&format!("{HTML}{query}")).cookie(&cookie).send().await.expect_error(status, &acme_words(&page));
        }
        // Another shop's event is none.
        member(app, "globex", "other@globex.example").await;
        let (globex, other) = (app.globex(), sign_in(&app.globex(), "other@globex.example").await);
        globex.get(&format!("{ROOM}?event={event}")).cookie(&other).send().await.expect_status(404);
        assert!(!globex.get(ROOM).cookie(&other).send().await.text.contains(&event));
    }

    async fn a_draft_is_shown_with_what_is_wrong_with_it_and_not_kept(app: TestApp) {
        let (acme, cookie) = staff(app).await;
        let draft = form(&[("subject", "Servus from {{ shop }}"), ("text", "First\r\nsecond {{ url }}"), ("sender", "Acme <moin@acme.example>"), ("html", "")]);
        let page = post(&acme, PREVIEW, &cookie, &draft).await.expect_status(200);
        assert_guarded(&page);
        assert_eq!(shown(&page, "Subject"), "Servus from Acme");
        assert_eq!((shown(&page, "From").as_str(), shown(&page, "Own words").as_str()), ("Acme &lt;moin@acme.example&gt;", "subject.txt, body.txt"));
        assert!(page.text.contains("draft, not saved") && page.text.contains("First\nsecond https:"), "{}", page.text);
        assert!(page.text.contains("body.txt does not use `minutes`") && !page.text.contains("body.txt does not use `url`"));
        assert!(page.text.contains("value=\"Servus from {{ shop }}\""), "the form keeps the draft");
        for (field, words, fault) in [
            ("text", "Hello {{ shop }}", "body.txt: `{{ url }}` is missing"),
            ("text", "{{ url }} {{ name }}", "body.txt: `name` is not known to password_reset"),
            ("html", "{% for x in shop %}{{ url }}{% endfor %}", "body.html: line 1: only values"),
            ("subject", "{{ url }}", "subject.txt: the link must not stand in the subject"),
            ("text", "\0{{ url }}", "body.txt: it holds a NUL character"),
            ("sender", "nobody", "is no address"),
        ] {
            let page = post(&acme, PREVIEW, &cookie, &form(&[(field, words)])).await.expect_status(200);
            let alert = source(&page).split("role=\"alert\" id=\"fault\">").nth(1).unwrap_or_default().split("</p>").next().unwrap().to_owned();
            assert!(alert.contains(fault), "{field} {words}: {alert}");
            for path in [ROOM, SEND] {
                let refused = post(&acme, path, &cookie, &form(&[(field, words)])).await.expect_status(400);
                assert!(source(&refused).contains(&alert) && refused.text.contains("see below what is wrong"), "{path} {words}");
            }
        }
        post(&acme, ROOM, &cookie, &form(&[])).await.expect_status(400);
        post(&acme, HTML, &cookie, &draft).await.expect_status(200);
        assert_eq!(own(app, "acme").await, []);
        assert!(app.unread().is_empty(), "what is wrong is not sent");
    }

    async fn words_are_kept_and_removed_for_this_shop_alone(app: TestApp) {
        let (acme, cookie) = staff(app).await;
        let kept = form(&[("subject", " Servus from {{ shop }} "), ("text", "a\r\n{{ url }}\r\n"), ("html", "<p>{{ url }}</p>"), ("sender", "moin@acme.example")]);
        let saved = post(&acme, ROOM, &cookie, &kept).await;
        assert_led_to(&saved, "/app/templates?message=password_reset&locale=en&done=saved");
        let own_words = own(app, "acme").await;
        let [Template { subject, text, sender, locale, .. }] = own_words.as_slice() else { panic!("{own_words:?}") };
        assert_eq!((subject.as_deref(), text.as_deref(), locale.as_str()), (Some("Servus from {{ shop }}"), Some("a\n{{ url }}\n"), "en"));
        assert_eq!(sender.as_deref(), Some("moin@acme.example"));
        let page = acme.get(saved.header("location")).cookie(&cookie).send().await.expect_status(200);
        assert_eq!((shown(&page, "Subject").as_str(), shown(&page, "Own words").as_str()), ("Servus from Acme", "subject.txt, body.txt, body.html"));
        assert!(page.text.contains("Saved.") && page.text.contains("<small>own words</small>"));
        // The next mail says so, and no other shop's does.
        let globex = app.globex();
        for shop in [&acme, &globex] {
            customer(shop, ADDRESS).await;
            shop.request_reset(ADDRESS).await.expect_status(201);
            app.settle().await;
            let mail = app.next_mail(ADDRESS).await;
            let mine = mail.headers("subject") == ["Servus from Acme"];
            assert_eq!(mine, shop.host() == acme.host(), "{:?}", mail.headers("subject"));
        }
        // A language that nobody has needs all of them.
        post(&acme, ROOM, &cookie, &[("locale", "fr"), ("subject", "Bonjour")]).await.expect_status(400);
        let whole = [("locale", "fr"), ("subject", "Bonjour"), ("text", "{{ url }}"), ("html", "{{ url }}")];
        assert_eq!(post(&acme, ROOM, &cookie, &whole).await.status, 303);
        assert_eq!(shown(&acme.get(&format!("{ROOM}?locale=fr")).cookie(&cookie).send().await, "Subject"), "Bonjour");
        let removed = post(&acme, REMOVE, &cookie, &form(&[])).await;
        assert_led_to(&removed, "/app/templates?message=password_reset&locale=en&done=removed");
        let page = acme.get(removed.header("location")).cookie(&cookie).send().await;
        assert_eq!(shown(&page, "Subject"), BUILT_IN);
        assert_eq!(own(app, "acme").await.len(), 1, "the French ones stay");
        assert_eq!(post(&acme, REMOVE, &cookie, &form(&[])).await.status, 303, "twice is once");
        post(&acme, REMOVE, &cookie, &[("message", "password_reset")]).await.expect_status(400);
    }

    async fn a_mail_is_tried_at_ones_own_address_alone(app: TestApp) {
        let (acme, cookie) = staff(app).await;
        // Whatever else the form says: nobody else is written to.
        let draft = form(&[("subject", "Servus"), ("to", "victim@example.com"), ("address", "victim@example.com"), ("send_to", "victim@example.com"), ("event", "")]);
        let page = post(&acme, &format!("{SEND}?to=victim@example.com"), &cookie, &draft).await.expect_status(200);
        assert_guarded(&page);
        assert!(page.text.contains(&format!("Sent to {STAFF}. The mail server answered: 250")), "{}", page.text);
        let mail = app.next_mail(STAFF).await;
        assert_eq!((mail.headers("subject"), mail.from.as_str()), (vec!["Servus".to_owned()], "no-reply@acme.example"));
        assert!(mail.part("text/plain").unwrap().contains("token=sample"));
        assert!(["to", "cc", "bcc"].iter().all(|name| mail.headers(name).iter().all(|value| !value.contains("victim"))));
        assert_eq!(own(app, "acme").await, []);
        // What the mail server says of a mail that it refuses.
        app.mail.set_mode(Mode::RejectRcpt("550 no such mailbox"));
        let refused = post(&acme, SEND, &cookie, &form(&[])).await.expect_status(200);
        assert!(refused.text.contains(&format!("Not sent to {STAFF}: permanent error (550): no such mailbox")), "{}", refused.text);
        app.mail.set_mode(Mode::Accept);
        for n in 2..20 {
            post(&acme, SEND, &cookie, &form(&[])).await.expect_status(200);
            app.next_mail(STAFF).await;
            assert!(n < 20);
        }
        let limited = post(&acme, SEND, &cookie, &draft).await.expect_status(429);
        assert!(limited.text.contains("Too many requests") && limited.text.contains("value=\"Servus\"") && !limited.header("retry-after").is_empty());
        assert_guarded(&limited);
        // Each has their own budget, and it comes back.
        member(app, "acme", "second@acme.example").await;
        let second = sign_in(&acme, "second@acme.example").await;
        post(&acme, SEND, &second, &form(&[])).await.expect_status(200);
        app.next_mail("second@acme.example").await;
        app.advance(Duration::from_secs(3_601));
        post(&acme, SEND, &cookie, &form(&[])).await.expect_status(200);
        app.next_mail(STAFF).await;
    }

    async fn what_people_typed_is_escaped_and_no_html_runs(app: TestApp) {
        const HOSTILE: &str = "\"><script>alert(1)</script>{{ shop }}";
        app.restart_acme(|acme| acme.mail.from = Some("A&B <no-reply@acme.example>".into())).await;
        let (acme, cookie) = staff(app).await;
        let draft = form(&[("subject", HOSTILE), ("text", "</textarea></pre><script>alert(1)</script>{{ url }}"), ("html", "<script>alert(1)</script>{{ url }} {{ shop }}"), ("event", "")]);
        for path in [PREVIEW, SEND] {
            let page = post(&acme, path, &cookie, &draft).await.expect_status(200);
            assert!(!page.text.contains("<script>") && !page.text.contains("</textarea></pre>") && page.text.contains("A&amp;B") && !page.text.contains("A&B"), "{path}");
            assert_guarded(&page);
        }
        app.next_mail(STAFF).await;
        // The frame holds what the store wrote; what others typed is escaped in it; its headers let nothing of it run.
        let frame = post(&acme, HTML, &cookie, &draft).await.expect_status(200);
        assert!(frame.text.contains("<script>alert(1)</script>") && frame.text.ends_with(" A&amp;B"), "{}", frame.text);
        assert_framed(&frame);
        for query in ["?message=%3Cscript%3E", "?event=%3Cscript%3E", "?locale=%3Cscript%3E", "?locale=%22%3E%3Cb"] {
            let page = acme.get(&format!("{ROOM}{query}")).cookie(&cookie).send().await.expect_status(400);
            assert!(!page.text.contains("<script>") && !page.text.contains("\"><b"), "{query}");
        }
    }

    async fn what_is_no_form_is_a_4xx(app: TestApp) {
        let (acme, cookie) = staff(app).await;
        let long = "x".repeat(101 * 1024);
        for path in [ROOM, PREVIEW, SEND, HTML, REMOVE] {
            let send = |kind: &str, body: String| acme.post(path).cookie(&cookie).header("content-type", kind).body(body).send();
            let form = "application/x-www-form-urlencoded";
            send(form, format!("locale=en&text={long}")).await.expect_status(413);
            send(form, "locale=en&locale=de".into()).await.expect_status(400);
            send("application/json", "{\"locale\": ".into()).await.expect_status(400);
            send("text/plain; charset=latin1", "x".into()).await.expect_status(415);
            for (kind, body) in [(form, ""), (form, "locale=x"), (form, "locale=en&message=%00"), ("application/json", "[1]"), ("text/plain", "x"), ("multipart/form-data; boundary=x", "--x--")] {
                send(kind, body.to_owned()).await.expect_status(400);
            }
            let odd = send("application/json", json!({"locale": "en", "event": {"a": 1}, "message": 5, "text": [1], "subject": null, "html": ""}).to_string()).await;
            assert!(matches!(odd.status, 200 | 303 | 400), "{path}: {} {}", odd.status, odd.text);
            send(form, "locale=en&event=%ff%00".into()).await.expect_status(400);
        }
        for query in ["?message=password_reset&message=password_reset", "?locale=en&locale=de"] {
            acme.get(&format!("{ROOM}{query}")).cookie(&cookie).send().await.expect_status(400);
        }
        for path in [PREVIEW, SEND, REMOVE] {
            acme.get(path).cookie(&cookie).send().await.expect_status(404);
        }
        acme.call(Method::DELETE, ROOM).cookie(&cookie).send().await.expect_status(404);
        let twice = format!("GET {ROOM} HTTP/1.1\r\nHost: {}\r\nCookie: {cookie}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n", acme.host());
        assert_eq!(raw::send(&app.base, twice.as_bytes()).await.status, 303, "a cookie that comes twice counts as none");
        app.take_all_mail().await;
        assert_eq!(own(app, "acme").await, []);
    }
}

/// What a page says in its notice.
fn acme_words(page: &Answer) -> String {
    source(page).split("class=\"notice\" role=\"alert\">").nth(1).unwrap_or_default().split("</p>").next().unwrap().to_owned()
}
