//! The tenant by which a master key is recognised.

use crate::model::ids::TenantId;
use crate::model::time::Timestamp;
use crate::ports::clock::Clock;
use crate::ports::rng::Rng;
use crate::store::{Db, tenant};
use crate::testing::{Backend, TestDatabase};

async fn the_first_by_slug(backend: Backend) {
    let now = Timestamp::from_seconds(1_795_447_000);
    let database = TestDatabase::create(backend).await.unwrap();
    let db = Db::open(database.url(), Clock::frozen(now)).await.unwrap();
    assert!(db.read(|reader| Box::pin(tenant::first(reader))).await.unwrap().is_none());
    for slug in ["globex", "acme", "zeta"] {
        let id = TenantId(Rng::os().ulid(now));
        assert!(db.write(move |tx| Box::pin(async move { tenant::insert(tx, id, slug, slug.as_bytes()).await })).await.unwrap());
    }
    let first = db.read(|reader| Box::pin(tenant::first(reader))).await.unwrap().unwrap();
    assert_eq!((first.slug.as_str(), first.settings.as_slice()), ("acme", &b"acme"[..]));
    drop(db);
    database.remove().await.unwrap();
}

#[tokio::test]
async fn on_sqlite() {
    the_first_by_slug(Backend::Sqlite).await;
}

#[tokio::test]
async fn on_postgres() {
    the_first_by_slug(Backend::Postgres).await;
}
