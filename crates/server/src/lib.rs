//! HTTP and the command line of Vestibule. Everything it does is in the engine.

pub mod app;
pub mod cli;
pub mod config;
pub mod openapi;
pub mod router;
pub mod wire;

mod admin;
mod api;
pub mod error;
mod extract;
mod pages;
