//! Plain types and pure rules. No I/O.

pub mod customer;
pub mod email;
pub mod event;
pub mod identity;
pub mod ids;
pub mod password;
pub mod tenant;
pub mod time;
pub mod token;
