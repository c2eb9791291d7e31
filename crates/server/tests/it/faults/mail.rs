//! F21: a mail server that is away, refuses, hangs or vanishes in the middle of a mail. Who is known gets a mail in the end, and who is not gets none (I6).

use std::collections::BTreeSet;
use std::time::Duration;

use vestibule_engine::notify::sink::Mode;

use super::report::Report;
use crate::crash::is_reset;
use crate::support::app::{NEW_PASSWORD, TestApp, customer, token_in};
use crate::support::each_db;

const ASK: usize = 3;
const REFUSED: &str = "SELECT COUNT(*) FROM deliveries WHERE state = 'waiting' AND attempts = 1 AND lease IS NULL";
const UNDER_WAY: &str = "SELECT COUNT(*) FROM deliveries WHERE state = 'waiting' AND attempts = 1 AND lease IS NOT NULL";

/// What a mail server does, and whether it has kept the mail nevertheless.
const ILLS: [(Mode, bool); 6] = [
    (Mode::Away, false),
    (Mode::Reply("421 4.3.2 shutting down"), false),
    (Mode::RejectRcpt("450 4.2.0 greylisted"), false),
    (Mode::Reply("451 4.3.0 try later"), false),
    (Mode::Hang, false),
    (Mode::Vanish, true),
];

/// Some who are known and somebody who is not ask while the server is in `mode`; who they are.
async fn asked(app: &TestApp, mode: Mode, name: &str) -> Vec<String> {
    let addresses: Vec<String> = (0..ASK).map(|n| format!("{name}-{n}@example.com")).collect();
    for address in &addresses {
        customer(&app.acme(), address).await;
    }
    app.mail.set_mode(mode);
    for address in addresses.iter().chain([&format!("stranger-{name}@example.com")]) {
        app.acme().request_reset(address).await.expect_status(201);
    }
    addresses
}

/// The `Message-ID`s of the mails with a link to `address`, and the newest link's token.
fn mailed(app: &TestApp, address: &str) -> (Vec<String>, Option<String>) {
    let mails: Vec<_> = app.mail.mails_to(address).into_iter().filter(is_reset).collect();
    (mails.iter().flat_map(|mail| mail.headers("Message-ID")).collect(), mails.last().map(token_in))
}

each_db! {
    async fn f21_whatever_a_mail_server_does_who_is_known_gets_one_mail_in_the_end(app: TestApp) {
        app.restart_acme(|acme| acme.limits.enabled = false).await;
        let mut report = Report { trials: ILLS.len().try_into().unwrap(), acknowledged: ILLS.len() * ASK, ..Report::on(&app.database) };
        for (n, (mode, kept)) in ILLS.into_iter().enumerate() {
            let addresses = asked(app, mode, &n.to_string()).await;
            if mode == Mode::Hang {
                app.until(UNDER_WAY, &[&ASK.to_string()]).await;
                app.mail.set_mode(Mode::Away);
                app.mail.hang_up();
            }
            app.until(REFUSED, &[&ASK.to_string()]).await;
            assert!(addresses.iter().all(|address| mailed(app, address).0.len() == usize::from(kept)), "{mode:?}");
            app.mail.set_mode(Mode::Accept);
            app.advance(Duration::from_secs(6));
            app.settle().await;
            for address in &addresses {
                let (ids, token) = mailed(app, address);
                report.duplicates += ids.len().saturating_sub(1);
                let same = ids.iter().collect::<BTreeSet<_>>().len() <= 1;
                assert!(same && ids.len() <= 1 + usize::from(kept), "{mode:?}: {address} has {ids:?}");
                match token {
                    Some(token) => drop(app.acme().complete_reset(&token, NEW_PASSWORD).await.expect_status(200)),
                    None => report.lost.push(format!("{mode:?}: the mail to {address}")),
                }
            }
            app.settle().await;
        }
        // What is refused for good ends there, and holds up nobody.
        let refused = asked(app, Mode::RejectRcpt("550 5.1.1 no such user"), "refused").await;
        app.settle().await;
        assert_eq!(app.rows("SELECT state, attempts, COUNT(*) FROM deliveries WHERE state <> 'delivered' GROUP BY state, attempts").await, ["dead 1 3"]);
        assert!(refused.iter().all(|address| app.mail.mails_to(address).is_empty()));
        app.mail.set_mode(Mode::Accept);
        app.take_all_mail().await;
        assert!(!app.mail.mails().iter().any(|mail| mail.to[0].starts_with("stranger")), "a mail to somebody unknown");
        report.tell("F21 SMTP away, 421, 450, 451, hang, no word after the dot");
    }
}
