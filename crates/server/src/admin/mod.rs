//! JSON for a shop's staff and its own programs. Each handler parses, calls one operation and prints.

pub mod customer;
pub mod event;
pub mod timeline;
