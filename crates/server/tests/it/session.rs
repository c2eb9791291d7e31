//! Tokens and the session row that each use of one reads.

use std::sync::atomic::Ordering;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::Method;
use serde_json::{Value, json};
use vestibule_engine::error::Code;
use vestibule_engine::model::customer::Profile;
use vestibule_engine::model::email::Email;
use vestibule_engine::model::tenant::{Algorithm, Secret, Tokens};
use vestibule_engine::model::time::Span;
use vestibule_engine::ops;
use vestibule_engine::ops::idempotency::Receipt;
use vestibule_engine::ports::clock::Clock;
use vestibule_engine::testing::execute;

use crate::support::app::{ADDRESS, NEW_PASSWORD, PASSWORD, TestApp, customer, token_in};
use crate::support::client::{Answer, Shop, claims, header};
use crate::support::{each_db, raw};

const SECRET: &str = "a-shared-secret-of-more-than-32-bytes";
const DAY: Duration = Duration::from_hours(24);

fn hs256(tokens: &mut Tokens) {
    tokens.algorithm = Algorithm::Hs256;
    tokens.secret = Some(Secret::new(SECRET));
}

/// A token of this header and these claims, signed with `key` as HS256 does.
fn forge(header: &Value, claims: &Value, key: &[u8]) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn set_back(clock: &Clock, by: Duration) {
    let Clock::Frozen(micros) = clock else { panic!("the clock runs") };
    micros.fetch_sub(i64::try_from(by.as_micros()).unwrap(), Ordering::SeqCst);
}

/// The login with this password becomes a customer.
async fn customer_of(shop: &Shop, password: &str) {
    let token = shop.sign_in(ADDRESS, password).await.expect_status(200).token();
    shop.post("/store/customers").bearer(&token).json(&json!({"email": ADDRESS})).send().await.expect_status(200);
}

#[track_caller]
fn assert_refused(answer: &Answer, what: &str) {
    assert_eq!((answer.status, answer.text.as_str()), (401, r#"{"type":"unauthorized","message":"Unauthorized"}"#), "{what}");
}

/// What `GET /auth/sessions` shows.
async fn listed(shop: &Shop, token: &str) -> Vec<Value> {
    shop.get("/auth/sessions").bearer(token).send().await.expect_status(200).json()["sessions"].as_array().unwrap().clone()
}

async fn end(shop: &Shop, rest: &str, token: &str) -> Answer {
    shop.call(Method::DELETE, &format!("/auth/sessions{rest}")).bearer(token).send().await
}

async fn with_authorization(app: &TestApp, shop: &Shop, lines: &[&[u8]]) -> Answer {
    let mut request =
        format!("GET /store/customers/me HTTP/1.1\r\nConnection: close\r\nAccept: application/json\r\nHost: {}\r\n", shop.host()).into_bytes();
    request.extend_from_slice(format!("x-publishable-api-key: {}\r\n", shop.key()).as_bytes());
    for line in lines {
        request.extend_from_slice(b"Authorization: ");
        request.extend_from_slice(line);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    raw::send(&app.base, &request).await
}

each_db! {
    async fn r69_an_ended_session_ends_its_tokens_at_once(app: TestApp) {
        let shop = app.acme();
        let token = customer(&shop, ADDRESS).await;
        let other = customer(&shop, "bob@example.com").await;
        let reset = app.reset_token(&shop, ADDRESS).await;
        shop.me(&token).await.expect_status(200); // remembered by whatever remembers tokens
        shop.complete_reset(&reset, NEW_PASSWORD).await.expect_status(200);
        assert_refused(&shop.me(&token).await, "after the reset");
        shop.me(&other).await.expect_status(200);
        app.settle().await;
        app.next_mail(ADDRESS).await;
        execute(&app.engine, "UPDATE sessions SET ended_at = 1 WHERE ended_at IS NULL").await.unwrap();
        assert_refused(&shop.me(&other).await, "ended by hand");
        // A row that is gone altogether.
        let third = shop.sign_in("bob@example.com", PASSWORD).await.token();
        shop.me(&third).await.expect_status(200);
        execute(&app.engine, "DELETE FROM sessions").await.unwrap();
        assert_refused(&shop.me(&third).await, "deleted");
    }

    async fn a_session_that_ended_after_it_was_looked_at_makes_no_customer(app: TestApp) {
        let shop = app.acme();
        let token = shop.register(ADDRESS, PASSWORD).await.token();
        let acme = ops::tenant::by_slug(&app.engine, "acme").await.unwrap();
        let caller = ops::session::authenticate(&app.engine, &acme, &token).await.unwrap().unwrap();
        // Between the look and the transaction a reset ends the sessions.
        let reset = app.reset_token(&shop, ADDRESS).await;
        shop.complete_reset(&reset, NEW_PASSWORD).await.expect_status(200);
        let refused = ops::customer::create(&app.engine, &acme, &caller, Some(ADDRESS), Profile::default(), &Receipt::none()).await.unwrap_err();
        assert_eq!(refused.code, Code::Unauthenticated);
        assert_eq!(app.rows("SELECT COUNT(*) FROM customers").await, ["0"]);
        app.settle().await;
        app.next_mail(ADDRESS).await;
        customer_of(&shop, NEW_PASSWORD).await;
    }

    async fn a_stranger_who_registered_an_address_first_does_not_keep_its_owner_off_the_staff(app: TestApp) {
        let shop = app.acme();
        let staff = |rest: &str, password: &str| shop.post(&format!("/auth/user/emailpass{rest}")).json(&json!({"email": ADDRESS, "password": password})).send();
        let stranger = staff("/register", PASSWORD).await.expect_status(200).token();
        shop.post("/auth/user/emailpass/reset-password").json(&json!({"identifier": ADDRESS})).send().await.expect_status(201);
        app.settle().await;
        let link = token_in(&app.next_mail(ADDRESS).await);
        for _ in 0..10 {
            staff("", NEW_PASSWORD).await.expect_status(401);
        }
        let acme = ops::tenant::by_slug(&app.engine, "acme").await.unwrap();
        let email = Email::parse("Ann@example.com").unwrap();
        let user = ops::user::create(&app.engine, &acme, &email, NEW_PASSWORD).await.unwrap();
        // Nothing of the stranger's is left: no password, no session, no link.
        assert!(ops::session::authenticate(&app.engine, &acme, &stranger).await.unwrap().is_none());
        assert_eq!(app.ends_told().await, [("taken_over".to_owned(), 1)]);
        staff("/register", PASSWORD).await.expect_status(401);
        staff("", PASSWORD).await.expect_status(401);
        let refused = shop.post("/auth/user/emailpass/update").bearer(&link).json(&json!({"password": PASSWORD})).send().await;
        refused.expect_error(401, "Invalid token");
        let token = staff("", NEW_PASSWORD).await.expect_status(200).token();
        assert_eq!(claims(&token)["actor_id"], json!(user.to_string()));
        assert_eq!(app.rows("SELECT address FROM identities").await, ["Ann@example.com"]);
        // A login that is somebody's stays theirs.
        assert_eq!(ops::user::create(&app.engine, &acme, &email, PASSWORD).await.unwrap_err().code, Code::Duplicate);
        staff("", NEW_PASSWORD).await.expect_status(200);
    }

    async fn a_clock_that_is_set_back_keeps_no_closed_shop_open(app: TestApp) {
        let shop = app.acme();
        let acme = ops::tenant::by_slug(&app.engine, "acme").await.unwrap();
        shop.sign_in(ADDRESS, PASSWORD).await.expect_status(401);
        app.settle().await;
        set_back(&app.clock, Duration::from_hours(1));
        ops::tenant::disable(&app.engine, &acme).await.unwrap();
        assert!(ops::tenant::by_id(&app.engine, acme.id).await.unwrap().is_none());
        shop.sign_in(ADDRESS, PASSWORD).await.expect_status(404);
    }

    async fn a_reset_is_issued_after_the_clock_was_set_back(app: TestApp) {
        let shop = app.acme();
        customer(&shop, ADDRESS).await;
        app.reset_token(&shop, ADDRESS).await;
        set_back(&app.clock, Duration::from_mins(5));
        // Another process, which knows nothing of the ids that the first one made.
        app.restart(|_| ()).await;
        let shop = app.acme();
        let token = app.reset_token(&shop, ADDRESS).await;
        shop.complete_reset(&token, NEW_PASSWORD).await.expect_status(200);
        app.settle().await;
        app.next_mail(ADDRESS).await;
    }

    async fn r86_a_token_dies_at_its_ttl(app: TestApp) {
        let shop = app.acme();
        let token = customer(&shop, ADDRESS).await;
        app.clock.advance(DAY.saturating_sub(Duration::from_secs(1)));
        shop.me(&token).await.expect_status(200);
        app.clock.advance(Duration::from_secs(1));
        assert_refused(&shop.me(&token).await, "a day later");
    }

    async fn r68_a_session_dies_at_its_greatest_age_whatever_its_token_says(app: TestApp) {
        app.restart(|config| {
            hs256(&mut config.tenants[0].tokens);
            config.tenants[0].tokens.ttl = Span(60 * DAY);
        }).await;
        let shop = app.acme();
        let token = customer(&shop, ADDRESS).await;
        let mut said = claims(&token);
        assert_eq!(said["exp"], json!(app.clock.now().seconds() + 30 * 86_400), "no token outlives its session");
        // With the shared secret a longer life can be signed. The row is not impressed.
        said["exp"] = json!(app.clock.now().seconds() + 60 * 86_400);
        let longer = forge(&json!({"alg": "HS256", "typ": "JWT"}), &said, SECRET.as_bytes());
        app.clock.advance((30 * DAY).saturating_sub(Duration::from_secs(1)));
        shop.me(&longer).await.expect_status(200);
        app.clock.advance(Duration::from_secs(1));
        assert_refused(&shop.me(&longer).await, "30 days later");
    }

    async fn r82_r116_a_token_is_nothing_at_another_shop_also_under_one_secret(app: TestApp) {
        for shared in [false, true] {
            if shared {
                app.restart(|config| config.tenants.iter_mut().for_each(|t| hs256(&mut t.tokens))).await;
            }
            let (acme, globex) = (app.acme(), app.globex());
            let address = if shared { "bob@example.com" } else { ADDRESS };
            let token = customer(&acme, address).await;
            let foreign = customer(&globex, address).await;
            assert_refused(&globex.me(&token).await, "acme's at globex");
            assert_refused(&acme.me(&foreign).await, "globex's at acme");
            acme.me(&token).await.expect_status(200);
            if shared {
                // Whoever holds the secret may name the other shop. The session is still not there.
                let mut said = claims(&token);
                said["aud"] = json!("globex");
                assert_refused(&globex.me(&forge(&json!({"alg": "HS256", "typ": "JWT"}), &said, SECRET.as_bytes())).await, "renamed");
                // Nor does a session of this shop stand for a login that is not its own.
                let mut said = claims(&token);
                said["auth_identity_id"] = claims(&customer(&acme, "eve@example.com").await)["auth_identity_id"].clone();
                assert_refused(&acme.me(&forge(&json!({"alg": "HS256", "typ": "JWT"}), &said, SECRET.as_bytes())).await, "another login");
            }
        }
    }

    async fn r41_a_malformed_authorization_is_no_authorization(app: TestApp) {
        let shop = app.acme();
        let token = customer(&shop, ADDRESS).await;
        let bearer = format!("Bearer {token}");
        for good in [bearer.clone(), format!("bEARER    {token}"), format!("Bearer\t{token} ")] {
            assert_eq!(with_authorization(app, &shop, &[good.as_bytes()]).await.status, 200, "{good}");
        }
        let long = format!("Bearer {}", "a".repeat(40_000));
        let (twice, basic, extra) = (format!("{bearer}, {bearer}"), format!("Basic {token}"), format!("{bearer} x"));
        let cut = &bearer[..bearer.len() - 1];
        let odd: &[&[u8]] = &[b"", b"Bearer", b"Bearer ", b"Bearer  ", b"bearer x y", b"Bearer \xff\xfe", b"\xc3\xa9", b"Bearer ..", b"Bearer a.b.c",
            b"Bearer null", token.as_bytes(), long.as_bytes(), twice.as_bytes(), basic.as_bytes(), extra.as_bytes(), cut.as_bytes()];
        for line in odd {
            assert_refused(&with_authorization(app, &shop, &[line]).await, &String::from_utf8_lossy(line));
        }
        assert_refused(&with_authorization(app, &shop, &[bearer.as_bytes(), bearer.as_bytes()]).await, "two headers");
        assert_refused(&with_authorization(app, &shop, &[]).await, "none");
        // More than a head may have: refused before anything is understood.
        let huge = format!("Bearer {}", "a".repeat(200_000));
        assert_eq!(with_authorization(app, &shop, &[huge.as_bytes()]).await.status, 431);
    }

    async fn r76_r77_r79_nobody_chooses_the_algorithm_or_the_key(app: TestApp) {
        let shop = app.acme();
        let token = customer(&shop, ADDRESS).await;
        let said = claims(&token);
        let head: Value = serde_json::from_str(&header(&token)).unwrap();
        let kid = head["kid"].clone();
        let payload = token.split('.').nth(1).unwrap();
        for alg in ["none", "None", "nOnE", "NONE", ""] {
            for head in [json!({"alg": alg, "typ": "JWT"}), json!({"alg": alg, "typ": "JWT", "kid": kid})] {
                let bare = format!("{}.{payload}.", URL_SAFE_NO_PAD.encode(head.to_string()));
                assert_refused(&shop.me(&bare).await, alg);
                assert_refused(&shop.me(&forge(&head, &said, b"")).await, alg);
            }
        }
        // The public key in each form that somebody may have at hand, taken for a shared secret.
        let jwks = shop.get("/.well-known/jwks.json").send().await.json();
        let key = &jwks["keys"][0];
        let point = URL_SAFE_NO_PAD.decode(key["x"].as_str().unwrap()).unwrap();
        let der = [&[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00], point.as_slice()].concat();
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(&der));
        let forms = [point.clone(), der.clone(), pem.clone().into_bytes(), pem.trim().as_bytes().to_vec(), key.to_string().into_bytes(),
            key["x"].as_str().unwrap().as_bytes().to_vec(), Vec::new()];
        for secret in &forms {
            for head in [json!({"alg": "HS256", "typ": "JWT"}), json!({"alg": "HS256", "typ": "JWT", "kid": kid}), json!({"alg": "EdDSA", "typ": "JWT", "kid": kid})] {
                assert_refused(&shop.me(&forge(&head, &said, secret)).await, &head.to_string());
            }
        }
        let parts: Vec<_> = token.split('.').collect();
        for (what, head) in [
            ("another kid", json!({"alg": "EdDSA", "typ": "JWT", "kid": "../../dev/null"})),
            ("no kid", json!({"alg": "EdDSA", "typ": "JWT"})),
            ("a key of its own", json!({"alg": "EdDSA", "typ": "JWT", "kid": kid, "jwk": key})),
            ("crit", json!({"alg": "EdDSA", "typ": "JWT", "kid": kid, "crit": ["x"]})),
        ] {
            let changed = format!("{}.{}.{}", URL_SAFE_NO_PAD.encode(head.to_string()), parts[1], parts[2]);
            assert_refused(&shop.me(&changed).await, what);
        }
        shop.me(&token).await.expect_status(200);
    }

    async fn r76_an_hs256_shop_takes_hs256_with_its_own_secret_alone(app: TestApp) {
        app.restart(|config| hs256(&mut config.tenants[0].tokens)).await;
        let shop = app.acme();
        let said = claims(&customer(&shop, ADDRESS).await);
        let head = json!({"alg": "HS256", "typ": "JWT"});
        shop.me(&forge(&head, &said, SECRET.as_bytes())).await.expect_status(200);
        assert_refused(&shop.me(&forge(&head, &said, b"supersecret")).await, "another secret");
        for alg in ["HS384", "HS512", "none", "EdDSA"] {
            assert_refused(&shop.me(&forge(&json!({"alg": alg, "typ": "JWT"}), &said, SECRET.as_bytes())).await, alg);
        }
        // R81
        let now = app.clock.now().seconds();
        for (name, value) in [("exp", json!(null)), ("exp", json!(now)), ("exp", json!("9999999999")), ("exp", json!(9_999_999_999.5)),
            ("iat", json!(now + 61)), ("nbf", json!(now + 61)), ("nbf", json!("x")), ("sid", json!("")), ("sid", json!(null)), ("aud", json!("globex"))] {
            let mut changed = said.clone();
            changed[name] = value.clone();
            assert_refused(&shop.me(&forge(&head, &changed, SECRET.as_bytes())).await, &format!("{name} {value}"));
        }
        let mut missing = said.clone();
        missing.as_object_mut().unwrap().shift_remove("exp");
        assert_refused(&shop.me(&forge(&head, &missing, SECRET.as_bytes())).await, "no exp");
    }

    async fn r85_old_tokens_live_on_when_the_algorithm_changes(app: TestApp) {
        let first = customer(&app.acme(), ADDRESS).await;
        app.clock.advance(Duration::from_hours(1));
        app.restart(|config| hs256(&mut config.tenants[0].tokens)).await;
        let second = app.acme().sign_in(ADDRESS, PASSWORD).await.token();
        app.clock.advance(Duration::from_hours(1));
        app.restart(|config| config.tenants[0].tokens = Tokens::default()).await;
        let shop = app.acme();
        let third = shop.sign_in(ADDRESS, PASSWORD).await.token();
        let algorithms = [&first, &second, &third].map(|token| serde_json::from_str::<Value>(&header(token)).unwrap()["alg"].clone());
        assert_eq!(algorithms, ["EdDSA", "HS256", "EdDSA"]);
        for token in [&first, &second, &third] {
            shop.me(token).await.expect_status(200);
        }
        // Each to its own end.
        app.clock.advance(Duration::from_hours(22));
        assert_refused(&shop.me(&first).await, "the first after a day");
        shop.me(&second).await.expect_status(200);
        app.clock.advance(Duration::from_hours(1));
        assert_refused(&shop.me(&second).await, "the second after a day");
        shop.me(&third).await.expect_status(200);
        // The JWKS names the keys whose tokens may still live.
        let keys = shop.get("/.well-known/jwks.json").send().await.json();
        assert!(keys["keys"].as_array().unwrap().iter().any(|k| header(&third).contains(k["kid"].as_str().unwrap())));
    }

    async fn r85_a_reset_link_outlives_a_key_of_shorter_lived_sessions(app: TestApp) {
        app.restart(|config| config.tenants[0].tokens.ttl = Span(Duration::from_mins(1))).await;
        let shop = app.acme();
        customer(&shop, ADDRESS).await;
        let token = app.reset_token(&shop, ADDRESS).await;
        app.restart(|config| hs256(&mut config.tenants[0].tokens)).await;
        app.clock.advance(Duration::from_mins(14));
        app.restart(|_| ()).await;
        app.acme().complete_reset(&token, NEW_PASSWORD).await.expect_status(200);
        app.settle().await;
        app.next_mail(ADDRESS).await;
    }

    async fn r54_a_reset_token_is_no_bearer_and_a_session_token_resets_nothing(app: TestApp) {
        let shop = app.acme();
        let session = customer(&shop, ADDRESS).await;
        let reset = app.reset_token(&shop, ADDRESS).await;
        assert_refused(&shop.me(&reset).await, "a reset token as bearer");
        let created = shop.post("/store/customers").bearer(&reset).json(&json!({"email": ADDRESS})).send().await;
        assert_refused(&created, "a reset token creates nobody");
        shop.complete_reset(&session, NEW_PASSWORD).await.expect_error(401, "Invalid token");
        shop.sign_in(ADDRESS, PASSWORD).await.expect_status(200);
    }

    async fn r70_one_sees_ones_own_sessions_and_ends_them(app: TestApp) {
        let shop = app.acme();
        customer(&shop, ADDRESS).await;
        let from = |agent: &str| shop.post("/auth/customer/emailpass").header("user-agent", agent).json(&json!({"email": ADDRESS, "password": PASSWORD})).send();
        app.clock.advance(Duration::from_hours(1));
        let phone = from("Phone/1.0").await.token();
        let desk = from(&format!("Desk/2.0 {}", "x".repeat(5_000))).await.token();
        let seen = listed(&shop, &desk).await;
        assert_eq!(seen.len(), 4, "registered, signed in, and twice again: {seen:?}");
        let [first, second] = [&seen[0], &seen[1]];
        assert_eq!((&first["id"], &first["current"], &first["provider"]), (&claims(&desk)["sid"], &json!(true), &json!("emailpass")));
        assert_eq!(first["user_agent"].as_str().unwrap(), format!("Desk/2.0 {}", "x".repeat(191)));
        assert_eq!((&second["id"], &second["current"], &second["user_agent"]), (&claims(&phone)["sid"], &json!(false), &json!("Phone/1.0")));
        assert_eq!(first["created_at"], json!(app.clock.now().to_string()));
        assert_eq!(first["expires_at"], json!(app.clock.now().after(30 * DAY).to_string()));
        let ended = end(&shop, &format!("/{}", second["id"].as_str().unwrap()), &desk).await.expect_status(200);
        assert_eq!(ended.json(), json!({"id": second["id"], "object": "session", "deleted": true}));
        assert_refused(&shop.me(&phone).await, "ended by another");
        shop.me(&desk).await.expect_status(200);
        assert_eq!(listed(&shop, &desk).await.len(), 3);
        // All others, and oneself.
        let tablet = from("Tablet").await.token();
        assert_eq!(end(&shop, "", &desk).await.expect_status(200).json(), json!({"success": true}));
        assert_refused(&shop.me(&tablet).await, "one of the others");
        assert_eq!(listed(&shop, &desk).await.len(), 1);
        end(&shop, "/current", &desk).await.expect_status(200);
        assert_refused(&shop.me(&desk).await, "signed out");
        assert_refused(&end(&shop, "/current", &desk).await, "signed out");
        let (one, two) = (from("").await.token(), from("b").await.token());
        assert_eq!(listed(&shop, &one).await[1]["user_agent"], Value::Null);
        end(&shop, "?all=true", &one).await.expect_status(200);
        for token in [&one, &two] {
            assert_refused(&shop.me(token).await, "all");
        }
    }

    async fn r113_r114_another_ones_session_is_as_unknown_as_none(app: TestApp) {
        let (acme, globex) = (app.acme(), app.globex());
        let (ann, bob, elsewhere) = (customer(&acme, ADDRESS).await, customer(&acme, "bob@example.com").await, customer(&globex, ADDRESS).await);
        let sid = |token: &str| claims(token)["sid"].as_str().unwrap().to_owned();
        let ended = acme.sign_in(ADDRESS, PASSWORD).await.token();
        end(&acme, "/current", &ended).await.expect_status(200);
        let lower = sid(&ann).to_lowercase();
        for id in [sid(&bob), sid(&elsewhere), sid(&ended), "01K0000000000000000000000X".into(), lower, "nope".into(), "x".repeat(60)] {
            end(&acme, &format!("/{id}"), &ann).await.expect_error(404, &format!("Session with id: {id} was not found"));
        }
        end(&acme, "/%00%ff", &ann).await.expect_status(400);
        for (shop, token) in [(&acme, &ann), (&acme, &bob), (&globex, &elsewhere)] {
            shop.me(token).await.expect_status(200);
        }
        for other in listed(&acme, &ann).await {
            assert!(other["id"] != json!(sid(&bob)) && other["id"] != json!(sid(&elsewhere)));
        }
        end(&acme, "?all=true", &ann).await.expect_status(200);
        acme.me(&bob).await.expect_status(200);
        globex.me(&elsewhere).await.expect_status(200);
        for query in ["?all=maybe", "?al=true", "?all=true&all=false"] {
            end(&acme, query, &bob).await.expect_status(400);
        }
        acme.me(&bob).await.expect_status(200);
    }

    async fn signing_out_takes_the_cookie_along(app: TestApp) {
        let shop = app.acme();
        for (path, own) in [("/current", true), ("?all=true", true), ("", false)] {
            let token = if app.rows("SELECT id FROM customers").await.is_empty() { customer(&shop, ADDRESS).await } else { shop.sign_in(ADDRESS, PASSWORD).await.token() };
            let cookie = shop.cookie(&token).await;
            let answer = shop.call(Method::DELETE, &format!("/auth/sessions{path}")).cookie(&cookie).send().await.expect_status(200);
            assert_eq!(answer.header("set-cookie").starts_with("__Host-vestibule=; Path=/; Max-Age=0; "), own, "{path}");
            let after = shop.get("/store/customers/me").cookie(&cookie).send().await;
            assert_eq!(after.status, if own { 401 } else { 200 }, "{path}");
        }
    }

    async fn r70_the_sessions_of_an_account_are_those_of_all_its_logins(app: TestApp) {
        let shop = app.acme();
        let (ann, bob) = (customer(&shop, ADDRESS).await, shop.register("bob@example.com", PASSWORD).await.token());
        let (own, foreign) = (listed(&shop, &ann).await.len(), claims(&bob)["sid"].clone());
        let actor = claims(&ann)["actor_id"].as_str().unwrap().trim_start_matches("cus_").to_owned();
        let sql = format!("UPDATE identities SET actor_id = '{actor}' WHERE entity_id = 'bob@example.com'").leak();
        assert_eq!(execute(&app.engine, sql).await.unwrap(), 1);
        let seen = listed(&shop, &ann).await;
        assert_eq!((seen.len(), &seen[0]["id"]), (own + 1, &foreign));
        end(&shop, "", &ann).await.expect_status(200);
        assert_refused(&shop.post("/auth/token/refresh").bearer(&bob).send().await, "the other login's");
        shop.me(&ann).await.expect_status(200);
    }

    async fn of_two_sessions_that_end_each_other_one_is_left(app: TestApp) {
        let shop = app.acme();
        customer(&shop, ADDRESS).await;
        for _ in 0..10 {
            let (one, two) = (shop.sign_in(ADDRESS, PASSWORD).await.token(), shop.sign_in(ADDRESS, PASSWORD).await.token());
            let (first, second) = tokio::join!(end(&shop, "", &one), end(&shop, "", &two));
            let mut statuses = [first.status, second.status];
            statuses.sort_unstable();
            assert_eq!(statuses, [200, 401]);
            let left = if first.status == 200 { &one } else { &two };
            assert_eq!(listed(&shop, left).await.len(), 1);
        }
    }

    async fn a_list_of_sessions_has_an_end(app: TestApp) {
        app.restart_acme(|acme| acme.limits.enabled = false).await;
        let shop = app.acme();
        customer(&shop, ADDRESS).await;
        let mut newest = String::new();
        for _ in 0..101 {
            newest = shop.sign_in(ADDRESS, PASSWORD).await.token();
        }
        let seen = listed(&shop, &newest).await;
        assert_eq!((seen.len(), &seen[0]["id"]), (100, &claims(&newest)["sid"]));
    }
}
