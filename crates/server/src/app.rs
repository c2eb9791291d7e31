//! The running server: accepts connections, runs the dispatcher, and stops in order.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vestibule_engine::{Engine, outbox};

use crate::extract::App;
use crate::router::router;
use crate::wire::Wire;

/// How long requests and deliveries under way may take after the order to stop.
const DRAIN: Duration = Duration::from_secs(10);
/// Connections at once, if the process may have so many files open.
const CONNECTIONS: usize = 10_000;

/// What strangers may take of the server. Tests make it less.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// How long a client may take to send a request's head, which is also how long a connection may idle.
    pub head: Duration,
    /// How long a client may take to send a body.
    pub body: Duration,
    /// How long a client may take none of its answer.
    pub answer: Duration,
    /// Connections at once.
    pub connections: usize,
    /// Connections at once from one address that is neither this machine nor a trusted proxy.
    pub per_address: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        // The database, mail and webhooks need descriptors, too.
        let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let most = files.and_then(|files| usize::try_from(files / 4 * 3).ok()).unwrap_or(CONNECTIONS);
        Self {
            head: Duration::from_secs(30),
            body: Duration::from_secs(20),
            answer: Duration::from_secs(30),
            connections: CONNECTIONS.min(most),
            per_address: 512,
        }
    }
}

/// Serves until `stop`, then finishes what was begun.
pub async fn serve(engine: Arc<Engine>, listener: TcpListener, stop: CancellationToken) {
    serve_within(Bounds::default(), engine, listener, stop).await;
}

/// As `serve`, within other bounds.
pub async fn serve_within(bounds: Bounds, engine: Arc<Engine>, listener: TcpListener, stop: CancellationToken) {
    let tasks = TaskTracker::new();
    let app = App::new(engine.clone(), stop.clone());
    let wire = Wire { router: router(app.clone()), app, tasks: tasks.clone(), body_deadline: bounds.body };
    // The dispatcher goes on while the last requests finish, so that what they commit is looked at once more.
    let stop_dispatcher = CancellationToken::new();
    let dispatcher = TaskTracker::new();
    for lane in outbox::Lane::ALL {
        dispatcher.spawn(outbox::run(engine.clone(), lane, stop_dispatcher.clone()));
    }
    let (listening, deaf) = (engine.clone(), stop_dispatcher.clone());
    dispatcher.spawn(async move { deaf.run_until_cancelled_owned(listening.listen()).await });
    dispatcher.spawn(outbox::tell_failures(engine.clone(), stop_dispatcher.clone()));
    dispatcher.spawn(outbox::number(engine.clone(), stop_dispatcher.clone()));
    dispatcher.spawn(outbox::sweep(engine.clone(), stop_dispatcher.clone()));
    dispatcher.close();
    let graceful = GracefulShutdown::new();
    let guests = Guests::default();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let ip = peer.ip().to_canonical();
                    let known = ip.is_loopback() || engine.config.server.trusts(ip);
                    // Beyond the bounds the connection is closed at once.
                    if let Some(place) = guests.admit(ip, known, bounds) {
                        connection(&wire, &graceful, &tasks, bounds, (stream, peer, place));
                    }
                }
                // Out of descriptors, say: wait for some to be given back instead of spinning.
                Err(e) => {
                    tracing::warn!(error = %e, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            () = stop.cancelled() => break,
        }
    }
    drop(listener);
    tasks.close();
    let drained = tokio::time::timeout(DRAIN, async {
        graceful.shutdown().await;
        tasks.wait().await;
        stop_dispatcher.cancel();
        dispatcher.wait().await;
    });
    if drained.await.is_err() {
        tracing::warn!("some requests or deliveries did not finish in time; what was acknowledged is stored, and deliveries go on at the next start");
    }
}

/// Speaks HTTP/1 alone: on plain text a proxy stands in front, and HTTP/2 would only let strangers hold a connection with pings.
fn connection(wire: &Wire, graceful: &GracefulShutdown, tasks: &TaskTracker, bounds: Bounds, (stream, peer, place): (TcpStream, SocketAddr, Place)) {
    let _ = stream.set_nodelay(true);
    let wire = wire.clone();
    let service = hyper::service::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let wire = wire.clone();
        async move { Ok::<_, Infallible>(wire.answer(peer, request.map(Body::new)).await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(bounds.head).max_buf_size(64 * 1024);
    let stream = Impatient { stream, answer: bounds.answer, stalled: None };
    let connection = graceful.watch(builder.serve_connection(TokioIo::new(stream), service));
    tasks.spawn(async move {
        if let Err(e) = connection.await {
            tracing::debug!(error = %e, %peer, "a connection ended badly");
        }
        drop(place);
    });
}

/// A stream that fails when its other end takes nothing for too long.
struct Impatient {
    stream: TcpStream,
    answer: Duration,
    /// Runs since the other end stopped taking.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Impatient {
    /// Passes on what a write came to; one that waits does so against the clock.
    fn judge(&mut self, cx: &mut Context<'_>, outcome: Poll<std::io::Result<usize>>) -> Poll<std::io::Result<usize>> {
        if outcome.is_ready() {
            self.stalled = None;
            return outcome;
        }
        let answer = self.answer;
        ready!(self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(answer))).as_mut().poll(cx));
        Poll::Ready(Err(std::io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Impatient {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Impatient {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.judge(cx, outcome)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, slices: &[std::io::IoSlice<'_>]) -> Poll<std::io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.judge(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Who is connected.
#[derive(Clone, Default)]
struct Guests(Arc<Mutex<Counts>>);

#[derive(Default)]
struct Counts {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A connection's place among the others; given back when this is dropped.
struct Place {
    guests: Guests,
    /// The address that it counts for.
    address: Option<IpAddr>,
}

impl Guests {
    /// A place for a connection from `ip`, if there is one left. Who is `known` counts among all, and not by address.
    fn admit(&self, ip: IpAddr, known: bool, bounds: Bounds) -> Option<Place> {
        let address = (!known).then(|| network(ip));
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.all >= bounds.connections {
            return None;
        }
        if let Some(address) = address {
            let count = counts.by_address.entry(address).or_default();
            if *count >= bounds.per_address {
                return None;
            }
            *count += 1;
        }
        counts.all += 1;
        Some(Place { guests: self.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.guests.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.all -= 1;
        if let Some(address) = self.address
            && let Some(count) = counts.by_address.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                counts.by_address.remove(&address);
            }
        }
    }
}

/// What one client has for itself: an IPv4 address, or the half of an IPv6 address that it does not choose.
fn network(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() >> 64 << 64).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_so_many_places_and_gives_them_back() {
        let guests = Guests::default();
        let bounds = Bounds { connections: 4, per_address: 2, ..Bounds::default() };
        let admit = |ip: &str, known| guests.admit(ip.parse().unwrap(), known, bounds);
        let first = admit("2001:db8::1", false).unwrap();
        let _second = admit("2001:db8::ffff:2", false).unwrap();
        assert!(admit("2001:db8::3", false).is_none(), "of the same network");
        let _elsewhere = admit("2001:db8:0:1::1", false).unwrap();
        drop(first);
        let _again = admit("2001:db8::4", false).unwrap();
        let known = admit("203.0.113.9", true).unwrap();
        assert!(admit("203.0.113.9", true).is_none(), "there are four places in all");
        drop(known);
        let (_a, b) = (admit("203.0.113.9", true), admit("203.0.113.10", false));
        assert!(b.is_none());
        assert_eq!(guests.0.lock().unwrap().by_address.len(), 2, "who has gone is forgotten");
    }

    #[test]
    fn who_is_known_is_not_counted_by_address() {
        let guests = Guests::default();
        let bounds = Bounds { connections: 9, per_address: 1, ..Bounds::default() };
        let ip = "203.0.113.9".parse().unwrap();
        let places: Vec<_> = (0..3).map(|_| guests.admit(ip, true, bounds).unwrap()).collect();
        assert_eq!(guests.0.lock().unwrap().all, 3);
        assert!(guests.admit(ip, false, bounds).is_some());
        drop(places);
        assert_eq!(guests.0.lock().unwrap().all, 0);
    }
}
