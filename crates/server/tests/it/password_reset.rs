//! Password reset: asking for it, the token, and what is left behind.

mod limit;
mod link;
mod race;
mod request;
mod secrecy;
mod success;
mod token;
