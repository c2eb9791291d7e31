//! One random history on both databases: the same answers, and in the end the same rows.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};
use ulid::Ulid;

use super::{Fixture, key, login, on_purpose};
use crate::error::Result;
use crate::model::address::Address;
use crate::model::customer::Customer;
use crate::model::email::Email;
use crate::model::event::{Event, EventName};
use crate::model::identity::ActorType;
use crate::model::ids::{AddressId, ApiKeyId, CustomerId, DeliveryId, EventId, IdentityId, JobId, KeyId, SessionId, TenantId, UserId};
use crate::model::template::Template;
use crate::model::tenant::Message;
use crate::model::time::Timestamp;
use crate::store::api_key::ApiKeyRow;
use crate::store::callback::{Away, HandedOver};
use crate::store::delivery::{Channel, Ending, Which};
use crate::store::limit::Budget;
use crate::store::value::Dump;
use crate::store::{
    Tx, address, api_key, callback, customer, delivery, event, idempotency, identity, job, limit, password_reset, sequence, session, signing_key,
    template, tenant, user, webhook,
};
use crate::testing::Backend;

const STEPS: usize = 1_200;
const NAMES: [&str; 4] = ["ann", "bob", "cleo", "dan"];
const LEASES: [&str; 2] = ["w1", "w2"];
const KINDS: u64 = 35;
/// The tables as SQLite has them; that PostgreSQL has the same columns is a test of its own.
const SCHEMA: &str = include_str!("../../../migrations/sqlite/0001_init.sql");

/// Of each table all rows with every column, in the order of the primary key, whose columns stand first. `store_state` counts failed commits,
/// and a `place` is drawn by failed transactions, too, where writers do not wait for each other.
fn tables() -> Vec<(&'static str, String)> {
    let created = SCHEMA.split("CREATE TABLE ").skip(1).filter_map(|rest| rest.split_once(" (\n"));
    let columns = |body: &'static str| {
        let lines = body.lines().map(str::trim).take_while(|line| !line.starts_with(')'));
        lines.filter_map(|line| line.split(' ').next()).filter(|word| word.starts_with(|c: char| c.is_ascii_lowercase())).collect::<Vec<_>>()
    };
    let select = |(table, body): (&'static str, &'static str)| {
        let mut columns = columns(body);
        columns.retain(|column| *column != "place");
        let order = if columns.len() < 3 { "1" } else { "1, 2, 3" };
        (table, format!("SELECT {} FROM {table} ORDER BY {order}", columns.join(", ")))
    };
    created.filter(|(table, _)| *table != "store_state").map(select).collect()
}

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
    /// Of a sign-in that is away, and then its code.
    state: &'static str,
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
    states: Vec<&'static str>,
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
            state: known.states.last().copied().filter(|_| old(&[26])).unwrap_or_else(|| f.rng.uuid().leak()),
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
        if kind == 26 {
            known.states.push(step.state);
        }
        step
    }

    async fn run(self, tx: &mut Tx) -> Result<String> {
        let answer = match self.kind {
            0..=2 => self.logins(tx).await?,
            3..=7 => self.sessions_and_resets(tx).await?,
            8..=10 => self.customers(tx).await?,
            11..=17 => self.jobs_and_limits(tx).await?,
            18..=20 | 34 => self.events_and_deliveries(tx).await?,
            21..=25 => self.shops(tx).await?,
            26..=30 => self.third_parties_and_addresses(tx).await?,
            31 | 32 => self.repeated_requests(tx).await?,
            _ => self.templates(tx).await?,
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
            3 => {
                session::insert(tx, tenant, session, found.id, ends_at, Some(name)).await?;
                let mut hash = [7; 32];
                hash[..16].copy_from_slice(&session.0.to_bytes());
                format!("{:?}", session::set_cookie(tx, tenant, session, found.id, &hash).await?)
            }
            4 => format!("{:?} {:?}", session::live(tx, tenant, session).await?, session::end_all(tx, tenant, found.id).await?.len()),
            5 => {
                let now = tx.now();
                let Some((id, address)) = identity::claim_newest_reset(tx, tenant, &key(name), self.job, now).await? else {
                    return Ok("stale".into());
                };
                password_reset::void(tx, tenant, id).await?;
                password_reset::insert(tx, tenant, jti, id, self.due_at, ends_at).await?;
                address
            }
            6 => {
                let Some(id) = password_reset::consume(tx, tenant, jti).await? else {
                    let fresh = self.identity.bare();
                    return Ok(format!("refused {}", password_reset::reissue(tx, tenant, jti, &fresh, ends_at, 3).await?));
                };
                identity::set_password(tx, tenant, id, jti).await?;
                format!("{id} {}", session::end_all(tx, tenant, id).await?.len())
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
        let budget = Budget { most: 3, window: 5_000_000, second_window: 9_000_000, later_window: 20_000_000, growth: 4_000_000 };
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
        if self.kind == 20 && self.ends_at.seconds() % 2 == 0 {
            let switched = if due_at == now { webhook::enable(tx, tenant, name).await? } else { webhook::disable(tx, tenant, name).await? };
            let [since, until] = [i64::MIN, i64::MAX].map(Timestamp::from_micros);
            let [from, to] = [0, u128::MAX].map(|id| DeliveryId(Ulid(id)));
            let all = Which { from, to, since, until, state: "", subscriber: "mail".into(), event: "" };
            return Ok(format!("{switched} {} {:?}", delivery::retry(tx, tenant, &all, 2).await?.len(), delivery::list(tx, tenant, &all, 9).await?));
        }
        if self.kind == 34 {
            let last = sequence::claim(tx, tenant, lease, due_at).await?;
            let given = match last.filter(|_| name != "ann") {
                Some(last) => sequence::number(tx, tenant, lease, last, 3).await?,
                None => None,
            };
            return Ok(format!(
                "{last:?} {given:?} {} {:?}",
                event::sweep(tx, tenant, now.before(Duration::from_mins(5))).await?,
                sequence::state(tx, tenant).await?
            ));
        }
        let mut claimed = Vec::new();
        for channel in [Channel::Mail, Channel::Webhooks] {
            for party in delivery::due(tx, channel, None, 9).await? {
                claimed.extend(delivery::claim(tx, &party, lease, due_at, 2).await?);
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

    async fn templates(self, tx: &mut Tx) -> Result<String> {
        let Self { tenant, name, lease, .. } = self;
        if self.due_at == tx.now() {
            return Ok(format!("{:?}", template::remove(tx, tenant, Message::PasswordReset, name).await?));
        }
        let (sender, subject) = (Some(lease.to_owned()), Some("Grüße".to_owned()).filter(|_| lease == "w1"));
        let own = Template { message: Message::PasswordReset, locale: name.into(), sender, subject, text: None, html: Some(self.jti.into()) };
        template::set(tx, tenant, &own).await?;
        Ok(format!("{:?} {:?}", template::list(tx, tenant).await?, template::of_message(tx, tenant, own.message).await?))
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
            25 => {
                signing_key::retire(tx, tenant).await?;
                signing_key::insert(tx, tenant, KeyId(self.identity.0), "EdDSA", name.as_bytes()).await?;
                format!("{:?}", signing_key::list(tx, tenant).await?.len())
            }
            _ if self.due_at == tx.now() => format!("{:?}", tenant::set_hosts(tx, tenant, &[format!("{name}.example"), self.lease.into()]).await?),
            _ => format!("{:?}", user::insert(tx, tenant, UserId(self.customer.0), &address).await?),
        })
    }
}

impl Step {
    async fn third_parties_and_addresses(self, tx: &mut Tx) -> Result<String> {
        let Self { tenant, name, ends_at, .. } = self;
        let (state, actor) = (self.state.as_bytes(), ActorType::customer());
        Ok(match self.kind {
            26 => {
                let away = Away {
                    actor,
                    redirect_uri: name.into(),
                    return_to: None,
                    browser: Some(vec![0, 0xff]),
                    browser_required: self.due_at == tx.now(),
                };
                format!("{:?}", callback::begin(tx, tenant, state, "google", &away, ends_at).await?)
            }
            27 => {
                let spent = callback::spend(tx, tenant, state, "google").await?;
                let over = HandedOver { identity: self.identity, origin: name.into(), account_exists: true, browser: None, browser_required: false };
                if spent.is_some() {
                    callback::hand_over(tx, tenant, state, &actor, "google", &over, ends_at).await?;
                }
                format!("{spent:?}")
            }
            28 => format!("{:?}", callback::redeem(tx, tenant, state, &actor, "google").await?),
            29 => {
                let Some(found) = identity::by_key(tx, tenant, &key(name)).await? else { return Ok("nobody".into()) };
                identity::prove(tx, tenant, found.id).await?;
                let told = Map::from_iter([("name".to_owned(), Value::from("Änn"))]);
                format!("{:?}", identity::told(tx, tenant, found.id, self.jti, self.due_at == tx.now(), &told).await?)
            }
            _ => {
                let mut fresh = Address::empty(AddressId(self.session.0), self.customer, tx.now());
                fresh.is_default_billing = true;
                address::clear_default_billing(tx, tenant, self.customer, fresh.id).await?;
                if address::by_id(tx, tenant, self.customer, fresh.id).await?.is_none() {
                    address::insert(tx, tenant, &fresh).await?;
                }
                format!("{:?}", address::of_customer(tx, tenant, self.customer).await?)
            }
        })
    }
}

impl Step {
    async fn repeated_requests(self, tx: &mut Tx) -> Result<String> {
        let Self { tenant, name, lease, ends_at, due_at, .. } = self;
        Ok(if self.kind == 31 {
            let claim = idempotency::Claim { id: name.as_bytes(), request: lease.as_bytes(), lease, lease_until: due_at, expires_at: ends_at };
            format!("{:?}", idempotency::claim(tx, tenant, claim).await?)
        } else {
            format!("{:?}", idempotency::settle(tx, tenant, name.as_bytes(), lease, name.as_bytes(), None, ends_at).await?)
        })
    }
}

/// Every row of every table, as text.
async fn rows(f: &Fixture) -> BTreeMap<&'static str, Vec<String>> {
    let mut all = BTreeMap::new();
    for (table, sql) in tables() {
        let sql: &'static str = sql.leak();
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
        f.clock.advance(Duration::from_millis(draw(&f, 1_000)));
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
