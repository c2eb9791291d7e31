//! The product: a file per noun, a function per thing that somebody does.

pub mod account;
pub mod address;
pub mod api_key;
pub mod callback;
pub mod console;
pub mod customer;
pub mod customer_import;
pub mod delivery;
pub mod event;
pub mod failed_sign_in;
pub mod idempotency;
pub mod identity;
pub mod password_change;
pub mod password_reset;
pub mod registration;
pub mod session;
pub mod session_cookie;
pub mod sign_in;
pub mod sweep;
pub mod template;
pub mod tenant;
pub mod timeline;
pub mod user;
pub mod webhook;

use std::net::IpAddr;

/// Who is at the other end of the connection.
#[derive(Debug, Clone)]
pub struct Client {
    pub ip: IpAddr,
    /// What it calls itself.
    pub user_agent: Option<String>,
}
