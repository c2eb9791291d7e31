//! `vestibule serve`.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use vestibule_engine::Engine;

use super::{ConfigFile, Failure, open};
use crate::app;

pub async fn run(file: ConfigFile) -> Result<(), Failure> {
    let mut config = file.load()?;
    let told = Told::listen()?;
    let listener = listen(config.server.listen).await?;
    // Port 0 asks for a free one; links must name the one that was given.
    config.server.listen = listener.local_addr().map_err(|e| Failure::Failed(e.to_string()))?;
    let engine = open(config).await?;
    eprintln!("vestibule: listening on http://{}", engine.config.server.listen);
    until_told(engine, listener, told).await
}

pub async fn listen(address: std::net::SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|e| Failure::Failed(format!("cannot listen on {address}: {e}")))
}

/// SIGTERM and SIGINT. They are caught from the beginning: an order to stop that comes while the server starts is obeyed in order, too.
pub struct Told {
    terminate: Signal,
    interrupt: Signal,
}

impl Told {
    pub fn listen() -> Result<Self, Failure> {
        let failed = |e: std::io::Error| Failure::Failed(format!("signals: {e}"));
        Ok(Self { terminate: signal(SignalKind::terminate()).map_err(failed)?, interrupt: signal(SignalKind::interrupt()).map_err(failed)? })
    }
}

/// Serves until it is told to stop, then drains.
pub async fn until_told(engine: Arc<Engine>, listener: TcpListener, mut told: Told) -> Result<(), Failure> {
    let stop = CancellationToken::new();
    let told = async {
        tokio::select! {
            _ = told.terminate.recv() => {}
            _ = told.interrupt.recv() => {}
        }
        stop.cancel();
    };
    tokio::join!(app::serve(engine, listener, stop.clone()), told);
    Ok(())
}
