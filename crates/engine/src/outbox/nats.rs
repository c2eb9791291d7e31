//! NATS `JetStream`: every event of every shop, under its id.

use std::sync::Arc;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::context::{Context, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::{self, stream};
use async_nats::{ConnectOptions, ServerAddr};
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

use super::{Attempt, payload};
use crate::Engine;
use crate::error::Result;
use crate::model::event::Event;
use crate::model::tenant::Tenant;
use crate::store::delivery::Ending;

/// The stream that is made if none takes our subjects.
const STREAM: &str = "VESTIBULE";
/// How long the server may take for one answer.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);
/// How long to rest at most between two tries to connect.
const REST: Duration = Duration::from_secs(30);
/// How long the stream that we make knows an id again: what was stored and whose acknowledgement was lost is published again, maybe after a long outage.
const DUPLICATES: Duration = Duration::from_hours(24);
/// How long the stream that we make keeps a message.
const KEPT: Duration = Duration::from_hours(7 * 24);

/// The connection of this process, made when something is due.
#[derive(Clone, Default)]
pub(super) struct Link(Arc<Mutex<Connection>>);

#[derive(Default)]
struct Connection {
    context: Option<Context>,
    failures: u32,
    rest_until: Option<Instant>,
}

impl Link {
    /// Whether the server can be asked. Connects if it is time to. Without `[nats]` there is nothing to wait for.
    pub(super) async fn is_there(&self, engine: &Engine) -> bool {
        let Some(settings) = &engine.config.nats else { return true };
        let mut connection = self.0.lock().await;
        if connection.context.as_ref().is_some_and(is_connected) {
            return true;
        }
        if connection.rest_until.is_some_and(|until| Instant::now() < until) {
            return false;
        }
        let outcome = connect(settings.url.expose()).await;
        connection.failures = if outcome.is_ok() { 0 } else { connection.failures.saturating_add(1) };
        connection.rest_until = Some(Instant::now() + REST.min(Duration::from_secs(1 << connection.failures.min(5))));
        match outcome {
            Ok(context) => connection.context = Some(context),
            Err(reason) => {
                tracing::warn!(reason, "NATS is away; events wait for it");
                connection.context = None;
            }
        }
        connection.context.is_some()
    }

    /// A message to a client that is not connected would wait in it, and go out when its secret is void.
    async fn context(&self) -> Option<Context> {
        self.0.lock().await.context.clone().filter(is_connected)
    }
}

fn is_connected(context: &Context) -> bool {
    context.client().connection_state() == State::Connected
}

/// `url` may name several servers, parted by commas. The credentials of the first hold for all, and no server's address has them: it is logged.
async fn connect(url: &str) -> std::result::Result<Context, String> {
    let (mut servers, mut options) = (Vec::new(), ConnectOptions::new().name("vestibule"));
    for (place, one) in url.split(',').enumerate() {
        let mut url: Url = one.trim().parse().map_err(|_| "nats.url is no URL".to_owned())?;
        let text = |part: &str| percent_decoded(part);
        match (url.username().to_owned(), url.password().map(str::to_owned)) {
            (user, Some(password)) if place == 0 => options = options.user_and_password(text(&user), text(&password)),
            (token, None) if place == 0 && !token.is_empty() => options = options.token(text(&token)),
            _ => {}
        }
        let _ = (url.set_username(""), url.set_password(None));
        servers.push(url.as_str().parse::<ServerAddr>().map_err(|e| e.to_string())?);
    }
    // A server tells of others before TLS is up, and they would be reached without it: only those that are written down are.
    let tls = servers.iter().any(|server| server.scheme() == "tls");
    let options = options.ignore_discovered_servers().require_tls(tls);
    // A lost connection is made anew once; then it is ours to make.
    let options = options.connection_timeout(TIMEOUT).ping_interval(Duration::from_secs(15)).max_reconnects(servers.len());
    let client = tokio::time::timeout(TIMEOUT * 2, options.connect(servers)).await;
    let client = client.map_err(|_| "no answer".to_owned())?.map_err(|e| e.to_string())?;
    let mut context = jetstream::new(client);
    context.set_timeout(TIMEOUT);
    Ok(context)
}

fn percent_decoded(text: &str) -> String {
    url::form_urlencoded::parse(format!("v={}", text.replace('+', "%2B").replace('&', "%26")).as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

/// Publishes `event`, and waits until the server says that it is stored.
pub(super) async fn deliver(engine: &Engine, tenant: &Arc<Tenant>, event: &Event) -> Result<Attempt> {
    let Some(settings) = &engine.config.nats else { return Ok(Attempt::Retry("this server has no [nats]".into(), None)) };
    let body = match payload::envelope(engine, tenant, &settings.events, event).await? {
        Ok(body) => body,
        Err(ending) => return Ok(Attempt::Done(ending, String::new())),
    };
    let Some(context) = engine.outbox.nats.context().await else { return Ok(Attempt::Retry("NATS is away".into(), None)) };
    let subject = format!("vestibule.{}.{}", tenant.slug, event.name.as_str());
    Ok(match publish(&context, subject, &event.id.to_string(), body).await {
        Ok(answer) => Attempt::Done(Ending::Delivered, answer),
        Err(reason) => Attempt::Retry(reason, None),
    })
}

async fn publish(context: &Context, subject: String, id: &str, body: Vec<u8>) -> std::result::Result<String, String> {
    let body = bytes::Bytes::from(body);
    let mut made = false;
    loop {
        let message = PublishMessage::build().message_id(id).payload(body.clone());
        let stored = async { context.send_publish(subject.clone(), message).await?.await };
        match stored.await {
            Ok(ack) => return Ok(format!("{} {}{}", ack.stream, ack.sequence, if ack.duplicate { ", known already" } else { "" })),
            // The first event, or the server was made anew.
            Err(e) if e.kind() == PublishErrorKind::StreamNotFound && !made => {
                made = true;
                make_stream(context).await?;
            }
            Err(e) => return Err(e.to_string()),
        }
    }
}

/// Several may do this at once: to ask for the stream that is there is no error.
async fn make_stream(context: &Context) -> std::result::Result<(), String> {
    let wanted = stream::Config {
        name: STREAM.to_owned(),
        subjects: vec!["vestibule.>".to_owned()],
        max_age: KEPT,
        duplicate_window: DUPLICATES,
        ..stream::Config::default()
    };
    context.create_stream(wanted).await.map(|_| ()).map_err(|e| format!("no stream takes vestibule.>, and none could be made: {e}"))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// A server without TLS, as far as a client that connects can tell. It speaks of `others`. The connection, and what the client said; then
    /// it waits for more, unless the client wants TLS.
    async fn plain(listener: &TcpListener, others: &str) -> (Option<TcpStream>, String) {
        let (mut stream, _) = listener.accept().await.unwrap();
        let info = format!(
            r#"{{"server_id":"n1","server_name":"n1","version":"2.10.0","proto":1,"headers":true,"max_payload":1048576,"connect_urls":[{others}]}}"#
        );
        stream.write_all(format!("INFO {info}\r\n").as_bytes()).await.unwrap();
        let mut said = Vec::new();
        while !said.ends_with(b"PING\r\n") {
            let more = stream.read_buf(&mut said).await.unwrap_or_default();
            if more == 0 || !said.starts_with(b"CONNECT".get(..said.len().min(7)).unwrap()) {
                return (None, String::from_utf8_lossy(&said).into_owned());
            }
        }
        stream.write_all(b"PONG\r\n").await.unwrap();
        (Some(stream), String::from_utf8(said).unwrap())
    }

    async fn listener() -> (TcpListener, u16) {
        let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    }

    /// Where nobody listens.
    async fn nobody() -> u16 {
        listener().await.1
    }

    #[tokio::test]
    async fn where_one_server_has_tls_none_is_spoken_to_without_it() {
        let (server, port) = listener().await;
        let said = std::sync::Mutex::new(Vec::new());
        let accepting = async {
            let mut open = Vec::new();
            loop {
                let (stream, words) = plain(&server, "").await;
                open.extend(stream);
                said.lock().unwrap().push(words);
            }
        };
        let url = format!("tls://user:hunter2@127.0.0.1:{},nats://127.0.0.1:{port}", nobody().await);
        let connected = tokio::select! {
            connected = connect(&url) => connected.is_ok(),
            () = accepting => unreachable!(),
        };
        assert!(!connected);
        assert!(!said.lock().unwrap().iter().any(|words| words.contains("CONNECT") || words.contains("hunter2")), "{said:?}");
    }

    #[tokio::test]
    async fn a_server_that_only_another_speaks_of_is_not_connected_to() {
        let ((server, port), (other, others_port)) = (listener().await, listener().await);
        // By many names, because the client chooses one.
        let others = (2..100).map(|n| format!("\"127.0.0.{n}:{others_port}\"")).collect::<Vec<_>>().join(",");
        let url = format!("nats://user:hunter2@127.0.0.1:{port}");
        let (context, (stream, words)) = tokio::join!(connect(&url), plain(&server, &others));
        let context = context.unwrap();
        assert!(words.contains("hunter2") && is_connected(&context), "{words}");
        drop((stream, server));
        // It ends once the server that is known is away.
        let ended = async { while context.client().flush().await.is_ok() {} };
        tokio::select! {
            () = async { tokio::time::timeout(Duration::from_mins(1), ended).await.unwrap() } => {}
            _ = other.accept() => panic!("it connects to another"),
        }
        assert!(!is_connected(&context));
    }
}
