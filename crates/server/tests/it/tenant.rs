//! Hosts and shops: who answers where, and that nothing of one shop is anything at another.

use std::time::Duration;

use serde_json::json;
use vestibule_engine::Engine;
use vestibule_engine::error::Code;
use vestibule_engine::model::tenant::{Algorithm, Secret, TenantSettings};
use vestibule_engine::ops::{sweep::sweep, tenant};
use vestibule_engine::ports::clock::Clock;
use vestibule_engine::testing::{Fault, execute, number};

use crate::support::app::{ADDRESS, NEW_PASSWORD, PASSWORD, TestApp, customer, publishable_key};
use crate::support::client::{Shop, header};
use crate::support::{each_db, raw};

const JWKS: &str = "/.well-known/jwks.json";
const NO_STORE: &str = "There is no store at this host";
const SECRET: &str = "a-shared-secret-of-more-than-32-bytes";

/// The key that the shop at `host` signs with: each shop has its own, so it says which one answered.
async fn kid_at(app: &TestApp, lines: &[&str]) -> Option<String> {
    kid_for(app, JWKS, lines).await
}

async fn kid_for(app: &TestApp, target: &str, lines: &[&str]) -> Option<String> {
    let answer = raw::get(&app.base, target, lines).await;
    if answer.status != 200 {
        assert!(matches!(answer.status, 400 | 404), "{lines:?}: {}", answer.text);
        return None;
    }
    Some(answer.json()["keys"][0]["kid"].as_str().unwrap().to_owned())
}

async fn kid_of(app: &TestApp, host: &str) -> Option<String> {
    kid_at(app, &[&format!("Host: {host}")]).await
}

/// Lets the running server look again at what it knows of its shops.
fn look_again(app: &TestApp) {
    app.clock.advance(Duration::from_secs(1));
}

/// Another process on the same database, as a command is.
async fn beside(app: &TestApp) -> std::sync::Arc<Engine> {
    beside_at(app, app.clock.clone()).await
}

/// A command, which declares no tenants.
async fn beside_at(app: &TestApp, clock: Clock) -> std::sync::Arc<Engine> {
    app.second(clock, |config| config.tenants.clear()).await
}

each_db! {
    async fn a_host_names_a_shop_in_each_of_its_forms(app: TestApp) {
        app.restart(|config| config.tenants[0].hosts = vec!["id.acme.example".into(), "Shop.API.example.com.".into()]).await;
        let (acme, globex) = (kid_of(app, "acme.api.example.com").await, kid_of(app, "globex.api.example.com").await);
        assert!(acme.is_some() && globex.is_some() && acme != globex);
        for host in ["acme.api.example.com:9000", "ACME.Api.Example.COM", "acme.api.example.com.", "acme.api.example.com.:80", "acme.localhost",
            "acme.localhost:9000", "ACME.LOCALHOST.", "id.acme.example", "ID.acme.example.:443", "shop.api.example.com"] {
            assert_eq!(kid_of(app, host).await, acme, "{host}");
        }
        assert_eq!(kid_of(app, "globex.localhost").await, globex);
        for host in ["", "api.example.com", ".api.example.com", "nope.api.example.com", "x.acme.api.example.com", "acme.api.example.com.evil.test",
            "evilacme.api.example.com", "acme.api.example.comx", "acme", "localhost", ".localhost", "nope.localhost", "acme.example", "127.0.0.1", "[::1]:80",
            "acme.api.example.com:80@evil.test", "evil.test:80@acme.api.example.com", "acme.api.example.com/..", "acme.api.example.com evil.test",
            "acme.api.example.com,globex.api.example.com", "acme.api.example.com:", "acme.api.example.com:x", "acme%2eapi.example.com", "..", "acme..localhost"] {
            assert_eq!(kid_of(app, host).await, None, "{host:?}");
        }
    }

    async fn r45_r115_only_the_request_itself_says_which_shop(app: TestApp) {
        let (acme, globex) = (kid_of(app, "acme.api.example.com").await, kid_of(app, "globex.api.example.com").await);
        let (a, g) = ("Host: acme.api.example.com", "Host: globex.api.example.com");
        for forwarded in ["X-Forwarded-Host: globex.api.example.com", "Forwarded: host=globex.api.example.com", "X-Host: globex.api.example.com",
            "X-Original-Host: globex.api.example.com", "X-Tenant: globex"] {
            assert_eq!(kid_at(app, &[a, forwarded]).await, acme, "{forwarded}");
        }
        // Two hosts are none, whichever comes first, and also if they agree.
        for lines in [[a, g], [g, a], [a, a]] {
            assert_eq!(kid_at(app, &lines).await, None, "{lines:?}");
        }
        assert_eq!(kid_at(app, &[]).await, None, "no host");
        // RFC 9112, section 3.2.2: of an absolute target and a Host, the target counts.
        let absolute = |host: &str| format!("http://{host}{JWKS}");
        assert_eq!(kid_for(app, &absolute("globex.api.example.com"), &[a]).await, globex);
        assert_eq!(kid_for(app, &absolute("globex.api.example.com:9000"), &[g]).await, globex);
        assert_eq!(kid_for(app, &absolute("nope.api.example.com"), &[a]).await, None);
        assert_eq!(kid_for(app, &absolute("u:p@globex.api.example.com"), &[a]).await, globex);
    }

    async fn a_host_outside_falls_to_the_default_shop_and_one_inside_never(app: TestApp) {
        assert_eq!(kid_of(app, "shop.example").await, None, "there is no default");
        app.restart(|config| config.server.default_tenant = Some("globex".into())).await;
        let (acme, globex) = (kid_of(app, "acme.api.example.com").await, kid_of(app, "globex.api.example.com").await);
        for host in ["shop.example", "127.0.0.1:9000", "localhost", "[::1]:9000", "evil-api.example.com"] {
            assert_eq!(kid_of(app, host).await, globex, "{host}");
        }
        for host in ["nope.api.example.com", "x.acme.api.example.com", "nope.localhost", "globex.api.example.com@acme.localhost", ""] {
            assert_eq!(kid_of(app, host).await, None, "{host:?}");
        }
        assert_eq!(kid_of(app, "acme.localhost").await, acme);
        app.restart(|config| config.server.default_tenant = Some("nope".into())).await;
        assert_eq!(kid_of(app, "shop.example").await, None, "the default does not exist");
    }

    async fn a_host_that_no_name_can_be_is_nobodys(app: TestApp) {
        app.restart(|config| config.server.default_tenant = Some("globex".into())).await;
        let long = |length: usize| format!("{}.example", "a".repeat(length - 8));
        for length in [253, 254, 60_000] {
            let found = (kid_of(app, &long(length)).await, kid_for(app, &format!("http://{}{JWKS}", long(length)), &["Host: x"]).await);
            assert_eq!((found.0.is_some(), found.1.is_some()), (length == 253, length == 253), "{length}");
        }
        assert!(kid_of(app, &format!("{}.", long(253))).await.is_some(), "with the root's dot");
        app.acme().at(&long(254)).get(JWKS).send().await.expect_error(404, NO_STORE);
    }

    async fn what_is_long_over_is_swept_up_and_what_waits_is_not(app: TestApp) {
        const COUNT: &str = "SELECT COUNT(*) FROM events";
        customer(&app.acme(), ADDRESS).await;
        app.reset_token(&app.acme(), ADDRESS).await;
        let before = number(&app.engine, COUNT).await.unwrap();
        assert!(before > 1, "{before}");
        app.numbered().await;
        app.clock.advance(Duration::from_hours(29 * 24));
        sweep(&app.engine).await.unwrap();
        assert_eq!(number(&app.engine, COUNT).await.unwrap(), before);
        customer(&app.globex(), ADDRESS).await;
        app.take_all_mail().await;
        let both = number(&app.engine, COUNT).await.unwrap();
        app.clock.advance(Duration::from_hours(2 * 24));
        sweep(&app.engine).await.unwrap();
        assert_eq!(number(&app.engine, COUNT).await.unwrap(), both - before, "the younger ones stay");
    }

    async fn a_sweep_takes_more_than_one_transaction_takes(app: TestApp) {
        const OLD: &str = "INSERT INTO events (tenant_id, id, name, data, created_at, subject, place, number)
            WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i <= 1000) SELECT tenants.id, '00' || i, 'old', '{}', 1, '', i, i FROM n, tenants";
        assert_eq!(execute(&app.engine, OLD).await.unwrap(), 2_002);
        sweep(&app.engine).await.unwrap();
        assert_eq!(number(&app.engine, "SELECT COUNT(*) FROM events").await.unwrap(), 0);
    }

    async fn what_fails_for_one_shop_leaves_the_others_swept(app: TestApp) {
        const COUNT: &str = "SELECT COUNT(*) FROM deliveries";
        for shop in [app.acme(), app.globex()] {
            customer(&shop, ADDRESS).await;
            app.reset_token(&shop, ADDRESS).await;
        }
        let all = number(&app.engine, COUNT).await.unwrap();
        // An engine of its own: the server's dispatcher sweeps and writes when it likes.
        let command = beside_at(app, Clock::frozen(app.clock.now().after(Duration::from_hours(31 * 24)))).await;
        command.faults().arm(Fault::Begin, 1);
        sweep(&command).await.unwrap();
        let left = number(&app.engine, COUNT).await.unwrap();
        assert!(0 < left && left < all, "{left} of {all}");
        sweep(&command).await.unwrap();
        assert_eq!(number(&app.engine, COUNT).await.unwrap(), 0);
    }

    async fn an_unknown_host_has_no_api_no_pages_and_no_cors(app: TestApp) {
        let nobody = app.acme().at("nope.api.example.com");
        for path in ["/auth/customer/emailpass", "/auth/customer/emailpass/register", "/auth/customer/emailpass/reset-password", "/store/customers", "/account/reset-password"] {
            let answer = nobody.post(path).json(&json!({"email": ADDRESS, "password": PASSWORD, "identifier": ADDRESS})).header("origin", "https://acme.example").send().await;
            assert!(!answer.headers.contains_key("access-control-allow-origin"), "{path}");
            answer.expect_error(404, NO_STORE);
        }
        nobody.get("/account/reset-password").send().await.expect_error(404, NO_STORE);
        // What belongs to no shop answers everywhere.
        for path in ["/health", "/livez", "/readyz"] {
            nobody.get(path).send().await.expect_status(200);
        }
    }

    async fn a_shop_made_by_a_command_answers_at_once_and_a_disabled_one_no_more(app: TestApp) {
        assert_eq!(kid_of(app, "initech.api.example.com").await, None);
        let command = beside(app).await;
        let settings = TenantSettings { slug: "initech".into(), hosts: vec!["initech.example".into()], publishable_keys: vec![publishable_key("initech")], ..TenantSettings::default() };
        let made = tenant::create(&command, &settings).await.unwrap();
        let shop = app.shop("initech");
        let token = customer(&shop, ADDRESS).await;
        shop.me(&token).await.expect_status(200);
        assert!(kid_of(app, "initech.example").await.is_some());
        // The others go on.
        app.acme().register(ADDRESS, PASSWORD).await.expect_status(200);
        assert!(tenant::create(&command, &settings).await.is_err(), "the slug is taken");
        let thief = TenantSettings { slug: "thief".into(), hosts: vec!["initech.example".into()], ..TenantSettings::default() };
        assert!(tenant::create(&command, &thief).await.is_err(), "the host is taken");
        look_again(app);
        assert_eq!(kid_of(app, "thief.localhost").await, None, "nothing of it is kept");

        tenant::disable(&command, &made).await.unwrap();
        look_again(app);
        for shop in [shop.clone(), shop.at("initech.example"), shop.at("initech.localhost")] {
            shop.me(&token).await.expect_error(404, NO_STORE);
            shop.sign_in(ADDRESS, PASSWORD).await.expect_error(404, NO_STORE);
            shop.get(JWKS).send().await.expect_error(404, NO_STORE);
        }
        app.restart(|_| ()).await;
        app.shop("initech").me(&token).await.expect_error(404, NO_STORE);
    }

    async fn nobody_takes_the_name_that_another_has_by_its_slug(app: TestApp) {
        let made = |slug: &str, host: &str| TenantSettings { slug: slug.into(), hosts: vec![host.into()], ..TenantSettings::default() };
        let refused = async |settings: TenantSettings| tenant::create(&app.engine, &settings).await.err().map(|e| e.message);
        for host in ["globex.localhost", "globex.api.example.com", "GLOBEX.localhost."] {
            let text = refused(made("thief", host)).await.unwrap();
            assert_eq!(text, format!("The host `{}` is that of the tenant `globex`", host.trim_end_matches('.').to_ascii_lowercase()));
        }
        // A name of its own is nobody else's, and keeps its slug from whoever comes later.
        assert_eq!(refused(made("early", "early.localhost")).await, None);
        assert_eq!(refused(made("first", "later.localhost")).await, None);
        assert_eq!(refused(made("later", "later.example")).await.unwrap(), "The host `later.localhost` belongs to another tenant");
        assert_eq!(tenant::by_slug(&app.engine, "later").await.err().map(|e| e.code), Some(Code::NotFound), "nothing of it is kept");
    }

    async fn what_is_sealed_for_one_shop_opens_at_no_other(app: TestApp) {
        let command = beside(app).await;
        tenant::create(&command, &TenantSettings { slug: "initech".into(), ..TenantSettings::default() }).await.unwrap();
        for (damage, shop) in [
            ("UPDATE tenants SET settings = (SELECT settings FROM tenants WHERE slug = 'acme') WHERE slug = 'globex'", "globex"),
            ("UPDATE signing_keys SET material = (SELECT material FROM signing_keys JOIN tenants ON tenants.id = tenant_id WHERE slug = 'acme')
                WHERE tenant_id = (SELECT id FROM tenants WHERE slug = 'initech')", "initech"),
        ] {
            let before = beside(app).await;
            assert!(tenant::by_slug(&before, shop).await.is_ok());
            assert_eq!(execute(&app.engine, damage).await.unwrap(), 1);
            let after = beside(app).await;
            assert!(tenant::by_slug(&after, shop).await.is_err() && tenant::by_slug(&after, "acme").await.is_ok(), "{shop}");
        }
    }

    async fn a_start_writes_what_the_configuration_changed_and_nothing_else(app: TestApp) {
        const KEYS: &str = "SELECT COUNT(*) FROM signing_keys";
        let written = async |app: &TestApp| app.rows("SELECT slug, version FROM tenants ORDER BY slug").await;
        let more_keys = |slug: &str| vec![publishable_key(slug), publishable_key(&format!("{slug}-2"))];
        app.restart(|config| {
            config.tenants[0].hosts = vec!["id.acme.example".into()];
            config.tenants[0].publishable_keys = more_keys("acme");
        }).await;
        let before = written(app).await;
        app.restart(|_| ()).await;
        assert_eq!(written(app).await, before);
        // One shared secret is one key, another secret another one.
        for (secret, keys) in [(SECRET, 3), (SECRET, 3), ("another-shared-secret-of-32-bytes-or-more", 4), ("another-shared-secret-of-32-bytes-or-more", 4)] {
            app.restart(|config| {
                config.tenants[1].tokens.algorithm = Algorithm::Hs256;
                config.tenants[1].tokens.secret = Some(Secret::new(secret));
            }).await;
            assert_eq!(number(&app.engine, KEYS).await.unwrap(), keys);
        }
        let after = written(app).await;
        assert_eq!((&after[0], after[1] == before[1]), (&before[0], false));
        app.restart(|_| ()).await;
        assert_eq!(written(app).await, after);
        // Back to a key of its own: a new one.
        app.restart(|config| (config.tenants[1].tokens.algorithm, config.tenants[1].tokens.secret) = (Algorithm::EdDsa, None)).await;
        assert_eq!(number(&app.engine, KEYS).await.unwrap(), 5);
    }

    async fn a_change_that_others_overtake_is_tried_three_times(app: TestApp) {
        use vestibule_engine::error::Code;
        let command = beside(app).await;
        let settings = TenantSettings { slug: "initech".into(), hosts: vec!["initech.example".into()], ..TenantSettings::default() };
        tenant::create(&command, &settings).await.unwrap();
        let declared = |most: u32| {
            let mut settings = settings.clone();
            settings.limits.failed_sign_ins = most;
            settings
        };
        for (faults, outcome) in [(2, Ok(())), (3, Err(Code::Conflict))] {
            command.faults().arm(Fault::Conflict, faults);
            assert_eq!(tenant::declare(&command, &declared(20 * faults)).await.map_err(|e| e.code), outcome, "{faults}");
            command.faults().arm(Fault::Conflict, faults);
            let changed = tenant::change(&command, "initech", |settings| settings.limits.failed_sign_ins += 1).await;
            assert_eq!(changed.map_err(|e| e.code), outcome, "{faults}");
        }
        // What is taken stays taken: it is said at once, and nothing else is tried again.
        let thief = TenantSettings { hosts: vec!["initech.example".into()], slug: "thief".into(), ..TenantSettings::default() };
        assert_eq!(tenant::declare(&command, &thief).await.map_err(|e| e.code), Err(Code::Duplicate));
        command.faults().arm(Fault::Begin, 1);
        assert!(tenant::change(&command, "initech", |settings| settings.limits.failed_sign_ins = 7).await.is_err());
        command.faults().arm(Fault::Begin, 1);
        assert!(tenant::declare(&command, &declared(8)).await.is_err());
        // A change of one thing leaves the rest.
        let changed = tenant::by_slug(&command, "initech").await.unwrap();
        assert_eq!((changed.settings.limits.failed_sign_ins, &changed.hosts), (41, &settings.hosts));
        look_again(app);
        assert!(kid_of(app, "initech.example").await.is_some());
    }

    async fn a_disabled_shop_has_no_pages_under_the_common_host_either(app: TestApp) {
        app.restart(|config| config.server.public_url = Some("https://id.example.com".parse().unwrap())).await;
        let common = app.acme().at("id.example.com");
        common.get("/t/globex/account/reset-password").send().await.expect_status(200);
        assert!(kid_of(app, "globex.localhost").await.is_some());
        let command = beside(app).await;
        tenant::disable(&command, &tenant::by_slug(&command, "globex").await.unwrap()).await.unwrap();
        look_again(app);
        common.get("/t/globex/account/reset-password").send().await.expect_status(404);
        // Looking at it that way must not bring it back at its own host.
        assert_eq!(kid_of(app, "globex.localhost").await, None);
        common.get("/t/acme/account/reset-password").send().await.expect_status(200);
        app.globex().at("acme.localhost").get("/t/acme/account/reset-password").send().await.expect_status(404);
    }

    async fn r85_the_jwks_shows_public_keys_and_no_shared_secret(app: TestApp) {
        let shop = app.acme();
        let token = shop.register(ADDRESS, PASSWORD).await.token();
        let answer = shop.get(JWKS).send().await.expect_status(200);
        let keys = answer.json()["keys"].clone();
        let key = &keys[0];
        let names: Vec<_> = key.as_object().unwrap().keys().map(String::as_str).collect();
        assert!(names.iter().all(|name| ["kty", "crv", "x", "kid", "alg", "use"].contains(name)), "{names:?}");
        assert_eq!((&key["kty"], &key["crv"], &key["alg"]), (&json!("OKP"), &json!("Ed25519"), &json!("EdDSA")));
        assert!(header(&token).contains(key["kid"].as_str().unwrap()));
        assert_eq!(keys.as_array().unwrap().len(), 1);
        app.restart(|config| {
            config.tenants[1].tokens.algorithm = Algorithm::Hs256;
            config.tenants[1].tokens.secret = Some(Secret::new(SECRET));
        }).await;
        app.clock.advance(Duration::from_hours(25)); // the retired key's last token is gone
        app.restart(|_| ()).await;
        let published = app.globex().get(JWKS).send().await.expect_status(200);
        assert_eq!(published.json(), json!({"keys": []}));
        assert!(!published.text.contains(SECRET));
        assert_eq!(app.acme().get(JWKS).send().await.json()["keys"], keys, "the other shop keeps its key over a restart");
    }

    async fn r116_nothing_of_one_shop_is_anything_at_the_other(app: TestApp) {
        let (acme, globex) = (app.acme(), app.globex());
        let at_globex = customer(&globex, "bob@example.com").await;
        let session = customer(&acme, ADDRESS).await;
        let reset = app.reset_token(&acme, ADDRESS).await;
        let actorless = acme.register("eve@example.com", PASSWORD).await.token();
        // Tokens of each kind, on each route that takes one.
        for token in [&session, &reset, &actorless] {
            globex.me(token).await.expect_error(401, "Unauthorized");
            globex.post("/store/customers/me").bearer(token).json(&json!({})).send().await.expect_error(401, "Unauthorized");
            globex.post("/store/customers").bearer(token).json(&json!({"email": ADDRESS})).send().await.expect_error(401, "Unauthorized");
            globex.complete_reset(token, NEW_PASSWORD).await.expect_error(401, "Invalid token");
        }
        let page = globex.get(&format!("/account/reset-password?token={reset}")).send().await.expect_status(200);
        assert!(!page.text.contains("type=\"password\""), "a foreign link shows no form");
        let form = globex.post("/account/reset-password").header("content-type", "application/x-www-form-urlencoded");
        form.body(format!("token={reset}&password={NEW_PASSWORD}")).send().await.expect_status(400);
        // Address, password, publishable key.
        globex.sign_in(ADDRESS, PASSWORD).await.expect_error(401, "Invalid email or password");
        let crossed = Shop::new(&app.base, "globex.api.example.com", acme.key());
        crossed.me(&at_globex).await.expect_error(400, "A valid publishable key is required to proceed with the request");
        // A reset asked for at the other shop mails nobody; one asked for here leaves the other's alone.
        globex.request_reset(ADDRESS).await.expect_status(201);
        app.settle().await;
        assert!(app.unread().is_empty());
        // Budgets: ten wrong guesses there leave this shop's alone.
        for _ in 1..10 {
            globex.sign_in(ADDRESS, "a-Wrong-pass-1").await.expect_status(401);
        }
        globex.sign_in(ADDRESS, "a-Wrong-pass-1").await.expect_status(429);
        acme.sign_in(ADDRESS, PASSWORD).await.expect_status(200);
        acme.me(&session).await.expect_status(200);
        acme.complete_reset(&reset, NEW_PASSWORD).await.expect_status(200);
        globex.me(&at_globex).await.expect_status(200);
        app.settle().await;
        app.next_mail(ADDRESS).await;
    }
}
