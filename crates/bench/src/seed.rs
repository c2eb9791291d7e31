//! Customers for the measurements, made as any storefront makes them: register, create the customer, get its token.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::Result;
use crate::client::{Caller, Connection, get, post};
use crate::config::Tenant;
use crate::load::Requests;

const CONNECTIONS: usize = 16;
const TRIES: usize = 100;
const PAUSE: Duration = Duration::from_millis(200);
const SIGN_IN: &str = "/auth/customer/emailpass";
const RESET: &str = "/auth/customer/emailpass/reset-password";

/// A tenant and its customers, each with a session of its own.
pub struct Shop {
    pub tenant: &'static Tenant,
    key: String,
    tokens: Vec<String>,
}

/// The same length for every index, and for `kind` of one letter: the address alone must not change the work.
fn email(kind: char, index: usize) -> String {
    format!("{kind}{index:07}@customers.example.com")
}

fn password(index: usize) -> String {
    format!("quiet-harbour-{index:07}-lantern")
}

impl Shop {
    pub fn customers(&self) -> usize {
        self.tokens.len()
    }

    pub fn me(&self) -> Arc<Requests> {
        let as_customer = |token| Caller { host: self.tenant.host, publishable_key: Some(&self.key), token: Some(token) };
        Requests::new(self.tokens.iter().map(|token| get(as_customer(token), "/store/customers/me")).collect())
    }

    pub fn refreshes(&self) -> Arc<Requests> {
        let as_customer = |token| Caller { host: self.tenant.host, publishable_key: None, token: Some(token) };
        Requests::new(self.tokens.iter().map(|token| post(as_customer(token), "/auth/token/refresh", &json!({}))).collect())
    }

    /// The same change of each customer.
    pub fn updates(&self, change: &Value) -> Arc<Requests> {
        let as_customer = |token| Caller { host: self.tenant.host, publishable_key: Some(&self.key), token: Some(token) };
        Requests::new(self.tokens.iter().map(|token| post(as_customer(token), "/store/customers/me", change)).collect())
    }

    pub fn resets(&self) -> Arc<Requests> {
        Requests::new((0..self.customers()).map(|index| self.reset('c', index)).collect())
    }

    pub fn sign_ins(&self) -> Arc<Requests> {
        Requests::new((0..self.customers()).map(|index| sign_in(self.tenant, 'c', index, &password(index))).collect())
    }

    /// `kind` is `c` for a customer, any other letter for an address nobody has.
    pub fn reset(&self, kind: char, index: usize) -> Vec<u8> {
        post(Caller::nobody(self.tenant.host), RESET, &json!({ "identifier": email(kind, index) }))
    }

    pub fn refused_sign_in(&self, kind: char, index: usize) -> Vec<u8> {
        sign_in(self.tenant, kind, index, "noisy-harbour-of-no-customer-x")
    }
}

fn sign_in(tenant: &Tenant, kind: char, index: usize, password: &str) -> Vec<u8> {
    post(Caller::nobody(tenant.host), SIGN_IN, &json!({ "email": email(kind, index), "password": password }))
}

/// The lines of `vestibule customer import` for `count` customers of the kind `m`. One hash does for all: what counts is what it costs to look at.
pub fn imports(count: usize) -> String {
    // Of the password `supersecret`, at Medusa's own cost.
    const HASH: &str =
        "c2NyeXB0AA8AAAAIAAAAAWXMoSb1vnahLArbOeDKb+ohOvZvqxVRsid9+chNTI8rNfVwSs4aIOz6tMnPfWiOp6SOqyHBIurDypi6wg/wm0V6y9He618WEpcR02hBAsbf";
    let line = |index| json!({ "id": format!("cus_01JD{index:022}"), "email": email('m', index), "password_hash": HASH }).to_string() + "\n";
    (0..count).map(line).collect()
}

/// Takes the tokens an earlier run left in `directory` if the server still accepts them, and makes the customers otherwise.
pub async fn open(address: SocketAddr, tenant: &'static Tenant, key: String, count: usize, directory: &Path, database: &str) -> Result<Shop> {
    let path = directory.join(format!("tokens-{database}-{}.jsonl", tenant.slug));
    if let Some(shop) = reopen(address, tenant, &key, count, &path).await? {
        eprintln!("{}: {count} customers of an earlier run", tenant.slug);
        return Ok(shop);
    }
    let began = Instant::now();
    let seeding = Arc::new(Seeding {
        address,
        tenant,
        key: key.clone(),
        count,
        next: AtomicUsize::new(0),
        done: AtomicUsize::new(0),
        refreshes: AtomicBool::new(true),
    });
    let mut workers = JoinSet::new();
    for _ in 0..CONNECTIONS {
        workers.spawn(Arc::clone(&seeding).work());
    }
    let mut made = Vec::with_capacity(count);
    while let Some(done) = workers.join_next().await {
        made.extend(done??);
    }
    made.sort_unstable();
    let tokens: Vec<String> = made.into_iter().map(|(_, token)| token).collect();
    eprintln!("{}: {count} customers made in {:.0} s", tenant.slug, began.elapsed().as_secs_f64());
    let lines: Vec<String> =
        tokens.iter().enumerate().map(|(index, token)| json!({ "email": email('c', index), "token": token }).to_string()).collect();
    fs::write(path, lines.join("\n"))?;
    Ok(Shop { tenant, key, tokens })
}

async fn reopen(address: SocketAddr, tenant: &'static Tenant, key: &str, count: usize, path: &PathBuf) -> Result<Option<Shop>> {
    let Ok(text) = fs::read_to_string(path) else { return Ok(None) };
    let token_of = |line: &str| serde_json::from_str::<Value>(line).ok().as_ref().and_then(|value| text_at(value, "token"));
    let tokens: Vec<String> = text.lines().take(count).filter_map(token_of).collect();
    if tokens.len() < count {
        return Ok(None);
    }
    let mut connection = Connection::to(address);
    for token in [tokens.first(), tokens.last()].into_iter().flatten() {
        let caller = Caller { host: tenant.host, publishable_key: Some(key), token: Some(token) };
        if connection.exchange(&get(caller, "/store/customers/me")).await?.status != 200 {
            return Ok(None);
        }
    }
    Ok(Some(Shop { tenant, key: key.to_owned(), tokens }))
}

struct Seeding {
    address: SocketAddr,
    tenant: &'static Tenant,
    key: String,
    count: usize,
    next: AtomicUsize,
    done: AtomicUsize,
    /// Cleared when the server has no refresh route; a second sign-in then gives the customer's token.
    refreshes: AtomicBool,
}

impl Seeding {
    async fn work(self: Arc<Self>) -> Result<Vec<(usize, String)>> {
        let mut connection = Connection::to(self.address);
        let mut made = Vec::new();
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            if index >= self.count {
                return Ok(made);
            }
            made.push((index, self.one(&mut connection, index).await?));
            let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
            if done.is_multiple_of(1000) {
                eprintln!("  {}: {done} of {} customers", self.tenant.slug, self.count);
            }
        }
    }

    /// A customer left half made or fully made by a broken run is taken up where it stands.
    async fn one(&self, connection: &mut Connection, index: usize) -> Result<String> {
        let nobody = Caller::nobody(self.tenant.host);
        let email = email('c', index);
        let register = post(nobody, "/auth/customer/emailpass/register", &json!({ "email": email, "password": password(index) }));
        let (status, body) = ask(connection, &register, &[200, 401]).await?;
        if status == 401 {
            return self.sign_in(connection, index).await;
        }
        let token = token_of(&body)?;
        let create = Caller { publishable_key: Some(&self.key), token: Some(&token), ..nobody };
        ask(connection, &post(create, "/store/customers", &json!({ "email": email, "first_name": "Bench" })), &[200]).await?;
        if self.refreshes.load(Ordering::Relaxed) {
            let refresh = post(Caller { token: Some(&token), ..nobody }, "/auth/token/refresh", &json!({}));
            let (status, body) = ask(connection, &refresh, &[200, 404]).await?;
            if status == 200 {
                return token_of(&body);
            }
            self.refreshes.store(false, Ordering::Relaxed);
        }
        self.sign_in(connection, index).await
    }

    async fn sign_in(&self, connection: &mut Connection, index: usize) -> Result<String> {
        let (_, body) = ask(connection, &sign_in(self.tenant, 'c', index, &password(index)), &[200]).await?;
        token_of(&body)
    }
}

/// Asks until the server is not too busy. An answer that is none of `expected` ends the seeding.
async fn ask(connection: &mut Connection, request: &[u8], expected: &[u16]) -> Result<(u16, Value)> {
    for _ in 0..TRIES {
        let answer = connection.exchange(request).await?;
        match answer.status {
            429 | 503 => {}
            status if expected.contains(&status) => return Ok((status, serde_json::from_slice(answer.body).unwrap_or_default())),
            status => {
                let line = String::from_utf8_lossy(request).lines().next().unwrap_or_default().to_owned();
                return Err(format!("seeding: {line} was answered {status}: {}", String::from_utf8_lossy(answer.body)).into());
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err("seeding: the server stayed too busy".into())
}

fn token_of(body: &Value) -> Result<String> {
    text_at(body, "token").ok_or_else(|| format!("seeding: an answer without token: {body}").into())
}

fn text_at(value: &Value, name: &str) -> Option<String> {
    value.get(name).and_then(Value::as_str).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::EDDSA;

    #[test]
    fn known_and_unknown_addresses_make_requests_of_one_length() {
        let shop = Shop { tenant: &EDDSA, key: "pk_1".into(), tokens: Vec::new() };
        assert_eq!(shop.reset('c', 1).len(), shop.reset('u', 99_999).len());
        assert_eq!(shop.refused_sign_in('c', 1).len(), shop.refused_sign_in('u', 2).len());
    }
}
