//! A webhook's receiving end: keeps what it gets and answers as told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use vestibule_engine::model::tenant::{Secret, Webhook};
use vestibule_engine::model::time::Timestamp;
use vestibule_engine::ports::clock::Clock;

/// A server on a free port. It ends when it is dropped.
pub struct WebhookSink {
    base: String,
    key: Vec<u8>,
    state: Arc<Mutex<State>>,
    hanging: watch::Sender<bool>,
    accepting: AbortHandle,
}

#[derive(Default)]
struct State {
    calls: Vec<Received>,
    /// Heads of the answers to come; then `always`, else 200.
    answers: VecDeque<Answer>,
    always: Option<&'static str>,
    /// How many endless answers the client has ended.
    hung_up: usize,
}

/// What a call is answered with.
#[derive(Debug, Clone, Copy)]
pub enum Answer {
    /// This head and no body.
    Head(&'static str),
    /// These bytes; then the connection ends.
    Cut(&'static str),
    /// The first, and then the second again and again, until the client ends it.
    Endless(&'static str, &'static str),
}

/// A call as it arrived.
#[derive(Debug, Clone)]
pub struct Received {
    pub at: Timestamp,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl WebhookSink {
    pub async fn start() -> Self {
        Self::with_secret(0).await
    }

    /// With a secret that begins with this byte.
    pub async fn with_secret(first: u8) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let hanging = watch::Sender::new(false);
        #[expect(clippy::disallowed_methods, reason = "the receiving end lives beside the product's tasks")]
        let accepting = tokio::spawn(accept(listener, state.clone(), hanging.subscribe())).abort_handle();
        Self { base, key: (first..first + 32).collect(), state, hanging, accepting }
    }

    /// A subscription of `events` at `path`.
    pub fn webhook(&self, path: &str, events: &[&str]) -> Webhook {
        Webhook {
            url: format!("{}{path}", self.base).parse().unwrap(),
            secret: Secret::new(format!("whsec_{}", STANDARD.encode(&self.key))),
            former_secret: None,
            events: events.iter().map(|event| (*event).to_owned()).collect(),
        }
    }

    /// The next answers: each the head of an HTTP/1.1 answer after its version, `302 Found\r\nLocation: /x`, say.
    pub fn answer(&self, heads: &[&'static str]) {
        self.state.lock().unwrap().answers.extend(heads.iter().copied().map(Answer::Head));
    }

    /// One more answer to come.
    pub fn misbehave(&self, answer: Answer) {
        self.state.lock().unwrap().answers.push_back(answer);
    }

    /// Waits until the client has ended so many endless answers.
    pub async fn hung_up(&self, n: usize) {
        for _ in 0..2_000 {
            if self.state.lock().unwrap().hung_up == n {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("the client reads on");
    }

    /// The head of every answer from now on.
    pub fn always(&self, head: &'static str) {
        self.state.lock().unwrap().always = Some(head);
    }

    /// Whether calls are taken and not answered.
    pub fn hang(&self, hang: bool) {
        self.hanging.send_replace(hang);
    }

    pub fn calls(&self) -> Vec<Received> {
        self.state.lock().unwrap().calls.clone()
    }

    /// The calls, as soon as there are `n`. More than `n` fail the test.
    pub async fn wait_for(&self, n: usize) -> Vec<Received> {
        for _ in 0..2_000 {
            if self.calls().len() >= n {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let calls = self.calls();
        assert_eq!(calls.len(), n, "{calls:?}");
        calls
    }

    /// Whether the call is signed with this sink's secret, computed from the specification and without the product's code.
    pub fn verifies(&self, call: &Received) -> bool {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).unwrap();
        mac.update(format!("{}.{}.", call.header("webhook-id"), call.header("webhook-timestamp")).as_bytes());
        mac.update(&call.body);
        call.header("webhook-signature").split(' ').any(|given| given == format!("v1,{}", STANDARD.encode(mac.clone().finalize().into_bytes())))
    }
}

impl Drop for WebhookSink {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Received {
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

async fn accept(listener: TcpListener, state: Arc<Mutex<State>>, hanging: watch::Receiver<bool>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(serve(stream, state.clone(), hanging.clone()));
    }
}

/// One request and one answer; then the connection is closed.
async fn serve(mut stream: TcpStream, state: Arc<Mutex<State>>, mut hanging: watch::Receiver<bool>) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    let (head, start) = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break (String::from_utf8_lossy(&bytes[..at]).into_owned(), at + 4);
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
    };
    let mut lines = head.lines();
    let path = lines.next().unwrap_or_default().split(' ').nth(1).unwrap_or_default().to_owned();
    let headers: Vec<(String, String)> =
        lines.filter_map(|line| line.split_once(':')).map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    let length: usize = headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, value)| value.parse().unwrap());
    while bytes.len() < start + length {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
    }
    let answer = {
        let mut state = state.lock().unwrap();
        state.calls.push(Received { at: Clock::System.now(), path, headers, body: bytes[start..start + length].to_vec() });
        state.answers.pop_front().unwrap_or(Answer::Head(state.always.unwrap_or("200 OK")))
    };
    // Who hung it up has gone when the test ends.
    let _ = hanging.wait_for(|hanging| !hanging).await;
    match answer {
        Answer::Head(head) => stream.write_all(format!("HTTP/1.1 {head}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").as_bytes()).await?,
        Answer::Cut(bytes) => stream.write_all(bytes.as_bytes()).await?,
        Answer::Endless(start, again) => {
            stream.write_all(start.as_bytes()).await?;
            while stream.write_all(again.as_bytes()).await.is_ok() {}
            state.lock().unwrap().hung_up += 1;
            return Ok(());
        }
    }
    stream.shutdown().await
}
