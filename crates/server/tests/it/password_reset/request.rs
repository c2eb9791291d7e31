//! `POST …/reset-password`: one answer for everybody, and which bodies it takes.

use serde_json::json;

use crate::support::app::{ADDRESS, PASSWORD, TestApp, assert_same, customer, provider, token_in};
use crate::support::each_db;

const PATH: &str = "/auth/customer/emailpass/reset-password";

each_db! {
    async fn r42_known_and_unknown_addresses_get_one_answer(app: TestApp) {
        let acme = app.acme();
        customer(&acme, ADDRESS).await;
        // Past the budget of an identifier, too.
        for round in 0..7 {
            let known = acme.request_reset(ADDRESS).await.expect_status(201);
            for other in ["nobody@example.com", "ann@mailinator.com", "ann@no-such-domain.invalid", "ann@localhost"] {
                assert_same(&known, &acme.request_reset(other).await);
            }
            assert_eq!((known.text.as_str(), known.header("content-type")), ("Created", "text/plain; charset=utf-8"));
            app.settle().await;
            if round < 5 {
                app.next_mail(ADDRESS).await;
            }
        }
        assert_eq!(app.rows("SELECT COUNT(*) FROM jobs").await, ["0"], "a job goes once it is issued");
        assert_eq!(app.rows("SELECT COUNT(*) FROM events WHERE name = 'auth.password_reset'").await, ["5"]);
    }

    async fn what_is_no_address_is_refused_alike_at_every_shop(app: TestApp) {
        // R5, R42: the refusal speaks of the string, never of an account.
        let acme = app.acme();
        customer(&acme, ADDRESS).await;
        for odd in ["ann", "ann@", "@example.com", "ann@example.com,bob@example.com", "ann@example.com\r\nBcc: bob@example.com", "ann @example.com"] {
            let here = acme.request_reset(odd).await.expect_error(400, "Invalid email address");
            assert_same(&here, &app.globex().request_reset(odd).await);
        }
        // An empty one is nobody's, as in the server whose place this takes.
        assert_eq!(acme.request_reset("").await.expect_status(201).text, "Created");
        app.settle().await;
        assert_eq!(app.rows("SELECT COUNT(*) FROM events WHERE name = 'auth.password_reset'").await, ["0"]);
    }

    async fn a_third_party_has_no_password_to_reset(app: TestApp) {
        customer(&app.acme(), ADDRESS).await;
        app.restart(|config| config.tenants[0].providers = [("party".to_owned(), provider("https://party.example", "https://acme.example/back"))].into()).await;
        let request = app.acme().post("/auth/customer/party/reset-password").json(&json!({"identifier": ADDRESS}));
        assert_eq!(request.send().await.expect_status(201).text, "Created");
        app.settle().await;
        assert_eq!(app.rows("SELECT COUNT(*) FROM events WHERE name = 'auth.password_reset'").await, ["0"]);
    }

    async fn the_published_example_is_taken_in_all_its_forms(app: TestApp) {
        let acme = app.acme();
        customer(&acme, ADDRESS).await;
        let forms = [
            (Some("application/json"), "ann@example.com"),
            (Some("application/json; charset=utf-8"), "  ann@example.com \n"),
            (Some("application/json"), "\"ann@example.com\""),
            (Some("text/plain"), "ann@example.com"),
            (None, "ann@example.com"),
        ];
        for (kind, body) in forms {
            let call = acme.post(PATH).body(body);
            let call = match kind {
                Some(kind) => call.header("content-type", kind),
                None => call,
            };
            assert_eq!(call.send().await.expect_status(201).text, "Created");
            app.settle().await;
            app.next_mail(ADDRESS).await;
        }
    }

    async fn nothing_else_passes_for_an_address(app: TestApp) {
        let acme = app.acme();
        customer(&acme, ADDRESS).await;
        let long = format!("{}@example.com", "a".repeat(243));
        let bodies = ["{\"identifier\":", "null", "123", "true", "a@b,c@d", "ann@example.com bob@example.com", "", "[\"ann@example.com\"]", "{}", long.as_str()];
        for body in bodies {
            let answer = acme.post(PATH).header("content-type", "application/json").body(body.to_owned()).send().await.expect_status(400);
            assert_eq!(answer.json()["type"], "invalid_data", "{body}");
        }
        // A form's body is a form, and a type that is not read counts as no body.
        for kind in ["application/x-www-form-urlencoded", "application/octet-stream"] {
            acme.post(PATH).header("content-type", kind).body(ADDRESS).send().await.expect_status(400);
        }
        // Elsewhere a bare string is malformed.
        acme.post("/auth/customer/emailpass").header("content-type", "application/json").body(ADDRESS).send().await.expect_status(400);
        // A form with the field is an object like any other.
        let form = acme.post(PATH).header("content-type", "application/x-www-form-urlencoded").body("identifier=ann%40example.com");
        form.send().await.expect_status(201);
        app.settle().await;
        app.next_mail(ADDRESS).await;
    }

    async fn validation_is_strict_and_says_so_in_known_words(app: TestApp) {
        let acme = app.acme();
        let cases = [
            (json!({}), "Field 'identifier' is required"),
            (json!({"email": ADDRESS}), "Field 'identifier' is required; Unrecognized fields: 'email'"),
            (json!({"identifier": ADDRESS, "email": 1, "x": 2}), "Unrecognized fields: 'email, x'"),
            (json!({"identifier": 5}), "Expected type: 'string' for field 'identifier', got: '5'"),
            (json!({"identifier": null}), "Expected type: 'string' for field 'identifier', got: 'null'"),
            (json!({"identifier": [ADDRESS]}), "Expected type: 'string' for field 'identifier', got: 'ann@example.com'"),
            (json!({"identifier": {"a": 1}}), "Expected type: 'string' for field 'identifier', got: '[object Object]'"),
            (json!({"identifier": ADDRESS, "metadata": "x"}), "Expected type: 'record' for field 'metadata', got: 'x'"),
            (json!({"identifier": ADDRESS, "metadata": null}), "Expected type: 'record' for field 'metadata', got: 'null'"),
            (json!({"identifier": ADDRESS, "metadata": []}), "Expected type: 'record' for field 'metadata', got: ''"),
            (json!([ADDRESS]), "Field '' is required"),
        ];
        for (body, issue) in cases {
            let answer = acme.post(PATH).json(&body).send().await.expect_error(400, &format!("Invalid request: {issue}"));
            assert_eq!(answer.json()["type"], "invalid_data");
        }
        // R39
        let twice = format!("{{\"identifier\":\"{ADDRESS}\",\"identifier\":\"bob@example.com\"}}");
        acme.post(PATH).header("content-type", "application/json").body(twice).send().await.expect_status(400);
        let wrong = "The actor type user is not allowed to use the auth provider google";
        acme.post("/auth/user/google/reset-password").json(&json!({"identifier": ADDRESS})).send().await.expect_error(400, wrong);
        assert_eq!(acme.post("/auth/customer/nope/reset-password").json(&json!({"identifier": ADDRESS})).send().await.expect_status(201).text, "Created");
    }

    async fn metadata_up_to_4_kib_reaches_the_event(app: TestApp) {
        let acme = app.acme();
        customer(&acme, ADDRESS).await;
        let of = |bytes: usize| json!({"a": "x".repeat(bytes - json!({"a": ""}).to_string().len())});
        assert_eq!(of(4096).to_string().len(), 4096);
        let ask = |metadata| acme.post(PATH).json(&json!({"identifier": ADDRESS, "metadata": metadata}));
        let refused = ask(of(4097)).send().await.expect_status(400);
        assert!(refused.json()["message"].as_str().unwrap().contains("metadata"), "{}", refused.text);
        // The bound speaks of bytes, not of characters.
        let mut wide = of(4094);
        wide["a"] = wide["a"].as_str().unwrap().replacen("xxx", "€xx", 1).into();
        assert_eq!(wide.to_string().len(), 4096);
        ask(wide.clone()).send().await.expect_status(201);
        app.settle().await;
        app.next_mail(ADDRESS).await;
        let events = app.rows("SELECT data FROM events WHERE name = 'auth.password_reset'").await;
        let data: serde_json::Value = serde_json::from_str(&events[0]).unwrap();
        assert_eq!(data, json!({"entity_id": ADDRESS, "actor_type": "customer", "metadata": wide}));
    }

    async fn r44_mail_goes_to_the_stored_address(app: TestApp) {
        let acme = app.acme();
        acme.register("Kate.Miss@Example.com", PASSWORD).await.expect_status(200);
        for spelling in ["kate.miss@example.com", "KATE.MISS@EXAMPLE.COM", " Kate.Miss@EXAMPLE.com "] {
            acme.request_reset(spelling).await.expect_status(201);
            app.settle().await;
            let mail = app.next_mail("Kate.Miss@Example.com").await;
            assert_eq!(mail.headers("To"), ["Kate.Miss@Example.com"]);
            assert!(!token_in(&mail).is_empty());
        }
        // R2, R3: look-alikes are somebody else, or nobody.
        for other in ["\u{212A}ate.miss@example.com", "kate.mi\u{17F}s@example.com", "kate.miss@example\u{3002}com", "kate.mıss@example.com", "kate.miss\u{FF20}example.com"] {
            let answer = acme.request_reset(other).await;
            assert!([201, 400].contains(&answer.status), "{other}: {}", answer.text);
            app.settle().await;
        }
        assert_eq!(app.rows("SELECT COUNT(*) FROM events WHERE name = 'auth.password_reset'").await, ["3"]);
    }
}
