//! One random history on both databases: the same answers, and in the end the same rows.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};

use super::{Fixture, key, login, on_purpose};
use crate::error::Result;
use crate::model::customer::Customer;
use crate::model::email::Email;
use crate::model::event::{Event, EventName};
use crate::model::ids::{ApiKeyId, CustomerId, DeliveryId, EventId, IdentityId, JobId, SessionId, TenantId, UserId};
use crate::model::time::Timestamp;
use crate::store::api_key::ApiKeyRow;
use crate::store::delivery::{Channel, Ending};
use crate::store::limit::Budget;
use crate::store::value::Dump;
use crate::store::{Tx, api_key, customer, delivery, event, identity, job, limit, password_reset, session, tenant, user};
use crate::testing::Backend;

const STEPS: usize = 600;
const NAMES: [&str; 4] = ["ann", "bob", "cleo", "dan"];
const LEASES: [&str; 2] = ["w1", "w2"];
const KINDS: u64 = 25;
/// Every column, by primary key.
const TABLES: [(&str, &str); 13] = [
    ("api_keys", "SELECT tenant_id, id, kind, token_hash, redacted, title, created_at, revoked_at FROM api_keys ORDER BY tenant_id, id"),
    ("backlogs", "SELECT tenant_id, kind, waiting FROM backlogs ORDER BY tenant_id, kind"),
    (
        "customers",
        "SELECT tenant_id, id, email, email_key, has_account, company_name, first_name, last_name, phone, metadata, created_at, updated_at, deleted_at
            FROM customers ORDER BY tenant_id, id",
    ),
    (
        "deliveries",
        "SELECT tenant_id, id, event_id, subscriber, state, due_at, lease, attempts, answer, created_at, done_at
            FROM deliveries ORDER BY tenant_id, id",
    ),
    ("events", "SELECT tenant_id, id, name, data, secret_ref, created_at FROM events ORDER BY tenant_id, id"),
    (
        "identities",
        "SELECT tenant_id, id, actor_type, provider, issuer, entity_id, address, password_hash, actor_id, newest_reset, created_at,
            updated_at FROM identities ORDER BY tenant_id, id",
    ),
    ("jobs", "SELECT tenant_id, id, kind, payload, due_at, lease, attempts, created_at FROM jobs ORDER BY tenant_id, id"),
    ("limits", "SELECT tenant_id, name, subject, spent, strikes, resets_at FROM limits ORDER BY tenant_id, name, subject"),
    (
        "password_resets",
        "SELECT tenant_id, id, identity_id, issued_at, expires_at, used_at, voided_at FROM password_resets ORDER BY tenant_id, id",
    ),
    ("sessions", "SELECT tenant_id, id, identity_id, created_at, expires_at, ended_at FROM sessions ORDER BY tenant_id, id"),
    ("tenant_hosts", "SELECT host, tenant_id FROM tenant_hosts ORDER BY host"),
    ("tenants", "SELECT id, slug, settings, version, disabled_at, created_at, updated_at FROM tenants ORDER BY id"),
    ("users", "SELECT tenant_id, id, email, email_key, created_at, updated_at, deleted_at FROM users ORDER BY tenant_id, id"),
];

/// What one step does; everything in it is drawn before the transaction begins.
#[derive(Clone, Copy)]
struct Step {
    kind: u64,
    tenant: TenantId,
    name: &'static str,
    lease: &'static str,
    identity: IdentityId,
    customer: CustomerId,
    session: SessionId,
    job: JobId,
    key: ApiKeyId,
    jti: &'static str,
    ends_at: Timestamp,
    due_at: Timestamp,
    /// The transaction fails after its work.
    fails: bool,
}

/// Ids that earlier steps made; they may have failed.
#[derive(Default)]
struct Known {
    sessions: Vec<SessionId>,
    customers: Vec<CustomerId>,
    jobs: Vec<JobId>,
    keys: Vec<ApiKeyId>,
    tokens: Vec<&'static str>,
}

fn draw(f: &Fixture, most: u64) -> u64 {
    u64::from_le_bytes(f.rng.bytes()) % most
}

fn pick<T: Copy>(f: &Fixture, from: &[T]) -> Option<T> {
    let length = u64::try_from(from.len()).unwrap();
    (length > 0).then(|| from[usize::try_from(draw(f, length)).unwrap()])
}

impl Step {
    fn draw(f: &Fixture, known: &mut Known) -> Self {
        let kind = draw(f, KINDS);
        // A step that makes something draws its id; the others take one that is known.
        let old = |makes: &[u64]| !makes.contains(&kind);
        let step = Self {
            kind,
            tenant: pick(f, &[f.acme, f.acme, f.acme, f.other]).unwrap(),
            name: pick(f, &NAMES).unwrap(),
            lease: pick(f, &LEASES).unwrap(),
            identity: f.id(),
            customer: pick(f, &known.customers).filter(|_| old(&[8, 18, 24])).unwrap_or_else(|| f.id()),
            session: pick(f, &known.sessions).filter(|_| old(&[3, 18])).unwrap_or_else(|| f.id()),
            job: pick(f, &known.jobs).filter(|_| old(&[11, 12]) && (old(&[5]) || draw(f, 4) == 0)).unwrap_or_else(|| f.id()),
            key: pick(f, &known.keys).filter(|_| old(&[21, 22])).unwrap_or_else(|| f.id()),
            jti: known.tokens.last().copied().filter(|_| old(&[5])).unwrap_or_else(|| f.rng.uuid().leak()),
            ends_at: f.clock.now().after(Duration::from_secs(10 + draw(f, 60))),
            due_at: f.clock.now().after(Duration::from_secs(draw(f, 5))),
            fails: draw(f, 5) == 0,
        };
        known.sessions.push(step.session);
        known.customers.push(step.customer);
        known.jobs.push(step.job);
        known.keys.push(step.key);
        if kind == 5 {
            known.tokens.push(step.jti);
        }
        step
    }

    async fn run(self, tx: &mut Tx) -> Result<String> {
        let answer = match self.kind {
            0..=2 => self.logins(tx).await?,
            3..=7 => self.sessions_and_resets(tx).await?,
            8..=10 => self.customers(tx).await?,
            11..=17 => self.jobs_and_limits(tx).await?,
            18..=20 => self.events_and_deliveries(tx).await?,
            _ => self.shops(tx).await?,
        };
        if self.fails { on_purpose() } else { Ok(answer) }
    }

    async fn logins(self, tx: &mut Tx) -> Result<String> {
        let Self { tenant, name, identity, .. } = self;
        let found = identity::by_key(tx, tenant, &key(name)).await?;
        Ok(match (self.kind, found) {
            (0, _) => format!("{:?}", identity::insert(tx, tenant, &login(identity, key(name), name, "hash")).await?),
            (1, Some(found)) => {
                let old = found.password_hash.unwrap_or_default();
                format!("{:?}", identity::replace_hash(tx, tenant, found.id, &old, self.jti).await?)
            }
            (2, Some(found)) => format!("{:?}", identity::link(tx, tenant, found.id, &self.customer.bare()).await?),
            (_, found) => format!("{found:?}"),
        })
    }

    async fn sessions_and_resets(self, tx: &mut Tx) -> Result<String> {
        let Self { tenant, name, session, jti, ends_at, .. } = self;
        let Some(found) = identity::by_key(tx, tenant, &key(name)).await? else { return Ok("nobody".into()) };
        Ok(match self.kind {
            3 => format!("{:?}", session::insert(tx, tenant, session, found.id, ends_at).await?),
            4 => format!("{:?} {:?}", session::live(tx, tenant, session).await?, session::end_all(tx, tenant, found.id).await?),
            5 => {
                let Some((id, address)) = identity::claim_newest_reset(tx, tenant, &key(name), self.job).await? else { return Ok("stale".into()) };
                password_reset::void(tx, tenant, id).await?;
                password_reset::insert(tx, tenant, jti, id, ends_at).await?;
                address
            }
            6 => {
                let Some(id) = password_reset::consume(tx, tenant, jti).await? else { return Ok("refused".into()) };
                identity::set_password(tx, tenant, id, jti).await?;
                format!("{id} {}", session::end_all(tx, tenant, id).await?)
            }
            _ => format!(
                "{:?} {:?}",
                session::sweep(tx, tenant).await?,
                password_reset::sweep(tx, tenant, tx.now().before(Duration::from_mins(3))).await?
            ),
        })
    }

    async fn customers(self, tx: &mut Tx) -> Result<String> {
        let Self { tenant, name, .. } = self;
        let now = tx.now();
        let fresh = Customer {
            id: self.customer,
            email: Some(format!("{name}@x.test")),
            company_name: None,
            first_name: Some("Ünï \u{1F600}".into()),
            last_name: Some(String::new()),
            phone: None,
            metadata: None,
            has_account: self.due_at == now,
            created_at: now,
            updated_at: now,
            deleted_at: None,
        };
        Ok(match self.kind {
            8 => format!("{:?}", customer::insert(tx, tenant, &fresh, name).await?),
            9 => {
                let Some(mut locked) = customer::lock(tx, tenant, self.customer).await? else { return Ok("nobody".into()) };
                locked.metadata.get_or_insert_default().insert(name.into(), self.lease.into());
                format!("{:?}", customer::update(tx, tenant, &locked).await?)
            }
            _ => format!("{:?}", super::customer::stored(tx, tenant, self.customer).await?),
        })
    }

    async fn jobs_and_limits(self, tx: &mut Tx) -> Result<String> {
        let Self { tenant, name, lease, due_at, .. } = self;
        let budget = Budget { most: 3, window: 5_000_000, second_window: 9_000_000, later_window: 20_000_000 };
        Ok(match self.kind {
            11 | 12 => format!("{:?}", job::append(tx, tenant, self.job, "mail", "{}", 6).await?),
            13 => {
                let mut claimed = Vec::new();
                for tenant in job::due(tx, None, 9).await? {
                    claimed.extend(job::claim(tx, tenant, lease, due_at, 2).await?);
                }
                // Neither database promises an order of what RETURNING gives.
                claimed.sort_by_key(|job| (job.tenant, job.id));
                for (place, job) in claimed.iter().enumerate() {
                    let done = if place % 2 == 0 { job::finish(tx, job, lease).await? } else { job::reschedule(tx, job, lease, due_at).await? };
                    assert!(done);
                }
                format!("{claimed:?}")
            }
            14 => format!("{:?} {:?}", job::waiting(tx).await?, job::due(tx, None, 9).await?),
            15 => {
                limit::clear(tx, tenant, "login", name.as_bytes()).await?;
                format!("{:?}", limit::sweep(tx, tenant, tx.now().before(Duration::from_mins(1))).await?)
            }
            _ => {
                let taken = limit::take(tx, tenant, "login", name.as_bytes(), budget).await?;
                format!("{taken:?} {:?}", limit::resets_at(tx, tenant, "login", name.as_bytes()).await?)
            }
        })
    }
}

impl Step {
    async fn events_and_deliveries(self, tx: &mut Tx) -> Result<String> {
        let Self { tenant, name, lease, due_at, .. } = self;
        let (id, now) = (EventId(self.customer.0), tx.now());
        if self.kind == 18 {
            let data = Map::from_iter([("entity_id".to_owned(), name.into()), ("ü \u{1F600}".to_owned(), Value::Null)]);
            let fresh = Event { id, name: EventName::PasswordReset, data, secret_ref: self.fails.then(|| name.into()), created_at: now };
            let subscribers = [(DeliveryId(self.identity.0), "mail".to_owned()), (DeliveryId(self.session.0), "webhook:1".to_owned())];
            event::append(tx, tenant, &fresh, subscribers.get(..1 + usize::from(due_at == now)).unwrap_or_default()).await?;
            return Ok(format!("{:?}", event::by_id(tx, tenant, id).await?));
        }
        let mut claimed = Vec::new();
        for channel in [Channel::Mail, Channel::Webhooks] {
            for tenant in delivery::due(tx, channel, None, 9).await? {
                claimed.extend(delivery::claim(tx, channel, tenant, lease, due_at, 2).await?);
            }
        }
        claimed.sort_by_key(|delivery| (delivery.tenant, delivery.id));
        for (place, held) in claimed.iter().enumerate() {
            assert!(match place % 3 {
                0 => delivery::reschedule(tx, held, lease, due_at, "450 später").await?,
                1 => delivery::finish(tx, held, lease, Ending::Delivered, "250").await?,
                _ => delivery::finish(tx, held, lease, Ending::Dead, name).await?,
            });
        }
        Ok(format!("{claimed:?} {}", delivery::waiting(tx).await?))
    }

    async fn shops(self, tx: &mut Tx) -> Result<String> {
        let Self { tenant, name, key, .. } = self;
        let address = Email::parse(&format!("{name}@x.test")).unwrap();
        Ok(match self.kind {
            21 | 22 => {
                let (kind, token_hash) = ("publishable".to_owned(), [name.as_bytes(), &[0, 0xff]].concat());
                let row =
                    ApiKeyRow { id: key, kind, token_hash, redacted: "pk_***".into(), title: name.into(), created_at: tx.now(), revoked_at: None };
                format!("{:?}", api_key::insert(tx, tenant, &row).await?)
            }
            23 => format!("{:?}", api_key::revoke(tx, tenant, key).await?),
            _ if self.due_at == tx.now() => format!("{:?}", tenant::set_hosts(tx, tenant, &[format!("{name}.example"), self.lease.into()]).await?),
            _ => format!("{:?}", user::insert(tx, tenant, UserId(self.customer.0), &address).await?),
        })
    }
}

/// Every row of every table the history touches, as text.
async fn rows(f: &Fixture) -> BTreeMap<&'static str, Vec<String>> {
    let mut all = BTreeMap::new();
    for (table, sql) in TABLES {
        let found = look!(f, |reader| reader.all::<Dump>(sql, &[]).await);
        all.insert(table, found.into_iter().map(|row| row.0).collect());
    }
    all
}

async fn run(backend: Backend, seed: u64) -> (Vec<String>, BTreeMap<&'static str, Vec<String>>) {
    let mut f = Fixture::create(backend).await;
    f.rng = crate::ports::rng::Rng::seeded(seed);
    let (mut known, mut answers) = (Known::default(), Vec::new());
    for place in 0..STEPS {
        let step = Step::draw(&f, &mut known);
        let answer = f.db.write(move |tx| Box::pin(step.run(tx))).await;
        answers.push(format!("{place}, kind {}: {:?}", step.kind, answer.map_err(|e| e.code)));
        f.clock.advance(Duration::from_millis(draw(&f, 2_000)));
    }
    let rows = rows(&f).await;
    f.database.remove().await.unwrap();
    (answers, rows)
}

#[tokio::test]
async fn one_history_means_the_same_on_both_databases() {
    let (lite, postgres) = (run(Backend::Sqlite, 7).await, run(Backend::Postgres, 7).await);
    for (one, other) in lite.0.iter().zip(&postgres.0) {
        assert_eq!(one, other, "an answer differs: SQLite left, PostgreSQL right");
    }
    assert_eq!(lite.1, postgres.1, "rows differ: SQLite left, PostgreSQL right");
    // A history in which nothing happens would compare nothing.
    for (table, rows) in &lite.1 {
        assert!(!rows.is_empty(), "{table} is empty");
    }
    let spent = lite.0.iter().filter(|answer| answer.contains("kind 6: Ok(\"authid_")).count();
    assert!(spent > 1, "{spent} resets were spent");
    let failed = lite.0.iter().filter(|answer| answer.contains("Err(")).count();
    assert!((STEPS / 10..STEPS / 2).contains(&failed), "{failed} steps failed");
}
