//! Password hashes as Medusa keeps them: the 96 bytes of the Tarsnap scrypt header, in standard base64.
//!
//! `scrypt`, a version of 0, the logarithm of N, r and p, 32 bytes of salt; 16 bytes of SHA-256 over all that; HMAC-SHA256 over the 64 bytes so far, under the
//! second half of the 64 bytes that scrypt makes of the password. The password is taken as it was typed, in no normal form.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::sha256;

/// How every such text begins: the word `scrypt` in base64.
pub(super) const PREFIX: &str = "c2NyeXB0";
/// Characters of such a text.
const CHARACTERS: usize = 128;
/// Most of N times r times p. Medusa's own choice (N 2^15, r 8, p 1) is 2^18 and costs 32 MiB; four times that is what OWASP recommends for scrypt, and costs
/// 128 MiB. More is refused: a text must not order memory or time.
const MOST_WORK: u64 = 1 << 20;
/// The logarithm of N that alone makes the most work.
const MOST_LOG_N: u8 = 20;

/// The numbers of a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Recipe {
    pub(super) log_n: u8,
    pub(super) r: u32,
    pub(super) p: u32,
    pub(super) salt: [u8; 32],
}

impl Recipe {
    fn is_within_bounds(&self) -> bool {
        let work = (1..=MOST_LOG_N).contains(&self.log_n).then(|| 1_u64 << self.log_n);
        let work = work.and_then(|n| n.checked_mul(self.r.into())).and_then(|work| work.checked_mul(self.p.into()));
        work.is_some_and(|work| (1..=MOST_WORK).contains(&work))
    }

    /// What scrypt makes of the password: 64 bytes. Slow by design.
    pub(super) fn compute(&self, password: &[u8]) -> Result<Zeroizing<Vec<u8>>, String> {
        let params = scrypt::Params::new(self.log_n, self.r, self.p).map_err(|e| e.to_string())?;
        let mut derived = Zeroizing::new(vec![0; 64]);
        scrypt::scrypt(password, &self.salt, &params, &mut derived).map_err(|e| e.to_string())?;
        Ok(derived)
    }
}

/// A stored hash, read.
pub(super) struct Stored {
    pub(super) recipe: Recipe,
    header: [u8; 64],
    tag: [u8; 32],
}

impl Stored {
    /// Reads a text of exactly this format with the checksum right and the numbers within bounds.
    pub(super) fn parse(text: &str) -> Option<Self> {
        // Before decoding, whose work grows with the text.
        if text.len() != CHARACTERS {
            return None;
        }
        let bytes = STANDARD.decode(text).ok()?;
        let (header, tag) = bytes.split_first_chunk::<64>()?;
        let (said, checksum) = header.split_first_chunk::<48>()?;
        let (log_n, rest) = said.strip_prefix(b"scrypt\0")?.split_first()?;
        let (r, rest) = rest.split_first_chunk()?;
        let (p, salt) = rest.split_first_chunk()?;
        let recipe = Recipe { log_n: *log_n, r: u32::from_be_bytes(*r), p: u32::from_be_bytes(*p), salt: salt.try_into().ok()? };
        verify_slices_are_equal(sha256(&[said]).first_chunk::<16>()?, checksum).ok()?;
        recipe.is_within_bounds().then_some(Self { recipe, header: *header, tag: tag.try_into().ok()? })
    }

    /// Whether `derived`, which `Recipe::compute` made, is of the right password.
    pub(super) fn matches(&self, derived: &[u8]) -> bool {
        let key = derived.last_chunk::<32>().map(|key| hmac::Key::new(hmac::HMAC_SHA256, key));
        key.is_some_and(|key| hmac::verify(&key, &self.header, &self.tag).is_ok())
    }
}

/// A hash as Medusa would make it, for tests.
#[cfg(any(test, feature = "testing"))]
pub(crate) fn make(password: &str, log_n: u8, r: u32, p: u32, salt: [u8; 32]) -> Result<String, String> {
    let numbers = [&b"scrypt\0"[..], &[log_n], &r.to_be_bytes(), &p.to_be_bytes(), &salt].concat();
    let header = [numbers.as_slice(), sha256(&[&numbers]).first_chunk::<16>().map_or(&[], |sum| sum.as_slice())].concat();
    let derived = Recipe { log_n, r, p, salt }.compute(password.as_bytes())?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, derived.last_chunk::<32>().map_or(&[], |key| key.as_slice()));
    Ok(STANDARD.encode([header.as_slice(), hmac::sign(&key, &header).as_ref()].concat()))
}
