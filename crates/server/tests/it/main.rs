//! The product from outside: real HTTP, a real mail server, both databases.

mod support;

mod password_reset;
mod tidy;
mod walk;
