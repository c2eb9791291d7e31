//! What the SQL promises, checked on both databases.

mod first_tenant;

use crate::ports::clock::Clock;
use crate::store::Db;
use crate::testing::{Backend, TestDatabase};

async fn open(backend: Backend, clock: Clock) -> (Db, TestDatabase) {
    let database = TestDatabase::create(backend).await.unwrap();
    (Db::open(database.url(), clock).await.unwrap(), database)
}
