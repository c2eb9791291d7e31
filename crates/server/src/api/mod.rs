//! JSON for storefronts. Each handler parses, calls one operation and prints.

pub mod customer;
pub mod health;
pub mod jwks;
pub mod password_reset;
pub mod registration;
pub mod sign_in;
pub mod validate;
