//! Customers: made from a login, read and changed by their owner.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::Engine;
use crate::error::{Code, Error, Result};
use crate::limits::{self, Limit, Ticket, ticket};
use crate::model::address::Address;
use crate::model::customer::{Change, Customer, METADATA_BYTES, Profile, Search, ids_between};
use crate::model::email::Email;
use crate::model::event::EventName;
use crate::model::identity::{ActorType, Identity};
use crate::model::ids::{CustomerId, IdentityId, TenantId};
use crate::model::tenant::Tenant;
use crate::ops::event::{self, Planned};
use crate::ops::idempotency::Receipt;
use crate::ops::session::{self, Caller, Ending, Reason};
use crate::provider::emailpass;
use crate::store::{self, Reader, Tx};

/// A customer with its addresses. They are left out where nobody asked for them.
#[derive(Debug, Clone, PartialEq)]
pub struct WithAddresses {
    pub customer: Customer,
    pub addresses: Vec<Address>,
}

/// Whether somebody has an account under `email`.
pub async fn exists(engine: &Engine, tenant: &Tenant, email: &Email) -> Result<bool> {
    let (tenant, key) = (tenant.id, email.key().to_owned());
    let found = engine.db.read(move |reader| Box::pin(async move { store::customer::by_address(reader, tenant, &key).await })).await?;
    Ok(found.is_some())
}

/// Makes the caller's login a customer, once.
///
/// # Errors
/// `Unauthenticated` if the session has ended meanwhile, `InvalidData` if it is one already or the address is not the login's own, `NotFound` if the login is gone, `Duplicate` if another customer has the address.
pub async fn create(
    engine: &Arc<Engine>,
    tenant: &Arc<Tenant>,
    caller: &Caller,
    email: Option<&str>,
    profile: Profile,
    receipt: &Receipt<Customer>,
) -> Result<Customer> {
    may_become(caller)?;
    let tenant_id = tenant.id;
    let identity = caller.identity;
    let login = engine.db.read(move |reader| Box::pin(store::identity::by_id(reader, tenant_id, identity))).await?;
    let login = login.ok_or_else(|| gone(identity))?;
    // A login with a password names its address in the body, as ever; a third party has told it.
    let told = Some(login.address.as_str()).filter(|address| login.key.provider != emailpass::NAME && !address.is_empty());
    let email = emailpass::address(email.or(told).ok_or_else(|| Error::invalid("Email is required to create a customer"))?)?;
    let now = engine.clock.now();
    let id = CustomerId(engine.rng.ulid(now));
    let mut customer = Customer::with_account(id, &email, now);
    customer.apply(profile.or_told(&login.user_metadata));
    let planned = event::plan(engine, tenant, EventName::CustomerCreated, id_data(id), None);
    let input = Arc::new((tenant.clone(), caller.clone(), email, customer, planned, receipt.clone()));
    let created = engine
        .db
        .write(move |tx| {
            let input = input.clone();
            Box::pin(async move {
                let (tenant, caller, email, customer, planned, receipt) = &*input;
                create_tx(tx, tenant, caller, email, customer, planned).await?;
                receipt.settle(tx, customer, None).await?;
                Ok(customer.clone())
            })
        })
        .await?;
    engine.outbox.wake();
    Ok(created)
}

/// Refuses a login whose token names its customer.
pub fn may_become(caller: &Caller) -> Result<()> {
    if caller.claims.actor_id.is_empty() { Ok(()) } else { Err(already_a_customer()) }
}

async fn create_tx(tx: &mut Tx, tenant: &Arc<Tenant>, caller: &Caller, email: &Email, customer: &Customer, planned: &Planned) -> Result<()> {
    let identity = caller.identity;
    // The lock orders this against a reset, which ends the login's sessions: the one that was looked at before may be over.
    store::identity::lock(tx, tenant.id, identity).await?;
    if !session::stands(tx, tenant.id, caller).await? {
        return Err(Error::unauthenticated());
    }
    let login = store::identity::by_id(tx, tenant.id, identity).await?;
    let login = login.ok_or_else(|| gone(identity))?;
    if tenant.settings.customers.email_must_match_identity && !is_own(&login, email) {
        return Err(Error::invalid(if login.key.provider == emailpass::NAME {
            "The email must be the address that you registered with"
        } else {
            "The email must be an address that the provider has seen proven"
        }));
    }
    // A taken address is told first, also to the login whose own customer has taken it.
    let taken = || Error::new(Code::Duplicate, "Customer with this email already has an account");
    if store::customer::by_address(tx, tenant.id, email.key()).await?.is_some() {
        return Err(taken());
    }
    if !store::identity::link(tx, tenant.id, identity, &customer.id.bare()).await? {
        return Err(already_a_customer());
    }
    if !store::customer::insert(tx, tenant.id, customer, email.key()).await? {
        return Err(taken());
    }
    event::append(tx, tenant, planned).await
}

fn gone(identity: IdentityId) -> Error {
    Error::new(Code::NotFound, format!("AuthIdentity with id: {identity} was not found"))
}

/// Whether `email` is the login's own address. A third party's word for it counts only if the third party has seen it proven: whoever has a password for an
/// address that is not theirs loses it to the owner, who resets it, but nobody could take a login of a third party from them.
fn is_own(login: &Identity, email: &Email) -> bool {
    let shown = login.key.provider == emailpass::NAME || login.proven_at.is_some();
    shown && Email::parse(&login.address).is_ok_and(|own| own.key() == email.key())
}

fn already_a_customer() -> Error {
    Error::invalid("Request already authenticated as a customer.")
}

fn id_data(id: CustomerId) -> Map<String, Value> {
    Map::from_iter([("id".to_owned(), Value::String(id.to_string()))])
}

pub(super) fn not_found(id: CustomerId) -> Error {
    Error::new(Code::NotFound, format!("Customer with id: {id} was not found"))
}

async fn with_addresses(reader: &mut Reader, tenant: TenantId, customer: Customer, wanted: bool) -> Result<WithAddresses> {
    let addresses = if wanted { store::address::of_customer(reader, tenant, customer.id).await? } else { Vec::new() };
    Ok(WithAddresses { customer, addresses })
}

/// The customer who calls; the session is read in the same statement. Addresses are read if `wanted`.
///
/// # Errors
/// `Unauthenticated` for a caller whose session has ended or who is no customer, `NotFound` if the customer is gone.
pub async fn me(engine: &Engine, tenant: &Tenant, caller: &Caller, wanted: bool) -> Result<WithAddresses> {
    if caller.claims.actor_type != "customer" {
        return Err(Error::unauthenticated());
    }
    let id: CustomerId = caller.claims.actor_id.parse().map_err(|()| Error::unauthenticated())?;
    let (tenant_id, session, identity, issued_at) = (tenant.id, caller.session, caller.identity, caller.issued_at());
    let found = engine
        .db
        .read(move |reader| {
            Box::pin(async move {
                let found = match session {
                    Some(session) => store::customer::by_session(reader, tenant_id, session, identity, id).await?,
                    None => store::customer::by_login(reader, tenant_id, identity, id, issued_at).await?,
                };
                let Some(found) = found else { return Ok(None) };
                with_addresses(reader, tenant_id, found.customer, wanted && found.has_addresses).await.map(Some)
            })
        })
        .await?;
    match found {
        Some(customer) => Ok(customer),
        // Which of the two is missing decides the answer.
        None if session::lives(engine, tenant, caller).await? => Err(not_found(id)),
        None => Err(Error::unauthenticated()),
    }
}

/// Changes what a customer may say of itself. Addresses are read if `wanted`.
///
/// # Errors
/// `TooManyRequests` over the customer's budget, `NotFound` if the customer is gone, `InvalidData` if its metadata would become too big; then nothing is changed.
pub async fn update(
    engine: &Arc<Engine>,
    tenant: &Arc<Tenant>,
    id: CustomerId,
    profile: Profile,
    wanted: bool,
    receipt: &Receipt<WithAddresses>,
) -> Result<WithAddresses> {
    let planned = event::plan(engine, tenant, EventName::CustomerUpdated, id_data(id), None);
    let budget = ticket(engine, tenant, Limit::CustomerUpdates, &id.bare());
    let told = planned.clone();
    let input = Arc::new((tenant.clone(), budget, profile, planned, receipt.clone()));
    let updated = engine
        .db
        .write(move |tx| {
            let input = input.clone();
            Box::pin(async move {
                let (tenant, budget, profile, planned, receipt) = &*input;
                let customer = match update_tx(tx, tenant, id, budget, profile, planned).await? {
                    Ok(customer) => customer,
                    Err(refusal) => return Ok(Err(refusal)),
                };
                let updated = with_addresses(tx, tenant.id, customer, wanted).await?;
                receipt.settle(tx, &updated, None).await?;
                Ok(Ok(updated))
            })
        })
        .await??;
    engine.outbox.announce(&told);
    Ok(updated)
}

/// The inner result is a refusal: its count is committed.
async fn update_tx(
    tx: &mut Tx,
    tenant: &Arc<Tenant>,
    id: CustomerId,
    budget: &Ticket,
    profile: &Profile,
    planned: &Planned,
) -> Result<Result<Customer>> {
    if let Some(refusal) = limits::take(tx, tenant, std::slice::from_ref(budget)).await? {
        return Ok(Err(refusal));
    }
    let mut customer = store::customer::lock(tx, tenant.id, id).await?.ok_or_else(|| not_found(id))?;
    customer.apply(profile.clone());
    // Many small changes merge into one big object, so the request's own size says nothing about the row's.
    if profile.metadata != Change::Keep && customer.metadata_is_too_big() {
        return Err(Error::invalid(format!("Invalid request: Value for field 'metadata' too big, expected at most: '{METADATA_BYTES}'")));
    }
    store::customer::update(tx, tenant.id, &customer).await?;
    event::append(tx, tenant, planned).await?;
    Ok(Ok(customer))
}

/// How many customers are counted, and found by the start of an address, at most. The whole of a shop is known without counting.
pub const COUNTED: usize = 10_000;

/// A part of what a search found.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    pub customers: Vec<WithAddresses>,
    /// How many there are in all parts.
    pub count: i64,
}

/// The customers that `search` wants, for the shop's staff. Addresses are read if `wanted`.
///
/// Cost: a page's rows by index. Where a search names ids or addresses a statement for each, and at most `COUNTED` ids.
/// # Errors
/// If the database cannot be read.
pub async fn list(engine: &Engine, tenant: &Tenant, search: Search, wanted: bool) -> Result<Page> {
    let tenant_id = tenant.id;
    engine
        .db
        .read(move |reader| {
            Box::pin(async move {
                let (found, count) = found(reader, tenant_id, &search).await?;
                let mut customers = Vec::with_capacity(found.len());
                for customer in found {
                    customers.push(with_addresses(reader, tenant_id, customer, wanted).await?);
                }
                Ok(Page { customers, count })
            })
        })
        .await
}

/// The customers of the page, and how many there are in all pages.
async fn found(reader: &mut Reader, tenant: TenantId, search: &Search) -> Result<(Vec<Customer>, i64)> {
    let most = i64::try_from(COUNTED).unwrap_or(i64::MAX);
    let Some(named) = named(reader, tenant, search, most).await? else {
        let all = search.between == ids_between(None, None);
        let count = if all {
            store::customer::count(reader, tenant).await?
        } else {
            store::customer::count_between(reader, tenant, search.between, most).await?
        };
        return Ok((store::customer::page(reader, tenant, search).await?, count));
    };
    let count = i64::try_from(named.len()).unwrap_or(i64::MAX);
    let page = named.into_iter().skip(search.offset).take(search.limit);
    let mut customers = Vec::new();
    for id in page {
        customers.extend(store::customer::by_id(reader, tenant, id).await?);
    }
    Ok((customers, count))
}

/// Who is named by ids and addresses, in the wanted order. `None`: the search names nobody, and so wants all.
async fn named(reader: &mut Reader, tenant: TenantId, search: &Search, most: i64) -> Result<Option<Vec<CustomerId>>> {
    let mut sets: Vec<BTreeSet<CustomerId>> = Vec::new();
    if let Some(ids) = &search.ids {
        let mut found = BTreeSet::new();
        for id in ids {
            found.extend(store::customer::by_id(reader, tenant, *id).await?.map(|customer| customer.id));
        }
        sets.push(found);
    }
    if let Some(addresses) = &search.addresses {
        let mut found = BTreeSet::new();
        for key in addresses {
            found.extend(store::customer::with_addresses_between(reader, tenant, key, key, most).await?);
        }
        sets.push(found);
    }
    if let Some(start) = &search.address_start {
        // No character comes after the last one.
        let end = format!("{start}{}", char::MAX);
        sets.push(store::customer::with_addresses_between(reader, tenant, start, &end, most).await?.into_iter().collect());
    }
    let (first, last) = search.between;
    let Some(smallest) = sets.iter().min_by_key(|set| set.len()) else { return Ok(None) };
    let mut ids: Vec<CustomerId> =
        smallest.iter().copied().filter(|id| first <= *id && *id <= last && sets.iter().all(|set| set.contains(id))).collect();
    if search.newest_first {
        ids.reverse();
    }
    Ok(Some(ids))
}

/// One customer, for the shop's staff. Addresses are read if `wanted`. `None`: there is none with this id.
///
/// # Errors
/// If the database cannot be read.
pub async fn by_id(engine: &Engine, tenant: &Tenant, id: CustomerId, wanted: bool) -> Result<Option<WithAddresses>> {
    let tenant_id = tenant.id;
    engine
        .db
        .read(move |reader| {
            Box::pin(async move {
                match store::customer::by_id(reader, tenant_id, id).await? {
                    Some(customer) => with_addresses(reader, tenant_id, customer, wanted).await.map(Some),
                    None => Ok(None),
                }
            })
        })
        .await
}

/// Deletes a customer: its logins are removed, their sessions end and their resets are void. The address is free again. False: there is none with this id.
///
/// # Errors
/// If the database refuses; then nothing is changed.
pub async fn delete(engine: &Engine, tenant: &Arc<Tenant>, id: CustomerId) -> Result<bool> {
    let planned = event::plan(engine, tenant, EventName::CustomerDeleted, id_data(id), None);
    let input = Arc::new((tenant.clone(), planned, Ending::draw(engine, tenant, Reason::CustomerDeleted)));
    let deleted = engine
        .db
        .write(move |tx| {
            let input = input.clone();
            Box::pin(async move { delete_tx(tx, &input.0, id, &input.1, &input.2).await })
        })
        .await?;
    engine.outbox.wake();
    Ok(deleted)
}

async fn delete_tx(tx: &mut Tx, tenant: &Arc<Tenant>, id: CustomerId, planned: &Planned, ending: &Ending) -> Result<bool> {
    if !store::customer::delete(tx, tenant.id, id).await? {
        return Ok(false);
    }
    let (actor, bare) = (ActorType::customer(), id.bare());
    // Whoever links another login holds these: what was linked before the lock is in the list that is read under it.
    store::identity::lock_actor(tx, tenant.id, &actor, &bare).await?;
    let logins = store::identity::of_actor(tx, tenant.id, &actor, &bare).await?;
    let mut ended = Vec::new();
    for login in &logins {
        ended.extend(store::session::end_all(tx, tenant.id, login.id).await?);
        store::password_reset::void(tx, tenant.id, login.id).await?;
        store::identity::remove(tx, tenant.id, login.id, &actor, &bare).await?;
    }
    if let Some(login) = logins.first() {
        ending.tell(tx, tenant.id, login, ended).await?;
    }
    event::append(tx, tenant, planned).await?;
    Ok(true)
}
