//! Transports are told apart, and answers of other sides are judged.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::example::TextMessages;
use super::*;
use crate::model::tenant::Secret;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

impl Notification {
    /// A mail to Ann, for tests.
    pub(super) fn sample(key: &str) -> Self {
        Self {
            channel: Channel::Email,
            to: "ann@example.com".to_owned(),
            from: None,
            template: Message::PasswordReset,
            locale: "en".to_owned(),
            data: Map::new(),
            content: Content { subject: format!("Subject {key}"), ..Content::default() },
            idempotency_key: key.to_owned(),
        }
    }
}

fn settings(transport: &str, secret: Option<&str>) -> Mail {
    Mail { transport: Some(Secret::new(transport)), secret: secret.map(Secret::new), ..Mail::default() }
}

#[tokio::test]
async fn transports_are_told_apart() {
    let (inbox, http) = (Inbox::new(Clock::System), Http::new(Vec::new()).unwrap());
    let means = Means { inbox: &inbox, http: &http, clock: &Clock::System };
    for transport in ["inbox", " inbox "] {
        provider_for(&settings(transport, None), "acme", &means).ok().unwrap().send(&Notification::sample(transport)).await.unwrap();
        assert_eq!(inbox.list()[0].id, transport);
    }
    for (transport, secret) in [
        ("smtp://u:p@mail.example:587", None),
        ("SMTPS://mail.example", Some(SECRET)),
        ("sendgrid:SG.a-b_c.d", None),
        ("sendgrid:SG.a@https://api.eu.sendgrid.com", None),
        ("https://mail.example/send?shop=acme", Some(SECRET)),
    ] {
        let settings = settings(transport, secret);
        assert!(check(&settings).is_ok() && provider_for(&settings, "acme", &means).is_ok(), "{transport}");
    }
    for (transport, secret) in [
        ("", None),
        ("Inbox!", None),
        ("inbox:", None),
        ("hunter2", None),
        ("smtp://", None),
        ("smtp://u:hunter2@", None),
        ("smtp://u:hunter2@h:x", None),
        ("smtp://mail.example", Some("hunter2")),
        ("sendgrid:", None),
        ("sendgrid:hunter2 x", None),
        ("sendgrid:hunter2@", None),
        ("sendgrid:hunter2@ftp://x.example", None),
        ("sendgrid:hunter2@https://x.example/v3", None),
        ("https://mail.example/hunter2", None),
        ("https://mail.example", Some("hunter2")),
        ("https://mail.example", Some("whsec_hunter2")),
        ("https://u:hunter2@mail.example", Some(SECRET)),
        ("https://hunter2@mail.example", Some(SECRET)),
        ("https://", Some(SECRET)),
    ] {
        let settings = settings(transport, secret);
        let message = check(&settings).err().unwrap();
        assert_eq!(provider_for(&settings, "acme", &means).err().unwrap(), message);
        assert!(!message.contains("hunter2") && message.len() > 20, "{transport}: {message}");
    }
}

#[test]
fn the_status_says_whether_another_attempt_makes_sense() {
    let answer = |status: u16, body: &str| {
        let retry_after = Some(Duration::from_secs(7));
        verdict(Ok(Answer { status, retry_after, body: body.as_bytes().to_vec() }))
    };
    for status in [200, 202, 204] {
        assert_eq!(answer(status, " queued\r\n").unwrap().reply, format!("{status}  queued"));
    }
    for status in [400, 410, 413, 415, 422] {
        assert_eq!(answer(status, "no"), Err(SendFailure::GiveUp(format!("{status} no"))));
    }
    for status in [301, 401, 403, 404, 408, 409, 429, 500, 503] {
        assert_eq!(answer(status, ""), Err(SendFailure::Retry(status.to_string(), Some(Duration::from_secs(7)))));
    }
    for failure in [HttpFailure::Refused("no".into()), HttpFailure::Unreachable("no".into())] {
        assert!(matches!(verdict(Err(failure)), Err(SendFailure::Retry(_, None))));
    }
}

#[test]
fn no_token_is_kept_of_a_reply() {
    let token = format!("{}.{}", "e".repeat(40), "s".repeat(43));
    let reply = kept(&format!("250 ok\r\nid=abc-1 <https://acme.example/reset?token={token}&x=1> {}", "long ".repeat(200)));
    assert!(reply.starts_with("250 ok  id=abc-1 <https://acme.example/reset?token=…&x=1> long long"), "{reply}");
    assert_eq!(reply.chars().count(), REPLY_LIMIT);
    assert_eq!(kept(&"w".repeat(WORD_LIMIT)), "w".repeat(WORD_LIMIT));
}

#[tokio::test]
async fn sendgrid_gets_mail_alone_and_a_sender() {
    let (inbox, http) = (Inbox::new(Clock::System), Http::new(Vec::new()).unwrap());
    let means = Means { inbox: &inbox, http: &http, clock: &Clock::System };
    let provider = provider_for(&settings("sendgrid:SG.a", None), "acme", &means).ok().unwrap();
    let with_sender = Notification { from: Some("no-reply@acme.example".to_owned()), ..Notification::sample("1") };
    for wrong in [Notification::sample("1"), Notification { channel: Channel::Sms, ..with_sender }] {
        assert!(matches!(provider.send(&wrong).await, Err(SendFailure::GiveUp(_))));
    }
}

/// Takes one request, answers it with `status` and gives it back.
async fn answer_once(listener: &tokio::net::TcpListener, status: &str) -> String {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"}") {
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0);
    }
    stream.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn a_service_of_the_shops_gets_texts_too() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (inbox, http) = (Inbox::new(Clock::System), Http::new(vec!["127.0.0.1/32".parse().unwrap()]).unwrap());
    let means = Means { inbox: &inbox, http: &http, clock: &Clock::System };
    let transport = format!("http://{}/send", listener.local_addr().unwrap());
    let provider = provider_for(&settings(&transport, Some(SECRET)), "acme", &means).ok().unwrap();
    for (channel, name, to) in [(Channel::Sms, "sms", "+4366012345"), (Channel::Email, "email", "ann@example.com")] {
        let notification = Notification { channel, to: to.to_owned(), ..Notification::sample("01J1") };
        let (sent, request) = tokio::join!(provider.send(&notification), answer_once(&listener, "200 OK"));
        assert_eq!(sent, Ok(Sent { reply: "200".to_owned() }));
        let body: Value = serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap();
        assert_eq!((&body["data"]["channel"], &body["data"]["to"]), (&name.into(), &to.into()), "{body}");
        assert!(request.contains("webhook-signature: v1,") && request.contains("webhook-id: 01J1"), "{request}");
    }
}

#[tokio::test]
async fn the_provider_that_the_page_writes_works() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/providers.md")).unwrap();
    let code = include_str!("example.rs").split_once("\n\n").unwrap().1;
    assert!(page.contains(&format!("```rust\n{code}```")), "docs/providers.md shows notify/example.rs as it is, without its first line");

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/texts", listener.local_addr().unwrap()).parse().unwrap();
    let http = Http::new(vec!["127.0.0.1/32".parse().unwrap()]).unwrap();
    let gateway = TextMessages { endpoint, key: Secret::new("k3y"), http };
    let content = Content { text: "Your link".to_owned(), ..Content::default() };
    let text = Notification { channel: Channel::Sms, to: "+4366012345".to_owned(), content, ..Notification::sample("01J1") };
    for (status, expected) in [
        ("503 Service Unavailable", Err(SendFailure::Retry("503".to_owned(), None))),
        ("400 Bad Request", Err(SendFailure::GiveUp("400".to_owned()))),
        ("200 OK", Ok(Sent { reply: "200".to_owned() })),
    ] {
        let (sent, request) = tokio::join!(gateway.send(&text), answer_once(&listener, status));
        assert_eq!(sent, expected);
        assert!(request.starts_with("POST /texts ") && request.contains("Bearer k3y"), "{request}");
        assert!(request.ends_with(r#"{"to":"+4366012345","text":"Your link","reference":"01J1"}"#), "the same reference in every attempt: {request}");
    }
    assert!(matches!(gateway.send(&Notification::sample("01J1")).await, Err(SendFailure::GiveUp(_))));
}
