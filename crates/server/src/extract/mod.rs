//! What a handler asks for, as types: the tenant, the client, the caller, the body.

pub mod actor;
pub mod body;
pub mod browser;
pub mod client;
pub mod gate;
pub mod idempotency;
pub mod known;
pub mod path;
pub mod publishable;
pub mod session_cookie;
pub mod staff;
pub mod tenant;

use std::ops::Deref;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use vestibule_engine::Engine;

use crate::pages::demo_provider::Memory;

/// What every handler can reach. Each extractor of each request clones it, so it is one pointer.
#[derive(Clone)]
pub struct App(Arc<Reach>);

pub struct Reach {
    pub engine: Arc<Engine>,
    /// What the demo provider of `vestibule dev` keeps.
    pub demo_provider: Memory,
    /// The order to stop, for requests that wait.
    pub stop: CancellationToken,
}

impl App {
    pub fn new(engine: Arc<Engine>, stop: CancellationToken) -> Self {
        let demo_provider = Memory::new(engine.config.server.development);
        Self(Arc::new(Reach { engine, demo_provider, stop }))
    }
}

impl Deref for App {
    type Target = Reach;

    fn deref(&self) -> &Reach {
        &self.0
    }
}
