//! Writers, and the ledger of what they were told.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use vestibule_engine::model::time::Timestamp;
use vestibule_engine::notify::sink::{ReceivedMail, SmtpSink};
use vestibule_engine::ports::clock::Clock;
use vestibule_engine::ports::rng::Rng;
use vestibule_engine::testing::TestDatabase;

use super::is_reset;
use super::stage::Stage;
use crate::support::app::token_in;
use crate::support::client::{Answer, Call, Shop, claims};

const WORKERS: usize = 6;

/// An account whose registration was acknowledged.
pub struct Account {
    pub address: String,
    /// One of them is right. More than one: nobody knows what became of a reset.
    passwords: Vec<String>,
    /// When the newest reset request was sent that was acknowledged after the last attempt to use a token.
    owed: Option<Timestamp>,
    /// The token of a session of its customer; a reset ends it.
    session: Option<String>,
    /// One of them is the customer's company, as with the passwords.
    companies: Vec<Value>,
    /// How many changes of the customer were acknowledged, and how many more there may have been.
    pub changes: usize,
    pub unsure: usize,
}

/// A request that named a key.
struct Keyed {
    path: &'static str,
    key: String,
    token: Option<String>,
    body: Value,
    /// `None`: the connection broke.
    answer: Option<String>,
}

impl Keyed {
    fn call(&self, shop: &Shop) -> Call {
        let call = shop.post(self.path).header("idempotency-key", &self.key).json(&self.body);
        match &self.token {
            Some(token) => call.bearer(token),
            None => call,
        }
    }
}

#[derive(Default)]
pub struct Ledger {
    keyed: Vec<Keyed>,
    pub accounts: Vec<Account>,
    strangers: Vec<String>,
    customers: HashSet<String>,
    /// Of known accounts, and of nobody's.
    pub requests: usize,
    others: usize,
    resets: usize,
    pub unknown: usize,
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { accounts, customers, requests, others, resets, unknown, .. } = self;
        let (accounts, customers, changes) = (accounts.len(), customers.len(), self.changes());
        write!(f, "acknowledged {accounts} registrations, {customers} customers, {requests} requests, {others} of strangers, ")?;
        write!(f, "{resets} resets, {changes} changes; {unknown} unknown outcomes")
    }
}

/// Writers that go on at the next server when theirs dies.
pub struct Workers {
    tasks: JoinSet<Ledger>,
    /// Where the server is; empty: stop.
    base: watch::Sender<String>,
    acknowledged: watch::Sender<u32>,
}

impl Workers {
    pub fn start(base: &str, mail: &Arc<SmtpSink>, rng: &Rng) -> Self {
        Self::start_crew(0, base, mail, rng)
    }

    /// The `crew`-th of several that write at once, each to accounts of its own.
    pub fn start_crew(crew: usize, base: &str, mail: &Arc<SmtpSink>, rng: &Rng) -> Self {
        let (base, acknowledged) = (watch::Sender::new(base.to_owned()), watch::Sender::new(0));
        let mut tasks = JoinSet::new();
        for name in crew * WORKERS..(crew + 1) * WORKERS {
            let rng = Rng::seeded(u64::from_be_bytes(rng.bytes()));
            let worker = Worker { name, mail: mail.clone(), rng, ledger: Ledger::default(), acknowledged: acknowledged.clone() };
            tasks.spawn(worker.run(base.subscribe()));
        }
        Self { tasks, base, acknowledged }
    }

    /// Waits until `more` further writes were acknowledged.
    pub async fn acknowledged(&mut self, more: u32) {
        let mut seen = self.acknowledged.subscribe();
        let until = *seen.borrow() + more;
        tokio::select! {
            reached = tokio::time::timeout(Duration::from_mins(1), seen.wait_for(|n| *n >= until)) => assert!(reached.is_ok(), "the server stopped answering"),
            ended = self.tasks.join_next() => panic!("a writer ended: {:?}", ended.map(|e| e.map(|ledger| ledger.to_string()))),
        }
    }

    pub fn go_on_at(&self, base: &str) {
        self.base.send_replace(base.to_owned());
    }

    pub async fn stop(mut self) -> Ledger {
        self.base.send_replace(String::new());
        let mut all = Ledger::default();
        while let Some(ledger) = self.tasks.join_next().await {
            all.add(ledger.unwrap());
        }
        all
    }
}

/// One writer. Its accounts are its own, so it knows in which order things happened to them.
struct Worker {
    name: usize,
    mail: Arc<SmtpSink>,
    rng: Rng,
    ledger: Ledger,
    acknowledged: watch::Sender<u32>,
}

impl Worker {
    async fn run(mut self, mut bases: watch::Receiver<String>) -> Ledger {
        for n in 0..u32::MAX {
            let base = bases.borrow_and_update().clone();
            if base.is_empty() {
                break;
            }
            let shop = Stage::shop(&base);
            let mut step = 0;
            while *bases.borrow() == base && self.write(&shop, &format!("{n}-{step}")).await.is_some() {
                self.acknowledged.send_modify(|n| *n += 1);
                step += 1;
            }
            if *bases.borrow() == base {
                self.ledger.unknown += 1;
                let _ = bases.changed().await;
            }
        }
        self.ledger
    }

    /// One write. `None`: the connection broke, and the outcome is unknown.
    async fn write(&mut self, shop: &Shop, step: &str) -> Option<()> {
        let [choice, which] = self.rng.bytes::<2>();
        let at = usize::from(which) % self.ledger.accounts.len().max(1);
        match choice % 16 {
            0..=1 => self.register(shop, step).await,
            _ if self.ledger.accounts.is_empty() => self.register(shop, step).await,
            2 => {
                let address = format!("stranger-{}-{step}@example.com", self.name);
                self.ledger.strangers.push(address.clone());
                self.ledger.others += usize::from(request(shop, &address).await?);
                Some(())
            }
            3..=6 => self.ask(shop, at).await,
            7..=8 => self.reset(shop, at, &format!("new-pass-{}-{step}", self.name)).await,
            _ => self.change(shop, at, step).await,
        }
    }

    async fn ask(&mut self, shop: &Shop, at: usize) -> Option<()> {
        let sent_at = Clock::System.now();
        if request(shop, &self.ledger.accounts[at].address).await? {
            self.ledger.accounts[at].owed = Some(sent_at);
            self.ledger.requests += 1;
        }
        Some(())
    }

    /// Changes the customer of the account. One whose session has ended asks for a reset.
    async fn change(&mut self, shop: &Shop, at: usize, step: &str) -> Option<()> {
        let account = &mut self.ledger.accounts[at];
        let Some(session) = &account.session else { return self.ask(shop, at).await };
        let company = json!(format!("company {step}"));
        account.companies.push(company.clone());
        account.unsure += 1;
        let call = shop.post("/store/customers/me").bearer(session).json(&json!({"company_name": company}));
        let answer = sent(call, &[200]).await?;
        account.unsure -= 1;
        if answer.status == 200 {
            account.companies = vec![company];
            account.changes += 1;
        } else {
            account.companies.pop();
        }
        Some(())
    }

    async fn register(&mut self, shop: &Shop, step: &str) -> Option<()> {
        let (address, password) = (format!("w{}-{step}@example.com", self.name), format!("first-pass-{step}"));
        let body = json!({"email": address, "password": password});
        let answer = self.keyed(shop, "/auth/customer/emailpass/register", None, body).await?;
        if answer.status == 200 {
            let (passwords, companies) = (vec![password], vec![Value::Null]);
            self.ledger.accounts.push(Account { address: address.clone(), passwords, owed: None, session: None, companies, changes: 0, unsure: 0 });
            let created = self.keyed(shop, "/store/customers", Some(answer.token()), json!({"email": address})).await?;
            if created.status == 200 {
                self.ledger.customers.insert(address);
                let refreshed = sent(shop.post("/auth/token/refresh").bearer(&answer.token()), &[200]).await?;
                let account = self.ledger.accounts.last_mut().unwrap();
                account.session = (refreshed.status == 200).then(|| refreshed.token());
            }
        }
        Some(())
    }

    /// Sends a request with a key of its own, and remembers both.
    async fn keyed(&mut self, shop: &Shop, path: &'static str, token: Option<String>, body: Value) -> Option<Answer> {
        let key = format!("{}-{}", self.name, self.ledger.keyed.len());
        let mut keyed = Keyed { path, key, token, body, answer: None };
        let answer = sent(keyed.call(shop), &[200]).await;
        keyed.answer = answer.as_ref().map(|answer| answer.text.clone());
        // "Come back later" is no outcome.
        if answer.as_ref().is_none_or(|answer| answer.status == 200) {
            self.ledger.keyed.push(keyed);
        }
        answer
    }

    /// Uses the newest token that was mailed to the account, if any.
    async fn reset(&mut self, shop: &Shop, at: usize, password: &str) -> Option<()> {
        let account = &mut self.ledger.accounts[at];
        let Some(token) = tokens(&self.mail.mails_to(&account.address), &account.address).pop() else { return Some(()) };
        account.session = None;
        let owed = account.owed.take();
        account.passwords.push(password.to_owned());
        let call = shop.post("/auth/customer/emailpass/update").bearer(&token).json(&json!({"password": password}));
        let answer = sent(call, &[200, 401]).await?;
        if answer.status == 200 {
            account.passwords = vec![password.to_owned()];
            self.ledger.resets += 1;
        } else {
            account.passwords.pop();
            account.owed = owed;
        }
        Some(())
    }
}

/// `None`: no answer. Besides what is expected, "come back later" is an answer.
async fn sent(call: Call, expected: &[u16]) -> Option<Answer> {
    let answer = call.try_send().await.ok()?;
    assert!(expected.contains(&answer.status) || answer.status == 503, "{} {}", answer.status, answer.text);
    Some(answer)
}

async fn request(shop: &Shop, address: &str) -> Option<bool> {
    let call = shop.post("/auth/customer/emailpass/reset-password").json(&json!({"identifier": address}));
    sent(call, &[201]).await.map(|answer| answer.status == 201)
}

/// The tokens mailed to `address`, oldest first.
fn tokens(mails: &[ReceivedMail], address: &str) -> Vec<String> {
    mails.iter().filter(|mail| mail.to == [address] && is_reset(mail)).map(token_in).collect()
}

impl Ledger {
    /// F41: sends every request that named a key again. What was answered is answered alike, and what was not is done by now, once.
    pub async fn send_again(&self, shop: &Shop, database: &TestDatabase) {
        let (mut given, mut done) = (0, 0);
        for keyed in &self.keyed {
            let again = keyed.call(shop).send().await;
            match (&keyed.answer, again.status) {
                // A reset has ended the session of the token: the one in the answer, or the one that asks.
                (_, 409) if keyed.token.is_none() => {}
                (_, 401) if keyed.token.is_some() => {}
                (Some(answer), 200) => assert_eq!((&again.text, again.header("idempotency-replayed")), (answer, "true")),
                (None, 200) if again.header("idempotency-replayed") == "true" => given += 1,
                (None, 200) => done += 1,
                _ => panic!("{} {}: {} {}", keyed.path, keyed.key, again.status, again.text),
            }
        }
        println!("of {} requests with a key {given} had lost their answer, and {done} were not done", self.keyed.len());
        // No worker signs in: a registration that was done twice would have begun two sessions.
        let twice = database.rows("SELECT identity_id, COUNT(*) FROM sessions GROUP BY identity_id HAVING COUNT(*) <> 1").await.unwrap();
        assert!(twice.is_empty(), "registered twice: {twice:?}");
    }

    pub fn add(&mut self, other: Self) {
        self.keyed.extend(other.keyed);
        self.accounts.extend(other.accounts);
        self.strangers.extend(other.strangers);
        self.customers.extend(other.customers);
        self.requests += other.requests;
        self.others += other.others;
        self.resets += other.resets;
        self.unknown += other.unknown;
    }

    fn changes(&self) -> usize {
        self.accounts.iter().map(|account| account.changes).sum()
    }

    /// How many writes were acknowledged.
    pub fn acknowledged(&self) -> usize {
        self.accounts.len() + self.customers.len() + self.requests + self.others + self.resets + self.changes()
    }

    /// Holds the ledger against the server `shop` and the mails that came; what is missing.
    pub async fn missing(&self, shop: &Shop, mails: &[ReceivedMail]) -> Vec<String> {
        assert!(self.accounts.len() > 5 && self.requests > 5, "hardly anything was written: {self}");
        let written_to: HashSet<&String> = mails.iter().flat_map(|mail| &mail.to).collect();
        for address in &self.strangers {
            assert!(!written_to.contains(address), "a mail to {address}");
        }
        // A few at once, as a long run has many.
        let each = futures_util::stream::iter(&self.accounts).map(|account| self.missing_of(account, shop, mails)).buffer_unordered(4);
        each.collect::<Vec<_>>().await.concat()
    }

    async fn missing_of(&self, account: &Account, shop: &Shop, mails: &[ReceivedMail]) -> Vec<String> {
        let (address, mut missing, mut right) = (&account.address, Vec::new(), Vec::new());
        for password in &account.passwords {
            let answer = shop.sign_in(address, password).await;
            assert!([200, 401].contains(&answer.status), "{address}: {} {}", answer.status, answer.text);
            if answer.status == 200 {
                right.push(answer.token());
            }
        }
        let [session] = &right[..] else {
            return vec![format!("{address} has {} of the passwords {:?}", right.len(), account.passwords)];
        };
        if self.customers.contains(address) {
            let me = shop.me(session).await;
            if claims(session)["actor_id"] == "" || me.status != 200 {
                missing.push(format!("{address} is no customer"));
            } else if !account.companies.contains(&me.json()["customer"]["company_name"]) {
                missing.push(format!("{address} has none of the companies {:?}: {}", account.companies, me.text));
            }
        }
        if let Some(requested) = account.owed {
            missing.extend(owed(shop, address, requested, mails).await);
        }
        missing
    }
}

/// One of the mailed tokens works, and no other after it; and it was issued for the request of `requested` or a newer one: that an
/// older link, which nothing voided, still works does not replace a lost request. If it is not so: what is missing.
pub async fn owed(shop: &Shop, address: &str, requested: Timestamp, mails: &[ReceivedMail]) -> Option<String> {
    let mailed = tokens(mails, address);
    let mut worked = Vec::new();
    for token in mailed.iter().rev() {
        let answer = shop.complete_reset(token, "the-last-pass-1").await;
        assert!([200, 401].contains(&answer.status), "{address}: {} {}", answer.status, answer.text);
        if answer.status == 200 {
            worked.push(claims(token)["iat"].as_i64().unwrap());
        }
    }
    assert!(worked.len() <= 1, "{address} was mailed {} links that work", worked.len());
    let Some(issued) = worked.pop() else { return Some(format!("{address} is owed a link that works; {} were mailed", mailed.len())) };
    if issued < requested.seconds() {
        return Some(format!("{address} asked at {} and has only a link of {issued}", requested.seconds()));
    }
    shop.sign_in(address, "the-last-pass-1").await.expect_status(200);
    None
}
