//! Password hashes of our own: Argon2id in PHC strings.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use zeroize::Zeroizing;

/// Blocks of 1 KiB to reserve at least. Above 32 MiB glibc always maps an allocation by itself and unmaps it when freed; below, it learns
/// from the first one freed to serve the next from its heap, and the process would stay large. What is reserved and not touched costs nothing.
const ALWAYS_MAPPED: usize = 33 << 10;

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
    pub(super) const MIN_MEMORY_KIB: u32 = Params::MIN_M_COST;
    const MAX_MEMORY_KIB: u32 = 1 << 20;
    const MAX_PASSES: u32 = 16;
    const MAX_LANES: u32 = 4;

    fn params(self) -> argon2::Result<Params> {
        Params::new(self.memory_kib, self.passes, self.lanes, Some(self.length))
    }

    /// Blocks of 1 KiB that the work needs.
    pub(super) fn blocks(self) -> usize {
        self.params().map_or(0, |params| params.block_count())
    }

    pub(super) fn phc(self, salt: &[u8], hash: &[u8]) -> String {
        let Self { memory_kib, passes, lanes, .. } = self;
        format!("$argon2id$v=19$m={memory_kib},t={passes},p={lanes}${}${}", STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(hash))
    }

    /// The hash. Slow by design. `memory` grows to what the work needs and is kept for the next.
    pub(super) fn compute(self, password: &[u8], salt: &[u8], memory: &mut Vec<Block>) -> Result<Zeroizing<Vec<u8>>, String> {
        let params = self.params().map_err(|e| e.to_string())?;
        let blocks = params.block_count();
        if memory.len() < blocks {
            *memory = Vec::new();
            memory.try_reserve_exact(blocks.max(ALWAYS_MAPPED)).map_err(|e| e.to_string())?;
            memory.resize(blocks, Block::new());
        }
        let mut hash = Zeroizing::new(vec![0; self.length]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into_with_memory(password, salt, &mut hash, memory.get_mut(..blocks).unwrap_or_default())
            .map_err(|e| e.to_string())?;
        Ok(hash)
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
            && (Recipe::MIN_MEMORY_KIB * lanes..=Recipe::MAX_MEMORY_KIB).contains(&memory_kib);
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
