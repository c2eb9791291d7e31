//! Requests byte by byte, for what no well-behaved client sends.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::client::Answer;

/// Sends `bytes` to the server at `base` and reads until it closes. The request must ask for that.
pub async fn send(base: &str, bytes: &[u8]) -> Answer {
    let address = base.strip_prefix("http://").unwrap();
    let (mut from, mut to) = TcpStream::connect(address).await.unwrap().into_split();
    let mut answer = Vec::new();
    // A server that has read enough may stop listening, so that writing fails while the answer is there to be read.
    let talk = async { tokio::join!(to.write_all(bytes), from.read_to_end(&mut answer)) };
    tokio::time::timeout(Duration::from_secs(30), talk).await.expect("the server neither answered nor closed").0.ok();
    parse(&answer)
}

/// A GET of `path` with these header lines, as they are.
pub async fn get(base: &str, target: &str, lines: &[&str]) -> Answer {
    let head = [&[&format!("GET {target} HTTP/1.1"), "Connection: close"], lines, &["", ""]].concat().join("\r\n");
    send(base, head.as_bytes()).await
}

fn parse(bytes: &[u8]) -> Answer {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or_else(|| panic!("no answer: {:?}", String::from_utf8_lossy(bytes)));
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let status: u16 = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    if status == 100 {
        return parse(&bytes[end + 4..]);
    }
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers: HeaderMap =
        headers.map(|(name, value)| (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value.trim()).unwrap())).collect();
    Answer { status, headers, text: String::from_utf8_lossy(&bytes[end + 4..]).into_owned() }
}
