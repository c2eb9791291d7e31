use super::*;
use lettre::transport::smtp::client::Certificate;

use crate::notify::sink::{Mode, SmtpSink, Tls};

const SOON: Duration = Duration::from_secs(10);

fn smtp(sink: &SmtpSink) -> Smtp {
    let clock = Clock::frozen(Timestamp::from_seconds(1_795_447_000));
    Smtp::new(&format!("smtp://{}", sink.address()), clock).unwrap()
}

fn mail(key: &str) -> Notification {
    let content = Content {
        subject: "Grüße from Acme".to_owned(),
        text: format!("Hello,\n.\n..two dots\nhttps://acme.example/reset?token={}&x=1\n", "t".repeat(1_200)),
        html: "<p>Grüße</p>\n.\n<p>end</p>".to_owned(),
    };
    Notification { from: Some("Acme & Söhne <no-reply@acme.example>".to_owned()), content, ..Notification::sample(key) }
}

#[tokio::test]
async fn a_mail_arrives_whole_and_connections_are_reused() {
    let sink = SmtpSink::start();
    let smtp = smtp(&sink);
    for key in ["01J1", "01J2", "01J3"] {
        let sent = smtp.send(&mail(key)).await.unwrap();
        assert!(sent.reply.starts_with("250 "), "{}", sent.reply);
    }
    let mails = sink.wait_for(3, SOON).await.unwrap();
    assert_eq!(sink.connections(), 1);
    let first = &mails[0];
    assert_eq!((first.from.as_str(), first.to.as_slice()), ("no-reply@acme.example", ["ann@example.com".to_owned()].as_slice()));
    let header = |name: &str| first.headers(name);
    assert_eq!(header("message-id"), ["<01J1@acme.example>"]);
    assert_eq!(header("to"), ["ann@example.com"]);
    assert_eq!(header("date"), ["Mon, 23 Nov 2026 15:16:40 +0000"]);
    assert_eq!(header("auto-submitted"), ["auto-generated"]);
    assert_eq!(header("mime-version"), ["1.0"]);
    assert!(header("from")[0].ends_with("<no-reply@acme.example>") && header("from")[0].is_ascii());
    assert!(header("subject")[0].starts_with("=?utf-8?") && header("subject").len() == 1);
    assert!(header("content-type")[0].starts_with("multipart/alternative"));
    let text = |part: &str| part.replace("\r\n", "\n").trim_end().to_owned();
    assert_eq!(text(&first.part("text/plain").unwrap()), mail("x").content.text.trim_end());
    assert_eq!(text(&first.part("text/html").unwrap()), mail("x").content.html.trim_end());
}

#[tokio::test]
async fn replies_decide_between_retry_and_giving_up() {
    let sink = SmtpSink::start();
    let smtp = smtp(&sink);
    for (mode, retries, text) in [
        (Mode::Reply("421 4.3.2 shutting down"), true, "shutting down"),
        (Mode::Reply("450 4.2.1 mailbox busy"), true, "mailbox busy"),
        (Mode::Reply("550 5.7.1 no thanks"), false, "no thanks"),
        (Mode::Reply("354 what"), true, "what"),
        (Mode::RejectRcpt("450 4.2.1 greylisted"), true, "greylisted"),
        (Mode::RejectRcpt("550 5.1.1 no such user"), false, "no such user"),
    ] {
        sink.set_mode(mode);
        let failure = smtp.send(&mail("01J1")).await.unwrap_err();
        assert_eq!(matches!(failure, SendFailure::Retry(..)), retries, "{failure}");
        assert!(failure.to_string().contains(text), "{failure}");
    }
    assert!(sink.mails().is_empty());
    sink.set_mode(Mode::Accept);
    smtp.send(&mail("01J1")).await.unwrap();
    assert_eq!(sink.wait_for(1, SOON).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_silent_server_ends_at_the_deadline_and_its_connection_is_not_used_again() {
    let sink = SmtpSink::start();
    let smtp = smtp(&sink);
    smtp.send(&mail("01J1")).await.unwrap();
    sink.set_mode(Mode::Hang);
    let smtp = smtp.with_deadlines(Duration::from_millis(200), SOON);
    let failure = smtp.send(&mail("01J2")).await.unwrap_err();
    assert!(matches!(&failure, SendFailure::Retry(text, _) if text.contains("no reply within 0.2 s")), "{failure}");
    let smtp = smtp.with_deadlines(SOON, Duration::from_millis(200));
    let failure = smtp.send(&mail("01J2")).await.unwrap_err();
    assert!(matches!(&failure, SendFailure::Retry(text, _) if text.contains("longer than 0.2 s")), "{failure}");
    sink.set_mode(Mode::Accept);
    let smtp = smtp.with_deadlines(SOON, SOON);
    smtp.send(&mail("01J3")).await.unwrap();
    let ids: Vec<_> = sink.mails().iter().flat_map(|mail| mail.headers("message-id")).collect();
    assert_eq!(ids, ["<01J1@acme.example>", "<01J3@acme.example>"]);
}

#[tokio::test]
async fn an_idle_connection_that_the_server_closed_is_replaced() {
    let sink = SmtpSink::start();
    let smtp = smtp(&sink);
    smtp.send(&mail("01J1")).await.unwrap();
    sink.hang_up();
    smtp.send(&mail("01J2")).await.unwrap();
    assert_eq!((sink.mails().len(), sink.connections()), (2, 2));
}

#[tokio::test]
async fn no_more_than_eight_connections_are_open() {
    let sink = SmtpSink::start();
    let smtp = smtp(&sink);
    let mails: Vec<_> = (0..40).map(|n| mail(&format!("k{n}"))).collect();
    for sent in futures_util::future::join_all(mails.iter().map(|mail| smtp.send(mail))).await {
        sent.unwrap();
    }
    assert_eq!(sink.mails().len(), 40);
    assert!((1..=CONNECTIONS).contains(&sink.connections()), "{}", sink.connections());
}

#[tokio::test]
async fn an_unreachable_server_is_worth_a_retry() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let smtp = Smtp::new(&format!("smtp://127.0.0.1:{port}"), Clock::System).unwrap();
    assert!(matches!(smtp.send(&mail("01J1")).await, Err(SendFailure::Retry(..))));
}

#[tokio::test]
async fn credentials_are_decoded_and_a_refused_sign_in_is_worth_a_retry() {
    let sink = SmtpSink::start();
    let with = |password: &str| Smtp::new(&format!("smtp://sink%40acme.example:{password}@{}", sink.address()), Clock::System).unwrap();
    with("p%40ss%2Fword+").send(&mail("01J1")).await.unwrap();
    let failure = with("wrong").send(&mail("01J2")).await.unwrap_err();
    assert!(matches!(&failure, SendFailure::Retry(text, _) if text.contains("535")), "{failure}");
    assert_eq!(sink.mails().len(), 1);
}

#[tokio::test]
async fn fields_that_leave_their_line_are_refused() {
    let sink = SmtpSink::start();
    let smtp = smtp(&sink);
    let good = mail("01J1");
    let poisoned = ["\r\nBcc: evil@example.com", "\nX: y", "\rX", "\0", ">\r\nRCPT TO:<evil@example.com>"];
    let mut bad = Vec::new();
    for poison in poisoned {
        bad.push(Notification { to: format!("ann@example.com{poison}"), ..good.clone() });
        bad.push(Notification { to: format!("ann{poison}@example.com"), ..good.clone() });
        bad.push(Notification { from: Some(format!("Acme{poison} <no-reply@acme.example>")), ..good.clone() });
        bad.push(Notification { from: Some(format!("no-reply@acme.example{poison}")), ..good.clone() });
        let content = Content { subject: format!("Hello{poison}"), ..good.content.clone() };
        bad.push(Notification { content, ..good.clone() });
        bad.push(Notification { idempotency_key: format!("01J1{poison}"), ..good.clone() });
    }
    for to in
        ["", "ann", "ann@", "@example.com", "ann@example.com, bob@example.com", "ann@example.com bob@example.com", "<ann@example.com>", "a@b> <c@d"]
    {
        bad.push(Notification { to: to.to_owned(), ..good.clone() });
    }
    for from in ["", "Acme", "Acme <>", "Acme <no-reply@acme.example> x", "a@b.example, c@d.example"] {
        bad.push(Notification { from: Some(from.to_owned()), ..good.clone() });
    }
    bad.push(Notification { from: None, ..good.clone() });
    bad.push(Notification { idempotency_key: String::new(), ..good.clone() });
    bad.push(Notification { channel: Channel::Sms, ..good.clone() });
    for notification in &bad {
        let answer = smtp.send(notification).await;
        assert!(matches!(answer, Err(SendFailure::GiveUp(_))), "{:?} {:?} {answer:?}", notification.to, notification.from);
    }
    assert_eq!((sink.connections(), sink.mails().len()), (0, 0));

    // A body may hold anything: it stays one mail to one person.
    let body = "x\r\n.\r\nMAIL FROM:<evil@example.com>\r\nRCPT TO:<evil@example.com>\r\n.\n\n.\n";
    let content = Content { text: body.to_owned(), html: body.to_owned(), ..good.content.clone() };
    smtp.send(&Notification { content, ..good }).await.unwrap();
    let mails = sink.wait_for(1, SOON).await.unwrap();
    assert_eq!((mails.len(), mails[0].to.len(), mails[0].headers("to").len()), (1, 1, 1));
    assert!(mails[0].part("text/plain").unwrap().starts_with("x\r\n.\r\nMAIL FROM"));
}

#[test]
fn tls_is_required_unless_the_host_is_this_machine() {
    let security = |transport: &str| match Server::parse(transport).unwrap() {
        Server { security: Security::Plain, port, .. } => ("plain", port),
        Server { security: Security::StartTls(_), port, .. } => ("starttls", port),
        Server { security: Security::Tls(_), port, .. } => ("tls", port),
    };
    for (transport, expected) in [
        ("smtp://u:p@mail.example", ("starttls", 587)),
        ("smtp://mail.example:25/", ("starttls", 25)),
        ("smtp://localhost.example", ("starttls", 587)),
        ("smtp://10.0.0.1", ("starttls", 587)),
        ("smtp://localhost:1025", ("plain", 1025)),
        ("smtp://127.0.0.1:1025", ("plain", 1025)),
        ("smtp://[::1]:1025", ("plain", 1025)),
        ("smtps://u:p@mail.example", ("tls", 465)),
        ("smtps://localhost:4465", ("tls", 4465)),
    ] {
        assert_eq!(security(transport), expected, "{transport}");
    }
    for transport in [
        "smtp://mail.example?tls=opportunistic",
        "smtp://mail.example/hunter2",
        "smtp://u:1#hunter2@mail.example",
        "smtp://u@mail.example",
        "smtp://:hunter2@mail.example",
        "smtp://u:hunter2%zz@mail.example",
        "smtp://u:hunter2%4@mail.example",
        "smtp://u:hunter2%ff@mail.example",
        "smtp:mail.example",
        "mailto:a@b.example",
    ] {
        let message = Server::parse(transport).err().unwrap();
        assert!(!message.contains("hunter2"), "{message}");
    }
}

#[tokio::test]
async fn starttls_is_not_skipped_when_the_server_does_not_offer_it() {
    let sink = SmtpSink::start();
    let mut smtp = smtp(&sink);
    smtp.server.security = Security::StartTls(TlsParameters::builder("mail.example".to_owned()).build_rustls().unwrap());
    let failure = smtp.send(&mail("01J1")).await.unwrap_err();
    assert!(matches!(&failure, SendFailure::Retry(text, _) if text.contains("STARTTLS")), "{failure}");
    assert!(sink.mails().is_empty());
}

/// As a certificate of a real authority is trusted.
fn trusting(host: &str) -> TlsParameters {
    let authority = Certificate::from_pem(include_bytes!("testdata/authority.pem")).unwrap();
    TlsParameters::builder(host.to_owned()).certificate_store(CertificateStore::None).add_root_certificate(authority).build_rustls().unwrap()
}

#[tokio::test]
async fn mails_go_over_tls_from_the_start_and_over_starttls() {
    for tls in [Tls::Always, Tls::Start] {
        let sink = SmtpSink::start_with(tls);
        let account = format!("smtp://sink%40acme.example:p%40ss%2Fword+@{}", sink.address());
        let mut smtp = Smtp::new(&account, Clock::System).unwrap();
        smtp.server.security = if tls == Tls::Always { Security::Tls(trusting("sink.test")) } else { Security::StartTls(trusting("sink.test")) };
        for key in ["01J1", "01J2"] {
            smtp.send(&mail(key)).await.unwrap();
        }
        assert_eq!((sink.wait_for(2, SOON).await.unwrap().len(), sink.connections()), (2, 1), "{tls:?}");
        // Neither server takes mail in plain text.
        smtp = Smtp::new(&account, Clock::System).unwrap().with_deadlines(Duration::from_millis(500), SOON);
        assert!(smtp.send(&mail("01J3")).await.is_err());
        assert_eq!(sink.mails().len(), 2);
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_the_servers_gets_neither_password_nor_mail() {
    for tls in [Tls::Always, Tls::Start] {
        let sink = SmtpSink::start_with(tls);
        // Another name, and an authority that nobody trusts.
        for parameters in [trusting("mail.example"), TlsParameters::builder("sink.test".to_owned()).build_rustls().unwrap()] {
            let mut smtp = Smtp::new(&format!("smtp://sink%40acme.example:p%40ss%2Fword+@{}", sink.address()), Clock::System).unwrap();
            smtp.server.security = if tls == Tls::Always { Security::Tls(parameters) } else { Security::StartTls(parameters) };
            let failure = smtp.send(&mail("01J1")).await.unwrap_err();
            assert!(matches!(&failure, SendFailure::Retry(text, _) if text.contains("certificate")), "{failure}");
        }
        assert!(sink.mails().is_empty());
    }
}

/// Whoever is on the way may add replies in plain text to the leave to begin TLS. None of them may be taken for the server's.
#[tokio::test]
async fn replies_that_came_before_tls_are_not_the_servers() {
    let sink = SmtpSink::start_with(Tls::Forged);
    let mut smtp = smtp(&sink).with_deadlines(Duration::from_millis(500), SOON);
    smtp.server.security = Security::StartTls(trusting("sink.test"));
    let outcome = smtp.send(&mail("01J1")).await;
    assert!(matches!(&outcome, Err(SendFailure::Retry(..))), "{outcome:?}");
}

#[tokio::test]
async fn who_can_be_reached_is_greeted_and_the_connection_is_kept() {
    let sink = SmtpSink::start();
    let smtp = smtp(&sink);
    smtp.reach().await.unwrap();
    smtp.send(&mail("01J1")).await.unwrap();
    assert_eq!((sink.connections(), sink.mails().len()), (1, 1));
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let away = Smtp::new(&format!("smtp://127.0.0.1:{port}"), Clock::System).unwrap();
    assert!(matches!(away.reach().await, Err(SendFailure::Retry(..))));
}

/// Over a connection that is plain at first, whoever is on the way may answer.
#[tokio::test]
async fn a_reply_without_an_end_is_not_gathered() {
    use std::io::Write;

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let ((mut stream, _), piece) = (listener.accept().unwrap(), vec![b'2'; 65_536]);
        // 1 GiB, unless the client leaves.
        (0..16_384).take_while(|_| stream.write_all(&piece).is_ok()).count()
    });
    let smtp = Smtp::new(&format!("smtp://127.0.0.1:{port}"), Clock::System).unwrap();
    let failure = smtp.send(&mail("01J1")).await.unwrap_err();
    assert!(matches!(&failure, SendFailure::Retry(text, _) if text.contains("without an end")), "{failure}");
    assert!(server.join().unwrap() < 1_024, "the client left before 64 MiB");
}
