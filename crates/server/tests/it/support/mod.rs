//! What the tests stand on.

pub mod app;
pub mod at_rest;
pub mod binary;
pub mod client;
pub mod documented;
pub mod nats;
pub mod raw;
pub mod redis;
pub mod stage;
pub mod webhook_sink;

/// One test, run on each database.
macro_rules! each_db {
    ($(async fn $name:ident($app:ident: TestApp) $body:block)+) => {$(
        mod $name {
            use super::*;
            async fn test($app: &mut TestApp) $body

            #[test]
            fn on_sqlite() {
                crate::support::app::run(vestibule_engine::testing::Backend::Sqlite, |app| Box::pin(test(app)));
            }
            #[test]
            fn on_postgres() {
                crate::support::app::run(vestibule_engine::testing::Backend::Postgres, |app| Box::pin(test(app)));
            }
        }
    )+};
}
pub(crate) use each_db;
