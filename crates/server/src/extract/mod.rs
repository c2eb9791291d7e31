//! What a handler asks for, as types: the tenant, the client, the caller, the body.

pub mod actor;
pub mod body;
pub mod client;
pub mod gate;
pub mod publishable;
pub mod tenant;

use std::sync::Arc;

use vestibule_engine::Engine;

/// What every handler can reach.
#[derive(Clone)]
pub struct App {
    pub engine: Arc<Engine>,
}
