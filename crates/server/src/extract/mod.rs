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

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use vestibule_engine::Engine;

use crate::pages::demo_provider::Memory;

/// What every handler can reach.
#[derive(Clone)]
pub struct App {
    pub engine: Arc<Engine>,
    /// What the demo provider of `vestibule dev` keeps.
    pub demo_provider: Arc<Memory>,
    /// The order to stop, for requests that wait.
    pub stop: CancellationToken,
}
