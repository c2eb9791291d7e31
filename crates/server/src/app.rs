//! The running server: accepts connections, runs the dispatcher, and stops in order.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vestibule_engine::{Engine, outbox};

use crate::extract::App;
use crate::router::router;
use crate::wire::Wire;

/// How long a client may take to send a request's head, which is also how long a connection may idle.
const HEAD_DEADLINE: Duration = Duration::from_secs(30);
/// How long requests and deliveries under way may take after the order to stop.
const DRAIN: Duration = Duration::from_secs(10);

/// Serves until `stop`, then finishes what was begun.
pub async fn serve(engine: Arc<Engine>, listener: TcpListener, stop: CancellationToken) {
    let tasks = TaskTracker::new();
    let app = App { engine: engine.clone() };
    let wire = Wire { router: router(app.clone()), app, tasks: tasks.clone() };
    // The dispatcher goes on while the last requests finish, so that what they commit is looked at once more.
    let stop_dispatcher = CancellationToken::new();
    let dispatcher = TaskTracker::new();
    dispatcher.spawn(outbox::run_jobs(engine.clone(), stop_dispatcher.clone()));
    dispatcher.spawn(outbox::run_deliveries(engine, stop_dispatcher.clone()));
    dispatcher.close();
    let graceful = GracefulShutdown::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => connection(&wire, &graceful, &tasks, stream, peer),
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

fn connection(wire: &Wire, graceful: &GracefulShutdown, tasks: &TaskTracker, stream: TcpStream, peer: SocketAddr) {
    let _ = stream.set_nodelay(true);
    let wire = wire.clone();
    let service = hyper::service::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let wire = wire.clone();
        async move { Ok::<_, Infallible>(wire.answer(peer, request.map(Body::new)).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_DEADLINE).max_buf_size(64 * 1024);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(100).max_header_list_size(32 * 1024).keep_alive_interval(HEAD_DEADLINE);
    let connection = graceful.watch(builder.serve_connection(TokioIo::new(stream), service).into_owned());
    tasks.spawn(async move {
        if let Err(e) = connection.await {
            tracing::debug!(error = %e, %peer, "a connection ended badly");
        }
    });
}
