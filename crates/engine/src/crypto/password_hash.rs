//! Password hashing: Argon2id on threads of its own, behind a bounded queue.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
#[cfg(test)]
use std::sync::atomic::AtomicUsize;
#[cfg(any(test, feature = "testing"))]
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use tokio::sync::oneshot;
use zeroize::{Zeroize, Zeroizing};

use crate::error::{Code, Error, Result};

/// Jobs that may wait; at 15 ms each on two threads that is about two seconds of work.
const QUEUE: usize = 256;
/// After this long the caller has most likely given up, and the thread is better spent on a fresher job.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a thread without work keeps its memory.
const IDLE: Duration = Duration::from_secs(2);
/// Blocks of 1 KiB to reserve at least. Above 32 MiB glibc always maps an allocation by itself and unmaps it when freed; below, it learns
/// from the first one freed to serve the next from its heap, and the process would stay large. What is reserved and not touched costs nothing.
const ALWAYS_MAPPED: usize = 33 << 10;
const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;

/// What one hash costs. Always one lane: the threads are the parallelism.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// KiB of memory; below 8 counts as 8.
    pub memory_kib: u32,
    /// Passes over the memory; 0 counts as 1.
    pub passes: u32,
}

impl Cost {
    /// 19 456 KiB and 2 passes: about 15 ms. Source: OWASP Password Storage Cheat Sheet, Argon2id.
    pub const STANDARD: Self = Self { memory_kib: 19_456, passes: 2 };
}

/// What a comparison found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Right,
    /// Right, but kept at another cost than today's: hash it anew.
    RightButOutdated,
    Wrong,
}

/// Hashes and verifies passwords. Share it behind an `Arc`; its threads end when it is dropped.
pub struct PasswordHasher {
    pub(super) queue: Arc<Queue>,
    recipe: Recipe,
    /// What an unknown address is compared with, so that it takes as long as a known one.
    dummy: String,
}

impl PasswordHasher {
    /// Starts `threads` threads, at least one. Each holds `cost.memory_kib` of memory while it works and for 2 s after.
    #[must_use]
    pub fn new(cost: Cost, threads: usize) -> Self {
        let hasher = Self::without_threads(cost);
        let started = (0..threads.max(1)).filter(|_| hasher.start_thread()).count();
        if started == 0 {
            hasher.queue.close();
        }
        hasher
    }

    pub(super) fn without_threads(cost: Cost) -> Self {
        let recipe = Recipe { memory_kib: cost.memory_kib.max(Params::MIN_M_COST), passes: cost.passes.max(1), lanes: 1, length: HASH_BYTES };
        Self { queue: Arc::default(), recipe, dummy: recipe.phc(&[0; SALT_BYTES], &[0; HASH_BYTES]) }
    }

    pub(super) fn start_thread(&self) -> bool {
        let (queue, kept) = (Arc::clone(&self.queue), self.recipe.blocks());
        let started = std::thread::Builder::new().name("password-hash".into()).spawn(move || work(&queue, kept));
        if let Err(error) = &started {
            tracing::error!(%error, "a hashing thread did not start");
        }
        started.is_ok()
    }

    /// Hashes `password` into a PHC string with Argon2id. Slow by design: never inside a transaction.
    ///
    /// `salt` must be fresh random bytes for each call.
    /// # Errors
    /// `Busy` if 256 jobs wait already or no thread came free within 10 s; `HashingFailed`.
    pub async fn hash(&self, password: Zeroizing<String>, salt: [u8; SALT_BYTES]) -> Result<String> {
        let hash = self.run(Task { password, salt: salt.to_vec(), recipe: self.recipe }).await?;
        Ok(self.recipe.phc(&salt, &hash))
    }

    /// Compares `password` with a stored PHC string.
    ///
    /// `None` (no such address, or it has no password) does the work of a comparison at today's cost and is always `Wrong`.
    /// # Errors
    /// As `hash`; `Unexpected` if `phc` is no Argon2id string or asks for more than 1 GiB, 16 passes or 4 lanes.
    pub async fn verify(&self, password: Zeroizing<String>, phc: Option<String>) -> Result<Verdict> {
        let stored = self.stored(phc.as_deref())?;
        let hash = self.run(Task { password, salt: stored.salt, recipe: stored.recipe }).await?;
        let equal = verify_slices_are_equal(&hash, &stored.hash).is_ok();
        Ok(match equal && phc.is_some() {
            true if stored.recipe == self.recipe => Verdict::Right,
            true => Verdict::RightButOutdated,
            false => Verdict::Wrong,
        })
    }

    /// Makes the next job panic on its thread, so that its caller gets `HashingFailed`.
    #[cfg(any(test, feature = "testing"))]
    pub fn fail_next(&self) {
        self.queue.fail_next.store(true, Ordering::SeqCst);
    }

    pub(super) fn stored(&self, phc: Option<&str>) -> Result<Stored> {
        // The text itself stays out of the log: it holds a hash.
        Stored::parse(phc.unwrap_or(&self.dummy)).ok_or_else(|| Error::unexpected("a stored password hash cannot be read"))
    }

    async fn run(&self, task: Task) -> Result<Hash> {
        // The sender is dropped unanswered only when the threads are gone.
        self.submit(task)?.await.unwrap_or_else(|_| Err(Error::busy("no hashing thread")))
    }

    pub(super) fn submit(&self, task: Task) -> Result<oneshot::Receiver<Result<Hash>>> {
        let (reply, answer) = oneshot::channel();
        self.queue.push(Job { task, queued: Instant::now(), reply })?;
        Ok(answer)
    }
}

impl Drop for PasswordHasher {
    fn drop(&mut self) {
        self.queue.close();
    }
}

type Hash = Zeroizing<Vec<u8>>;

/// The numbers of an Argon2id hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Recipe {
    pub(super) memory_kib: u32,
    pub(super) passes: u32,
    pub(super) lanes: u32,
    /// Bytes of the hash.
    pub(super) length: usize,
}

impl Recipe {
    const MAX_MEMORY_KIB: u32 = 1 << 20;
    const MAX_PASSES: u32 = 16;
    const MAX_LANES: u32 = 4;

    fn params(self) -> argon2::Result<Params> {
        Params::new(self.memory_kib, self.passes, self.lanes, Some(self.length))
    }

    /// Blocks of 1 KiB that the work needs.
    fn blocks(self) -> usize {
        self.params().map_or(0, |params| params.block_count())
    }

    fn phc(self, salt: &[u8], hash: &[u8]) -> String {
        let Self { memory_kib, passes, lanes, .. } = self;
        format!("$argon2id$v=19$m={memory_kib},t={passes},p={lanes}${}${}", STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(hash))
    }
}

/// A PHC string, read.
pub(super) struct Stored {
    pub(super) recipe: Recipe,
    pub(super) salt: Vec<u8>,
    pub(super) hash: Vec<u8>,
}

impl Stored {
    /// Reads `$argon2id$v=19$m=…,t=…,p=…$salt$hash`. The optional `keyid` and `data` are refused: they would change the hash.
    ///
    /// The bounds keep an imported string from ordering gigabytes, or from being so short that anything matches.
    pub(super) fn parse(phc: &str) -> Option<Self> {
        let mut parts = phc.strip_prefix("$argon2id$v=19$")?.split('$');
        let (costs, salt, hash) = (parts.next()?, parts.next()?, parts.next()?);
        let mut costs = costs.split(',');
        let memory_kib = number(costs.next()?, "m=")?;
        let passes = number(costs.next()?, "t=")?;
        let lanes = number(costs.next()?, "p=")?;
        let within = (1..=Recipe::MAX_LANES).contains(&lanes)
            && (1..=Recipe::MAX_PASSES).contains(&passes)
            && (Params::MIN_M_COST * lanes..=Recipe::MAX_MEMORY_KIB).contains(&memory_kib);
        if !within || costs.next().is_some() || parts.next().is_some() {
            return None;
        }
        let (salt, hash) = (STANDARD_NO_PAD.decode(salt).ok()?, STANDARD_NO_PAD.decode(hash).ok()?);
        if !(8..=64).contains(&salt.len()) || !(16..=64).contains(&hash.len()) {
            return None;
        }
        Some(Self { recipe: Recipe { memory_kib, passes, lanes, length: hash.len() }, salt, hash })
    }
}

fn number(field: &str, name: &str) -> Option<u32> {
    let digits = field.strip_prefix(name)?;
    // `parse` alone would accept a plus sign.
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// One computation.
pub(super) struct Task {
    pub(super) password: Zeroizing<String>,
    pub(super) salt: Vec<u8>,
    pub(super) recipe: Recipe,
}

pub(super) struct Job {
    pub(super) task: Task,
    pub(super) queued: Instant,
    pub(super) reply: oneshot::Sender<Result<Hash>>,
}

#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    #[cfg(any(test, feature = "testing"))]
    fail_next: AtomicBool,
    #[cfg(test)]
    pub(super) watch: Watch,
}

/// What the threads do, for tests to see.
#[cfg(test)]
#[derive(Default)]
pub(super) struct Watch {
    /// Whoever holds it lets no hash go on.
    pub(super) gate: Mutex<()>,
    pub(super) working: AtomicUsize,
    pub(super) most: AtomicUsize,
    /// Blocks of memory that all threads have.
    pub(super) blocks: AtomicUsize,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    closed: bool,
}

#[cfg(test)]
impl Watch {
    fn begin(&self) {
        let working = self.working.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(working, Ordering::SeqCst);
        drop(self.gate.lock());
    }
}

enum Next {
    Job(Job),
    Idle,
    Closed,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, job: Job) -> Result<()> {
        let mut state = self.lock();
        if state.closed {
            return Err(Error::busy("no hashing thread"));
        }
        if state.jobs.len() >= QUEUE {
            // A caller that went away must not keep a live one out.
            state.jobs.retain(|waiting| !waiting.reply.is_closed());
        }
        if state.jobs.len() >= QUEUE {
            return Err(Error::busy("the queue for password hashing is full"));
        }
        state.jobs.push_back(job);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// The next job; with a `limit`, `Idle` when none came within it. Ask again after that.
    fn next(&self, limit: Option<Duration>) -> Next {
        let mut state = self.lock();
        loop {
            if state.closed {
                return Next::Closed;
            }
            if let Some(job) = state.jobs.pop_front() {
                return Next::Job(job);
            }
            let Some(limit) = limit else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let (woken, waited) = self.changed.wait_timeout(state, limit).unwrap_or_else(PoisonError::into_inner);
            state = woken;
            if waited.timed_out() {
                return Next::Idle;
            }
        }
    }

    /// Where a test makes a job fail. Unwinds without the panic hook, so that no trace is printed.
    fn inject_fault(&self) {
        #[cfg(any(test, feature = "testing"))]
        if self.fail_next.swap(false, Ordering::SeqCst) {
            std::panic::resume_unwind(Box::new("injected"));
        }
        #[cfg(not(any(test, feature = "testing")))]
        let _ = self;
    }
}

/// The life of one thread. Blocks beyond `kept` (a foreign hash with more memory) are given back after their job.
fn work(queue: &Queue, kept: usize) {
    lower_priority();
    let mut memory = Vec::new();
    loop {
        #[cfg(test)]
        let before = memory.len();
        match queue.next((!memory.is_empty()).then_some(IDLE)) {
            Next::Job(job) => serve(queue, job, &mut memory),
            Next::Idle => release(&mut memory),
            Next::Closed => return release(&mut memory),
        }
        if memory.len() > kept {
            release(&mut memory);
        }
        #[cfg(test)]
        {
            queue.watch.blocks.fetch_add(memory.len(), Ordering::SeqCst);
            queue.watch.blocks.fetch_sub(before, Ordering::SeqCst);
        }
    }
}

fn release(memory: &mut Vec<Block>) {
    // Block by block: the vector's own wiping would touch the spare capacity, too.
    memory.iter_mut().for_each(Zeroize::zeroize);
    *memory = Vec::new();
}

/// In a storm of sign-ins the hashing threads would take every core. One hash may wait; the session checks of customers who are
/// already signed in take microseconds and should not. On Linux a nice value belongs to the thread. Where the system refuses, hashing
/// works all the same.
fn lower_priority() {
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), 5);
}

pub(super) fn serve(queue: &Queue, job: Job, memory: &mut Vec<Block>) {
    let Job { task, queued, reply } = job;
    if reply.is_closed() {
        return;
    }
    let answer = if queued.elapsed() > PATIENCE {
        Err(Error::busy("no hashing thread came free within 10 s"))
    } else {
        catch_unwind(AssertUnwindSafe(|| {
            queue.inject_fault();
            #[cfg(test)]
            queue.watch.begin();
            let hash = compute(&task, memory);
            #[cfg(test)]
            queue.watch.working.fetch_sub(1, Ordering::SeqCst);
            hash
        }))
        .unwrap_or_else(|_| Err("hashing panicked".to_owned()))
        .map_err(|detail| {
            *memory = Vec::new();
            // The wording, misspelling included, is what clients of the original server receive.
            Error::new(Code::HashingFailed, "An error occured while hashing password").with_detail(detail)
        })
    };
    // Nobody listens any more: nothing is lost.
    let _ = reply.send(answer);
}

fn compute(task: &Task, memory: &mut Vec<Block>) -> Result<Hash, String> {
    let params = task.recipe.params().map_err(|e| e.to_string())?;
    let blocks = params.block_count();
    if memory.len() < blocks {
        *memory = Vec::new();
        memory.try_reserve_exact(blocks.max(ALWAYS_MAPPED)).map_err(|e| e.to_string())?;
        memory.resize(blocks, Block::new());
    }
    let mut hash = Zeroizing::new(vec![0; task.recipe.length]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(task.password.as_bytes(), &task.salt, &mut hash, memory.get_mut(..blocks).unwrap_or_default())
        .map_err(|e| e.to_string())?;
    Ok(hash)
}
