//! Where the client may go.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Which addresses a client may reach. Also its resolver, so that what was checked is what is connected to.
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) allow_private: Arc<[IpNet]>,
    /// Whether public addresses are reached too; with plain `http` they are not.
    pub(super) public: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct NotAdmitted(&'static str);

impl Gate {
    pub(super) fn admits(&self, ip: IpAddr) -> bool {
        (self.public && is_public(ip)) || self.allow_private.iter().any(|net| net.contains(&ip) || net.contains(&ip.to_canonical()))
    }

    pub(super) const fn reason(&self) -> &'static str {
        if self.public {
            "the target is not a public address and not in outbound.allow_private"
        } else {
            "without https only addresses in outbound.allow_private may be reached"
        }
    }
}

impl reqwest::dns::Resolve for Gate {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let gate = self.clone();
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let admitted: Vec<SocketAddr> = found.iter().copied().filter(|address| gate.admits(address.ip())).collect();
            if admitted.is_empty() && !found.is_empty() {
                return Err(NotAdmitted(gate.reason()).into());
            }
            Ok(Box::new(admitted.into_iter()) as reqwest::dns::Addrs)
        })
    }
}

/// Whether `ip` is an address of the public internet. IPv6 addresses that stand for an IPv4 address are not, whichever it is.
#[must_use]
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !NOT_PUBLIC_V4.iter().any(|net| net.contains(&ip)),
        IpAddr::V6(ip) => GLOBAL_V6.contains(&ip) && !NOT_PUBLIC_V6.iter().any(|net| net.contains(&ip)),
    }
}

const fn v4(a: u8, b: u8, c: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, 0), prefix)
}

const fn v6(a: u16, b: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, 0), prefix)
}

/// Source: IANA IPv4 Special-Purpose Address Registry.
const NOT_PUBLIC_V4: [Ipv4Net; 15] = [
    v4(0, 0, 0, 8),       // this network
    v4(10, 0, 0, 8),      // private
    v4(100, 64, 0, 10),   // shared by carriers (CGNAT)
    v4(127, 0, 0, 8),     // loopback
    v4(169, 254, 0, 16),  // link-local, cloud metadata
    v4(172, 16, 0, 12),   // private
    v4(192, 0, 0, 24),    // protocol assignments
    v4(192, 0, 2, 24),    // documentation
    v4(192, 88, 99, 24),  // 6to4 relays
    v4(192, 168, 0, 16),  // private
    v4(198, 18, 0, 15),   // benchmarks
    v4(198, 51, 100, 24), // documentation
    v4(203, 0, 113, 24),  // documentation
    v4(224, 0, 0, 4),     // multicast
    v4(240, 0, 0, 4),     // reserved, broadcast
];

/// What IANA gives out. Outside lie loopback, unspecified, v4-mapped and v4-compatible, NAT64, unique local, link-local and multicast.
const GLOBAL_V6: Ipv6Net = v6(0x2000, 0, 3);

/// Source: IANA IPv6 Special-Purpose Address Registry.
const NOT_PUBLIC_V6: [Ipv6Net; 4] = [
    v6(0x2001, 0, 23),     // protocol assignments, Teredo, ORCHID, benchmarks
    v6(0x2001, 0xdb8, 32), // documentation
    v6(0x2002, 0, 16),     // 6to4
    v6(0x3fff, 0, 20),     // documentation
];
