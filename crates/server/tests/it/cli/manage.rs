//! `vestibule tenant`, `key` and `user`: also while a server runs on the same file, which knows of it within a second.

use serde_json::{Value, json};
use vestibule_engine::testing::medusa_hash;

use super::{ACME, LOCAL, PUBLIC, config};
use crate::support::app::{ADDRESS, PASSWORD, publishable_key};
use crate::support::binary::{Desk, within_a_second};
use crate::support::client::{Shop, claims};

/// What a storefront without a session gets: 400 for a key that does not count, 401 for one that does.
async fn key_counts(shop: &Shop) -> bool {
    match shop.get("/store/customers/me").send().await.status {
        400 => false,
        401 => true,
        other => panic!("{other}"),
    }
}

async fn soon(shop: &Shop, counts: bool) {
    within_a_second(async || if key_counts(shop).await == counts { Ok(()) } else { Err(format!("the key should count: {counts}")) }).await;
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

#[tokio::test]
async fn a_tenant_made_beside_a_running_server_answers_within_a_second() {
    let desk = Desk::new(&config(LOCAL, ACME));
    let server = desk.serve();
    let strangers = server.shop("globex.localhost", "");
    strangers.get("/.well-known/jwks.json").send().await.expect_status(404);
    let made = desk.run(&["tenant", "create", "globex", "--host", "id.globex.example", "--json"]).json();
    assert_eq!((&made["slug"], &made["hosts"]), (&json!("globex"), &json!(["id.globex.example"])));
    for host in ["globex.localhost", "id.globex.example"] {
        let shop = server.shop(host, text(&made["publishable_key"]));
        within_a_second(async || match shop.get("/.well-known/jwks.json").send().await.status {
            200 => Ok(()),
            status => Err(format!("{status}")),
        })
        .await;
        soon(&shop, true).await;
    }
    let shop = server.shop("globex.localhost", text(&made["publishable_key"]));
    shop.register(ADDRESS, PASSWORD).await.expect_status(200);

    let shown = desk.run(&["tenant", "show", "globex", "--json"]).json();
    assert_eq!((&shown["id"], &shown["disabled_at"]), (&made["id"], &Value::Null));
    let slugs: Vec<String> = desk.run(&["tenant", "list"]).expect(0).stdout.lines().map(|l| l.split('\t').next().unwrap().to_owned()).collect();
    assert_eq!(slugs, ["acme", "globex"]);

    desk.run(&["tenant", "disable", "globex"]).expect(0);
    within_a_second(async || match shop.sign_in(ADDRESS, PASSWORD).await.status {
        404 => Ok(()),
        status => Err(format!("{status}")),
    })
    .await;
    assert_ne!(desk.run(&["tenant", "show", "globex", "--json"]).json()["disabled_at"], Value::Null);
    server.shop("acme.localhost", "").get("/.well-known/jwks.json").send().await.expect_status(200);
}

#[test]
fn a_tenant_is_judged_as_a_declared_one_is() {
    let desk = Desk::new(&config(PUBLIC, ""));
    for (more, words) in [
        (["--mail-transport", "pigeon://x"], "tenant acme: mail.transport: "),
        (["--mail-transport", "smtp://127.0.0.1:1"], "tenant acme: mail.from is required"),
        (["--mail-transport", "inbox"], "tenant acme: mail goes to the development inbox"),
    ] {
        desk.run(&[&["tenant", "create", "acme"][..], &more].concat()).expect_words(2, &[words]);
    }
    desk.run(&["tenant", "create", "Acme"]).expect_words(2, &["the slug must be 1 to 40 of a-z"]);
    desk.run(&["tenant", "create", "acme", "--storefront-url", "shop"]).expect_words(2, &["--storefront-url"]);
    assert_eq!(desk.run(&["tenant", "list", "--json"]).json(), json!([]), "nothing was made");
    let ended = desk.run(&["tenant", "create", "acme"]).expect(0);
    assert!(ended.stderr.contains("warning: tenant acme: auth.password_reset has no subscriber"), "{}", ended.stderr);
    assert!(ended.stdout.starts_with("tenant acme\npublishable key pk_"), "{}", ended.stdout);
}

#[test]
fn a_transport_can_be_read_from_standard_input() {
    let desk = Desk::new(&config(PUBLIC, ""));
    let words = ["tenant", "create", "acme", "--mail-from", "Acme <no-reply@acme.example>", "--mail-transport-stdin"];
    desk.run_with(&words, "").expect_words(2, &["standard input was empty"]);
    let ended = desk.run_with(&words, "smtp://u:smtp-password-7@127.0.0.1:1\n").expect(0);
    assert!(ended.stderr.is_empty() && !ended.stdout.contains("smtp-password"), "{ended:?}");
}

#[test]
fn what_is_not_there_or_taken_is_said_in_words() {
    let desk = Desk::new(&config(LOCAL, ""));
    desk.run(&["tenant", "create", "acme", "--host", "id.acme.example"]).expect(0);
    desk.run(&["tenant", "create", "acme"]).expect(1);
    let taken = desk.run(&["tenant", "create", "globex", "--host", "ID.acme.example"]).expect(1);
    assert!(taken.stderr.contains("The host `id.acme.example` belongs to another tenant"), "{}", taken.stderr);
    desk.run(&["tenant", "create", "globex", "--host", "https://id.globex.example"]).expect_words(2, &["`https://id.globex.example` is no host"]);
    let nobody = "There is no tenant `nobody`";
    desk.run(&["tenant", "disable", "nobody"]).expect_words(1, &[nobody]);
    desk.run(&["tenant", "show", "nobody"]).expect_words(1, &["here is no tenant `nobody`"]);
    desk.run(&["key", "list", "--tenant", "nobody"]).expect_words(1, &[nobody]);
    desk.run(&["key", "create", "--tenant", "nobody", "--type", "secret"]).expect_words(1, &[nobody]);
    desk.run_with(&["user", "create", "--tenant", "nobody", "--email", ADDRESS, "--password-stdin"], "a-password-99\n").expect_words(1, &[nobody]);
    desk.run(&["key", "revoke", "--tenant", "acme", "apk_01ARZ3NDEKTSV4RRFFQ69G5FAV"]).expect_words(1, &["was not found"]);
    assert_eq!(desk.run(&["tenant", "list", "--json"]).json().as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_publishable_key_works_until_it_is_revoked() {
    let desk = Desk::new(&config(LOCAL, &format!("{ACME}\n[[tenants]]\nslug = \"globex\"\n")));
    let server = desk.serve();
    let create = ["key", "create", "--tenant", "acme", "--type", "publishable", "--title", "web", "--json"];
    let made = desk.run(&create).json();
    let token = text(&made["token"]);
    assert_eq!(made["type"], "publishable");
    let shop = server.shop("acme.localhost", token);
    soon(&shop, true).await;
    assert!(!key_counts(&server.shop("globex.localhost", token)).await, "another tenant's key");

    let listed = desk.run(&["key", "list", "--tenant", "acme", "--json"]).json();
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    assert_eq!((&listed[0]["id"], &listed[0]["title"], &listed[0]["revoked_at"]), (&made["id"], &json!("web"), &Value::Null));
    let plain = desk.run(&["key", "list", "--tenant", "acme"]).expect(0).stdout;
    assert!(plain.contains(text(&made["id"])) && plain.contains("\tlive\tweb"), "{plain}");
    assert!(!plain.contains(token) && !listed.to_string().contains(token), "it is shown once");

    let id = text(&made["id"]);
    desk.run(&["key", "revoke", "--tenant", "globex", id]).expect_words(1, &["was not found"]);
    assert!(key_counts(&shop).await, "another tenant cannot end it");
    desk.run(&["key", "revoke", "--tenant", "acme", id]).expect(0);
    soon(&shop, false).await;
    assert!(desk.run(&["key", "list", "--tenant", "acme"]).expect(0).stdout.contains("\trevoked\t"));
}

#[test]
fn a_key_alone_is_the_result() {
    let desk = Desk::new(&config(LOCAL, ""));
    desk.run(&["tenant", "create", "acme"]).expect(0);
    for (kind, prefix) in [("publishable", "pk_"), ("secret", "sk_")] {
        let key = desk.run(&["key", "create", "--tenant", "acme", "--type", kind]).expect(0).stdout;
        let digits = key.strip_suffix('\n').unwrap().strip_prefix(prefix).unwrap();
        assert!(digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit()), "{key}");
        assert_ne!(key, desk.run(&["key", "create", "--tenant", "acme", "--type", kind]).expect(0).stdout);
    }
}

#[tokio::test]
async fn a_member_of_staff_signs_in_with_the_password_from_standard_input() {
    let desk =
        Desk::new(&config(LOCAL, &format!("{ACME}\n[[tenants]]\nslug = \"globex\"\npublishable_keys = [\"{}\"]\n", publishable_key("globex"))));
    let server = desk.serve();
    let create = ["user", "create", "--tenant", "acme", "--email", "Staff@acme.example", "--password-stdin", "--json"];
    let ended = desk.run_with(&create, "a-Staff-pass-17\nnot this line\n").expect(0);
    assert!(!format!("{}{}", ended.stdout, ended.stderr).contains("a-Staff-pass-17"));
    let made: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert!(text(&made["id"]).starts_with("user_") && made["email"] == "Staff@acme.example", "{made}");
    let sign_in = async |host: &str, password: &str| {
        let body = json!({"email": "staff@acme.example", "password": password});
        server.shop(host, "").post("/auth/user/emailpass").json(&body).send().await
    };
    let token = sign_in("acme.localhost", "a-Staff-pass-17").await.expect_status(200).token();
    assert_eq!((&claims(&token)["actor_id"], &claims(&token)["actor_type"]), (&made["id"], &json!("user")));
    sign_in("acme.localhost", "not this line").await.expect_status(401);
    sign_in("globex.localhost", "a-Staff-pass-17").await.expect_status(401);

    let again = desk.run_with(&create, "another-Staff-pass-17\n").expect(1);
    assert!(again.stderr.contains("exists already"), "{}", again.stderr);
    for (address, password, words) in [
        ("b@acme.example", "short", "at least 8 characters"),
        ("b@acme.example", "password1", "too common"),
        ("b@acme.example", "", "standard input was empty"),
        ("no-address", "a-Staff-pass-17", ""),
    ] {
        let words_in = ["user", "create", "--tenant", "acme", "--email", address, "--password-stdin"];
        desk.run_with(&words_in, &format!("{password}\n")).expect_words(2, &[words]);
    }
}

const PROVIDER: &str = r#"
type = "oidc"
client_id = "shop"
client_secret = "a secret of the shop"
issuer = "https://login.example"
authorization_endpoint = "https://login.example/authorize"
token_endpoint = "https://login.example/token"
jwks_uri = "https://login.example/jwks"
callback_url = "https://globex.example/callback"
"#;

#[tokio::test]
async fn a_provider_that_is_added_beside_a_running_server_works_within_a_second() {
    let desk = Desk::new(&config(LOCAL, ACME));
    let server = desk.serve();
    desk.run(&["tenant", "create", "globex"]).expect(0);
    let file = desk.path("provider.toml");
    std::fs::write(&file, PROVIDER).unwrap();
    let file = file.to_str().unwrap();
    desk.run(&["provider", "set", "--tenant", "globex", "login", "--settings", file]).expect(0);
    let shop = server.shop("globex.localhost", "");
    let start = async || shop.post("/auth/customer/login").json(&json!({})).send().await;
    within_a_second(async || match start().await {
        answer if answer.status == 200 && answer.text.contains("https://login.example/authorize?") => Ok(()),
        answer => Err(answer.text),
    })
    .await;
    let listed = desk.run(&["provider", "list", "--tenant", "globex", "--json"]).json();
    assert_eq!((&listed[0]["name"], &listed[0]["type"], &listed[0]["problem"]), (&json!("login"), &json!("oidc"), &Value::Null));
    assert!(!listed.to_string().contains("a secret of the shop"));
    desk.run(&["provider", "remove", "--tenant", "globex", "login"]).expect(0);
    within_a_second(async || match start().await.status {
        401 => Ok(()),
        status => Err(format!("{status}")),
    })
    .await;
    // What would not last, and what could not work, is refused beforehand.
    let declared = desk.run(&["provider", "set", "--tenant", "acme", "login", "--settings", file]).expect(2);
    assert!(declared.stderr.contains("declared in the configuration"), "{}", declared.stderr);
    std::fs::write(file, PROVIDER.replace("client_secret = \"a secret of the shop\"", "client_secret = \"a secret")).unwrap();
    let malformed = desk.run(&["provider", "set", "--tenant", "globex", "login", "--settings", file]).expect(2);
    assert!(!malformed.stderr.contains("a secret"), "{}", malformed.stderr);
    std::fs::write(file, PROVIDER.replace("issuer = \"https://login.example\"", "")).unwrap();
    let unfinished = desk.run(&["provider", "set", "--tenant", "globex", "login", "--settings", file]).expect(2);
    assert!(unfinished.stderr.contains("the provider login: issuer is missing"), "{}", unfinished.stderr);
    desk.run(&["provider", "remove", "--tenant", "globex", "nobody"]).expect(1);
}

#[tokio::test]
async fn customers_of_medusa_are_imported_beside_a_running_server() {
    let desk = Desk::new(&config(LOCAL, ACME));
    let server = desk.serve();
    let hash = medusa_hash("an-Old-pass-8").unwrap();
    let ann = json!({"id": "cus_01JD00000000000000000000C1", "auth_identity_id": "authid_01JD00000000000000000000A1", "email": ADDRESS,
        "password_hash": hash, "first_name": "Ann", "last_name": null, "metadata": {"vip": true}});
    let with = |name: &str, value: Value| {
        let mut line = ann.clone();
        line[name] = value;
        line.to_string()
    };
    let without = |name: &str| {
        let mut line = ann.clone();
        line.as_object_mut().unwrap().shift_remove(name);
        line.to_string()
    };
    let (bent, argon2) = (format!("A{}", &hash[1..]), "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA");
    let lines = [
        (ann.to_string(), None),
        (String::new(), None),
        ("{".to_owned(), Some("it is no JSON")),
        ("[]".to_owned(), Some("Field '' is required")),
        (without("id"), Some("Field 'id' is required")),
        (without("email"), Some("Field 'email' is required")),
        (with("id", json!("cus_1")), Some("id is no id of Medusa's")),
        (with("id", json!("01JD00000000000000000000C2")), Some("id is no id of Medusa's")),
        (with("id", json!("cus_01jd00000000000000000000c2")), Some("id is no id of Medusa's")),
        (with("id", json!("cus_ZZZZZZZZZZZZZZZZZZZZZZZZZZ")), Some("id is no id of Medusa's")),
        (with("auth_identity_id", json!("cus_01JD00000000000000000000C2")), Some("auth_identity_id is no id of Medusa's")),
        (with("email", json!("a@b@c")), Some("")),
        (with("password_hash", json!(bent)), Some("password_hash is none of Medusa's")),
        (with("password_hash", json!(argon2)), Some("password_hash is none of Medusa's")),
        (with("first_name", json!("x".repeat(1001))), Some("Value for field 'first_name' too big")),
        (with("metadata", json!({"a": "x".repeat(17_000)})), Some("Value for field 'metadata' too big")),
        (with("pasword_hash", json!("x")), Some("Unrecognized fields: 'pasword_hash'")),
        (with("id", json!("cus_01JD00000000000000000000C2")), Some("another login has its address")),
        (json!({"id": "cus_01JD00000000000000000000C3", "email": "bob@example.com"}).to_string(), None),
    ];
    let texts: Vec<&str> = lines.iter().map(|(line, _)| line.as_str()).collect();
    let file = desk.write("customers.jsonl", texts.join("\n"));
    let import = ["customer", "import", "--tenant", "acme", "--json", file.to_str().unwrap()];
    let ended = desk.run(&import).expect(1);
    let told: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((&told["imported"], &told["present"]), (&json!(2), &json!(0)), "{told}");
    let expected: Vec<(usize, &str)> = (1..).zip(&lines).filter_map(|(number, (_, why))| Some((number, (*why)?))).collect();
    let refused = told["refused"].as_array().unwrap();
    assert_eq!(refused.len(), expected.len(), "{told}");
    for ((number, why), one) in expected.into_iter().zip(refused) {
        assert!(one["line"] == number && text(&one["reason"]).contains(why), "{number} {why}: {one}");
        assert!(ended.stderr.contains(&format!("line {number}: ")), "{}", ended.stderr);
    }
    assert!(!format!("{}{}", ended.stdout, ended.stderr).contains("c2NyeXB0"), "no hash is told");
    let shop = server.shop("acme.localhost", "");
    let token = shop.sign_in(ADDRESS, "an-Old-pass-8").await.expect_status(200).token();
    assert_eq!(claims(&token)["actor_id"], "cus_01JD00000000000000000000C1");
    // Once more: what is there stays.
    std::fs::write(&file, [texts[0], texts[18]].join("\n")).unwrap();
    let again = desk.run(&["customer", "import", "--tenant", "acme", file.to_str().unwrap()]).expect(0);
    assert_eq!(again.stdout, "imported 0, there already 2, refused 0\n");
    desk.run(&["customer", "import", "--tenant", "nobody", file.to_str().unwrap()]).expect_words(1, &["There is no tenant `nobody`"]);
    desk.run(&["customer", "import", "--tenant", "acme", "nowhere.jsonl"]).expect_words(2, &["nowhere.jsonl", "No such file"]);
}
