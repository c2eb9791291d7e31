use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::medusa_scrypt::{Recipe, Stored, make};
use super::password_hash::{Cost, Job, PasswordHasher, Queue, Task, Verdict, Work, is_foreign, serve};
use super::sha256;
use crate::error::Code;

const CHEAP: Cost = Cost { memory_kib: 64, passes: 1 };
/// What Medusa 2.21.2 stored for the password `supersecret`.
const RECORDED: &str =
    "c2NyeXB0AA8AAAAIAAAAAWXMoSb1vnahLArbOeDKb+ohOvZvqxVRsid9+chNTI8rNfVwSs4aIOz6tMnPfWiOp6SOqyHBIurDypi6wg/wm0V6y9He618WEpcR02hBAsbf";

/// The bytes of a hash with the numbers replaced, and the checksum made right again.
fn with(at: usize, bytes: &[u8]) -> String {
    let mut blob = STANDARD.decode(RECORDED).unwrap();
    blob[at..at + bytes.len()].copy_from_slice(bytes);
    let sum = sha256(&[&blob[..48]]);
    blob[48..64].copy_from_slice(&sum[..16]);
    STANDARD.encode(blob)
}

#[tokio::test]
async fn r24_a_recorded_hash_verifies_and_asks_for_a_new_one() {
    let hasher = PasswordHasher::new(CHEAP, 1);
    let Recipe { log_n, r, p, salt } = Stored::parse(RECORDED).unwrap().recipe;
    assert_eq!((log_n, r, p, salt[..2].to_vec()), (15, 8, 1, vec![0x65, 0xcc]));
    for (typed, verdict) in [("supersecret", Verdict::RightButOutdated), ("supersecre", Verdict::Wrong), ("Supersecret", Verdict::Wrong)] {
        assert_eq!(hasher.verify(typed, Some(RECORDED)).await.unwrap(), verdict, "{typed}");
    }
}

#[tokio::test]
async fn r24_each_hash_is_computed_with_its_own_numbers() {
    let hasher = PasswordHasher::new(CHEAP, 1);
    for (log_n, r, p) in [(1, 1, 1), (4, 8, 1), (3, 2, 5), (10, 1, 2)] {
        let hash = make("a-Password-of-1", log_n, r, p, [9; 32]).unwrap();
        assert_eq!(hasher.verify("a-Password-of-1", Some(&hash)).await.unwrap(), Verdict::RightButOutdated, "{log_n} {r} {p}");
        assert_eq!(hasher.verify("a-Password-of-2", Some(&hash)).await.unwrap(), Verdict::Wrong, "{log_n} {r} {p}");
    }
}

#[tokio::test]
async fn the_password_counts_as_it_was_typed() {
    let hasher = PasswordHasher::new(CHEAP, 1);
    let (composed, parted) = ("Caf\u{e9}-7-Stra\u{df}e", "Cafe\u{301}-7-Stra\u{df}e");
    let hash = make(parted, 4, 8, 1, [1; 32]).unwrap();
    assert_eq!(hasher.verify(parted, Some(&hash)).await.unwrap(), Verdict::RightButOutdated);
    assert_eq!(hasher.verify(composed, Some(&hash)).await.unwrap(), Verdict::Wrong, "Medusa has no normal form");
    // Our own hashes have one (R22).
    let own = hasher.hash(Zeroizing::new(composed.to_owned()), [1; 16]).await.unwrap();
    assert_eq!(hasher.verify(parted, Some(&own)).await.unwrap(), Verdict::Right);
}

#[test]
fn bent_hashes_are_refused() {
    assert!(is_foreign(RECORDED) && is_foreign(&with(7, &[15])));
    let number = u32::to_be_bytes;
    for (what, at, bytes) in [
        ("another word", 0, &b"Scrypt"[..]),
        ("another version", 6, &[1]),
        ("N of 1", 7, &[0]),
        ("128 MiB and twice the work", 7, &[18]),
        ("N of 2^21", 7, &[21]),
        ("N of 2^64", 7, &[64]),
        ("N of 2^255", 7, &[255]),
        ("r of 0", 8, &number(0)),
        ("r of 33", 8, &number(33)),
        ("the largest r", 8, &number(u32::MAX)),
        ("r in the other order of bytes", 8, &8_u32.to_le_bytes()),
        ("p of 0", 12, &number(0)),
        ("p of 5", 12, &number(5)),
        ("the largest p", 12, &number(u32::MAX)),
        ("p in the other order of bytes", 12, &1_u32.to_le_bytes()),
    ] {
        let bent = with(at, bytes);
        assert_ne!(bent, RECORDED);
        assert!(!is_foreign(&bent), "{what}");
    }
    // The largest that is taken.
    for (at, bytes) in [(7, &[17][..]), (8, &number(32)), (12, &number(4))] {
        assert!(is_foreign(&with(at, bytes)), "{at}");
    }
    let blob = STANDARD.decode(RECORDED).unwrap();
    for at in 0..64 {
        let mut bent = blob.clone();
        bent[at] ^= 1;
        assert!(!is_foreign(&STANDARD.encode(&bent)), "byte {at} without its checksum");
    }
    for length in [0, 6, 47, 48, 63, 64, 93, 95] {
        assert!(!is_foreign(&STANDARD.encode(&blob[..length])), "{length} bytes");
    }
    for text in [
        STANDARD.encode([blob.as_slice(), b"x"].concat()),
        RECORDED.repeat(2),
        RECORDED.repeat(100_000),
        RECORDED.replace('/', "_").replace('+', "-"),
        format!("{RECORDED}\n"),
        format!(" {}", &RECORDED[..127]),
        RECORDED.replacen('A', "\u{e4}", 1),
        String::new(),
        "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA".to_owned(),
    ] {
        assert!(!is_foreign(&text), "{}", text.chars().take(200).collect::<String>());
    }
}

#[test]
fn a_bent_hash_in_the_database_orders_no_work_and_is_not_told() {
    let hasher = PasswordHasher::without_threads(CHEAP);
    for bent in [with(7, &[30]), with(8, &u32::MAX.to_be_bytes()), RECORDED[..64].to_owned()] {
        let refused = hasher.stored(Some(&bent)).err().unwrap();
        assert_eq!((refused.code, refused.to_string().contains("c2Ny")), (Code::Unexpected, false));
    }
}

#[test]
fn every_byte_of_the_tag_counts() {
    let stored = |text: &str| Stored::parse(text).unwrap();
    let hash = make("p", 1, 1, 1, [3; 32]).unwrap();
    let derived = stored(&hash).recipe.compute(b"p").unwrap();
    assert!(stored(&hash).matches(&derived));
    let blob = STANDARD.decode(&hash).unwrap();
    for at in 64..96 {
        let mut bent = blob.clone();
        bent[at] ^= 0x80;
        assert!(!stored(&STANDARD.encode(bent)).matches(&derived), "{at}");
    }
    assert!(!stored(&hash).matches(&derived[..32]) && !stored(&hash).matches(&[]), "the key is the second half");
}

#[tokio::test]
async fn r26_it_is_computed_on_the_threads_within_their_queue() {
    let hasher = PasswordHasher::new(CHEAP, 1);
    let hash = make("p", 4, 8, 1, [3; 32]).unwrap();
    hasher.fail_next();
    assert_eq!(hasher.verify("p", Some(&hash)).await.unwrap_err().code, Code::HashingFailed);
    assert_eq!(hasher.queue.watch.most.load(Ordering::SeqCst), 0);
    hasher.verify("p", Some(&hash)).await.unwrap();
    assert_eq!(hasher.queue.watch.most.load(Ordering::SeqCst), 1);
    let recipe = Stored::parse(&hash).unwrap().recipe;
    let task = || Task { password: Zeroizing::new("p".to_owned()), work: Work::MedusaScrypt(recipe) };
    let full = PasswordHasher::without_threads(CHEAP);
    let _waiting: Vec<_> = (0..256).map(|_| full.submit(task()).unwrap()).collect();
    assert_eq!(full.verify("p", Some(&hash)).await.unwrap_err().code, Code::Busy);
}

#[test]
fn a_thread_holds_the_memory_of_one_format_and_counts_from_when_it_took_the_work_up() {
    let recipe = Stored::parse(&make("p", 1, 1, 1, [3; 32]).unwrap()).unwrap().recipe;
    let mut memory = vec![argon2::Block::new(); 64];
    let (reply, mut answer) = oneshot::channel();
    let queued = Instant::now().checked_sub(Duration::from_secs(5)).unwrap();
    let taken_up = Instant::now();
    let task = Task { password: Zeroizing::new("p".to_owned()), work: Work::MedusaScrypt(recipe) };
    serve(&Queue::default(), Job { task, queued, reply }, &mut memory);
    let done = answer.try_recv().unwrap().unwrap();
    assert!(memory.is_empty() && done.hash.len() == 64);
    assert!(done.began >= taken_up);
}
