//! Password hashing on threads of its own, behind a bounded queue: Argon2id, and what was imported in another format.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
#[cfg(test)]
use std::sync::atomic::AtomicUsize;
#[cfg(any(test, feature = "testing"))]
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use argon2::Block;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use tokio::sync::oneshot;
use zeroize::{Zeroize, Zeroizing};

use super::argon2id::{self, Recipe};
use super::medusa_scrypt;
use crate::error::{Code, Error, Result};
use crate::model::password;

/// Jobs that may wait; at 15 ms each on two threads that is about two seconds of work.
const QUEUE: usize = 256;
/// After this long the caller has most likely given up, and the thread is better spent on a fresher job.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a thread without work keeps its memory.
const IDLE: Duration = Duration::from_secs(2);
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
    /// Right, but kept at another cost or in another format than today's: hash it anew.
    RightButOutdated,
    Wrong,
}

/// A comparison that was made.
#[derive(Debug, Clone, Copy)]
pub struct Compared {
    pub verdict: Verdict,
    /// When a thread took the work up.
    pub began: Instant,
}

/// Whether `hash` is of the one foreign format that can be imported, Medusa's, and within its bounds: at most 128 MiB of memory, and four times the work of
/// Medusa's own choice.
#[must_use]
pub fn is_foreign(hash: &str) -> bool {
    medusa_scrypt::Stored::parse(hash).is_some()
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
        let recipe = Recipe { memory_kib: cost.memory_kib.max(Recipe::MIN_MEMORY_KIB), passes: cost.passes.max(1), lanes: 1, length: HASH_BYTES };
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

    /// Hashes `password`, in its normal form, into a PHC string with Argon2id. Slow by design: never inside a transaction.
    ///
    /// `salt` must be fresh random bytes for each call.
    /// # Errors
    /// `Busy` if 256 jobs wait already or no thread came free within 10 s; `HashingFailed`.
    pub async fn hash(&self, password: Zeroizing<String>, salt: [u8; SALT_BYTES]) -> Result<String> {
        let done = self.run(Task { password, work: Work::Argon2id(self.recipe, salt.to_vec()) }).await?;
        Ok(self.recipe.phc(&salt, &done.hash))
    }

    /// As `compare`; the verdict alone.
    ///
    /// # Errors
    /// As `compare`.
    pub async fn verify(&self, typed: &str, stored: Option<&str>) -> Result<Verdict> {
        Ok(self.compare(typed, stored).await?.verdict)
    }

    /// Compares a password, as it was typed, with what is stored: each format knows in which form it takes it. At most 1024 bytes, which the caller sees to.
    ///
    /// `None` (no such address, or it has no password) does the work of a comparison at today's cost and is always `Wrong`.
    /// # Errors
    /// As `hash`; `Unexpected` if `stored` is of no known format, is an Argon2id string that asks for more than 1 GiB, 16 passes or 4 lanes, or an scrypt hash
    /// that asks for more than 128 MiB or four times the work of Medusa's.
    pub async fn compare(&self, typed: &str, stored: Option<&str>) -> Result<Compared> {
        let kept = self.stored(stored)?;
        let (verdict, began) = match kept {
            Stored::Argon2id(kept) => {
                let done = self.run(Task { password: password::normalise(typed), work: Work::Argon2id(kept.recipe, kept.salt) }).await?;
                let equal = verify_slices_are_equal(&done.hash, &kept.hash).is_ok();
                let verdict = match equal && stored.is_some() {
                    true if kept.recipe == self.recipe => Verdict::Right,
                    true => Verdict::RightButOutdated,
                    false => Verdict::Wrong,
                };
                (verdict, done.began)
            }
            Stored::MedusaScrypt(kept) => {
                let done = self.run(Task { password: Zeroizing::new(typed.to_owned()), work: Work::MedusaScrypt(kept.recipe) }).await?;
                (if kept.matches(&done.hash) { Verdict::RightButOutdated } else { Verdict::Wrong }, done.began)
            }
        };
        Ok(Compared { verdict, began })
    }

    /// Makes the next job panic on its thread, so that its caller gets `HashingFailed`.
    #[cfg(any(test, feature = "testing"))]
    pub fn fail_next(&self) {
        self.queue.fail_next.store(true, Ordering::SeqCst);
    }

    pub(super) fn stored(&self, text: Option<&str>) -> Result<Stored> {
        let text = text.unwrap_or(&self.dummy);
        let kept = if text.starts_with(medusa_scrypt::PREFIX) {
            medusa_scrypt::Stored::parse(text).map(Stored::MedusaScrypt)
        } else {
            argon2id::Stored::parse(text).map(Stored::Argon2id)
        };
        // The text itself stays out of the log: it holds a hash.
        kept.ok_or_else(|| Error::unexpected("a stored password hash cannot be read"))
    }

    async fn run(&self, task: Task) -> Result<Done> {
        // The sender is dropped unanswered only when the threads are gone.
        self.submit(task)?.await.unwrap_or_else(|_| Err(Error::busy("no hashing thread")))
    }

    pub(super) fn submit(&self, task: Task) -> Result<oneshot::Receiver<Result<Done>>> {
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

/// What lies in the database, read.
pub(super) enum Stored {
    Argon2id(argon2id::Stored),
    MedusaScrypt(medusa_scrypt::Stored),
}

/// One computation.
pub(super) struct Task {
    pub(super) password: Zeroizing<String>,
    pub(super) work: Work,
}

/// With which numbers a hash is computed.
pub(super) enum Work {
    /// And with this salt.
    Argon2id(Recipe, Vec<u8>),
    MedusaScrypt(medusa_scrypt::Recipe),
}

/// A computation that was made.
pub(super) struct Done {
    pub(super) hash: Zeroizing<Vec<u8>>,
    pub(super) began: Instant,
}

pub(super) struct Job {
    pub(super) task: Task,
    pub(super) queued: Instant,
    pub(super) reply: oneshot::Sender<Result<Done>>,
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
    // Not when it was queued: how long others kept it waiting says nothing of its own work.
    let began = Instant::now();
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
        .map(|hash| Done { hash, began })
        .map_err(|detail| {
            *memory = Vec::new();
            // The wording, misspelling included, is what clients of the original server receive.
            Error::new(Code::HashingFailed, "An error occured while hashing password").with_detail(detail)
        })
    };
    // Nobody listens any more: nothing is lost.
    let _ = reply.send(answer);
}

fn compute(task: &Task, memory: &mut Vec<Block>) -> Result<Zeroizing<Vec<u8>>, String> {
    let password = task.password.as_bytes();
    match &task.work {
        Work::Argon2id(recipe, salt) => recipe.compute(password, salt, memory),
        Work::MedusaScrypt(recipe) => {
            // It allocates for itself: a thread holds the memory of one format at a time.
            release(memory);
            recipe.compute(password)
        }
    }
}
