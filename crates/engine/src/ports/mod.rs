//! The outside world as the engine sees it.

pub mod clock;
pub mod http;
pub mod pause;
pub mod rng;
