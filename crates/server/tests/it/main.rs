//! The product from outside: real HTTP, a real mail server, both databases.

#![cfg(test)]

mod support;

mod address;
mod app_sign_in;
mod app_templates;
mod callback;
mod cli;
mod connections;
mod crash;
mod customer;
mod customer_import;
mod demo_provider;
mod errors;
mod event;
mod events_page;
mod examples;
mod faults;
mod former_secret;
mod fuzz;
mod generated;
mod health;
mod idempotency;
mod notification;
mod openapi;
mod outbox;
mod pages;
mod password_change;
mod password_reset;
mod recorded;
mod registration;
mod route_coverage;
mod session;
mod session_cookie;
mod sign_in;
mod template;
mod tenant;
mod tidy;
mod timeline;
mod two_nodes;
mod walk;
