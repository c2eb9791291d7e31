//! Judges the names that a tenant is reached at, and those of the pages that may call it.

use std::net::Ipv6Addr;

use url::Url;
use vestibule_engine::config::Config;
use vestibule_engine::model::tenant::TenantSettings;

/// A host as the server compares it: it folds case, and knows a name with the root's dot.
pub(super) fn folded(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

/// A host that no request can name, or that is another tenant's by its slug.
pub(super) fn host_findings(tenant: &TenantSettings, config: &Config, wrong: &mut impl FnMut(String)) {
    for host in &tenant.hosts {
        if !is_host(&folded(host)) {
            wrong(format!("hosts: `{host}` is no host: a name alone, id.shop.example say, without scheme, port or path, and in ASCII"));
        }
        let others = config.tenants.iter().map(|other| &other.slug).filter(|slug| **slug != tenant.slug);
        for slug in others.filter(|slug| is_by_slug(&folded(host), slug, config)) {
            wrong(format!("hosts: `{host}` is the host of the tenant `{slug}`"));
        }
    }
}

/// Whether `host` is `{slug}.{tenant_domain}` or `{slug}.localhost`.
fn is_by_slug(host: &str, slug: &str, config: &Config) -> bool {
    let domains = config.server.tenant_domain.as_deref().into_iter().chain(["localhost"]);
    host.strip_prefix(slug).and_then(|rest| rest.strip_prefix('.')).is_some_and(|rest| domains.into_iter().any(|domain| domain == rest))
}

/// Whether a request can name it: what `extract/tenant.rs` takes for a host.
fn is_host(host: &str) -> bool {
    let label = |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    bracketed.map_or_else(|| host.len() <= 253 && host.split('.').all(label), |ip| ip.parse::<Ipv6Addr>().is_ok())
}

/// An origin that no browser sends: the server compares it with what browsers send, letter by letter.
pub(super) fn origin_findings(tenant: &TenantSettings, wrong: &mut impl FnMut(String)) {
    let cors = &tenant.cors;
    for (name, origins) in [("store", &cors.store), ("auth", &cors.auth), ("admin", &cors.admin)] {
        for origin in origins {
            let sent = sent(origin);
            if sent.as_ref() != Some(origin) {
                let meant = sent.map(|sent| format!("; did you mean `{sent}`?")).unwrap_or_default();
                wrong(format!("cors.{name}: `{origin}` is no origin as browsers send it, https://shop.example say{meant}"));
            }
        }
    }
}

/// The origin of a page at `url`, as a browser sends it. An app's own scheme has one, too.
fn sent(url: &str) -> Option<String> {
    let parsed = Url::parse(url).ok()?;
    let host = parsed.host_str().filter(|host| !host.is_empty())?;
    if parsed.origin().is_tuple() {
        return Some(parsed.origin().ascii_serialization());
    }
    let port = parsed.port().map(|port| format!(":{port}")).unwrap_or_default();
    Some(format!("{}://{host}{port}", parsed.scheme()))
}
