//! `vestibule serve`.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use vestibule_engine::{Engine, Surroundings};

use super::{ConfigFile, Failure};
use crate::app;

pub async fn run(file: ConfigFile) -> Result<(), Failure> {
    let config = file.load()?;
    let listener = listen(config.server.listen).await?;
    let engine = Engine::open(config, Surroundings::default()).await?;
    eprintln!("vestibule: listening on http://{}", engine.config.server.listen);
    until_told(engine, listener).await
}

pub async fn listen(address: std::net::SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|e| Failure::Failed(format!("cannot listen on {address}: {e}")))
}

/// Serves until SIGTERM or SIGINT, then drains.
pub async fn until_told(engine: Arc<Engine>, listener: TcpListener) -> Result<(), Failure> {
    let stop = CancellationToken::new();
    let failed = |e: std::io::Error| Failure::Failed(format!("signals: {e}"));
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate()).map_err(failed)?, signal(SignalKind::interrupt()).map_err(failed)?);
    let told = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
    };
    tokio::join!(app::serve(engine, listener, stop.clone()), told);
    Ok(())
}
