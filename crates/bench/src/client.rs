//! The smallest HTTP/1.1 client that keeps its connection. It shares the machine with the server it measures, so requests are rendered
//! beforehand and of an answer only the status, the length and the end of the connection are read.

use std::io;
use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Who a request speaks for: the tenant by its host, and what proves it.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    pub host: &'a str,
    pub publishable_key: Option<&'a str>,
    pub token: Option<&'a str>,
}

impl<'a> Caller<'a> {
    pub const fn nobody(host: &'a str) -> Self {
        Self { host, publishable_key: None, token: None }
    }
}

pub fn get(caller: Caller<'_>, path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\n{}\r\n", headers(caller)).into_bytes()
}

pub fn post(caller: Caller<'_>, path: &str, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\n{}content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}", headers(caller)).into_bytes()
}

fn headers(caller: Caller<'_>) -> String {
    let mut text = format!("host: {}\r\naccept: application/json\r\n", caller.host);
    for (name, prefix, value) in [("x-publishable-api-key", "", caller.publishable_key), ("authorization", "Bearer ", caller.token)] {
        if let Some(value) = value {
            text.extend([name, ": ", prefix, value, "\r\n"]);
        }
    }
    text
}

pub struct Connection {
    address: SocketAddr,
    /// `None` before the first request, and after an error or a `connection: close`; the next request connects again.
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

pub struct Answer<'a> {
    pub status: u16,
    pub body: &'a [u8],
}

impl Connection {
    pub fn to(address: SocketAddr) -> Self {
        Self { address, stream: None, buffer: Vec::with_capacity(16 * 1024) }
    }

    pub async fn exchange(&mut self, request: &[u8]) -> io::Result<Answer<'_>> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => connect(self.address).await?,
        };
        stream.write_all(request).await?;
        self.buffer.clear();
        let head = loop {
            read_more(&mut stream, &mut self.buffer).await?;
            if let Some(head) = Head::parse(&self.buffer)? {
                break head;
            }
        };
        while self.buffer.len() < head.end() {
            read_more(&mut stream, &mut self.buffer).await?;
        }
        if !head.closes {
            self.stream = Some(stream);
        }
        Ok(Answer { status: head.status, body: self.buffer.get(head.body_at..head.end()).unwrap_or_default() })
    }
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn read_more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<()> {
    match stream.read_buf(buffer).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

#[derive(Debug, PartialEq, Eq)]
pub struct Head {
    pub status: u16,
    pub body_at: usize,
    pub length: usize,
    pub closes: bool,
}

impl Head {
    /// `None`: the head is not complete yet.
    pub fn parse(bytes: &[u8]) -> io::Result<Option<Self>> {
        let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
        let text = bytes.get(..at).and_then(|head| std::str::from_utf8(head).ok()).ok_or_else(|| malformed("the head is no text"))?;
        let mut lines = text.split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")).and_then(|rest| rest.get(..3)).and_then(|code| code.parse().ok());
        let mut head = Self { status: status.ok_or_else(|| malformed("no status line"))?, body_at: at + 4, length: 0, closes: false };
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                head.length = value.parse().map_err(|_| malformed("content-length is no number"))?;
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                return Err(malformed("transfer-encoding is not spoken here"));
            } else if name.eq_ignore_ascii_case("connection") {
                head.closes = value.eq_ignore_ascii_case("close");
            }
        }
        Ok(Some(head))
    }

    pub fn end(&self) -> usize {
        self.body_at + self.length
    }
}

fn malformed(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_once_it_is_complete() {
        let answer = b"HTTP/1.1 201 Created\r\nContent-Type: text/plain\r\nCONTENT-LENGTH: 7\r\n\r\nCreated";
        assert_eq!(Head::parse(&answer[..40]).unwrap(), None);
        let head = Head::parse(answer).unwrap().unwrap();
        assert_eq!(head, Head { status: 201, body_at: 69, length: 7, closes: false });
        assert_eq!(&answer[head.body_at..head.end()], b"Created");
    }

    #[test]
    fn a_head_without_length_has_no_body_and_may_close() {
        let head = Head::parse(b"HTTP/1.1 204 No Content\r\nconnection: Close\r\n\r\n").unwrap().unwrap();
        assert_eq!((head.status, head.length, head.closes), (204, 0, true));
    }

    #[test]
    fn what_the_driver_does_not_speak_is_an_error_and_never_a_figure() {
        for bytes in
            [&b"SMTP ready\r\n\r\n"[..], b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n"]
        {
            Head::parse(bytes).unwrap_err();
        }
    }

    #[test]
    fn a_request_carries_tenant_key_and_token() {
        let caller = Caller { host: "bench.localhost", publishable_key: Some("pk_1"), token: Some("t") };
        let expected =
            "GET /x HTTP/1.1\r\nhost: bench.localhost\r\naccept: application/json\r\nx-publishable-api-key: pk_1\r\nauthorization: Bearer t\r\n\r\n";
        assert_eq!(String::from_utf8(get(caller, "/x")).unwrap(), expected);
    }
}
