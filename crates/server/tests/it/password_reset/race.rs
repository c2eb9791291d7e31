//! Many uses of one token at once (R49, R50).

use crate::support::app::{ADDRESS, PASSWORD, TestApp, customer};
use crate::support::each_db;

const ROUNDS: usize = 20;
const USES: usize = 50;

each_db! {
    async fn r49_of_50_concurrent_uses_exactly_one_wins(app: TestApp) {
        app.restart_acme(|acme| acme.limits.enabled = false).await;
        let acme = app.acme();
        customer(&acme, ADDRESS).await;
        let mut before = PASSWORD.to_owned();
        for round in 0..ROUNDS {
            let token = app.reset_token(&acme, ADDRESS).await;
            let password = |n: usize| format!("round-{round}-use-{n}");
            let uses = (0..USES).map(|n| {
                let (acme, token, password) = (acme.clone(), token.clone(), password(n));
                async move { acme.complete_reset(&token, &password).await }
            });
            let answers = futures_util::future::join_all(uses).await;
            let winners: Vec<usize> = (0..USES).filter(|n| answers[*n].status == 200).collect();
            assert_eq!(winners.len(), 1, "round {round}: {winners:?}");
            for answer in &answers {
                assert!([200, 401, 503].contains(&answer.status), "round {round}: {} {}", answer.status, answer.text);
            }
            app.settle().await;
            app.next_mail(ADDRESS).await;
            acme.sign_in(ADDRESS, &before).await.expect_status(401);
            for n in (0..USES).filter(|n| *n != winners[0]) {
                acme.sign_in(ADDRESS, &password(n)).await.expect_status(401);
            }
            before = password(winners[0]);
            acme.sign_in(ADDRESS, &before).await.expect_status(200);
        }
        assert_eq!(app.rows("SELECT COUNT(*) FROM events WHERE name = 'auth.password_updated'").await, [ROUNDS.to_string()]);
        assert_eq!(app.rows("SELECT COUNT(*) FROM password_resets WHERE used_at IS NOT NULL").await, [ROUNDS.to_string()]);
    }
}
