//! `vestibule dev`: everything that it prints is true.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::binary::{Desk, Running, end, within_a_second};
use crate::support::client::Shop;

const CUSTOMER: &str = "customer@gmail.com";

/// The word that follows `label`, in each line that begins with it.
fn printed(running: &Running, label: &str) -> Vec<String> {
    let printed = running.printed();
    printed.lines().filter_map(|line| Some(line.trim().strip_prefix(label)?.split_whitespace().next()?.to_owned())).collect()
}

fn password(running: &Running) -> String {
    let printed = running.printed();
    printed.lines().find(|line| line.starts_with("demo customer")).unwrap().split_whitespace().last().unwrap().to_owned()
}

/// A storefront at the printed base, which may be a name that only browsers resolve.
fn shop(running: &Running, base: &str, key: &str) -> Shop {
    running.shop(base.trim_start_matches("http://"), key)
}

#[tokio::test]
async fn everything_that_dev_prints_works() {
    let desk = Desk::new("");
    let dev = desk.dev();
    let (bases, keys, pages) = (printed(&dev, "store API"), printed(&dev, "publishable key"), printed(&dev, "reset page"));
    assert_eq!((bases.len(), keys.len(), pages.len()), (2, 2, 2), "{}", dev.printed());
    assert_eq!(bases[0], dev.base, "programs that resolve no acme.localhost use the default tenant");
    for ((base, key), page) in bases.iter().zip(&keys).zip(&pages) {
        // The key counts here, so what is missing is the session.
        shop(&dev, base, key).get("/store/customers/me").send().await.expect_status(401);
        let url = url::Url::parse(page).unwrap();
        let shown = shop(&dev, &url[..url::Position::BeforePath], "").get(url.path()).send().await.expect_status(200);
        assert!(shown.text.contains("Reset your password"));
    }
    let consoles = printed(&dev, "console");
    assert_eq!(consoles.len(), 2, "{}", dev.printed());
    for (console, slug) in consoles.iter().zip(["acme", "globex"]) {
        let url = url::Url::parse(console).unwrap();
        let there = shop(&dev, &url[..url::Position::BeforePath], "");
        let secret = url.query_pairs().find(|(name, _)| name == "token").unwrap().1.into_owned();
        assert!(there.get(&url[url::Position::BeforePath..]).send().await.expect_status(200).text.contains(&secret));
        let entered = there.post("/app/sign-in/link").json(&json!({"token": secret})).send().await.expect_status(303);
        let cookie = entered.header("set-cookie").split(';').next().unwrap();
        let room = there.get(entered.header("location")).cookie(cookie).send().await.expect_status(200);
        assert!(room.text.contains(&format!("staff@{slug}.localhost")), "{}", room.text);
        there.post("/app/sign-in/link").json(&json!({"token": secret})).send().await.expect_status(401);
    }
    shop(&dev, &bases[1], &keys[0]).get("/store/customers/me").send().await.expect_status(400);
    let inbox = url::Url::parse(&printed(&dev, "mail inbox")[0]).unwrap();
    let shown = shop(&dev, &inbox[..url::Position::BeforePath], "").get(inbox.path()).send().await.expect_status(200);
    assert!(shown.text.contains("No mail yet"));
    let reference = url::Url::parse(&printed(&dev, "API")[0]).unwrap();
    let shown = shop(&dev, &reference[..url::Position::BeforePath], "").get(reference.path()).send().await.expect_status(200);
    assert!(shown.text.replace("&#x2f;", "/").contains(&format!("{}/auth/customer/emailpass/reset-password", dev.base)), "lines to copy");
    let begin = url::Url::parse(&printed(&dev, "sign in")[0]).unwrap();
    let shown = shop(&dev, &begin[..url::Position::BeforePath], "").get(begin.path()).send().await.expect_status(200);
    assert!(shown.text.contains("Sign in with the demo provider"));
    let announced = dev.shop("127.0.0.1", "").get("/dev/idp/.well-known/openid-configuration").send().await.expect_status(200).json();
    assert_eq!(announced["issuer"], format!("{}/dev/idp", dev.base), "the issuer is where it says that it is");
    let token = shop(&dev, &bases[0], "").sign_in(CUSTOMER, &password(&dev)).await.expect_status(200).token();
    let me = shop(&dev, &bases[0], &keys[0]).me(&token).await.expect_status(200).json();
    assert_eq!(me["customer"]["email"], CUSTOMER);
}

#[tokio::test]
async fn the_printed_curl_line_works_when_pasted_and_the_mail_stands_in_the_inbox() {
    let desk = Desk::new("");
    let dev = desk.dev();
    let output = dev.printed();
    let line = output.lines().find(|line| line.starts_with("curl ")).unwrap();
    let pasted = Command::new("sh").args(["-c", line]).stdin(Stdio::null()).output().unwrap();
    assert_eq!((pasted.status.code(), String::from_utf8_lossy(&pasted.stdout).as_ref()), (Some(0), "Created"), "is curl installed?");
    let shop = dev.shop("127.0.0.1", "");
    let mails = within_a_second(async || {
        let mails = shop.get("/dev/inbox.json").send().await.expect_status(200).json();
        if mails == json!([]) { Err("no mail".into()) } else { Ok(mails) }
    })
    .await;
    assert_eq!((mails.as_array().unwrap().len(), &mails[0]["to"], &mails[0]["tenant"]), (1, &json!(CUSTOMER), &json!("acme")));
    let text = mails[0]["text"].as_str().unwrap();
    let opened = url::Url::parse(text.split_whitespace().find(|word| word.starts_with("http")).unwrap()).unwrap();
    assert_eq!((opened.host_str(), opened.path()), (Some("acme.localhost"), "/account/reset-password"));
    let page = dev.shop("acme.localhost", "").get(&opened[url::Position::BeforePath..]).send().await.expect_status(200);
    assert!(page.text.contains("Choose a new password"));
}

#[tokio::test]
async fn a_second_start_keeps_what_the_first_one_had() {
    let desk = Desk::new("");
    let dev = desk.dev();
    let keys = printed(&dev, "publishable key");
    let shop = dev.shop("globex.localhost", &keys[1]);
    let token = shop.register("kept@example.com", "a-Kept-pass-11").await.expect_status(200).token();
    let (status, output) = dev.stop();
    assert_eq!(status.code(), Some(0), "{output}");
    assert!(desk.path("vestibule-data/vestibule.db").exists());

    let dev = desk.dev();
    assert_eq!(printed(&dev, "publishable key"), keys, "a configured storefront goes on working");
    let shop = dev.shop("globex.localhost", &keys[1]);
    shop.sign_in("kept@example.com", "a-Kept-pass-11").await.expect_status(200);
    let created = shop.post("/store/customers").bearer(&token).json(&json!({"email": "kept@example.com"})).send().await;
    assert_ne!(created.expect_status(200).json()["customer"]["id"], Value::Null, "the session of before is alive");
    dev.shop("127.0.0.1", "").sign_in(CUSTOMER, &password(&dev)).await.expect_status(200);
    assert_eq!(dev.stop().0.code(), Some(0));
}

/// Nor does a start count as a try at the demo customer's password.
#[tokio::test]
async fn however_often_dev_was_started_the_demo_customer_signs_in() {
    let desk = Desk::new("");
    for _ in 0..12 {
        assert_eq!(desk.dev().stop().0.code(), Some(0));
    }
    let dev = desk.dev();
    dev.shop("127.0.0.1", "").sign_in(CUSTOMER, &password(&dev)).await.expect_status(200);
}

/// A stranger's page can have its own name lead here: the inbox holds tokens.
#[tokio::test]
async fn the_inbox_answers_to_names_of_this_machine_alone() {
    let desk = Desk::new("");
    let dev = desk.dev();
    for (host, status) in [("127.0.0.1", 200), ("localhost", 200), ("acme.localhost", 200), ("evil.example", 404), ("localhost.evil.example", 404)] {
        for path in ["/dev/inbox", "/dev/inbox.json", "/dev/sign-in"] {
            dev.shop(host, "").get(path).send().await.expect_status(status);
        }
    }
    assert_eq!(dev.shop("127.0.0.1", "").get("/dev/inbox.json").send().await.header("cache-control"), "no-store");
}

#[test]
fn r14_dev_is_for_this_machine_alone() {
    let desk = Desk::new("");
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:9000"] {
        end(&mut desk.command(&["dev", "--listen", address]), "").expect_words(2, &["dev listens on loopback only"]);
    }
    assert!(!desk.path("vestibule-data").exists());
}

/// The inbox and its tokens are `dev`'s alone.
#[tokio::test]
async fn a_server_has_no_inbox() {
    let desk = Desk::new(&super::config(super::LOCAL, super::ACME));
    let server = desk.serve();
    for path in ["/dev/inbox", "/dev/inbox.json"] {
        server.shop("acme.localhost", "").get(path).send().await.expect_status(404);
    }
    let asked = Desk::new(&super::config(&format!("{}\ndevelopment = true", super::LOCAL), "")).run(&["check"]).expect(2);
    assert!(asked.stdout.contains("unknown field `development`") || asked.stdout.contains("unknown key `development`"), "{}", asked.stdout);
}
