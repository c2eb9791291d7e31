//! F21 in real time: the mail server is away for a while, five minutes in a long run, and resets are asked for meanwhile. The callers notice
//! nothing, and afterwards each has a mail for the newest request with a link that works (I6).

use std::collections::HashSet;
use std::time::{Duration, Instant};

use vestibule_engine::notify::sink::Mode;
use vestibule_engine::ports::clock::Clock;
use vestibule_engine::testing::Backend;

use super::report::Report;
use crate::crash::ledger::owed;
use crate::crash::stage::Stage;
use crate::crash::{block_on, number};
use crate::support::app::customer;
use crate::support::client::Shop;

const KNOWN: usize = 20;
const LEFT: &str = "SELECT (SELECT COUNT(*) FROM deliveries WHERE state = 'waiting') + (SELECT COUNT(*) FROM jobs)";

/// A request every so often for so long, in turn for each who is known and now and then for a stranger; how long each answer took.
async fn asking(shop: &Shop, known: &mut [(String, Option<vestibule_engine::model::time::Timestamp>)], away: Duration) -> Vec<Duration> {
    let (began, mut times) = (Instant::now(), Vec::new());
    while began.elapsed() < away || times.len() < 2 * known.len() {
        let n = times.len();
        let (address, newest) = &mut known[n % KNOWN];
        let (sent_at, asked) = (Clock::System.now(), Instant::now());
        shop.request_reset(address).await.expect_status(201);
        times.push(asked.elapsed());
        *newest = Some(sent_at);
        if n.is_multiple_of(5) {
            shop.request_reset(&format!("stranger-{n}@example.com")).await.expect_status(201);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    times
}

async fn the_mail_server_is_away(backend: Backend) {
    let away = Duration::from_secs(number("VESTIBULE_TEST_MAIL_AWAY").unwrap_or(3));
    let stage = Stage::set(backend).await;
    let server = stage.start().await;
    let shop = Stage::shop(&server.base);
    let mut known: Vec<_> = (0..KNOWN).map(|n| (format!("{n}@example.com"), None)).collect();
    for (address, _) in &known {
        customer(&shop, address).await;
    }
    let mut report = Report { trials: 1, ..Report::on(&stage.database) };
    stage.mail.set_mode(Mode::Away);
    report.bystanders = asking(&shop, &mut known, away).await;
    report.acknowledged = report.bystanders.len();
    assert!(stage.mail.mails().is_empty() && stage.mail.connections() > 0, "the mail server is away, and is asked for");
    stage.mail.set_mode(Mode::Accept);
    let back = Instant::now();
    // The pauses between two tries double, so the next may be as far away as all before it lasted.
    stage.until(LEFT, "0", (2 * away + Duration::from_mins(1)).as_millis().div_ceil(20).try_into().unwrap()).await;
    report.recovery.push(back.elapsed());
    let mails = stage.mail.mails();
    report.duplicates = mails.len() - mails.iter().map(|mail| mail.headers("Message-ID")).collect::<HashSet<_>>().len();
    assert!(!mails.iter().any(|mail| mail.to[0].starts_with("stranger")), "a mail to somebody unknown");
    for (address, newest) in &known {
        report.lost.extend(owed(&shop, address, newest.unwrap(), &mails).await);
    }
    let (code, log) = server.terminate().await;
    assert_eq!(code, Some(0), "{log}");
    stage.database.remove().await.unwrap();
    report.tell(&format!("F21 SMTP down for {} s", away.as_secs()));
}

#[test]
fn f21_after_a_while_without_a_mail_server_each_has_a_link_that_works_on_sqlite() {
    block_on(the_mail_server_is_away(Backend::Sqlite));
}

#[test]
fn f21_after_a_while_without_a_mail_server_each_has_a_link_that_works_on_postgres() {
    block_on(the_mail_server_is_away(Backend::Postgres));
}
