//! What subscribers notice of faults: brokers, webhooks and mail servers that are away, slow or dead, and workers that pause (F14–F21, F27).
//! Kills and stops are in `crash`.
//!
//! Each test prints one line of figures; `scripts/faults.sh` runs the whole set for longer and prints the lines as a table.

mod backlog;
mod bystander;
mod herd;
mod mail;
mod mail_away;
mod pause;
pub mod report;
pub mod told;
