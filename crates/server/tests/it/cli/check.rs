//! `vestibule check`: good is 0; an error is 2 and says where.

use serde_json::Value;

use super::{ACME, LOCAL, PUBLIC, config};
use crate::support::binary::{Desk, MASTER};

const BEGIN: &str = "[[tenants]]\nslug = \"acme\"\n";
/// Base64 of "vestibule development master key", which stands in the source.
const PUBLISHED: &str = "dmVzdGlidWxlIGRldmVsb3BtZW50IG1hc3RlciBrZXk=";

/// The errors and warnings that `check --json` finds, and its exit code.
fn judged(text: &str) -> (i32, Vec<String>, Vec<String>) {
    let ended = Desk::new(text).run(&["check", "--json"]);
    let found: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|e| panic!("no JSON ({e}): {ended:?}"));
    let list = |name: &str| found[name].as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(found["ok"], list("errors").is_empty());
    (ended.code.unwrap(), list("errors"), list("warnings"))
}

#[track_caller]
fn one_error(text: &str, words: &str) {
    let (code, errors, _) = judged(text);
    assert_eq!((code, errors.len()), (2, 1), "{text}\n{errors:?}");
    assert!(errors[0].contains(words), "{words:?} in {errors:?}");
}

#[test]
fn a_good_file_is_good() {
    for server in [LOCAL, PUBLIC] {
        let desk = Desk::new(&config(server, ACME));
        let ended = desk.run(&["check"]).expect(0);
        assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("The configuration is good.\n", ""));
        assert_eq!(judged(&config(server, ACME)), (0, vec![], vec![]));
        assert!(!desk.path("v.db").exists(), "check only looks");
    }
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_what_was_meant() {
    let text = config(LOCAL, ACME).replace("from = ", "form = ");
    let line = text.lines().position(|line| line.starts_with("form")).unwrap() + 1;
    one_error(&text, &format!("at line {line}, column 1: unknown key `form`; did you mean `from`?"));
    let desk = Desk::new(&text);
    let ended = desk.run(&["check"]).expect(2);
    assert!(ended.stdout.starts_with("error: vestibule.toml at line "), "{ended:?}");
    desk.run(&["serve"]).expect_words(2, &["unknown key `form`", "did you mean `from`"]);
    // Nothing resembles it: then what there is.
    one_error(&config(LOCAL, "[colours]\nwall = \"green\"\n"), "unknown field `colours`, expected one of");
}

#[test]
fn what_is_no_toml_or_of_the_wrong_kind_is_named_with_its_line() {
    one_error("[database\n", "at line 1, column 10");
    one_error(&config("listen = 9000", ""), "at line 2, column 10: invalid type: integer, expected socket address");
    one_error(&config("listen = \"everywhere\"", ""), "invalid socket address");
    one_error("[server]\nlisten = \"127.0.0.1:0\"\n", "missing field `database`");
    one_error(&config(LOCAL, &format!("{BEGIN}tokens.ttl = \"soon\"\n")), "at line 9, column 14: `soon` is no length of time");
    one_error(&config(LOCAL, &format!("{BEGIN}tokens.algorithm = \"none\"\n")), "unknown variant `none`");
}

#[test]
fn r149_a_secret_in_the_wrong_place_is_not_repeated() {
    let key = format!("sk_{}", "5ec2e7".repeat(10));
    for text in [
        config(LOCAL, &format!("{BEGIN}secret_keys = \"{key}\"\n")),
        config(LOCAL, &format!("keys = \"{key}\"\n")).replace("[keys]", "[outbound]").replace("master", "allow_private"),
        config(LOCAL, &format!("{BEGIN}webhooks = [\"{key}\"]\n")),
        config(LOCAL, "").replace(MASTER, &format!("{MASTER}!{key}")),
    ] {
        let (code, errors, _) = judged(&text);
        assert_eq!((code, errors.len()), (2, 1), "{errors:?}");
        assert!(!errors[0].contains("5ec2e7"), "{errors:?}");
    }
}

#[test]
fn every_rule_of_the_whole_finds_its_fault() {
    one_error(&config(LOCAL, ACME).replace("sqlite://v.db", "mysql://v"), "database.url must begin with sqlite:// or postgres://");
    one_error(&config(LOCAL, ACME).replace(MASTER, "c2hvcnQ="), "keys.master: the master key has 5 bytes");
    one_error(&config(LOCAL, &format!("{ACME}{ACME}")), "the slug `acme` is declared twice");
    let hosts = format!("{BEGIN}hosts = [\"id.acme.example\"]\n") + &BEGIN.replace("acme", "globex") + "hosts = [\"ID.acme.example\"]\n";
    one_error(&config(LOCAL, &hosts), "the host `ID.acme.example` is declared twice");
    one_error(&config(LOCAL, ACME).replace("sqlite://v.db", "postgres://127.0.0.1/v?sslmode=allow"), "database.url: sslmode must be");
}

#[test]
fn a_host_that_is_another_tenants_by_its_slug_is_named() {
    let server = format!("{LOCAL}\npublic_url = \"http://localhost\"\ntenant_domain = \"api.example.com\"");
    let hosts = |host: &str| config(&server, &(format!("{BEGIN}hosts = [\"{host}\"]\n") + &BEGIN.replace("acme", "globex")));
    for host in ["globex.localhost", "globex.api.example.com", "GLOBEX.localhost."] {
        one_error(&hosts(host), &format!("tenant acme: hosts: `{host}` is the host of the tenant `globex`"));
    }
    for host in
        ["acme.localhost", "globex.example.com", "www.globex.localhost", "id.acme.example", "ID.acme.example.", "127.0.0.1", "[::1]", "shop_1.local"]
    {
        assert_eq!(judged(&hosts(host)).1, Vec::<String>::new(), "{host}");
    }
}

#[test]
fn an_origin_as_browsers_send_it_is_taken() {
    for origin in ["https://shop.example", "http://localhost:8000", "https://xn--mller-kva.example", "http://[::1]:3000", "capacitor://localhost"] {
        assert_eq!(judged(&config(LOCAL, &format!("{BEGIN}cors.store = [\"{origin}\"]\n"))).1, Vec::<String>::new(), "{origin}");
    }
}

#[test]
fn every_rule_of_a_tenant_finds_its_fault() {
    let hook =
        |secret: &str, events: &str| format!("[[tenants.webhooks]]\nurl = \"https://h.example\"\nsecret = \"{secret}\"\nevents = [\"{events}\"]\n");
    let good = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3";
    let faults = [
        ("publishable_keys = [\"pk_1\"]".to_owned(), "publishable_keys must be pk_ and 64 hexadecimal digits"),
        ("secret_keys = [\"pk_1\"]".into(), "secret_keys must be sk_ and 64 hexadecimal digits"),
        ("hosts = [\"https://id.acme.example\"]".into(), "hosts: `https://id.acme.example` is no host"),
        ("hosts = [\"id.acme.example:443\"]".into(), "`id.acme.example:443` is no host"),
        ("hosts = [\"id.acme.example/auth\"]".into(), "is no host"),
        ("hosts = [\"\"]".into(), "`` is no host"),
        ("hosts = [\"id..example\"]".into(), "is no host"),
        ("hosts = [\"m\u{fc}ller.example\"]".into(), "is no host"),
        (format!("hosts = [\"{}.example\"]", "a".repeat(246)), "is no host"),
        (
            "cors.store = [\"https://shop.example/\"]".into(),
            "cors.store: `https://shop.example/` is no origin as browsers send it, https://shop.example say; did you mean `https://shop.example`?",
        ),
        ("cors.auth = [\"https://shop.example/account\"]".into(), "did you mean `https://shop.example`?"),
        ("cors.admin = [\"https://Shop.example:443\"]".into(), "cors.admin: `https://Shop.example:443` is no origin"),
        ("cors.store = [\"shop.example\"]".into(), "`shop.example` is no origin"),
        ("cors.store = [\"*\"]".into(), "`*` is no origin"),
        ("cors.store = [\"null\"]".into(), "`null` is no origin"),
        ("reset_url = \"/reset\"".into(), "reset_url must be an absolute URL"),
        ("tokens.reset_ttl = \"61m\"".into(), "tokens.reset_ttl must be at most 1h"),
        ("tokens.ttl = \"2d\"\ntokens.session_max_age = \"1d\"".into(), "tokens.session_max_age must not be below tokens.ttl"),
        ("passwords.min_length = 0".into(), "passwords.min_length must be between 1 and 128"),
        ("passwords.min_length = 129".into(), "passwords.min_length must be between 1 and 128"),
        (hook("whsec_c2hvcnQ=", "auth.password_reset"), "the secret of https://h.example/ must be whsec_ and 24 to 64 bytes in base64"),
        (hook(good.trim_start_matches("whsec_"), "auth.password_reset"), "must be whsec_"),
        (hook(good, "auth.pasword_reset"), "`auth.pasword_reset` matches no event"),
        (hook(good, "*") + "former_secret = \"whsec_c2hvcnQ=\"", "the former_secret of https://h.example/ must be whsec_"),
        (format!("{}former_secret = \"{good}\"", hook(good, "*")), "the former_secret of https://h.example/ is its secret"),
        (hook(good, "auth.*") + &hook(good, "customer.*"), "https://h.example/ is declared twice"),
        ("mail.transport = \"pigeon://x\"".into(), "mail.transport: "),
        ("mail.transport = \"smtp://127.0.0.1:1\"".into(), "mail.from is required to send mail"),
        ("tokens.algorithm = \"HS256\"".into(), "tokens.secret is required for HS256"),
        ("tokens.algorithm = \"HS256\"\ntokens.secret = \"\"".into(), "tokens.secret is required for HS256"),
        ("tokens.secret = \"0123456789abcdef0123456789abcdef\"".into(), "tokens.secret is for HS256 only"),
    ];
    for (lines, words) in faults {
        let (code, errors, _) = judged(&config(LOCAL, &format!("{BEGIN}{lines}\n")));
        assert_eq!(code, 2, "{lines}");
        assert!(errors.iter().any(|e| e.starts_with("tenant acme: ") && e.contains(words)), "{words:?} in {errors:?}");
    }
    for slug in ["", "Acme", "-acme", "acme-", "a.b", "a b", &"a".repeat(41)] {
        one_error(&config(LOCAL, &ACME.replace("\"acme\"", &format!("\"{slug}\""))), "the slug must be 1 to 40 of a-z, 0-9 and -");
    }
}

#[test]
fn a_cookie_for_other_sites_needs_https() {
    let none = format!("{BEGIN}cookies.same_site = \"none\"\n");
    let mentioned = |server: &str| judged(&config(server, &none)).2.iter().any(|w| w.contains("cookies.same_site"));
    assert!(mentioned(LOCAL) && !mentioned(PUBLIC));
    one_error(&config(LOCAL, &none.replace("none", "some")), "unknown variant `some`");
}

/// What a stranger could use is refused where strangers come, and told where they do not.
#[test]
fn r14_what_is_relaxed_on_this_machine_is_an_error_in_public() {
    let hs256 = |secret: &str| format!("tokens.algorithm = \"HS256\"\ntokens.secret = \"{secret}\"\n");
    let tenant = |lines: &str| config("SERVER", &format!("{BEGIN}{lines}{}", ACME.trim_start_matches(BEGIN)));
    let cases = [
        (tenant("").replace(&format!("master = \"{MASTER}\""), ""), "keys.master is missing"),
        (tenant("").replace(MASTER, PUBLISHED), "keys.master is a published key"),
        (tenant(&hs256("supersecret")), "tokens.secret is a well-known word"),
        (tenant(&hs256("SuperSecret")), "tokens.secret is a well-known word"),
        (tenant(&hs256("8-bytes.")), "tokens.secret is shorter than 32 bytes"),
        (tenant(&hs256(&"x1".repeat(15))), "tokens.secret is shorter than 32 bytes"),
        (tenant("").replace("smtp://127.0.0.1:1", "inbox"), "mail goes to the development inbox"),
    ];
    for (text, words) in cases {
        let (code, errors, warnings) = judged(&text.replace("SERVER", LOCAL));
        assert_eq!((code, errors.len(), warnings.len()), (0, 0, 1), "{errors:?} {warnings:?}");
        assert!(warnings[0].contains(words), "{warnings:?}");
        for public in [PUBLIC, "listen = \"0.0.0.0:0\"", "listen = \"127.0.0.1:0\"\npublic_url = \"http://localhost.example.com\""] {
            one_error(&text.replace("SERVER", public), words);
        }
        // Published under a name of this machine, it is still this machine's.
        let named = format!("{LOCAL}\npublic_url = \"http://id.localhost:9000\"");
        assert_eq!(judged(&text.replace("SERVER", &named)).0, 0);
    }
    assert_eq!(judged(&tenant(&hs256(&"x1".repeat(16))).replace("SERVER", PUBLIC)), (0, vec![], vec![]), "32 bytes are enough");
}

/// Contract 19.15.
#[test]
fn an_event_with_a_secret_wants_exactly_one_who_sends() {
    let hook = "[[tenants.webhooks]]\nurl = \"https://h.example\"\nsecret = \"whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3\"\nevents = [\"EVENT\"]\n";
    let named = hook.replace("EVENT", "auth.password_reset");
    let nobody = "tenant acme: auth.password_reset has no subscriber";
    let both = "tenant acme: auth.password_reset is heard by the mailer and by another";
    let nats = |pattern: &str| format!("[nats]\nurl = \"nats://127.0.0.1\"\nevents = [\"{pattern}\"]\n");
    let medusa = "[tenants.medusa]\nredis = \"redis://127.0.0.1\"\nevents = [\"auth.password_reset\"]\n";
    let cases = [
        (ACME.to_owned(), None),
        (BEGIN.to_owned(), Some(nobody)),
        (format!("{ACME}messages = [\"password_changed\"]\n"), Some(nobody)),
        (format!("{BEGIN}{named}"), None),
        // A pattern hears the event without its secret, so it cannot send the link.
        (format!("{BEGIN}{}", hook.replace("EVENT", "auth.*")), Some(nobody)),
        (format!("{ACME}{}", hook.replace("EVENT", "auth.*")), None),
        (format!("{ACME}{named}"), Some(both)),
        (format!("{}{BEGIN}", nats("auth.password_reset")), None),
        (format!("{}{BEGIN}", nats("*")), Some(nobody)),
        (format!("{}{ACME}", nats("auth.password_reset")), Some(both)),
        (format!("{BEGIN}{medusa}"), None),
        (format!("{ACME}{medusa}"), Some(both)),
    ];
    for (tenants, expected) in cases {
        let (code, _, warnings) = judged(&config(PUBLIC, &tenants));
        assert_eq!((code, warnings.len()), (0, usize::from(expected.is_some())), "{tenants}\n{warnings:?}");
        assert!(expected.is_none_or(|words| warnings[0].starts_with(words)), "{warnings:?}");
    }
}

#[test]
fn a_broker_is_named_by_a_url_of_its_kind() {
    let medusa = |keys: &str| format!("{ACME}[tenants.medusa]\n{keys}\n");
    let nats = |keys: &str| format!("[nats]\n{keys}\n{ACME}");
    for (tenants, words) in [
        (nats("url = \"https://u:hunter2@nats.example\""), "nats.url must begin with nats:// or tls://"),
        (nats("url = \"nats://10.0.0.1,hunter2\""), "nats.url must begin with nats:// or tls://"),
        (nats("url = \"nats://10.0.0.1\"\nevents = [\"auth.nothing\"]"), "nats.events: `auth.nothing` matches no event"),
        (medusa("redis = \"https://u:hunter2@h\"\nevents = [\"auth.*\"]"), "tenant acme: medusa.redis must begin with redis:// or rediss://"),
        (medusa("redis = \"redis://10.0.0.1\"\nevents = [\"order.*\"]"), "tenant acme: medusa.events: `order.*` matches no event"),
        (
            medusa("redis = \"redis://10.0.0.1\"\nevents = [\"auth.*\"]\nqueue = \"\""),
            "tenant acme: medusa.queue and medusa.prefix must not be empty",
        ),
    ] {
        let (code, errors, _) = judged(&config(PUBLIC, &tenants));
        assert_eq!((code, errors.len()), (2, 1), "{tenants}\n{errors:?}");
        assert!(errors[0].starts_with(words) && !errors[0].contains("hunter2"), "{errors:?}");
    }
    for (tenants, mentioned) in [
        (nats("url = \"nats://u:p@10.0.0.1:4222, nats://[fd00::1]\""), false),
        (nats("url = \"tls://nats.example\""), false),
        (nats("url = \"nats://nats.example\""), true),
        (medusa("redis = \"rediss://redis.example\"\nevents = [\"*\"]"), false),
        (medusa("redis = \"redis://redis.example\"\nevents = [\"*\"]"), true),
    ] {
        let (code, _, warnings) = judged(&config(PUBLIC, &tenants));
        assert_eq!((code, warnings.iter().any(|w| w.contains("not encrypted"))), (0, mentioned), "{tenants}\n{warnings:?}");
    }
}

#[test]
fn r149_a_file_that_everybody_reads_is_worth_a_word() {
    use std::os::unix::fs::PermissionsExt;
    let desk = Desk::new(&config(LOCAL, ACME));
    for (mode, warned) in [(0o644, true), (0o640, false), (0o600, false)] {
        std::fs::set_permissions(desk.path("vestibule.toml"), std::fs::Permissions::from_mode(mode)).unwrap();
        let found = desk.run(&["check", "--json"]).json();
        assert_eq!(found["warnings"].to_string().contains("can be read by everybody"), warned, "{mode:o}: {found}");
    }
}

#[test]
fn every_setting_has_an_environment_name() {
    let desk = Desk::new("");
    let secret = desk.write("secret", "12345678901234567890\n");
    let keys = desk.write("keys", format!("[\"sk_{}\"]\n", "a1".repeat(32)));
    let least = [("VESTIBULE__DATABASE__URL", "sqlite://v.db"), ("VESTIBULE__SERVER__LISTEN", "127.0.0.1:0")];
    let run = |more: &[(&str, &str)]| desk.run_in(&["check", "--json"], &[&least, more].concat());
    run(&[]).expect(0);
    // A list is counted from 0, and the file of a secret holds text, also when it is all digits.
    let tenant = [
        ("VESTIBULE__TENANTS__0__SLUG", "acme"),
        ("VESTIBULE__TENANTS__0__PASSWORDS__MIN_LENGTH", "12"),
        ("VESTIBULE__TENANTS__0__TOKENS__ALGORITHM", "HS256"),
        ("VESTIBULE__TENANTS__0__TOKENS__SECRET_FILE", secret.to_str().unwrap()),
        ("VESTIBULE__TENANTS__0__SECRET_KEYS_FILE", keys.to_str().unwrap()),
        ("VESTIBULE__TENANTS__1__SLUG", "globex"),
    ];
    let found = run(&tenant).json();
    assert!(found["warnings"].to_string().contains("tenant acme: tokens.secret is shorter than 32 bytes"), "{found}");
    assert!(found["warnings"].to_string().contains("tenant globex: auth.password_reset has no subscriber"), "{found}");
    for (name, value, words) in [
        ("VESTIBULE__SERVER__LISEN", "x", "unknown key `lisen`; did you mean `listen`?"),
        ("VESTIBULE__SERVER__LISTEN", "x", "invalid socket address"),
        ("VESTIBULE__TENANTS__0__PASSWORDS__MIN_LENGTH", "0", "passwords.min_length must be between"),
        ("VESTIBULE__TENANTS__5__SLUG", "x", "VESTIBULE__TENANTS__5__SLUG: there is no such place"),
        ("VESTIBULE__KEYS__MASTER_FILE", "/nowhere", "VESTIBULE__KEYS__MASTER_FILE: /nowhere: No such file"),
    ] {
        let ended = run(&[(name, value)]).expect(2);
        assert!(ended.stdout.contains(words), "{words}: {}", ended.stdout);
    }
}

#[test]
fn the_environment_wins_over_the_file_but_does_not_mend_it() {
    let desk = Desk::new(&config(PUBLIC, ACME).replace(MASTER, "c2hvcnQ="));
    desk.run(&["check"]).expect(2);
    desk.run_in(&["check"], &[("VESTIBULE__KEYS__MASTER", MASTER)]).expect(0);
    let wrong = Desk::new(&config("listen = 9000", ACME));
    wrong.run_in(&["check"], &[("VESTIBULE__SERVER__LISTEN", "127.0.0.1:0")]).expect(2);
}

#[test]
fn a_variable_that_is_no_text_stops_nobody() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let desk = Desk::new(&config(LOCAL, ACME));
    let mut command = desk.command(&["check", "--config", "vestibule.toml"]);
    crate::support::binary::end(command.env("LC_ODD", OsStr::from_bytes(b"\xff\xfe")), "").expect(0);
}
