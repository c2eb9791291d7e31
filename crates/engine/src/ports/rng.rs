//! Randomness.

use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use ulid::Ulid;

use crate::model::time::Timestamp;

/// Where random bytes come from, and the ids made of them.
#[derive(Clone)]
pub struct Rng {
    source: Source,
    /// The newest id: ids of one process ascend, so that "the newer request" is well defined.
    last: Arc<Mutex<u128>>,
}

#[derive(Clone)]
enum Source {
    Os,
    Seeded(Arc<Mutex<u64>>, u64),
}

impl Rng {
    #[must_use]
    pub fn os() -> Self {
        Self { source: Source::Os, last: Arc::default() }
    }

    /// The same bytes in every run. For tests.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self { source: Source::Seeded(Arc::default(), seed), last: Arc::default() }
    }

    /// # Panics
    /// If the operating system has no randomness: nothing safe can be done without it.
    #[must_use]
    #[expect(clippy::expect_used, reason = "without randomness no secret may be made")]
    #[expect(clippy::disallowed_methods, reason = "here randomness comes from")]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut out = [0; N];
        match &self.source {
            Source::Os => SystemRandom::new().fill(&mut out).expect("the system's random source"),
            Source::Seeded(counter, seed) => {
                for chunk in out.chunks_mut(32) {
                    let mut n = counter.lock().unwrap_or_else(PoisonError::into_inner);
                    *n += 1;
                    let block = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &[seed.to_le_bytes(), n.to_le_bytes()].concat());
                    for (to, from) in chunk.iter_mut().zip(block.as_ref()) {
                        *to = *from;
                    }
                }
            }
        }
        out
    }

    /// An id that is above every id this generator made before.
    #[must_use]
    pub fn ulid(&self, now: Timestamp) -> Ulid {
        let random = u128::from_be_bytes(self.bytes());
        let fresh = Ulid::from_parts(now.millis().unsigned_abs(), random).0;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // Within one millisecond: a random step up, so that ids stay ordered and cannot be counted on.
        *last = if fresh > *last { fresh } else { *last + 1 + (random & 0xffff_ffff) };
        Ulid(*last)
    }

    /// A version 4 UUID in its usual text form.
    #[must_use]
    pub fn uuid(&self) -> String {
        let n = (u128::from_be_bytes(self.bytes()) & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
        let h = format!("{n:032x}");
        let part = |r: std::ops::Range<usize>| h.get(r).unwrap_or_default().to_owned();
        [part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)].join("-")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn r46_a_thousand_uuids_are_of_version_4_and_unique() {
        for rng in [Rng::os(), Rng::seeded(7)] {
            let all: Vec<String> = (0..1_000).map(|_| rng.uuid()).collect();
            assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
            for uuid in &all {
                let parts: Vec<&str> = uuid.split('-').collect();
                assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [8, 4, 4, 4, 12], "{uuid}");
                assert!(uuid.bytes().all(|b| matches!(b, b'-' | b'0'..=b'9' | b'a'..=b'f')), "{uuid}");
                assert!(parts[2].starts_with('4') && parts[3].starts_with(['8', '9', 'a', 'b']), "{uuid}");
            }
            // Every other bit is drawn: none has the same value in all of them.
            let bits = all.iter().map(|uuid| u128::from_str_radix(&uuid.replace('-', ""), 16).unwrap());
            let (ones, zeros) = bits.fold((0, 0), |(ones, zeros), n| (ones | n, zeros | !n));
            assert_eq!((ones & zeros).count_ones(), 122);
        }
    }
}
