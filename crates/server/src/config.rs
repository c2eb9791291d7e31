//! Loads the configuration and judges it.

mod database;
mod names;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use url::Url;
use vestibule_engine::config::Config;
use vestibule_engine::crypto::keyring::MasterKey;
use vestibule_engine::model::event::EventName;
use vestibule_engine::model::locale::is_locale;
use vestibule_engine::model::tenant::{Algorithm, SameSite, Secret, TenantSettings, is_slug, well_known_secrets};
use vestibule_engine::notify::{self, standard_webhooks};
use vestibule_engine::ops::api_key::{Kind, is_well_formed};
use vestibule_engine::ops::{callback, event};

use self::database::{database_findings, is_private};
use self::names::{folded, host_findings, origin_findings};

/// Environment variables that set something: `VESTIBULE__SECTION__KEY`.
const PREFIX: &str = "VESTIBULE__";
/// Shortest shared secret for HS256, in bytes: as long as the hash (RFC 7518 section 3.2).
const SECRET_BYTES: usize = 32;

/// What is wrong, and what only deserves a word.
#[derive(Debug, Default)]
pub struct Findings {
    pub errors: Vec<String>,
    pub warnings: Vec<String>,
}

/// The environment variables that set something. Others are nobody's business here, and may be no text at all.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok().filter(|name| name.starts_with(PREFIX))?;
        Some((name, value.to_string_lossy().into_owned()))
    })
}

/// Reads the file and lays the environment over it.
///
/// # Errors
/// In words, with line and column: a file that cannot be read, an unknown key, a value of the wrong type.
pub fn load(path: &Path, environment: impl Iterator<Item = (String, String)>) -> Result<Config, String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let overlay = overlay(environment)?;
    let direct = toml::from_str::<Config>(&text).map_err(|e| explain(path, &e));
    if overlay.is_empty() {
        return direct;
    }
    // The environment may supply what the file lacks, but not mend what it has wrong.
    if let Err(problem) = direct
        && !problem.contains("missing field")
    {
        return Err(problem);
    }
    let mut table = toml::Value::Table(toml::from_str(&text).map_err(|e| explain(path, &e))?);
    for (keys, value) in overlay {
        place(&mut table, &keys, value).ok_or_else(|| format!("{PREFIX}{}: there is no such place", keys.join("__").to_ascii_uppercase()))?;
    }
    table.try_into().map_err(|e: toml::de::Error| format!("{} with the environment: {}", path.display(), reason(&e)))
}

fn overlay(environment: impl Iterator<Item = (String, String)>) -> Result<Vec<(Vec<String>, toml::Value)>, String> {
    let mut out = Vec::new();
    for (name, value) in environment {
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        let (rest, value, from_file) = match rest.strip_suffix("_FILE") {
            Some(rest) => (rest, std::fs::read_to_string(&value).map_err(|e| format!("{name}: {value}: {e}"))?.trim_end().to_owned(), true),
            None => (rest, value, false),
        };
        let keys: Vec<String> = rest.split("__").map(str::to_ascii_lowercase).collect();
        let typed = toml::from_str::<toml::Table>(&format!("v = {value}")).ok().and_then(|mut t| t.remove("v"));
        // A file holds a secret, or a list of them: one of digits alone is no number.
        let typed = typed.filter(|v| if from_file { v.is_array() } else { !v.is_str() });
        out.push((keys, typed.unwrap_or(toml::Value::String(value))));
    }
    out.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(out)
}

/// Puts `value` where `keys` lead; a number among them counts the elements of a list, from 0. `None`: they lead nowhere.
fn place(at: &mut toml::Value, keys: &[String], value: toml::Value) -> Option<()> {
    let Some((first, rest)) = keys.split_first() else {
        *at = value;
        return Some(());
    };
    let is_list = rest.first().is_some_and(|next| next.parse::<usize>().is_ok());
    let empty = || if is_list { toml::Value::Array(Vec::new()) } else { toml::Value::Table(toml::Table::new()) };
    let next = match at {
        toml::Value::Table(table) => table.entry(first.clone()).or_insert_with(empty),
        toml::Value::Array(list) => {
            let index = first.parse::<usize>().ok()?;
            if index == list.len() {
                list.push(empty());
            }
            list.get_mut(index)?
        }
        _ => return None,
    };
    place(next, rest, value)
}

/// A parse error in one line, with the known key that the unknown one resembles most.
fn explain(path: &Path, e: &toml::de::Error) -> String {
    let text = e.to_string();
    let place = text.lines().next().unwrap_or_default().trim_start_matches("TOML parse error ").to_owned();
    format!("{} {place}: {}", path.display(), reason(e))
}

/// What is wrong, without the value that was given: it may be a secret in the wrong place.
fn reason(e: &toml::de::Error) -> String {
    let message = e.message();
    if let Some(rest) = message.strip_prefix("unknown field `") {
        let mut names = rest.split('`');
        let unknown = names.next().unwrap_or_default();
        let nearest = names.skip(1).step_by(2).min_by_key(|known| distance(unknown, known)).filter(|known| distance(unknown, known) <= 3);
        if let Some(nearest) = nearest {
            return format!("unknown key `{unknown}`; did you mean `{nearest}`?");
        }
    }
    match message.split_once(", expected ") {
        Some((given, expected)) if given.starts_with("invalid ") => {
            let kind = given.split(['"', '`']).next().unwrap_or_default().trim_end();
            format!("{kind}, expected {expected}")
        }
        _ => message.to_owned(),
    }
}

/// How many characters must be changed, added or left out (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (above, y) in row.iter_mut().skip(1).zip(b.chars()) {
            let here = (diagonal + usize::from(x != y)).min(*above + 1).min(left + 1);
            diagonal = *above;
            *above = here;
            left = here;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

/// Judges a configuration. What is relaxed on a machine that nobody else can reach is a warning there and an error elsewhere.
#[must_use]
pub fn judge(config: &Config) -> Findings {
    let mut findings = Findings::default();
    let local = config.server.is_local();
    database_findings(config.database.url.expose(), &mut findings);
    nats_findings(config, &mut findings);
    match config.keys.master.as_ref().map(|master| MasterKey::from_base64(master.expose())) {
        None => findings.relaxed(local, "keys.master is missing: what is secret at rest is sealed with a published key".into()),
        Some(Err(e)) => findings.errors.push(format!("keys.master: {e}")),
        Some(Ok(key)) if key.is_development() => findings.relaxed(local, "keys.master is a published key: it protects nothing".into()),
        Some(Ok(_)) => {}
    }
    if local && config.server.public_url.is_none() {
        findings.warnings.extend(public_name(config).map(|name| {
            format!("server.public_url is missing: if others reach `{name}` through a proxy, set it; links in mails now begin with http:// and hold this server's own port")
        }));
    }
    let mut slugs = HashSet::new();
    let mut hosts = HashSet::new();
    for tenant in &config.tenants {
        if !slugs.insert(&tenant.slug) {
            findings.errors.push(format!("tenants: the slug `{}` is declared twice", tenant.slug));
        }
        for host in &tenant.hosts {
            if !hosts.insert(folded(host)) {
                findings.errors.push(format!("tenants: the host `{host}` is declared twice"));
            }
        }
        tenant_findings(tenant, config, &mut findings);
    }
    findings
}

/// A configured name that others could reach.
fn public_name(config: &Config) -> Option<&str> {
    let hosts = config.tenants.iter().flat_map(|tenant| &tenant.hosts);
    let mut names = config.server.tenant_domain.iter().chain(hosts).map(String::as_str);
    names.find(|name| *name != "localhost" && !name.ends_with(".localhost"))
}

/// Judges a tenant that is made by command, by the rules for a declared one.
#[must_use]
pub fn judge_tenant(tenant: &TenantSettings, config: &Config) -> Findings {
    let mut findings = Findings::default();
    tenant_findings(tenant, config, &mut findings);
    findings
}

/// A warning if the file can be read by everybody on this machine: it is where secrets stand.
#[must_use]
pub fn exposure(path: &Path) -> Option<String> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(path).ok()?.permissions().mode();
    (mode & 0o004 != 0).then(|| format!("{} can be read by everybody on this machine; if it holds secrets: chmod o-r", path.display()))
}

impl Findings {
    fn relaxed(&mut self, local: bool, text: String) {
        if local { self.warnings.push(text) } else { self.errors.push(text) }
    }
}

fn tenant_findings(tenant: &TenantSettings, config: &Config, findings: &mut Findings) {
    let (slug, local) = (&tenant.slug, config.server.is_local());
    let mut wrong = |text: String| findings.errors.push(format!("tenant {slug}: {text}"));
    if !is_slug(slug) {
        wrong("the slug must be 1 to 40 of a-z, 0-9 and -, with no - at an end".into());
    }
    if !tenant.publishable_keys.iter().all(|key| is_well_formed(Kind::Publishable, key)) {
        wrong("publishable_keys must be pk_ and 64 hexadecimal digits".into());
    }
    if !tenant.secret_keys.iter().all(|key| is_well_formed(Kind::Secret, key.expose())) {
        wrong("secret_keys must be sk_ and 64 hexadecimal digits".into());
    }
    if tenant.reset_url.as_ref().is_some_and(|url| url::Url::parse(&url.replace("{locale}", "en")).is_err()) {
        wrong("reset_url must be an absolute URL".into());
    }
    if tenant.tokens.reset_ttl.0.as_secs() > 3_600 {
        wrong("tokens.reset_ttl must be at most 1h".into());
    }
    if tenant.tokens.session_max_age < tenant.tokens.ttl {
        wrong("tokens.session_max_age must not be below tokens.ttl".into());
    }
    if tenant.passwords.min_length == 0 || tenant.passwords.min_length > 128 {
        wrong("passwords.min_length must be between 1 and 128".into());
    }
    host_findings(tenant, config, &mut wrong);
    origin_findings(tenant, &mut wrong);
    webhook_findings(tenant, &mut wrong);
    medusa_findings(tenant, findings);
    let mut wrong = |text: String| findings.errors.push(format!("tenant {slug}: {text}"));
    if let Some(transport) = tenant.mail.transport.as_ref().map(|transport| transport.expose().trim()) {
        if let Err(e) = notify::check(&tenant.mail) {
            wrong(format!("mail.transport: {e}"));
        }
        // A service of the shop's may know its sender itself.
        if tenant.mail.from.is_none() && transport != "inbox" && !transport.to_ascii_lowercase().starts_with("http") {
            wrong("mail.from is required to send mail".into());
        }
    }
    if tenant.mail.locale.as_ref().is_some_and(|locale| !is_locale(locale)) {
        wrong("mail.locale must be a language, de or pt-BR say".into());
    }
    if local && tenant.cookies.same_site == SameSite::None {
        findings
            .warnings
            .push(format!("tenant {slug}: cookies.same_site = \"none\" needs https; over http on this machine the cookie is sent as lax"));
    }
    secret_findings(tenant, local, findings);
    findings.warnings.extend(event::warnings(tenant, config.nats.as_ref()));
    findings.warnings.extend(callback::warnings(tenant));
}

fn webhook_findings(tenant: &TenantSettings, wrong: &mut impl FnMut(String)) {
    let mut urls = HashSet::new();
    for hook in &tenant.webhooks {
        for (name, secret) in [("secret", Some(&hook.secret)), ("former_secret", hook.former_secret.as_ref())] {
            if secret.is_some_and(|secret| standard_webhooks::check(secret.expose()).is_err()) {
                wrong(format!("webhooks: the {name} of {} must be whsec_ and 24 to 64 bytes in base64", hook.url));
            }
        }
        if hook.former_secret.as_ref().is_some_and(|former| former.expose() == hook.secret.expose()) {
            wrong(format!("webhooks: the former_secret of {} is its secret", hook.url));
        }
        if !urls.insert(&hook.url) {
            wrong(format!("webhooks: {} is declared twice; name all its events in one", hook.url));
        }
        for pattern in idle(&hook.events) {
            wrong(format!("webhooks: `{pattern}` matches no event"));
        }
    }
}

/// The patterns that cover no event.
fn idle(patterns: &[String]) -> impl Iterator<Item = &String> {
    patterns.iter().filter(|pattern| !EventName::ALL.into_iter().any(|name| name.matches(pattern)))
}

fn nats_findings(config: &Config, findings: &mut Findings) {
    let Some(nats) = &config.nats else { return };
    for url in nats.url.expose().split(',') {
        broker_findings("nats.url", url.trim(), ["nats", "tls"], findings);
    }
    findings.errors.extend(idle(&nats.events).map(|pattern| format!("nats.events: `{pattern}` matches no event")));
}

fn medusa_findings(tenant: &TenantSettings, findings: &mut Findings) {
    let (slug, Some(medusa)) = (&tenant.slug, &tenant.medusa) else { return };
    broker_findings(&format!("tenant {slug}: medusa.redis"), medusa.redis.expose(), ["redis", "rediss"], findings);
    findings.errors.extend(idle(&medusa.events).map(|pattern| format!("tenant {slug}: medusa.events: `{pattern}` matches no event")));
    if medusa.queue.is_empty() || medusa.prefix.is_empty() {
        findings.errors.push(format!("tenant {slug}: medusa.queue and medusa.prefix must not be empty"));
    }
}

/// `schemes`: the one without TLS, and the one with. The URL is not repeated: it may hold a password.
fn broker_findings(what: &str, url: &str, schemes: [&str; 2], findings: &mut Findings) {
    let [plain, safe] = schemes;
    match Url::parse(url).ok().filter(|url| schemes.contains(&url.scheme()) && url.host().is_some()) {
        None => findings.errors.push(format!("{what} must begin with {plain}:// or {safe}:// and name a host")),
        Some(url) if url.scheme() == plain && !is_private(url.host_str().unwrap_or_default()) => findings.warnings.push(format!(
            "{what} leads out of the private network, and the connection is not encrypted: others can read the events, and the password if there is one; use {safe}://"
        )),
        Some(_) => {}
    }
}

fn secret_findings(tenant: &TenantSettings, local: bool, findings: &mut Findings) {
    let slug = &tenant.slug;
    match (tenant.tokens.algorithm, tenant.tokens.secret.as_ref().map(Secret::expose)) {
        (Algorithm::Hs256, None | Some("")) => findings.errors.push(format!("tenant {slug}: tokens.secret is required for HS256")),
        (Algorithm::Hs256, Some(secret)) if well_known_secrets().contains(secret.to_ascii_lowercase().as_str()) => {
            findings.relaxed(local, format!("tenant {slug}: tokens.secret is a well-known word; anybody can make tokens"));
        }
        (Algorithm::Hs256, Some(secret)) if secret.len() < SECRET_BYTES => {
            findings.relaxed(local, format!("tenant {slug}: tokens.secret is shorter than {SECRET_BYTES} bytes"));
        }
        (Algorithm::EdDsa, Some(_)) => findings.errors.push(format!("tenant {slug}: tokens.secret is for HS256 only")),
        _ => {}
    }
    for secret in tenant.tokens.former_secrets.iter().map(vestibule_engine::model::tenant::Secret::expose) {
        if secret.is_empty() {
            findings.errors.push(format!("tenant {slug}: tokens.former_secrets holds an empty one"));
        } else if well_known_secrets().contains(secret.to_ascii_lowercase().as_str()) {
            findings.relaxed(local, format!("tenant {slug}: tokens.former_secrets holds a well-known word; anybody can make tokens"));
        } else if secret.len() < SECRET_BYTES {
            findings.relaxed(local, format!("tenant {slug}: tokens.former_secrets holds one shorter than {SECRET_BYTES} bytes"));
        }
    }
    let inbox = tenant.mail.transport.as_ref().is_some_and(|t| t.expose() == "inbox");
    if inbox {
        findings.relaxed(local, format!("tenant {slug}: mail goes to the development inbox and to nobody else"));
    }
}

/// The path of the configuration file: the flag, or `VESTIBULE_CONFIG` (read by the flag's parser).
///
/// # Errors
/// If neither names one.
pub fn required(path: Option<PathBuf>) -> Result<PathBuf, String> {
    path.ok_or_else(|| "name the configuration file with --config FILE or VESTIBULE_CONFIG".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load_text(text: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vestibule.toml");
        std::fs::write(&path, text).unwrap();
        load(&path, environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())))
    }

    const LEAST: &str = "[database]\nurl = \"sqlite://x.db\"\n";

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_its_neighbour() {
        let e = load_text(&format!("{LEAST}[server]\nlisen = \"127.0.0.1:1\"\n"), &[]).unwrap_err();
        assert!(e.contains("line 4") && e.contains("did you mean `listen`"), "{e}");
        let e = load_text(&format!("{LEAST}[[tenants]]\nslug = \"a\"\n[tenants.tokens]\ntll = \"1d\"\n"), &[]).unwrap_err();
        assert!(e.contains("did you mean `ttl`"), "{e}");
    }

    #[test]
    fn the_environment_wins_and_files_hold_secrets() {
        let dir = tempfile::tempdir().unwrap();
        let secret = dir.path().join("secret");
        std::fs::write(&secret, "from-a-file\n").unwrap();
        let environment = [
            ("VESTIBULE__SERVER__LISTEN", "127.0.0.1:1234"),
            ("VESTIBULE__KEYS__MASTER_FILE", secret.to_str().unwrap()),
            ("VESTIBULE__DATABASE__URL", "sqlite://y.db"),
        ];
        let config = load_text("", &environment).unwrap();
        assert_eq!(config.server.listen.port(), 1234);
        assert_eq!(config.keys.master.unwrap().expose(), "from-a-file");
        assert_eq!(config.database.url.expose(), "sqlite://y.db");
        assert!(load_text(LEAST, &[("VESTIBULE__SERVER__LISEN", "x")]).is_err(), "an unknown variable is an unknown key");
    }

    #[test]
    fn a_public_name_without_a_public_url_is_mentioned() {
        let mentioned = |server: &str, tenant: &str| {
            let findings = judge(&load_text(&format!("{LEAST}[server]\n{server}\n[[tenants]]\nslug = \"acme\"\n{tenant}\n"), &[]).unwrap());
            findings.warnings.iter().any(|w| w.contains("public_url"))
        };
        assert!(mentioned("tenant_domain = \"api.example.com\"", ""));
        assert!(mentioned("", "hosts = [\"acme.localhost\", \"id.acme.example\"]"));
        assert!(!mentioned("tenant_domain = \"api.localhost\"", "hosts = [\"localhost\"]"));
        assert!(!mentioned("tenant_domain = \"api.example.com\"\npublic_url = \"http://localhost:9000\"", ""));
        assert!(!mentioned("tenant_domain = \"api.example.com\"\npublic_url = \"https://id.example.com\"", ""));
    }

    #[test]
    fn a_database_that_strangers_could_listen_to_is_mentioned() {
        let of = |url: &str| judge(&load_text(&format!("[database]\nurl = \"{url}\"\n"), &[]).unwrap());
        let mentioned = |url: &str| of(url).warnings.iter().any(|w| w.contains("not encrypted"));
        for near in ["127.0.0.1", "localhost:5432", "[::1]:5432", "10.1.2.3", "192.168.0.1:1", "[fd00::1]", "%2Frun%2Fpostgresql"] {
            let found = of(&format!("postgres://u:p@{near}/v"));
            assert!(found.errors.is_empty() && !found.warnings.iter().any(|w| w.contains("not encrypted")), "{near}: {:?}", found.errors);
        }
        assert!(!mentioned("postgresql:///v?host=/run/postgresql") && !mentioned("sqlite://v.db"));
        for far in ["203.0.113.9", "db.example.com:5432", "[2001:db8::1]:5432"] {
            assert!(mentioned(&format!("postgresql://u:p@{far}/v")), "{far}");
            let far = format!("postgres://u:p@{far}/v");
            assert!(of(&far).errors.is_empty() && mentioned(&format!("{far}?sslmode=prefer")));
            assert!(["require", "verify-ca", "verify-full"].iter().all(|mode| !mentioned(&format!("{far}?sslmode={mode}"))));
        }
        assert!(mentioned("postgres:///v?host=db.example.com") && mentioned("postgres://10.0.0.1,db.example.com/v"));
        assert!(mentioned("postgres://localhost/v?hostaddr=203.0.113.9"));
    }

    #[test]
    fn a_database_that_the_driver_cannot_connect_to_is_an_error() {
        for (url, words) in [
            ("postgres://u:hunter2@127.0.0.1/v?sslmode=allow", "sslmode must be disable, prefer, require, verify-ca or verify-full"),
            ("postgres://u:hunter2@127.0.0.1/v?sslmod=require", "unknown option `sslmod`"),
            ("postgres://u:hunter2@127.0.0.1:five/v", "port"),
            ("postgres://u:hunter2@/v", "it names no host"),
            ("postgres://u:hunter2@/v?hostaddr=127.0.0.1&sslmode=require", "it names no host"),
            ("postgres://u:hunter2@127.0.0.1/v?sslrootcert=/nowhere/ca.pem", "sslrootcert is for sslmode=verify-full"),
            ("postgres://u:hunter2@127.0.0.1/v?sslmode=verify-full&sslrootcert=/nowhere/ca.pem", "sslrootcert: /nowhere/ca.pem: No such file"),
            ("postgres://u:hunter2@127.0.0.1/v?sslmode=verify-full&sslrootcert=/dev/null", "sslrootcert: /dev/null: it holds no certificate"),
        ] {
            let errors = judge(&load_text(&format!("[database]\nurl = \"{url}\"\n"), &[]).unwrap()).errors;
            assert!(errors.len() == 1 && errors[0].starts_with("database.url: ") && errors[0].contains(words), "{url}: {errors:?}");
            assert!(!errors[0].contains("hunter2"), "{errors:?}");
        }
    }

    #[test]
    fn r14_weak_secrets_are_errors_unless_nobody_else_can_reach_the_server() {
        let tenant = "[[tenants]]\nslug = \"acme\"\n[tenants.tokens]\nalgorithm = \"HS256\"\n";
        for secret in ["supersecret", "short", "SuperSecret"] {
            let text = format!("{LEAST}[server]\nLISTEN\n{tenant}secret = \"{secret}\"\n");
            let local = judge(&load_text(&text.replace("LISTEN", "listen = \"127.0.0.1:0\""), &[]).unwrap());
            assert!(local.errors.is_empty(), "{:?}", local.errors);
            assert!(local.warnings.iter().any(|w| w.contains("tokens.secret")), "{secret}");
            for public in ["listen = \"0.0.0.0:0\"", "listen = \"127.0.0.1:0\"\npublic_url = \"https://id.example.com\""] {
                let findings = judge(&load_text(&text.replace("LISTEN", public), &[]).unwrap());
                assert!(findings.errors.iter().any(|w| w.contains("tokens.secret")), "{secret} {public}");
                assert!(findings.errors.iter().any(|w| w.contains("keys.master")), "{public}");
            }
        }
        // A former secret makes tokens, too.
        for (secret, local_errors) in [("supersecret", 0), ("short", 0), ("", 1)] {
            let text = format!(
                "{LEAST}[server]\nLISTEN\n[[tenants]]\nslug = \"acme\"\n[tenants.tokens]\nformer_secrets = [\"{}\", \"{secret}\"]\n",
                "x".repeat(32)
            );
            let named = |texts: &[String]| texts.iter().filter(|text| text.contains("tokens.former_secrets")).count();
            let local = judge(&load_text(&text.replace("LISTEN", "listen = \"127.0.0.1:0\""), &[]).unwrap());
            assert_eq!((named(&local.errors), named(&local.warnings)), (local_errors, 1 - local_errors), "{secret:?}");
            let public = judge(&load_text(&text.replace("LISTEN", "listen = \"0.0.0.0:0\""), &[]).unwrap());
            assert_eq!(named(&public.errors), 1, "{secret:?}");
        }
        let missing = judge(&load_text(&format!("{LEAST}{tenant}"), &[]).unwrap());
        assert!(missing.errors.iter().any(|w| w.contains("required for HS256")));
    }
}
