//! Judges where the database is.

use std::net::IpAddr;

use vestibule_engine::Engine;

use super::Findings;

/// What cannot be opened is told now, and who sends passwords abroad must know.
pub(super) fn database_findings(url: &str, findings: &mut Findings) {
    match Engine::plain_hosts(url) {
        Err(e) => findings.errors.push(e.message.to_string()),
        Ok(hosts) if !hosts.iter().all(|host| is_private(host)) => findings.warnings.push(
            "database.url leads out of the private network, and the connection is not encrypted: others can read what goes over it; ask for sslmode=verify-full".into(),
        ),
        Ok(_) => {}
    }
}

/// Whether `host` is this machine, a socket's folder, or an address that no stranger can reach. A name may be anywhere.
pub(super) fn is_private(host: &str) -> bool {
    match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().map(|ip| ip.to_canonical()) {
        Ok(IpAddr::V4(ip)) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        Ok(IpAddr::V6(ip)) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
        Err(_) => host.is_empty() || host == "localhost" || host.starts_with('/'),
    }
}
