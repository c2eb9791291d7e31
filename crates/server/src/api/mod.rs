//! JSON for storefronts. Each handler parses, calls one operation and prints.

pub mod address;
pub mod callback;
pub mod customer;
pub mod fields;
pub mod health;
pub mod identity;
pub mod jwks;
pub mod openapi;
pub mod password_change;
pub mod password_reset;
pub mod query;
pub mod registration;
pub mod session;
pub mod session_cookie;
pub mod sign_in;
pub mod token;
pub mod validate;
