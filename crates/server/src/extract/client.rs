//! Who is at the other end. The address is the socket's, unless a proxy that the operator trusts says otherwise.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, header};
use vestibule_engine::config::Server;
use vestibule_engine::ops::Client;

use super::App;

/// The socket's other end, put into the request by the accept loop.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// The client of a request.
pub struct Caller(pub Client);

impl FromRequestParts<App> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<Peer>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip());
        let ip = client_ip(&app.engine.config.server, peer, &parts.headers);
        Ok(Self(Client { ip, user_agent: user_agent(&parts.headers).map(str::to_owned) }))
    }
}

/// What the client calls itself, if that is text.
pub(super) fn user_agent(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok())
}

/// From the right, the first address that is no trusted proxy: what stands left of it is the client's own word.
fn client_ip(server: &Server, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    let mut ip = peer;
    let hops: Vec<&str> =
        headers.get_all("x-forwarded-for").iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(',')).map(str::trim).collect();
    for hop in hops.into_iter().rev() {
        if !server.trusts(ip.to_canonical()) {
            break;
        }
        let Ok(next) = hop.parse() else { break };
        ip = next;
    }
    ip
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r34_only_a_trusted_proxy_speaks_for_its_client() {
        let server = Server { trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()], ..Server::default() };
        let ip = |peer: &str, forwarded: &str| {
            let headers = HeaderMap::from_iter([(http::HeaderName::from_static("x-forwarded-for"), forwarded.parse().unwrap())]);
            client_ip(&server, peer.parse().unwrap(), &headers).to_string()
        };
        assert_eq!(ip("203.0.113.9", "198.51.100.1"), "203.0.113.9", "not from a proxy");
        assert_eq!(ip("10.0.0.1", "198.51.100.1"), "198.51.100.1");
        assert_eq!(ip("10.0.0.1", "6.6.6.6, 198.51.100.1, 10.0.0.2"), "198.51.100.1", "what the client wrote is ignored");
        assert_eq!(ip("10.0.0.1", "nonsense"), "10.0.0.1");
        assert_eq!(ip("::ffff:10.0.0.1", "198.51.100.1"), "198.51.100.1");
    }
}
