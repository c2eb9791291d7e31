use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::argon2id::{self, Recipe};
use super::password_hash::{Cost, Job, PasswordHasher, Queue, Stored, Task, Verdict, Work, serve};
use crate::error::Code;

const CHEAP: Cost = Cost { memory_kib: 64, passes: 1 };
/// From the reference implementation's test suite (P-H-C/phc-winner-argon2, `src/test.c`): password `password`, salt `somesalt`.
const REFERENCE: &str = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";

fn secret(text: &str) -> Zeroizing<String> {
    Zeroizing::new(text.to_owned())
}

fn task(hasher: &PasswordHasher) -> Task {
    Task { password: secret("p"), work: Work::Argon2id(argon2id(hasher, None).recipe, vec![7; 16]) }
}

fn argon2id(hasher: &PasswordHasher, text: Option<&str>) -> argon2id::Stored {
    match hasher.stored(text).unwrap() {
        Stored::Argon2id(kept) => kept,
        Stored::MedusaScrypt(_) => panic!("another format"),
    }
}

#[tokio::test]
async fn r23_a_hash_is_an_argon2id_phc_string_at_the_standard_cost() {
    let hasher = PasswordHasher::new(Cost::STANDARD, 1);
    let phc = hasher.hash(secret("correct horse"), [1; 16]).await.unwrap();
    assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$AQEBAQEBAQEBAQEBAQEBAQ$"), "{phc}");
    assert_eq!(phc.rsplit('$').next().unwrap().len(), 43);
    assert_eq!(hasher.verify("correct horse", Some(&phc)).await.unwrap(), Verdict::Right);
    assert_eq!(hasher.verify("correct horsf", Some(&phc)).await.unwrap(), Verdict::Wrong);
    assert_eq!(hasher.verify("correct horse", None).await.unwrap(), Verdict::Wrong);
}

#[tokio::test]
async fn equal_passwords_with_their_own_salts_differ() {
    let hasher = PasswordHasher::new(CHEAP, 2);
    let (a, b) = (hasher.hash(secret("same"), [1; 16]).await.unwrap(), hasher.hash(secret("same"), [2; 16]).await.unwrap());
    assert_ne!(a, b);
    assert_ne!(a.rsplit('$').next(), b.rsplit('$').next());
}

#[tokio::test]
async fn r21_every_byte_counts() {
    let hasher = PasswordHasher::new(CHEAP, 1);
    let long = "x".repeat(128);
    let phc = hasher.hash(secret(&format!("{long}a\0b")), [1; 16]).await.unwrap();
    for other in [format!("{long}a\0c"), format!("{long}a"), format!("{long}a\0b "), String::new()] {
        assert_eq!(hasher.verify(&other, Some(&phc)).await.unwrap(), Verdict::Wrong);
    }
}

#[tokio::test]
async fn r24_a_foreign_cost_verifies_and_asks_for_a_new_hash() {
    let hasher = PasswordHasher::new(CHEAP, 1);
    assert_eq!(hasher.verify("password", Some(REFERENCE)).await.unwrap(), Verdict::RightButOutdated);
    assert_eq!(hasher.verify("Password", Some(REFERENCE)).await.unwrap(), Verdict::Wrong);
    let two_lanes = argon2id(&PasswordHasher::without_threads(CHEAP), Some("$argon2id$v=19$m=64,t=1,p=2$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA"));
    assert_eq!(two_lanes.recipe, Recipe { memory_kib: 64, passes: 1, lanes: 2, length: 16 });
}

#[test]
fn strings_that_are_no_plain_argon2id_or_ask_for_too_much_are_refused() {
    assert!(argon2id::Stored::parse(REFERENCE).is_some());
    for (from, to) in [
        ("argon2id", "argon2i"),
        ("v=19", "v=16"),
        ("$v=19", ""),
        ("m=65536", "m=1048577"),
        ("m=65536", "m=7"),
        ("m=65536", "m=+65536"),
        ("m=65536", "m=99999999999"),
        ("m=65536", "m="),
        ("t=2", "t=0"),
        ("t=2", "t=17"),
        ("p=1", "p=0"),
        ("p=1", "p=5"),
        ("p=1", "p=1,keyid=AAAA"),
        ("p=1", "p=1,data=AAAA"),
        ("m=65536,t=2", "t=2,m=65536"),
        ("c29tZXNhbHQ", "c29t"),
        ("c29tZXNhbHQ", "c29tZXNhbHQ="),
        ("c29tZXNhbHQ", ""),
        ("PPc", "PPc=$"),
        ("PPc", "PPc$AAAA"),
        ("CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc", "CTFhFdXP"),
        ("$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc", ""),
    ] {
        let changed = REFERENCE.replacen(from, to, 1);
        assert_ne!(changed, REFERENCE);
        assert!(argon2id::Stored::parse(&changed).is_none(), "{changed}");
    }
    // Each lane needs its 8 KiB.
    let four_lanes =
        |memory_kib: u32| argon2id::Stored::parse(&REFERENCE.replacen("m=65536,t=2,p=1", &format!("m={memory_kib},t=2,p=4"), 1)).is_some();
    assert!(four_lanes(32) && !four_lanes(31));
    let refused = PasswordHasher::without_threads(CHEAP).stored(Some("c2NyeXB0AA8AAAAI")).err().unwrap();
    assert_eq!((refused.code, refused.to_string().contains("c2Ny")), (Code::Unexpected, false));
}

#[tokio::test]
async fn an_unknown_address_takes_the_path_and_the_cost_of_a_known_one() {
    let hasher = PasswordHasher::new(CHEAP, 1);
    let phc = hasher.hash(secret("p"), [1; 16]).await.unwrap();
    let (known, unknown) = (argon2id(&hasher, Some(&phc)), argon2id(&hasher, None));
    assert_eq!(known.recipe, unknown.recipe);
    assert_eq!((known.salt.len(), known.hash.len()), (unknown.salt.len(), unknown.hash.len()));
    // A thread really works on it: the injected fault reaches its caller.
    hasher.fail_next();
    assert_eq!(hasher.verify("p", None).await.unwrap_err().code, Code::HashingFailed);
}

#[test]
fn r26_beyond_the_queue_the_answer_is_busy_until_a_caller_leaves() {
    let hasher = PasswordHasher::without_threads(CHEAP);
    let mut waiting: Vec<_> = (0..256).map(|_| hasher.submit(task(&hasher)).unwrap()).collect();
    assert_eq!(hasher.submit(task(&hasher)).err().unwrap().code, Code::Busy);
    waiting.pop();
    assert!(hasher.submit(task(&hasher)).is_ok());
}

#[test]
fn a_job_whose_caller_left_or_that_waited_too_long_costs_nothing() {
    let (hasher, queue, mut memory) = (PasswordHasher::without_threads(CHEAP), Queue::default(), Vec::new());
    let (reply, answer) = oneshot::channel();
    drop(answer);
    serve(&queue, Job { task: task(&hasher), queued: Instant::now(), reply }, &mut memory);
    assert!(memory.is_empty());
    let (reply, mut answer) = oneshot::channel();
    let long_ago = Instant::now().checked_sub(Duration::from_secs(11)).unwrap();
    serve(&queue, Job { task: task(&hasher), queued: long_ago, reply }, &mut memory);
    assert!(memory.is_empty());
    assert_eq!(answer.try_recv().unwrap().err().unwrap().code, Code::Busy);
    let (reply, mut answer) = oneshot::channel();
    serve(&queue, Job { task: task(&hasher), queued: Instant::now(), reply }, &mut memory);
    assert_eq!((memory.len(), answer.try_recv().unwrap().unwrap().hash.len()), (64, 32));
    // The next job works in the same memory.
    memory.reserve_exact(2 * memory.capacity());
    let reserved = memory.capacity();
    let (reply, _answer) = oneshot::channel();
    serve(&queue, Job { task: task(&hasher), queued: Instant::now(), reply }, &mut memory);
    assert_eq!((memory.len(), memory.capacity()), (64, reserved));
}

#[tokio::test]
async fn a_panic_fails_its_own_job_only() {
    let hasher = PasswordHasher::new(CHEAP, 1);
    hasher.fail_next();
    let failed = hasher.hash(secret("p"), [1; 16]).await.unwrap_err();
    assert_eq!((failed.code, failed.message.as_ref()), (Code::HashingFailed, "An error occured while hashing password"));
    assert!(hasher.hash(secret("p"), [1; 16]).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_callers_are_all_answered() {
    let hasher = Arc::new(PasswordHasher::new(CHEAP, 2));
    let phc = hasher.hash(secret("p"), [1; 16]).await.unwrap();
    let all = (0..200).map(|n| {
        let (hasher, phc) = (Arc::clone(&hasher), phc.clone());
        async move { hasher.verify(if n % 2 == 0 { "p" } else { "q" }, Some(&phc)).await.unwrap() }
    });
    let verdicts = futures_util::future::join_all(all).await;
    assert_eq!(verdicts.iter().filter(|v| **v == Verdict::Right).count(), 100);
}

#[tokio::test]
async fn a_caller_who_waits_when_the_hasher_goes_is_let_go() {
    let hasher = PasswordHasher::without_threads(CHEAP);
    let waiting = hasher.submit(task(&hasher)).unwrap();
    drop(hasher);
    assert!(waiting.await.is_err());
}

#[test]
fn the_threads_end_with_the_hasher() {
    let hasher = PasswordHasher::new(CHEAP, 2);
    let queue = Arc::downgrade(&hasher.queue);
    drop(hasher);
    until(|| queue.strong_count() == 0);
}

#[tokio::test]
async fn what_a_foreign_hash_needs_beyond_todays_cost_is_given_back() {
    let hasher = PasswordHasher::new(CHEAP, 1);
    let larger = REFERENCE.replacen("m=65536", "m=128", 1);
    assert_eq!(hasher.verify("password", Some(&larger)).await.unwrap(), Verdict::Wrong);
    hasher.hash(secret("p"), [1; 16]).await.unwrap();
    until(|| hasher.queue.watch.blocks.load(Ordering::SeqCst) == 64);
}

#[cfg(target_os = "linux")]
#[test]
fn the_threads_leave_the_cores_to_others() {
    let niceness = || -> Vec<i32> {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap().filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("stat")).ok());
        tasks.filter_map(|stat| stat.split_once("(password-hash) ")?.1.split(' ').nth(16)?.parse().ok()).collect()
    };
    let _hasher = PasswordHasher::new(CHEAP, 2);
    until(|| niceness().len() >= 2 && niceness().iter().all(|nice| *nice >= 5));
}

/// Asks again and again, up to a bound, until `done`.
fn until(done: impl Fn() -> bool) {
    for _ in 0..6_000 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("it did not come");
}

#[tokio::test]
async fn no_more_hashes_run_at_once_than_there_are_threads_and_idle_ones_hold_no_memory() {
    for threads in [1, 3] {
        let hasher = PasswordHasher::new(CHEAP, threads);
        let watch = &hasher.queue.watch;
        let (jobs, working) = {
            let _held = watch.gate.lock().unwrap();
            let jobs: Vec<_> = (0..20).map(|_| hasher.submit(task(&hasher)).unwrap()).collect();
            until(|| watch.working.load(Ordering::SeqCst) >= threads);
            (jobs, watch.working.load(Ordering::SeqCst))
        };
        assert_eq!(working, threads);
        for job in jobs {
            job.await.unwrap().unwrap();
        }
        assert_eq!((watch.most.load(Ordering::SeqCst), watch.working.load(Ordering::SeqCst)), (threads, 0));
        until(|| watch.blocks.load(Ordering::SeqCst) > 0);
        until(|| watch.blocks.load(Ordering::SeqCst) == 0);
    }
}
