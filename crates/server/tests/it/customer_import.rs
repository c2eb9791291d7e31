//! Customers who come from a Medusa server: their passwords sign in, are kept anew, and nobody can tell by the clock who has one.

use std::time::{Duration, Instant};

use futures_util::future::{join, join_all};
use serde_json::json;
use vestibule_engine::model::customer::{Change, Profile};
use vestibule_engine::model::ids::{CustomerId, IdentityId};
use vestibule_engine::ops::customer_import::{Imported, Outcome, import};
use vestibule_engine::ops::tenant;
use vestibule_engine::ports::pause::Pause;
use vestibule_engine::provider::emailpass;
use vestibule_engine::testing::{execute, medusa_hash};

use crate::support::app::{ADDRESS, NEW_PASSWORD, PASSWORD, TestApp, assert_same, customer};
use crate::support::client::{Answer, claims};
use crate::support::each_db;

pub const CUSTOMER: &str = "cus_01JD00000000000000000000C1";
pub const LOGIN: &str = "authid_01JD00000000000000000000A1";
const WRONG: &str = "a-Wrong-pass-1";
/// A password that a Medusa shop takes and this one would not.
pub const OLD: &str = "cafe\u{301}";
const HASHES: &str = "SELECT substr(password_hash, 1, 10) FROM identities ORDER BY entity_id";

pub fn ann() -> Imported {
    let profile = Profile { first_name: Change::Set(Some("Ann".into())), ..Profile::default() };
    let (id, login): (CustomerId, IdentityId) = (CUSTOMER.parse().unwrap(), LOGIN.parse().unwrap());
    Imported {
        id,
        login: Some(login),
        email: emailpass::address("Ann@example.com").unwrap(),
        password_hash: Some(medusa_hash(OLD).unwrap()),
        profile,
    }
}

pub async fn imported(app: &TestApp, slug: &str, one: Imported) -> Outcome {
    let shop = tenant::by_slug(&app.engine, slug).await.unwrap();
    import(&app.engine, &shop, vec![one]).await.unwrap()[0]
}

/// Until when answers were held back since the last look.
fn noted(app: &TestApp) -> Vec<Instant> {
    let Pause::Noted(noted) = &app.engine.pause else { panic!("the clock runs") };
    std::mem::take(&mut *noted.lock().unwrap())
}

/// The answer, which was held back for at least a second.
async fn held_back(app: &TestApp, call: impl Future<Output = Answer>) -> Answer {
    assert!(noted(app).is_empty());
    let asked = Instant::now();
    let answer = call.await;
    let noted = noted(app);
    assert!(noted.len() == 1 && noted[0] >= asked + Duration::from_secs(1), "{noted:?}");
    answer
}

each_db! {
    async fn r24_an_imported_password_signs_in_and_is_kept_anew(app: TestApp) {
        assert_eq!(imported(app, "acme", ann()).await, Outcome::Imported);
        let shop = app.acme();
        shop.sign_in(ADDRESS, WRONG).await.expect_error(401, "Invalid email or password");
        shop.sign_in(ADDRESS, "caf\u{e9}").await.expect_status(401);
        assert_eq!(app.rows(HASHES).await, ["c2NyeXB0AA"], "a refusal changes nothing");
        let token = shop.sign_in(ADDRESS, OLD).await.expect_status(200).token();
        let said = claims(&token);
        assert_eq!((&said["actor_id"], &said["auth_identity_id"], &said["app_metadata"]), (&json!(CUSTOMER), &json!(LOGIN), &json!({"customer_id": CUSTOMER})));
        let me = shop.me(&token).await.expect_status(200).json();
        assert_eq!((&me["customer"]["id"], &me["customer"]["email"], &me["customer"]["first_name"], &me["customer"]["has_account"]),
            (&json!(CUSTOMER), &json!("Ann@example.com"), &json!("Ann"), &json!(true)));
        // R23: kept as any other, in every place, and known by every form of it (R22).
        assert_eq!(app.rows(HASHES).await, ["$argon2id$"]);
        for typed in [OLD, "caf\u{e9}"] {
            shop.sign_in(ADDRESS, typed).await.expect_status(200);
        }
        shop.sign_in(ADDRESS, WRONG).await.expect_status(401);
        app.globex().sign_in(ADDRESS, OLD).await.expect_status(401);
        assert_eq!(app.rows("SELECT name FROM events").await, ["auth.signed_in"; 3], "a hash that is kept anew is no event");
    }

    async fn guesses_from_before_the_import_lock_nobody(app: TestApp) {
        let acme = app.acme();
        for _ in 0..10 {
            acme.sign_in(ADDRESS, WRONG).await.expect_status(401);
        }
        acme.sign_in(ADDRESS, OLD).await.expect_status(429);
        assert_eq!(imported(app, "acme", ann()).await, Outcome::Imported);
        acme.sign_in(ADDRESS, OLD).await.expect_status(200);
    }

    async fn a_login_without_a_password_comes_in_by_a_reset(app: TestApp) {
        imported(app, "acme", Imported { password_hash: None, ..ann() }).await;
        let shop = app.acme();
        shop.sign_in(ADDRESS, OLD).await.expect_status(401);
        let token = app.reset_token(&shop, "Ann@example.com").await;
        shop.complete_reset(&token, NEW_PASSWORD).await.expect_status(200);
        assert_eq!(claims(&shop.sign_in(ADDRESS, NEW_PASSWORD).await.token())["actor_id"], json!(CUSTOMER));
        app.take_all_mail().await;
    }

    async fn r29_while_there_are_imported_hashes_every_refusal_comes_at_one_time(app: TestApp) {
        let shop = app.acme();
        customer(&shop, "own@example.com").await;
        customer(&shop, "none@example.com").await;
        execute(&app.engine, "UPDATE identities SET password_hash = NULL WHERE entity_id = 'none@example.com'").await.unwrap();
        let classes = ["nobody@example.com", "own@example.com", "none@example.com"];
        for address in classes {
            shop.sign_in(address, WRONG).await.expect_status(401);
        }
        let has_a_login = &classes[1..];
        for address in has_a_login {
            shop.register(address, WRONG).await.expect_status(401);
        }
        assert!(noted(app).is_empty(), "there are none");
        imported(app, "acme", ann()).await;
        let refused = held_back(app, shop.sign_in(ADDRESS, WRONG)).await.expect_status(401);
        for address in classes {
            assert_same(&refused, &held_back(app, shop.sign_in(address, WRONG)).await);
        }
        assert_same(&refused, &held_back(app, shop.sign_in(ADDRESS, &"z".repeat(1025))).await);
        // Nor does a registration tell, of which a refusal says as much: that there is a login.
        let taken = held_back(app, shop.register(ADDRESS, WRONG)).await.expect_error(401, "Identity with email already exists");
        for (address, password) in has_a_login.iter().map(|address| (*address, WRONG)).chain([("own@example.com", PASSWORD)]) {
            assert_same(&taken, &held_back(app, shop.register(address, password)).await);
        }
        // Whoever has the right password need not wait, nor anybody at another shop.
        shop.sign_in("own@example.com", PASSWORD).await.expect_status(200);
        app.globex().sign_in(ADDRESS, WRONG).await.expect_status(401);
        assert!(noted(app).is_empty());
        // With the last of them goes the rule.
        shop.sign_in(ADDRESS, OLD).await.expect_status(200);
        for address in classes.into_iter().chain([ADDRESS]) {
            shop.sign_in(address, WRONG).await.expect_status(401);
        }
        assert!(noted(app).is_empty());
    }

    async fn a_reset_beside_the_first_sign_in_wins(app: TestApp) {
        imported(app, "acme", ann()).await;
        let shop = app.acme();
        for round in 0..4 {
            let hash: &'static str = medusa_hash(OLD).unwrap().leak();
            let sql = format!("UPDATE identities SET password_hash = '{hash}'").leak();
            execute(&app.engine, sql).await.unwrap();
            let token = app.reset_token(&shop, "Ann@example.com").await;
            let (_, reset) = join(shop.sign_in(ADDRESS, OLD), shop.complete_reset(&token, NEW_PASSWORD)).await;
            reset.expect_status(200);
            shop.sign_in(ADDRESS, OLD).await.expect_status(401);
            shop.sign_in(ADDRESS, NEW_PASSWORD).await.expect_status(200);
            assert_eq!(app.rows(HASHES).await, ["$argon2id$"], "{round}");
            app.take_all_mail().await;
        }
    }

    async fn all_who_sign_in_first_at_once_come_in(app: TestApp) {
        imported(app, "acme", ann()).await;
        let shop = app.acme();
        let answers = join_all((0..4).map(|_| shop.sign_in(ADDRESS, OLD))).await;
        assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [200; 4]);
        assert_eq!(app.rows(HASHES).await, ["$argon2id$"]);
        assert_eq!(app.rows("SELECT COUNT(*) FROM sessions").await, ["4"]);
    }

    async fn a_password_is_changed_beside_the_first_sign_in(app: TestApp) {
        imported(app, "acme", ann()).await;
        let shop = app.acme();
        let token = shop.sign_in(ADDRESS, OLD).await.expect_status(200).token();
        let change = json!({"current_password": OLD, "password": NEW_PASSWORD});
        for _ in 0..4 {
            let hash: &'static str = medusa_hash(OLD).unwrap().leak();
            execute(&app.engine, format!("UPDATE identities SET password_hash = '{hash}'").leak()).await.unwrap();
            let request = shop.post("/auth/customer/emailpass/change-password").bearer(&token).json(&change).send();
            let (_, changed) = join(shop.sign_in(ADDRESS, OLD), request).await;
            changed.expect_status(200);
            shop.sign_in(ADDRESS, OLD).await.expect_status(401);
            shop.sign_in(ADDRESS, NEW_PASSWORD).await.expect_status(200);
            app.take_all_mail().await;
        }
    }

    async fn what_is_taken_is_refused_whole_and_what_is_there_stays(app: TestApp) {
        let shop = app.acme();
        customer(&shop, "bob@example.com").await;
        assert_eq!(imported(app, "acme", ann()).await, Outcome::Imported);
        shop.sign_in(ADDRESS, OLD).await.expect_status(200);
        assert_eq!(imported(app, "acme", ann()).await, Outcome::Present);
        assert_eq!(app.rows(HASHES).await, ["$argon2id$"; 2], "the newer hash stays");
        let at = |text: &str| emailpass::address(text).unwrap();
        let rest = || Imported { id: "cus_01JD00000000000000000000C2".parse().unwrap(), login: None, email: at("eve@example.com"), ..ann() };
        for (one, why) in [
            (Imported { email: at("BOB@example.com"), ..rest() }, "another login has its address"),
            (Imported { email: at("ann@example.com"), ..rest() }, "another login has its address"),
            (Imported { login: Some(LOGIN.parse().unwrap()), ..rest() }, "another login has its auth_identity_id"),
            (Imported { id: CUSTOMER.parse().unwrap(), ..rest() }, "another customer has its id or its address"),
        ] {
            assert_eq!(imported(app, "acme", one).await, Outcome::Refused(why));
        }
        assert_eq!(app.rows("SELECT (SELECT COUNT(*) FROM identities), (SELECT COUNT(*) FROM customers)").await, ["2 2"]);
        // Another shop's ids and addresses are its own.
        assert_eq!(imported(app, "globex", ann()).await, Outcome::Imported);
        app.globex().sign_in(ADDRESS, OLD).await.expect_status(200);
    }
}
