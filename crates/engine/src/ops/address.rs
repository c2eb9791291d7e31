//! Addresses of a customer, kept by their owner.

use std::sync::Arc;

use crate::Engine;
use crate::error::{Code, Error, Result};
use crate::limits::{self, Limit, Ticket, ticket};
use crate::model::address::{Address, AddressChange, METADATA_BYTES, MOST, Page, Search};
use crate::model::customer::Change;
use crate::model::ids::{AddressId, CustomerId};
use crate::model::tenant::Tenant;
use crate::ops::customer::{self, WithAddresses};
use crate::ops::idempotency::Receipt;
use crate::store::{self, Tx};

/// What is to become of an address. Ids are drawn before the transaction.
enum Step {
    Create(AddressId, AddressChange),
    Update(AddressId, AddressChange),
    Delete(AddressId),
}

/// The customer's addresses that `search` wants.
///
/// # Errors
/// If the database cannot be read.
pub async fn list(engine: &Engine, tenant: &Tenant, customer: CustomerId, search: &Search) -> Result<Page> {
    let tenant_id = tenant.id;
    let all = engine.db.read(move |reader| Box::pin(store::address::of_customer(reader, tenant_id, customer))).await?;
    Ok(search.page(all))
}

/// One address.
///
/// # Errors
/// `NotFound` if this customer has none with this id.
pub async fn by_id(engine: &Engine, tenant: &Tenant, customer: CustomerId, id: AddressId) -> Result<Address> {
    let tenant_id = tenant.id;
    let found = engine.db.read(move |reader| Box::pin(store::address::by_id(reader, tenant_id, customer, id))).await?;
    found.ok_or_else(|| not_found(&id.to_string()))
}

/// Adds an address.
///
/// # Errors
/// `TooManyRequests` over the customer's budget, `NotFound` if the customer is gone, `InvalidData` if it has as many as it may keep.
pub async fn create(
    engine: &Arc<Engine>,
    tenant: &Arc<Tenant>,
    customer: CustomerId,
    change: AddressChange,
    receipt: &Receipt<WithAddresses>,
) -> Result<WithAddresses> {
    let id = AddressId(engine.rng.ulid(engine.clock.now()));
    run(engine, tenant, customer, Step::Create(id, change), receipt).await
}

/// Changes an address.
///
/// # Errors
/// `TooManyRequests` over the customer's budget, `NotFound` if customer or address are gone, `InvalidData` if its metadata would become too big.
pub async fn update(
    engine: &Arc<Engine>,
    tenant: &Arc<Tenant>,
    customer: CustomerId,
    id: AddressId,
    change: AddressChange,
    receipt: &Receipt<WithAddresses>,
) -> Result<WithAddresses> {
    run(engine, tenant, customer, Step::Update(id, change), receipt).await
}

/// Deletes an address.
///
/// # Errors
/// `TooManyRequests` over the customer's budget, `NotFound` if customer or address are gone.
pub async fn delete(engine: &Arc<Engine>, tenant: &Arc<Tenant>, customer: CustomerId, id: AddressId) -> Result<WithAddresses> {
    run(engine, tenant, customer, Step::Delete(id), &Receipt::none()).await
}

/// What says that a customer has no address `id`, whoever else may have one.
#[must_use]
pub fn not_found(id: &str) -> Error {
    Error::new(Code::NotFound, format!("Address with id: {id} was not found"))
}

async fn run(
    engine: &Arc<Engine>,
    tenant: &Arc<Tenant>,
    customer: CustomerId,
    step: Step,
    receipt: &Receipt<WithAddresses>,
) -> Result<WithAddresses> {
    let budget = ticket(engine, tenant, Limit::CustomerUpdates, &customer.bare());
    let input = Arc::new((tenant.clone(), budget, step, receipt.clone()));
    engine
        .db
        .write(move |tx| {
            let input = input.clone();
            Box::pin(async move {
                let outcome = run_tx(tx, &input.0, &input.1, customer, &input.2).await?;
                if let Ok(done) = &outcome {
                    input.3.settle(tx, done, None).await?;
                }
                Ok(outcome)
            })
        })
        .await?
}

/// The inner result is a refusal: its count is committed.
async fn run_tx(tx: &mut Tx, tenant: &Arc<Tenant>, budget: &Ticket, id: CustomerId, step: &Step) -> Result<Result<WithAddresses>> {
    if let Some(refusal) = limits::take(tx, tenant, std::slice::from_ref(budget)).await? {
        return Ok(Err(refusal));
    }
    // Under this lock nobody else adds an address or makes another one the default.
    let customer = store::customer::hold(tx, tenant.id, id).await?.ok_or_else(|| customer::not_found(id))?;
    match step {
        Step::Create(address, change) => create_tx(tx, tenant, Address::empty(*address, id, tx.now()), change).await?,
        Step::Update(address, change) => update_tx(tx, tenant, id, *address, change).await?,
        Step::Delete(address) => {
            if !store::address::delete(tx, tenant.id, id, *address).await? {
                return Err(not_found(&address.to_string()));
            }
        }
    }
    let addresses = store::address::of_customer(tx, tenant.id, id).await?;
    Ok(Ok(WithAddresses { customer, addresses }))
}

async fn create_tx(tx: &mut Tx, tenant: &Tenant, mut address: Address, change: &AddressChange) -> Result<()> {
    if store::address::count(tx, tenant.id, address.customer).await? >= MOST {
        return Err(Error::invalid(format!("A customer can have at most {MOST} addresses")));
    }
    address.apply(change.clone());
    make_room(tx, tenant, &address).await?;
    store::address::insert(tx, tenant.id, &address).await
}

async fn update_tx(tx: &mut Tx, tenant: &Tenant, customer: CustomerId, id: AddressId, change: &AddressChange) -> Result<()> {
    let missing = || not_found(&id.to_string());
    let mut address = store::address::by_id(tx, tenant.id, customer, id).await?.ok_or_else(missing)?;
    address.apply(change.clone());
    address.updated_at = tx.now();
    if change.metadata != Change::Keep && address.metadata_is_too_big() {
        return Err(Error::invalid(format!("Invalid request: Value for field 'metadata' too big, expected at most: '{METADATA_BYTES}'")));
    }
    make_room(tx, tenant, &address).await?;
    if store::address::update(tx, tenant.id, &address).await? { Ok(()) } else { Err(missing()) }
}

/// Where `address` is a default, no other stays one.
async fn make_room(tx: &mut Tx, tenant: &Tenant, address: &Address) -> Result<()> {
    if address.is_default_shipping {
        store::address::clear_default_shipping(tx, tenant.id, address.customer, address.id).await?;
    }
    if address.is_default_billing {
        store::address::clear_default_billing(tx, tenant.id, address.customer, address.id).await?;
    }
    Ok(())
}
