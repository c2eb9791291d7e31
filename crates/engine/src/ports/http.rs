//! The only outbound HTTP client. Its targets are addresses that somebody else chose, so it decides where it may go.

use std::error::Error as StdError;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use jiff::fmt::rfc2822;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, Response, redirect};
use tokio::time::{Instant, timeout_at};
use url::{Host, Url};

use crate::error::{Error, Result};

/// How much of an answer's body is read; the rest is cut off.
const BODY_LIMIT: usize = 64 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
const IDLE_PER_HOST: usize = 4;
const USER_AGENT: &str = concat!("vestibule/", env!("CARGO_PKG_VERSION"));

/// The outbound client. No redirects, no proxy, no cookies; `https`, or `http` to the networks that the operator allowed.
pub struct Http {
    secure: Client,
    plain: Client,
    secure_gate: Gate,
    plain_gate: Gate,
}

/// What the other side said, whatever the status.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    /// From `Retry-After`, in seconds or as a date (reckoned from the answer's own `Date`). As large as the other side likes.
    pub retry_after: Option<Duration>,
    /// The first 64 KiB, or what came of them before the deadline.
    pub body: Vec<u8>,
}

/// Why there is no answer. The text names neither path nor query of the target: those may hold a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpFailure {
    /// The target is not allowed, or the request cannot be built: a retry is useless.
    #[error("refused: {0}")]
    Refused(String),
    /// No answer came; a retry may pass.
    #[error("unreachable: {0}")]
    Unreachable(String),
}

impl Http {
    /// `allow_private`: networks that may be reached although they are not public, with `http` too.
    ///
    /// # Errors
    /// If the TLS settings are refused: a defect.
    pub fn new(allow_private: Vec<IpNet>) -> Result<Self> {
        let allow_private: Arc<[IpNet]> = allow_private.into();
        let secure_gate = Gate { allow_private: Arc::clone(&allow_private), public: true };
        let plain_gate = Gate { allow_private, public: false };
        Ok(Self { secure: client(secure_gate.clone())?, plain: client(plain_gate.clone())?, secure_gate, plain_gate })
    }

    /// Sends `body` to `url`. The deadline covers everything, name resolution included. Once the status is known, the answer stands:
    /// a body that stalls after it is cut off.
    pub async fn post(&self, url: &Url, headers: &[(&'static str, String)], body: Vec<u8>, timeout: Duration) -> Result<Answer, HttpFailure> {
        let client = self.client_for(url)?;
        let request = headers.iter().fold(client.post(url.clone()), |request, (name, value)| request.header(*name, value)).body(body);
        let deadline = Instant::now() + timeout;
        let response = timeout_at(deadline, request.send())
            .await
            .map_err(|_| HttpFailure::Unreachable(format!("no answer within {} ms", timeout.as_millis())))?
            .map_err(failure)?;
        let (status, retry_after) = (response.status().as_u16(), retry_after(response.headers()));
        Ok(Answer { status, retry_after, body: read_body(response, deadline).await })
    }

    /// Checks what the URL alone tells. Literal addresses are checked here, because they are never resolved; names are checked by the
    /// client's resolver at connect time.
    fn client_for(&self, url: &Url) -> Result<&Client, HttpFailure> {
        let refuse = |why: &str| Err(HttpFailure::Refused(why.to_owned()));
        if !url.username().is_empty() || url.password().is_some() {
            return refuse("the URL holds a user name or a password");
        }
        let (client, gate) = match url.scheme() {
            "https" => (&self.secure, &self.secure_gate),
            "http" => (&self.plain, &self.plain_gate),
            _ => return refuse("only https is possible"),
        };
        let admitted = match url.host() {
            Some(Host::Ipv4(ip)) => gate.admits(ip.into()),
            Some(Host::Ipv6(ip)) => gate.admits(ip.into()),
            Some(Host::Domain(_)) => gate.public || !gate.allow_private.is_empty(),
            None => false,
        };
        if admitted { Ok(client) } else { Err(HttpFailure::Refused(gate.reason().to_owned())) }
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that makes an HTTP client")]
fn client(gate: Gate) -> Result<Client> {
    let defect = |e: &dyn std::fmt::Display| Error::unexpected(format!("the HTTP client: {e}"));
    let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| defect(&e))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Client::builder()
        .tls_backend_preconfigured(tls)
        .dns_resolver(gate)
        .redirect(redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .user_agent(USER_AGENT)
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(IDLE_PER_HOST)
        .build()
        .map_err(|e| defect(&e))
}

async fn read_body(mut response: Response, deadline: Instant) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Ok(Some(chunk))) = timeout_at(deadline, response.chunk()).await {
        let room = BODY_LIMIT - body.len();
        body.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
        if body.len() >= BODY_LIMIT {
            break;
        }
    }
    body
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = rfc2822::parse(text).ok()?.timestamp();
    let now = rfc2822::parse(headers.get(DATE)?.to_str().ok()?).ok()?.timestamp();
    Some(Duration::from_secs(u64::try_from(at.as_second() - now.as_second()).unwrap_or(0)))
}

fn failure(error: reqwest::Error) -> HttpFailure {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(refused) = cause.downcast_ref::<NotAdmitted>() {
            return HttpFailure::Refused(refused.to_string());
        }
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    if error.is_builder() { HttpFailure::Refused(text) } else { HttpFailure::Unreachable(text) }
}

/// Which addresses a client may reach. Also its resolver, so that what was checked is what is connected to.
#[derive(Clone)]
struct Gate {
    allow_private: Arc<[IpNet]>,
    /// Whether public addresses are reached too; with plain `http` they are not.
    public: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct NotAdmitted(&'static str);

impl Gate {
    fn admits(&self, ip: IpAddr) -> bool {
        (self.public && is_public(ip)) || self.allow_private.iter().any(|net| net.contains(&ip) || net.contains(&ip.to_canonical()))
    }

    const fn reason(&self) -> &'static str {
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

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    const SHORT: Duration = Duration::from_secs(5);

    fn http(allowed: &[&str]) -> Http {
        Http::new(allowed.iter().map(|net| net.parse().unwrap()).collect()).unwrap()
    }

    /// Answers each connection with `answer` after its request has come; the requests can be received. `answer` empty: says nothing.
    fn server(answer: &'static str, filler: usize) -> (SocketAddr, Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (requests, received) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                requests.send(read_request(&mut stream)).ok();
                if answer.is_empty() {
                    std::thread::sleep(SHORT);
                }
                stream.write_all(answer.as_bytes()).ok();
                // The client hangs up in the middle of a body that is too long.
                (0..filler).try_for_each(|_| stream.write_all(&[b'x'; 1024])).ok();
            }
        });
        (address, received)
    }

    fn read_request(stream: &mut TcpStream) -> String {
        let mut text = String::new();
        let mut buffer = [0; 4096];
        while !text.ends_with("the body") {
            let n = stream.read(&mut buffer).unwrap();
            if n == 0 {
                break;
            }
            text.push_str(std::str::from_utf8(&buffer[..n]).unwrap());
        }
        text
    }

    async fn post(http: &Http, url: &str, timeout: Duration) -> Result<Answer, HttpFailure> {
        http.post(&Url::parse(url).unwrap(), &[("x-test", "1".to_owned())], b"the body".to_vec(), timeout).await
    }

    #[test]
    fn public_addresses() {
        for ip in "1.1.1.1 8.8.8.8 100.63.255.255 100.128.0.0 172.15.0.1 172.32.0.1 192.0.1.1 198.17.0.1 198.20.0.1".split_whitespace() {
            assert!(is_public(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["2606:4700:4700::1111", "2a00:1450:4001::1", "2001:200::1", "2003::1"] {
            assert!(is_public(ip.parse().unwrap()), "{ip}");
        }
        for ip in "0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 100.127.255.255 127.0.0.1 127.255.255.254 169.254.169.254 172.16.0.1 \
                172.31.255.255 192.0.0.170 192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1 198.19.255.255 198.51.100.7 \
                203.0.113.9 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255"
            .split_whitespace()
        {
            assert!(!is_public(ip.parse().unwrap()), "{ip}");
        }
        for ip in ":: ::1 ::ffff:127.0.0.1 ::ffff:8.8.8.8 ::127.0.0.1 ::8.8.8.8 64:ff9b::7f00:1 64:ff9b:1::1 100::1 2001::1 \
                2001:2::1 2001:db8::1 2002:7f00:1::1 3fff::1 5f00::1 fc00::1 fdff::1 fe80::1 febf::1 fec0::1 ff02::1"
            .split_whitespace()
        {
            assert!(!is_public(ip.parse().unwrap()), "{ip}");
        }
    }

    #[tokio::test]
    async fn targets_that_are_not_public_are_refused_however_they_are_spelt() {
        let http = http(&[]);
        for host in "127.0.0.1 127.1 2130706433 0x7f.1 0x7f000001 017700000001 0177.0.0.1 127.0.0.1. 0 0.0.0.0 10.0.0.1 \
                169.254.169.254 2852039166 192.168.0.1 172.16.0.1 100.64.0.1 [::1] [::] [::ffff:127.0.0.1] [::ffff:7f00:1] \
                [::127.0.0.1] [64:ff9b::127.0.0.1] [2002:7f00:1::] [fc00::1] [fd00:ec2::254] [fe80::1] １２７.0.0.1 127。0。0。1 \
                %31%32%37.0.0.1 localhost LOCALHOST"
            .split_whitespace()
        {
            for scheme in ["https", "http"] {
                let answer = post(&http, &format!("{scheme}://{host}:9/"), SHORT).await;
                assert!(matches!(answer, Err(HttpFailure::Refused(_))), "{scheme} {host}: {answer:?}");
            }
        }
        for url in ["http://8.8.8.8/", "http://example.com/", "ftp://8.8.8.8/", "file:///etc/passwd", "https://user@8.8.8.8/", "https://:pw@8.8.8.8/"]
        {
            let answer = post(&http, url, SHORT).await;
            assert!(matches!(answer, Err(HttpFailure::Refused(_))), "{url}: {answer:?}");
        }
    }

    #[tokio::test]
    async fn an_allowed_network_is_reached_and_no_other() {
        let (address, requests) = server("HTTP/1.1 429 Slow down\r\nRetry-After: 7\r\nContent-Length: 2\r\n\r\nno", 0);
        let allowed = http(&["127.0.0.1/32"]);
        for host in ["127.0.0.1", "[::ffff:127.0.0.1]", "localhost"] {
            let answer = post(&allowed, &format!("http://{host}:{}/hook?x=1", address.port()), SHORT).await.unwrap();
            assert_eq!((answer.status, answer.retry_after, answer.body.as_slice()), (429, Some(Duration::from_secs(7)), b"no".as_slice()));
            let request = requests.recv().unwrap();
            assert!(request.starts_with("POST /hook?x=1 HTTP/1.1\r\n") && request.ends_with("\r\n\r\nthe body"), "{request}");
            assert!(request.contains("x-test: 1\r\n") && request.contains(&format!("user-agent: {USER_AGENT}\r\n")), "{request}");
        }
        let answer = post(&allowed, &format!("http://127.0.0.2:{}/", address.port()), SHORT).await;
        assert!(matches!(answer, Err(HttpFailure::Refused(_))), "{answer:?}");
        let answer = post(&http(&["10.0.0.0/8"]), &format!("http://localhost:{}/", address.port()), SHORT).await;
        assert!(matches!(answer, Err(HttpFailure::Refused(_))), "{answer:?}");
        assert!(requests.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_redirect_is_not_followed() {
        let (address, requests) = server("HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n", 0);
        let answer = post(&http(&["127.0.0.1/32"]), &format!("http://{address}/"), SHORT).await.unwrap();
        assert_eq!(answer.status, 302);
        assert!(requests.recv().is_ok() && requests.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_long_body_is_cut_off() {
        let (address, _requests) = server("HTTP/1.1 200 OK\r\nContent-Length: 8388608\r\n\r\n", 8 * 1024);
        let answer = post(&http(&["127.0.0.1/32"]), &format!("http://{address}/"), SHORT).await.unwrap();
        assert_eq!((answer.status, answer.body.len()), (200, BODY_LIMIT));
    }

    #[tokio::test]
    async fn silence_ends_at_the_deadline() {
        let http = http(&["127.0.0.1/32"]);
        let (address, _requests) = server("", 0);
        let answer = post(&http, &format!("http://{address}/secret-path"), Duration::from_millis(200)).await;
        assert_eq!(answer.unwrap_err(), HttpFailure::Unreachable("no answer within 200 ms".to_owned()));

        // The status came, the body never does: the status counts.
        let (address, _requests) = server("HTTP/1.1 503 Busy\r\nContent-Length: 10\r\n\r\nabc", 0);
        let answer = post(&http, &format!("http://{address}/"), Duration::from_secs(1)).await.unwrap();
        assert_eq!((answer.status, answer.body.as_slice()), (503, b"abc".as_slice()));
    }

    #[tokio::test]
    async fn a_closed_port_and_a_bad_header_differ() {
        let http = http(&["127.0.0.1/32"]);
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let answer = post(&http, &format!("http://127.0.0.1:{port}/secret-path"), SHORT).await.unwrap_err();
        assert!(matches!(&answer, HttpFailure::Unreachable(text) if !text.contains("secret-path")), "{answer}");
        let url = Url::parse(&format!("http://127.0.0.1:{port}/")).unwrap();
        let answer = http.post(&url, &[("x-test", "a\r\nb: c".to_owned())], Vec::new(), SHORT).await.unwrap_err();
        assert!(matches!(answer, HttpFailure::Refused(_)), "{answer}");
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        let read = |value: &'static str, date: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, value.parse().unwrap());
            date.map(|date| headers.insert(DATE, date.parse().unwrap()));
            retry_after(&headers)
        };
        let noon = Some("Wed, 21 Oct 2015 12:00:00 GMT");
        assert_eq!(read("120", None), Some(Duration::from_mins(2)));
        assert_eq!(read("Wed, 21 Oct 2015 12:01:30 GMT", noon), Some(Duration::from_secs(90)));
        assert_eq!(read("Wed, 21 Oct 2015 11:00:00 GMT", noon), Some(Duration::ZERO));
        for wrong in ["Wed, 21 Oct 2015 12:01:30 GMT", "-1", "soon", ""] {
            assert_eq!(read(wrong, None), None, "{wrong}");
        }
    }
}
