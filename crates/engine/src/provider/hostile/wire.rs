//! As much HTTP as an issuer for tests needs: one request per connection.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;
use url::{Url, form_urlencoded};

/// Longer than any client waits.
const SILENCE: Duration = Duration::from_secs(30);
const CHUNK: usize = 16 * 1024;
/// Just above what a client of ours reads.
const OVERSIZE: usize = (1 << 20) + 1;
/// How much of an endless body is sent to a client that never hangs up.
const ENDLESS: usize = 64 << 20;

/// What came.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub query: String,
    /// Names in lower case.
    pub headers: HashMap<String, String>,
    pub body: String,
}

impl Request {
    /// Every value of every field of the body.
    #[must_use]
    pub fn form(&self) -> HashMap<String, Vec<String>> {
        let mut fields: HashMap<String, Vec<String>> = HashMap::new();
        for (name, value) in form_urlencoded::parse(self.body.as_bytes()) {
            fields.entry(name.into_owned()).or_default().push(value.into_owned());
        }
        fields
    }

    pub(super) fn url(&self) -> Url {
        let mut url = Url::parse("http://issuer.invalid/").expect("a URL");
        url.set_path(&self.path);
        url.set_query(Some(&self.query));
        url
    }
}

pub(super) struct Reply {
    pub status: u16,
    pub location: Option<String>,
    pub text: String,
    pub body: Body,
}

/// How the text is sent.
pub(super) enum Body {
    Honest,
    /// With so much white space before it that it is too long.
    Oversized,
    /// After white space that never ends.
    Endless,
    /// With fewer bytes than announced.
    Cut,
    /// Not at all.
    Silent,
}

impl Reply {
    pub fn json(status: u16, value: &Value) -> Self {
        Self { status, location: None, text: value.to_string(), body: Body::Honest }
    }

    pub fn redirect(location: &str) -> Self {
        Self { status: 302, location: Some(location.to_owned()), text: String::new(), body: Body::Honest }
    }
}

/// Reads one request and answers it.
///
/// # Errors
/// If the client hangs up.
pub(super) fn serve(stream: TcpStream, answer: impl FnOnce(&Request) -> Reply) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let request = read(&mut reader)?;
    write(stream, &answer(&request))
}

fn read(reader: &mut impl BufRead) -> io::Result<Request> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next().unwrap_or_default().to_owned(), words.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (path, query) = (path.to_owned(), query.to_owned());
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.insert(name.trim().to_lowercase(), value.trim().to_owned());
        }
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = String::new();
    reader.take(length).read_to_string(&mut body)?;
    Ok(Request { method, path, query, headers, body })
}

fn write(mut stream: TcpStream, reply: &Reply) -> io::Result<()> {
    if matches!(reply.body, Body::Silent) {
        std::thread::sleep(SILENCE);
        return Ok(());
    }
    let location = reply.location.as_ref().map(|location| format!("location: {location}\r\n")).unwrap_or_default();
    // A client that repeats the words of the status would repeat these.
    let head = format!("HTTP/1.1 {} Hostile\r\nconnection: close\r\ncontent-type: application/json\r\n{location}", reply.status);
    let length = match reply.body {
        Body::Oversized => Some(OVERSIZE + reply.text.len()),
        Body::Endless => None,
        Body::Cut => Some(reply.text.len() + 1),
        Body::Honest | Body::Silent => Some(reply.text.len()),
    };
    let length = length.map(|length| format!("content-length: {length}\r\n")).unwrap_or_default();
    stream.write_all(format!("{head}{length}\r\n").as_bytes())?;
    let blanks = match reply.body {
        Body::Oversized => OVERSIZE,
        Body::Endless => ENDLESS,
        _ => 0,
    };
    for _ in 0..blanks / CHUNK {
        stream.write_all(&[b' '; CHUNK])?;
    }
    stream.write_all(&vec![b' '; blanks % CHUNK])?;
    stream.write_all(reply.text.as_bytes())
}
