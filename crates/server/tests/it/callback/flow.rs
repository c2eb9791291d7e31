//! The way there and back, and what the state holds.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use url::Url;
use vestibule_engine::provider::hostile::{Bend, Endpoint, HostileIssuer};

use super::{PAGE, START, callback, come_back, go_there, person, sign_in, with_issuer};
use crate::support::app::{ADDRESS, PASSWORD, TestApp, customer, provider};
use crate::support::at_rest::AtRest;
use crate::support::binary::within_a_second;
use crate::support::client::claims;
use crate::support::each_db;

fn parameter(url: &str, name: &str) -> Option<String> {
    Url::parse(url).unwrap().query_pairs().find(|(found, _)| found == name).map(|(_, value)| value.into_owned())
}

each_db! {
    async fn a_stranger_becomes_a_customer_and_comes_again(app: TestApp) {
        let issuer = with_issuer(app).await;
        issuer.person(json!({"sub": "person-1", "email": ADDRESS, "email_verified": true, "name": "Ann Lee", "given_name": "Ann", "family_name": "Lee",
            "picture": "https://pictures.example/ann.png"}));
        let acme = app.acme();
        let token = sign_in(&acme, &issuer).await.expect_status(200).token();
        let first = claims(&token);
        assert_eq!((&first["actor_id"], &first["auth_provider"], &first["app_metadata"]), (&json!(""), &json!("certified"), &json!({})));
        assert_eq!((&first["user_metadata"]["name"], &first["user_metadata"]["email"]), (&json!("Ann Lee"), &json!(ADDRESS)));
        // Name, picture and address come from the provider where the body leaves them out.
        let made = acme.post("/store/customers").bearer(&token).json(&json!({"last_name": "Smith"})).send().await.expect_status(200).json();
        let customer = &made["customer"];
        assert_eq!((&customer["email"], &customer["first_name"], &customer["last_name"]), (&json!(ADDRESS), &json!("Ann"), &json!("Smith")));
        assert_eq!(customer["metadata"], json!({"picture": "https://pictures.example/ann.png"}));
        let refreshed = acme.post("/auth/token/refresh").bearer(&token).send().await.expect_status(200).token();
        let again = sign_in(&acme, &issuer).await.expect_status(200).token();
        for token in [&refreshed, &again] {
            assert_eq!((&claims(token)["actor_id"], &claims(token)["app_metadata"]), (&customer["id"], &json!({"customer_id": customer["id"]})));
            acme.me(token).await.expect_status(200);
        }
        assert_eq!(claims(&again)["auth_identity_id"], first["auth_identity_id"], "the same login");
        assert_eq!(claims(&refreshed)["sid"], first["sid"], "the same session");
    }

    async fn another_address_than_the_providers_is_no_customers(app: TestApp) {
        let issuer = with_issuer(app).await;
        let acme = app.acme();
        let token = sign_in(&acme, &issuer).await.token();
        let create = |email: Value| acme.post("/store/customers").bearer(&token).json(&json!({"email": email})).send();
        create(json!("victim@example.com")).await.expect_error(400, "The email must be an address that the provider has seen proven");
        create(json!("ANN@example.com")).await.expect_status(200);
    }

    async fn r10_an_address_that_the_provider_has_not_seen_proven_makes_no_customer(app: TestApp) {
        let issuer = with_issuer(app).await;
        let create = async |app: &TestApp, email: Value| {
            let token = sign_in(&app.acme(), &issuer).await.token();
            app.acme().post("/store/customers").bearer(&token).json(&email).send().await
        };
        let refused = "The email must be an address that the provider has seen proven";
        issuer.person(person("one", "victim@example.com", false));
        create(app, json!({})).await.expect_error(400, refused);
        issuer.person(json!({"sub": "two"}));
        create(app, json!({"email": "victim@example.com"})).await.expect_error(400, refused);
        create(app, json!({})).await.expect_error(400, "Email is required to create a customer");
        app.restart(|config| config.tenants[0].customers.email_must_match_identity = false).await;
        create(app, json!({"email": "victim@example.com"})).await.expect_status(200);
    }

    async fn a_state_of_one_kind_of_actor_is_none_of_anothers(app: TestApp) {
        let issuer = with_issuer(app).await;
        app.restart(|config| {
            let both = vec!["emailpass".to_owned(), "certified".to_owned()];
            config.tenants[0].auth_methods = [("customer".to_owned(), both.clone()), ("user".to_owned(), both)].into();
        }).await;
        let acme = app.acme();
        let query = go_there(&acme, &issuer).await;
        acme.get(&format!("/auth/user/certified/callback?{query}")).send().await.expect_error(401, "No state provided, or session expired");
        assert_eq!((issuer.count(Endpoint::Token), app.rows("SELECT COUNT(*) FROM identities").await), (0, vec!["0".to_owned()]));
    }

    async fn the_state_is_good_once_here_and_in_time(app: TestApp) {
        let issuer = with_issuer(app).await;
        let (acme, globex) = (app.acme(), app.globex());
        let refused = "No state provided, or session expired";
        let query = go_there(&acme, &issuer).await;
        callback(&globex, &query).send().await.expect_error(401, refused);
        acme.get(&format!("/auth/user/certified/callback?{query}")).send().await.expect_status(400);
        callback(&acme, &query).send().await.expect_status(200);
        callback(&acme, &query).send().await.expect_error(401, refused);
        let late = go_there(&acme, &issuer).await;
        app.advance(Duration::from_mins(10));
        callback(&acme, &late).send().await.expect_error(401, refused);
        for state in ["", "deadbeef", &"A".repeat(64), &"A".repeat(10_000)] {
            callback(&acme, &format!("code=x&state={state}")).send().await.expect_error(401, refused);
        }
        callback(&acme, "code=x").send().await.expect_error(401, refused);
        callback(&acme, "").send().await.expect_error(401, "No code provided");
        // What the provider has to do with it: nothing, unless the state was good.
        assert_eq!(issuer.count(Endpoint::Token), 1);
    }

    async fn r91_r97_what_began_at_one_provider_does_not_end_at_another(app: TestApp) {
        let honest = with_issuer(app).await;
        let hostile = HostileIssuer::start_at(app.clock.clone());
        let name = hostile.issuer().as_str().trim_end_matches('/').to_owned();
        app.restart(|config| drop(config.tenants[0].providers.insert("other".to_owned(), provider(&name, PAGE)))).await;
        let acme = app.acme();
        let other = |query: &str| acme.get(&format!("/auth/customer/other/callback?{query}")).send();
        // Where the customer began at the honest one, the hostile one is never handed the code, nor the honest one a foreign code.
        let begun = go_there(&acme, &honest).await;
        other(&begun).await.expect_error(401, "No state provided, or session expired");
        let theirs = come_back(&hostile, &acme.post("/auth/customer/other").json(&json!({})).send().await);
        callback(&acme, &theirs).send().await.expect_error(401, "No state provided, or session expired");
        // Nor by its own state, if the answer names another issuer.
        let begun = Url::parse(&format!("https://acme.example/?{}", go_there(&acme, &honest).await)).unwrap();
        let mut swapped = url::form_urlencoded::Serializer::new(String::new());
        swapped.extend_pairs(begun.query_pairs().filter(|(key, _)| key != "iss")).append_pair("iss", &name);
        callback(&acme, &swapped.finish()).send().await.expect_status(401);
        assert_eq!((honest.count(Endpoint::Token), hostile.count(Endpoint::Token)), (0, 0));
        assert_eq!(app.rows("SELECT COUNT(*) FROM identities").await, ["0"]);
        // Each ends where it began.
        sign_in(&acme, &honest).await.expect_status(200);
        let theirs = come_back(&hostile, &acme.post("/auth/customer/other").json(&json!({})).send().await);
        other(&theirs).await.expect_status(200);
    }

    async fn an_error_spends_the_state_and_is_told_in_words(app: TestApp) {
        let issuer = with_issuer(app).await;
        let acme = app.acme();
        let query = go_there(&acme, &issuer).await;
        let state = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "state").unwrap().1.into_owned();
        let denied = format!("error=access_denied&error_description=%3Cscript%3Ealert(1)%3C%2Fscript%3E&error_uri=https://x/y&state={state}");
        let answer = callback(&acme, &denied).send().await.expect_error(401, "<script>alert(1)</script>, read more at: https://x/y");
        assert_eq!(answer.header("content-type"), "application/json; charset=utf-8");
        callback(&acme, &query).send().await.expect_error(401, "No state provided, or session expired");
        callback(&acme, "error=access_denied").send().await.expect_error(401, "access_denied");
        acme.post(&format!("{START}?error=x&error_description=no")).json(&json!({})).send().await.expect_error(401, "no");
    }

    async fn r109_of_50_callbacks_at_once_one_is_signed_in(app: TestApp) {
        let issuer = with_issuer(app).await;
        let acme = app.acme();
        let query = go_there(&acme, &issuer).await;
        let mut racers = JoinSet::new();
        for _ in 0..50 {
            let (acme, query) = (acme.clone(), query.clone());
            racers.spawn(async move { callback(&acme, &query).send().await.status });
        }
        let statuses = racers.join_all().await;
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
        assert!(statuses.iter().all(|status| matches!(status, 200 | 401 | 503)), "{statuses:?}");
        assert_eq!(app.rows("SELECT COUNT(*) FROM sessions").await, ["1"]);
    }

    async fn of_many_first_sign_ins_at_once_each_finds_the_one_login(app: TestApp) {
        let issuer = with_issuer(app).await;
        let acme = app.acme();
        let mut queries = Vec::new();
        for _ in 0..12 {
            queries.push(go_there(&acme, &issuer).await);
        }
        let mut racers = JoinSet::new();
        for query in queries {
            let acme = acme.clone();
            racers.spawn(async move { claims(&callback(&acme, &query).send().await.expect_status(200).token())["auth_identity_id"].to_string() });
        }
        let logins: HashSet<String> = racers.join_all().await.into_iter().collect();
        assert_eq!((logins.len(), app.rows("SELECT COUNT(*) FROM identities").await), (1, vec!["1".to_owned()]));
    }

    async fn one_person_at_two_shops_is_two_logins(app: TestApp) {
        let issuer = with_issuer(app).await;
        let (here, there) = (sign_in(&app.acme(), &issuer).await.token(), sign_in(&app.globex(), &issuer).await.token());
        assert_ne!(claims(&here)["auth_identity_id"], claims(&there)["auth_identity_id"]);
        app.globex().post("/auth/token/refresh").bearer(&here).send().await.expect_status(401);
    }

    async fn r100_the_subject_is_the_account_and_no_address(app: TestApp) {
        let issuer = with_issuer(app).await;
        let acme = app.acme();
        let login = async |sub: &str, email: &str| {
            issuer.person(person(sub, email, true));
            claims(&sign_in(&acme, &issuer).await.expect_status(200).token())["auth_identity_id"].clone()
        };
        let first = login("one", "ann@example.com").await;
        assert_ne!(login("two", "ann@example.com").await, first, "the same address, another subject");
        assert_eq!(login("one", "new@example.com").await, first, "another address, the same subject");
    }

    async fn r93_r94_the_provider_is_shown_challenge_nonce_and_state(app: TestApp) {
        let issuer = with_issuer(app).await;
        let at_rest = AtRest::begin(app).await;
        let acme = app.acme();
        let started = acme.post(START).json(&json!({})).send().await.expect_status(200);
        let location = started.json()["location"].as_str().unwrap().to_owned();
        assert_eq!(parameter(&location, "redirect_uri").as_deref(), Some(PAGE));
        assert_eq!(parameter(&location, "code_challenge_method").as_deref(), Some("S256"));
        let (state, nonce) = (parameter(&location, "state").unwrap(), parameter(&location, "nonce").unwrap());
        assert_eq!((state.len(), nonce.len(), parameter(&location, "code_challenge").unwrap().len()), (64, 43, 43));
        let other = acme.post(START).json(&json!({})).send().await.json()["location"].as_str().unwrap().to_owned();
        for name in ["state", "nonce", "code_challenge"] {
            assert_ne!(parameter(&location, name), parameter(&other, name));
        }
        callback(&acme, &come_back(&issuer, &started)).send().await.expect_status(200);
        let asked = issuer.requests().into_iter().find(|request| request.path == "/token").unwrap();
        let form = asked.form();
        let verifier = &form["code_verifier"][0];
        // Neither what the provider was shown nor what proves it rests anywhere.
        let places = at_rest.places(app).await;
        for (name, secret) in [("state", &state), ("nonce", &nonce), ("code verifier", verifier), ("client secret", &"a secret of the shop".to_owned())] {
            AtRest::assert_absent(&places, name, secret.as_bytes());
        }
    }

    async fn a_code_longer_than_4_kib_is_not_shown_to_the_provider(app: TestApp) {
        let issuer = with_issuer(app).await;
        let acme = app.acme();
        for (length, asked) in [(4_097, 0), (4_096, 1)] {
            let query = go_there(&acme, &issuer).await;
            let code = parameter(&format!("https://x.test/?{query}"), "code").unwrap();
            callback(&acme, &query.replace(&code, &"x".repeat(length))).send().await.expect_status(401);
            assert_eq!(issuer.count(Endpoint::Token), asked, "{length}");
        }
    }

    async fn r104_r105_only_the_shops_own_pages_letter_by_letter(app: TestApp) {
        let issuer = with_issuer(app).await;
        app.restart(|config| {
            let certified = config.tenants[0].providers.get_mut("certified").unwrap();
            certified.allowed_callback_urls = vec!["https://acme.example/de/callback?x=1".into()];
        }).await;
        let acme = app.acme();
        let start = |url: Value| acme.post(START).json(&json!({"callback_url": url})).send();
        for allowed in [PAGE, "https://acme.example/de/callback?x=1"] {
            let location = start(json!(allowed)).await.expect_status(200).json()["location"].as_str().unwrap().to_owned();
            assert_eq!(parameter(&location, "redirect_uri").as_deref(), Some(allowed));
        }
        for forged in [
            "https://evil.example/callback", "//evil.example", "/\\evil.example", "https:evil.example", "javascript:alert(1)", "data:text/html,x",
            "https://acme.example@evil.example/callback", "https://acme.example.evil.example/callback", "https://evil.example/https://acme.example/callback",
            "https://acme.example/callback/", "https://acme.example/callback?", "https://acme.example/callback#", "https://acme.example/callback/..",
            "https://acme.example/callback/../callback", "https://acme.example/callback%2f", "https://acme.example/callback;x", "https://acme.example/Callback",
            "HTTPS://acme.example/callback", "https://ACME.example/callback", "https://acme.example:443/callback", "https://acme.example./callback",
            "http://acme.example/callback", "https://acme.example/callback\r\nx: y", "https://acme.example/callback%0d%0a", " https://acme.example/callback",
            "https://acme.example/callback ", "https://acme.example\\callback", "https:///acme.example/callback", "https://аcme.example/callback",
            "https://acme.example/de/callback?x=2", "https://acme.example/de/callback?x=1&y", "https://acme.example/de/callback", "",
            "https://user:pw@acme.example/callback", "https://acme.example/callback\u{0}", "ftp://acme.example/callback", "https://[::1]/callback",
        ] {
            let answer = start(json!(forged)).await.expect_status(400);
            assert!(answer.json()["message"].as_str().unwrap().contains("allowed_callback_urls") && !answer.text.contains("evil"), "{forged}: {}", answer.text);
        }
        for odd in [json!(5), json!(["https://acme.example/callback"]), json!({}), json!(true)] {
            start(odd).await.expect_error(400, "callback_url must be a string");
        }
        drop(issuer);
    }

    async fn a_callback_is_taken_by_post_in_query_or_body(app: TestApp) {
        let issuer = with_issuer(app).await;
        let acme = app.acme();
        let path = format!("{START}/callback");
        let query = go_there(&acme, &issuer).await;
        acme.post(&format!("{path}?{query}&scope=openid&authuser=0&prompt=consent")).json(&json!({})).send().await.expect_status(200);
        let query = go_there(&acme, &issuer).await;
        let body: serde_json::Map<String, Value> =
            url::form_urlencoded::parse(query.as_bytes()).map(|(name, value)| (name.into_owned(), Value::String(value.into_owned()))).collect();
        acme.post(&path).json(&Value::Object(body)).send().await.expect_status(200);
        let query = go_there(&acme, &issuer).await;
        acme.post(&path).header("content-type", "application/x-www-form-urlencoded").body(query).send().await.expect_status(200);
    }

    async fn r112_a_provider_that_hangs_or_is_gone_leaves_the_rest_alone(app: TestApp) {
        let issuer = with_issuer(app).await;
        app.restart(|config| {
            let limits = &mut config.tenants[0].limits;
            (limits.sign_ins_per_client, limits.sign_ins_per_tenant) = (1_000, 1_000);
        }).await;
        let acme = app.acme();
        customer(&acme, "bob@example.com").await;
        issuer.bend(Bend::Silent(Endpoint::Token));
        let mut hanging = JoinSet::new();
        for _ in 0..64 {
            let (acme, query) = (acme.clone(), go_there(&acme, &issuer).await);
            hanging.spawn(async move { callback(&acme, &query).send().await });
        }
        // Some of them are with the provider now, and the rest wait for these; what has a password waits for none.
        within_a_second(async || if issuer.count(Endpoint::Token) > 0 { Ok(()) } else { Err("nobody came to the provider".to_owned()) }).await;
        for _ in 0..20 {
            acme.sign_in("bob@example.com", PASSWORD).await.expect_status(200);
        }
        assert!(hanging.try_join_next().is_none(), "they still hang");
        hanging.abort_all();
        drop(issuer);
        acme.sign_in("bob@example.com", PASSWORD).await.expect_status(200);
        callback(&acme, "code=x&state=y").send().await.expect_status(401);
    }

    // A code that was made for another sign-in, brought to the end of one's own: the nonce tells, also where the provider does not look at the verifier.
    async fn r93_a_code_of_another_sign_in_is_refused(app: TestApp) {
        let issuer = with_issuer(app).await;
        let acme = app.acme();
        for bend in [None, Some(Bend::IgnoresPkce)] {
            if let Some(bend) = bend {
                issuer.bend(bend);
            }
            let (mine, others) = (go_there(&acme, &issuer).await, go_there(&acme, &issuer).await);
            let part = |query: &str, name: &str| url::form_urlencoded::parse(query.as_bytes()).find(|(known, _)| known == name).unwrap().1.into_owned();
            let mixed = mine.replace(&part(&mine, "code"), &part(&others, "code"));
            assert_ne!(mixed, mine);
            callback(&acme, &mixed).send().await.expect_status(401);
        }
        assert_eq!(app.rows("SELECT COUNT(*) FROM sessions").await, ["0"]);
        sign_in(&acme, &issuer).await.expect_status(200);
    }

    async fn r111_a_wrong_configuration_closes_its_route_alone(app: TestApp) {
        let issuer = with_issuer(app).await;
        app.restart(|config| {
            let good = config.tenants[0].providers["certified"].clone();
            let mut bad = good.clone();
            bad.client_secret = None;
            config.tenants[0].providers.insert("broken".to_owned(), bad);
            config.tenants[0].providers.insert("lost".to_owned(), provider("http://127.0.0.1:9/nobody", PAGE));
        }).await;
        let acme = app.acme();
        let broken = acme.post("/auth/customer/broken").json(&json!({})).send().await.expect_status(401);
        assert_eq!(broken.json()["message"], "The auth provider broken is not configured: client_secret is missing");
        acme.post("/auth/customer/lost").json(&json!({})).send().await.expect_error(401, "The provider could not be reached");
        sign_in(&acme, &issuer).await.expect_status(200);
        let ready = app.acme().get("/readyz").send().await.json();
        assert!(ready["warnings"].to_string().contains("the provider broken is closed: client_secret is missing"), "{ready}");
    }

    async fn the_providers_of_a_shop_are_listed(app: TestApp) {
        let _issuer = with_issuer(app).await;
        let listed = app.acme().get("/auth/customer/providers").send().await.expect_status(200).json();
        assert_eq!(listed, json!({"providers": [
            {"id": "certified", "identifier": "certified", "display_name": "certified", "flow": "redirect"},
            {"id": "emailpass", "identifier": "emailpass", "display_name": "Email/Password Authentication", "flow": "credentials"},
        ]}));
        let staff = app.acme().get("/auth/user/providers").send().await.json();
        assert_eq!(staff["providers"].as_array().unwrap().len(), 1, "staff have their passwords alone");
    }

    async fn starting_is_limited_per_client(app: TestApp) {
        let issuer = with_issuer(app).await;
        app.restart(|config| config.tenants[0].limits.sign_ins_per_client = 3).await;
        for _ in 0..3 {
            go_there(&app.acme(), &issuer).await;
        }
        app.acme().post(START).json(&json!({})).send().await.expect_status(429);
        assert_eq!(app.rows("SELECT COUNT(*) FROM callback_states").await, ["3"], "a refused start leaves no row");
        // R37: and per shop, whoever asks.
        app.restart(|config| config.tenants[1].limits.sign_ins_per_tenant = 1).await;
        go_there(&app.globex(), &issuer).await;
        app.globex().post(START).json(&json!({})).send().await.expect_status(429);
    }

    async fn what_a_bent_provider_says_signs_nobody_in(app: TestApp) {
        let issuer = with_issuer(app).await;
        let acme = app.acme();
        sign_in(&acme, &issuer).await.expect_status(200);
        for bend in [
            Bend::Claim("iss", json!("https://evil.example")), Bend::Claim("aud", json!("another")), Bend::Claim("exp", json!(1)),
            Bend::Claim("nonce", json!("x")), Bend::NoClaim("nonce"), Bend::NoClaim("sub"), Bend::BrokenSignature, Bend::Unsigned("none"),
            Bend::HmacOverPublicKey, Bend::Iss(Some("https://evil.example")), Bend::Iss(None), Bend::Status(Endpoint::Token, 500),
            Bend::Redirect(Endpoint::Token), Bend::Oversized(Endpoint::Token), Bend::Cut(Endpoint::Token),
        ] {
            issuer.bend(bend.clone());
            let answer = sign_in(&acme, &issuer).await;
            assert!(answer.status == 401 && !answer.text.contains("evil"), "{bend:?}: {} {}", answer.status, answer.text);
            issuer.straighten();
        }
        assert_eq!(app.rows("SELECT COUNT(*) FROM sessions").await, ["1"]);
        sign_in(&acme, &issuer).await.expect_status(200);
    }
}
