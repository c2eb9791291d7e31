//! The hosted reset page from outside: what it shows, what it spends, and what its headers forbid.

use std::time::Duration;

use http::Method;
use vestibule_engine::ops;

use crate::app_sign_in::{self, STAFF};
use crate::support::app::{ADDRESS, NEW_PASSWORD, PASSWORD, TestApp, assert_same, customer, link_in, token_in};
use crate::support::client::{Answer, Shop};
use crate::support::each_db;

const PAGE: &str = "/account/reset-password";

fn with(token: &str) -> String {
    format!("{PAGE}?token={token}")
}

async fn post(shop: &Shop, path: &str, form: &[(&str, &str)]) -> Answer {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    shop.post(path).header("accept", "text/html").header("content-type", "application/x-www-form-urlencoded").body(body).send().await
}

/// The page's source as a browser reads it: the templates write a slash in a value as a reference.
fn source(page: &Answer) -> String {
    page.text.replace("&#x2f;", "/")
}

/// The words of the page's heading.
#[track_caller]
fn heading(page: &Answer) -> String {
    let inner = page.text.split("<h1>").nth(1).unwrap_or_else(|| panic!("no page: {} {}", page.status, page.text));
    inner.split("</h1>").next().unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn assert_guarded(page: &Answer) {
    let policy = page.header("content-security-policy");
    for part in ["default-src 'none'", "base-uri 'none'", "object-src 'none'", "frame-ancestors 'none'", "form-action 'self'"] {
        assert!(policy.contains(part), "{part} is not in {policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains("http") && !policy.contains('*'), "{policy}");
    assert_eq!(page.header("referrer-policy"), "no-referrer");
    assert_eq!(page.header("cache-control"), "no-store");
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    assert_eq!(page.header("cross-origin-opener-policy"), "same-origin");
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    // R59, R125: nothing from elsewhere and no script of the page's own.
    let source = source(page);
    for src in source.split("src=\"").skip(1).chain(source.split("<link ").skip(1).filter_map(|link| link.split("href=\"").nth(1))) {
        assert!(src.starts_with("/account/") || src.starts_with("/t/") || src.starts_with("data:"), "{src}");
    }
    assert!(!page.text.contains("<script>") && !page.text.contains("<style") && !page.text.contains(" style=") && !page.text.contains(" onclick"));
}

each_db! {
    async fn r58_looking_at_a_link_spends_nothing(app: TestApp) {
        let acme = app.acme();
        customer(&acme, ADDRESS).await;
        let token = app.reset_token(&acme, ADDRESS).await;
        for method in [Method::GET, Method::HEAD] {
            for _ in 0..5 {
                let page = acme.call(method.clone(), &with(&token)).send().await.expect_status(200);
                assert_eq!(page.text.is_empty(), method == Method::HEAD);
                assert_eq!(page.header("referrer-policy"), "no-referrer");
            }
        }
        let page = acme.get(&with(&token)).send().await.expect_status(200);
        assert_eq!(heading(&page), "Choose a new password");
        assert!(page.text.contains("autocomplete=\"new-password\"") && page.text.contains(&format!("value=\"{token}\"")));
        assert_guarded(&page);
        let done = post(&acme, PAGE, &[("token", &token), ("password", NEW_PASSWORD)]).await.expect_status(200);
        assert_eq!(heading(&done), "Your password is changed");
        assert!(!done.text.contains(&token));
        assert_guarded(&done);
        app.settle().await;
        app.next_mail(ADDRESS).await;
        acme.sign_in(ADDRESS, NEW_PASSWORD).await.expect_status(200);
        acme.sign_in(ADDRESS, PASSWORD).await.expect_status(401);
    }

    async fn each_state_of_a_link_is_said_in_words_and_a_new_one_offered(app: TestApp) {
        let (acme, globex) = (app.acme(), app.globex());
        customer(&acme, ADDRESS).await;
        customer(&globex, ADDRESS).await;
        let used = app.reset_token(&acme, ADDRESS).await;
        acme.complete_reset(&used, NEW_PASSWORD).await.expect_status(200);
        app.settle().await;
        app.next_mail(ADDRESS).await;
        let replaced = app.reset_token(&acme, ADDRESS).await;
        let good = app.reset_token(&acme, ADDRESS).await;
        let foreign = app.reset_token(&globex, ADDRESS).await;
        let cut = &good[..good.len() - 5];
        let session = acme.sign_in(ADDRESS, NEW_PASSWORD).await.token();
        let (was_used, is_old, is_foreign) = ("This link has been used", "This link has expired", "This link does not work here");
        for (token, words) in
            [(used.as_str(), was_used), (&replaced, is_old), (&foreign, is_foreign), (cut, is_foreign), ("x", is_foreign), (&session, is_foreign)]
        {
            let page = acme.get(&with(token)).send().await.expect_status(200);
            assert_eq!(heading(&page), words);
            assert!(page.text.contains(&format!("action=\"{PAGE}/request\"")), "a new link is offered");
            assert!(!page.text.contains("type=\"password\""));
            assert_guarded(&page);
            let refused = post(&acme, PAGE, &[("token", token), ("password", "a-third-pass-77")]).await.expect_status(400);
            assert_eq!(heading(&refused), words);
            assert_guarded(&refused);
        }
        // The other shop's link was not touched by that.
        assert_eq!(heading(&globex.get(&with(&foreign)).send().await), "Choose a new password");
        assert_eq!(heading(&acme.get(&with(&good)).send().await), "Choose a new password");
        app.advance(Duration::from_mins(15));
        assert_eq!(heading(&acme.get(&with(&good)).send().await), is_old);
        let late = post(&acme, PAGE, &[("token", &good), ("password", "a-third-pass-77")]).await.expect_status(400);
        assert_eq!(heading(&late), is_old);
        // Long after its row was swept, the words are the same.
        app.advance(Duration::from_hours(216));
        vestibule_engine::ops::sweep::sweep(&app.engine).await.unwrap();
        assert_eq!(app.rows("SELECT COUNT(*) FROM password_resets").await, ["0"]);
        assert_eq!(heading(&acme.get(&with(&good)).send().await), is_old);
        acme.sign_in(ADDRESS, NEW_PASSWORD).await.expect_status(200);
    }

    async fn a_new_link_is_asked_for_with_neutral_words(app: TestApp) {
        let acme = app.acme();
        customer(&acme, ADDRESS).await;
        let ask = acme.get(PAGE).send().await.expect_status(200);
        assert_eq!(heading(&ask), "Reset your password");
        assert!(ask.text.contains("autocomplete=\"email\""));
        assert_guarded(&ask);
        let request = format!("{PAGE}/request");
        let known = post(&acme, &request, &[("address", "ANN@example.com")]).await.expect_status(200);
        assert_eq!(heading(&known), "Look in your mailbox");
        assert_guarded(&known);
        assert_same(&known, &post(&acme, &request, &[("address", "nobody@example.com")]).await);
        app.settle().await;
        let link = url::Url::parse(&link_in(&app.next_mail(ADDRESS).await)).unwrap();
        assert_eq!((link.host_str().unwrap(), link.path()), ("acme.api.example.com", PAGE));
        for wrong in ["", "ann", "a@b@c"] {
            let page = post(&acme, &request, &[("address", wrong)]).await.expect_status(400);
            assert!(page.text.contains("Invalid email address"), "{}", page.text);
            assert_guarded(&page);
        }
        app.restart_acme(|acme| acme.limits.resets_per_client = 1).await;
        let page = post(&app.acme(), &request, &[("address", ADDRESS)]).await.expect_status(429);
        assert_eq!(heading(&page), "Too many tries");
        assert_guarded(&page);
    }

    async fn a_member_of_the_staff_comes_back_by_the_pages_alone(app: TestApp) {
        let acme = app.acme();
        app_sign_in::member(app, "acme", STAFF).await;
        customer(&acme, STAFF).await;
        let door = acme.get("/app/sign-in").send().await.expect_status(200);
        let ask = format!("{PAGE}?actor_type=user");
        assert!(source(&door).contains(&format!("href=\"{ask}\">Forgot your password?</a>")));
        let asked = acme.get(&ask).send().await.expect_status(200);
        let carried = "<input type=\"hidden\" name=\"actor_type\" value=\"user\">";
        assert!(asked.text.contains(carried) && asked.text.contains("/app/sign-in"));
        assert!(!acme.get(PAGE).send().await.text.contains(carried));
        let request = format!("{PAGE}/request");
        let again = post(&acme, &request, &[("actor_type", "user"), ("address", "ann")]).await.expect_status(400);
        assert!(again.text.contains(carried) && again.text.contains("Invalid email address"));
        let sent = post(&acme, &request, &[("actor_type", "user"), ("address", STAFF)]).await.expect_status(200);
        assert_same(&sent, &post(&acme, &request, &[("actor_type", "user"), ("address", "nobody@example.com")]).await);
        app.settle().await;
        let token = token_in(&app.next_mail(STAFF).await);
        let form = acme.get(&with(&token)).send().await.expect_status(200);
        assert!(form.text.contains("/app/sign-in"));
        let refused = post(&acme, PAGE, &[("token", &token), ("password", "short")]).await.expect_status(400);
        assert!(refused.text.contains("/app/sign-in") && refused.text.contains("at least 8"));
        let done = post(&acme, PAGE, &[("token", &token), ("password", NEW_PASSWORD)]).await.expect_status(200);
        assert!(done.text.contains("href=\"/app/sign-in\">Go to the console</a>"));
        assert!(acme.get(&with(&token)).send().await.text.contains(carried), "who asks for another is of the staff yet");
        assert!(post(&acme, PAGE, &[("token", &token), ("password", NEW_PASSWORD)]).await.text.contains(carried));
        let entered = app_sign_in::post(&acme, "/app/sign-in", "", &[("address", STAFF), ("password", NEW_PASSWORD)]).await;
        app_sign_in::assert_led_to(&entered, "/app/templates");
        // The customer of that address is another.
        acme.sign_in(STAFF, PASSWORD).await.expect_status(200);
        app.settle().await;
        app.take_all_mail().await;
    }

    async fn who_has_no_password_has_no_reset(app: TestApp) {
        app_sign_in::member(app, "acme", STAFF).await;
        let staff = [("actor_type", "user"), ("address", STAFF)];
        let request = format!("{PAGE}/request");
        post(&app.acme(), &request, &staff).await.expect_status(200);
        app.settle().await;
        let token = token_in(&app.next_mail(STAFF).await);
        app.restart_acme(|acme| drop(acme.auth_methods.insert("user".into(), Vec::new()))).await;
        let acme = app.acme();
        assert!(!acme.get("/app/sign-in").send().await.expect_status(200).text.contains("Forgot"));
        acme.get(&format!("{PAGE}?actor_type=user")).send().await.expect_status(404);
        post(&acme, &request, &staff).await.expect_status(404);
        assert_eq!(app.rows("SELECT COUNT(*) FROM jobs").await, ["0"]);
        acme.get(&with(&token)).send().await.expect_status(404);
        post(&acme, PAGE, &[("token", &token), ("password", NEW_PASSWORD)]).await.expect_status(404);
        acme.get(PAGE).send().await.expect_status(200);
        acme.get(&format!("{PAGE}?actor_type=vendor")).send().await.expect_status(404);
        let methods = [("customer".to_owned(), Vec::new()), ("vendor".to_owned(), vec!["emailpass".to_owned()])];
        app.restart_acme(|acme| acme.auth_methods = methods.into()).await;
        let acme = app.acme();
        acme.get(PAGE).send().await.expect_status(404);
        acme.get(&with("x")).send().await.expect_status(404);
        post(&acme, &request, &[("address", ADDRESS)]).await.expect_status(404);
        let vendors = acme.get(&format!("{PAGE}?actor_type=vendor")).send().await.expect_status(200);
        assert!(vendors.text.contains("name=\"actor_type\" value=\"vendor\""));
    }

    async fn r55_a_refused_password_is_explained_and_the_link_stays_good(app: TestApp) {
        let acme = app.acme();
        customer(&acme, ADDRESS).await;
        let token = app.reset_token(&acme, ADDRESS).await;
        for (password, words) in [
            ("password123", "Password is too common"),
            ("short", "Password must be at least 8 characters long"),
            ("", "Please choose a password"),
        ] {
            let page = post(&acme, PAGE, &[("token", &token), ("password", password)]).await.expect_status(400);
            assert_eq!(heading(&page), "Choose a new password");
            assert!(page.text.contains(words), "{}", page.text);
            assert!(page.text.contains(&token), "the form can be sent again");
            assert!(password.is_empty() || !page.text.contains(password), "what was typed is not shown again");
            assert_guarded(&page);
        }
        post(&acme, PAGE, &[("token", &token), ("password", NEW_PASSWORD)]).await.expect_status(200);
        app.settle().await;
        app.next_mail(ADDRESS).await;
    }

    async fn a_shops_page_under_a_path_is_at_the_common_host_alone(app: TestApp) {
        app.restart(|config| {
            config.server.public_url = Some("https://id.example.com".parse().unwrap());
            config.server.tenant_domain = None;
            config.tenants[0].hosts = vec!["acme.example".into()];
        })
        .await;
        // `globex` has no host of its own; its API answers under localhost.
        let (globex, common) = (app.globex().at("globex.localhost"), app.acme().at("id.example.com"));
        customer(&globex, ADDRESS).await;
        globex.request_reset(ADDRESS).await.expect_status(201);
        app.settle().await;
        let mail = app.next_mail(ADDRESS).await;
        let (link, token) = (link_in(&mail), token_in(&mail));
        assert_eq!(link, format!("https://id.example.com/t/globex/account/reset-password?token={token}"));
        let path = format!("/t/globex{}", with(&token));
        let page = common.get(&path).send().await.expect_status(200);
        assert_eq!(heading(&page), "Choose a new password");
        assert!(source(&page).contains("action=\"/t/globex/account/reset-password\"") && source(&page).contains("\"/t/globex/account/assets/style.css\""));
        assert_guarded(&page);
        common.get("/t/globex/account/assets/style.css").send().await.expect_status(200);
        // Nobody's page stands at another shop's host, not even its own.
        for host in ["acme.example", "globex.localhost", "acme.localhost", "evil.example"] {
            common.at(host).get(&path).send().await.expect_status(404);
            post(&common.at(host), "/t/globex/account/reset-password", &[("token", &token), ("password", NEW_PASSWORD)]).await.expect_status(404);
            post(&common.at(host), "/t/globex/account/reset-password/request", &[("address", ADDRESS)]).await.expect_status(404);
        }
        common.get(&format!("/t/nobody{}", with(&token))).send().await.expect_status(404);
        // Under another shop's path the link is foreign.
        assert_eq!(heading(&common.get(&format!("/t/acme{}", with(&token))).send().await), "This link does not work here");
        let done = post(&common, "/t/globex/account/reset-password", &[("token", &token), ("password", NEW_PASSWORD)]).await.expect_status(200);
        assert_eq!(heading(&done), "Your password is changed");
        app.settle().await;
        app.next_mail(ADDRESS).await;
        post(&common, "/t/globex/account/reset-password/request", &[("address", ADDRESS)]).await.expect_status(200);
        app.settle().await;
        app.next_mail(ADDRESS).await;
    }

    async fn a_closed_shop_has_no_page(app: TestApp) {
        app.restart(|config| config.server.public_url = Some("https://id.example.com".parse().unwrap())).await;
        let common = app.acme().at("id.example.com");
        let path = format!("/t/globex{PAGE}");
        common.get(&path).send().await.expect_status(200);
        let tenant = ops::tenant::by_slug(&app.engine, "globex").await.unwrap();
        ops::tenant::disable(&app.engine, &tenant).await.unwrap();
        app.advance(Duration::from_secs(1));
        common.get(&path).send().await.expect_status(404);
        post(&common, &format!("{path}/request"), &[("address", ADDRESS)]).await.expect_status(404);
        app.globex().get(PAGE).send().await.expect_status(404);
        // Not even after the page was looked for.
        app.globex().request_reset(ADDRESS).await.expect_status(404);
        app.acme().get(PAGE).send().await.expect_status(200);
    }

    async fn r128_no_text_of_anybody_becomes_markup(app: TestApp) {
        const HOSTILE: &str = "<script>alert(1)</script>\" onmouseover=\"x {{7*7}}";
        app.restart_acme(|acme| {
            acme.mail.from = Some(format!("{} <no-reply@acme.example>", HOSTILE.replace(['<', '>'], "'")));
            acme.storefront_url = Some("https://acme.example/?a=\"><script>".parse().unwrap());
        })
        .await;
        let acme = app.acme();
        for page in [
            acme.get(PAGE).send().await,
            acme.get(&format!("{PAGE}?token=%22%3E%3Cscript%3Ealert(1)%3C/script%3E")).send().await,
            post(&acme, PAGE, &[("token", HOSTILE), ("password", HOSTILE)]).await,
            post(&acme, &format!("{PAGE}/request"), &[("address", HOSTILE)]).await,
        ] {
            assert!(!page.text.contains("<script>") && !page.text.contains("onmouseover=\"x") && !page.text.contains(" 49"), "{}", page.text);
            assert!(page.text.contains("{{7*7}}"), "the name is shown as it is: {}", page.text);
            assert_guarded(&page);
        }
    }
}
