//! The master key: what lies sealed in the database, and the keys derived for each tenant.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{hkdf, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::model::ids::TenantId;

/// Published in this file, so it protects nothing.
const DEVELOPMENT: [u8; 32] = *b"vestibule development master key";
/// First byte of what `seal` makes. A change of algorithm or derivation takes the next number.
const FORMAT: u8 = 1;

/// 32 secret bytes from which every other key of the server comes. Wiped when dropped.
pub struct MasterKey {
    secret: Zeroizing<[u8; 32]>,
    /// Hashes the subjects of limits, several in most requests, so it is derived once.
    subjects: hmac::Key,
}

impl MasterKey {
    /// Reads 32 bytes in standard base64; white space around them is ignored.
    /// # Errors
    /// Says what is wrong, never what was given.
    pub fn from_base64(text: &str) -> Result<Self, String> {
        let bytes = STANDARD.decode(text.trim()).map(Zeroizing::new).map_err(|_| "the master key is not standard base64".to_owned())?;
        let key: [u8; 32] = bytes.as_slice().try_into().map_err(|_| format!("the master key has {} bytes; it must have exactly 32", bytes.len()))?;
        let key = Zeroizing::new(key);
        if key.iter().all(|b| Some(b) == key.first()) {
            return Err("the master key is one byte repeated; take 32 random bytes, for example from `openssl rand -base64 32`".to_owned());
        }
        Ok(Self::of(key))
    }

    /// A key that everybody knows: for `dev` and loopback use alone.
    #[must_use]
    pub fn development() -> Self {
        Self::of(Zeroizing::new(DEVELOPMENT))
    }

    fn of(secret: Zeroizing<[u8; 32]>) -> Self {
        let subjects = hmac::Key::new(hmac::HMAC_SHA256, expand(&secret, &[b"vestibule limits v1"]).as_slice());
        Self { secret, subjects }
    }

    /// Whether this is the published key, wherever it came from.
    #[must_use]
    pub fn is_development(&self) -> bool {
        verify_slices_are_equal(self.secret.as_slice(), &DEVELOPMENT).is_ok()
    }

    /// Encrypts `plain` so that only `open` with the same `context` reads it. AES-256-GCM with a random nonce.
    ///
    /// `context` says where the value lies, such as `tenant/<id>/signing_keys/<kid>`: a sealed value that is copied to another row does not open.
    /// The result is longer than `plain` by 29 bytes: format, nonce, tag.
    /// # Panics
    /// If the system has no randomness, without which nothing may be sealed.
    #[must_use]
    #[expect(clippy::expect_used, reason = "it fails only without randomness or beyond 64 GiB")]
    pub fn seal(&self, context: &str, plain: &[u8]) -> Vec<u8> {
        let mut body = plain.to_vec();
        body.reserve_exact(AES_256_GCM.tag_len()); // so that growing leaves no copy of the plain text behind
        let nonce = self.sealing_key().seal_in_place_append_tag(Aad::from(context), &mut body).expect("AES-256-GCM");
        let mut sealed = Vec::with_capacity(1 + NONCE_LEN + body.len());
        sealed.push(FORMAT);
        sealed.extend_from_slice(nonce.as_ref());
        sealed.extend_from_slice(&body);
        sealed
    }

    /// Decrypts what `seal` made with this key and this `context`.
    /// # Errors
    /// One and the same for another key, another context, a change, a cut and an unknown format.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        self.try_open(context, sealed).ok_or_else(|| Error::unexpected("a sealed value does not open: another master key, or a changed row"))
    }

    fn try_open(&self, context: &str, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (format, rest) = sealed.split_first()?;
        let (nonce, body) = rest.split_at_checked(NONCE_LEN)?;
        if *format != FORMAT {
            return None;
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut body = Zeroizing::new(body.to_vec());
        let length = self.sealing_key().open_in_place(nonce, Aad::from(context), &mut body).ok()?.len();
        body.truncate(length);
        Some(body)
    }

    #[expect(clippy::expect_used, reason = "the length is right by its type")]
    fn sealing_key(&self) -> RandomizedNonceKey {
        RandomizedNonceKey::new(&AES_256_GCM, expand(&self.secret, &[b"vestibule seal v1"]).as_slice()).expect("a key of 32 bytes")
    }

    /// A key of `tenant` for one `purpose`. Equal arguments give equal keys; no key tells another.
    #[must_use]
    pub fn derive(&self, purpose: &str, tenant: TenantId) -> [u8; 32] {
        // The id's fixed length keeps (purpose, tenant) unambiguous.
        *expand(&self.secret, &[b"vestibule derive v1\0", purpose.as_bytes(), b"\0", &tenant.0.to_bytes()])
    }

    /// A tag over `parts` under a key of `tenant` for `purpose`: HMAC-SHA256. The caller keeps the parts apart.
    #[must_use]
    pub fn authenticate(&self, purpose: &str, tenant: TenantId, parts: &[impl AsRef<[u8]>]) -> [u8; 32] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, Zeroizing::new(self.derive(purpose, tenant)).as_slice());
        let mut context = hmac::Context::with_key(&key);
        for part in parts {
            context.update(part.as_ref());
        }
        let mut tag = [0; 32];
        tag.copy_from_slice(context.sign().as_ref());
        tag
    }

    /// A key that needs `parts` besides this one: what it seals nobody opens who does not know them, not even the holder of this key.
    #[must_use]
    pub fn narrowed(&self, purpose: &str, tenant: TenantId, parts: &[impl AsRef<[u8]>]) -> Self {
        Self::of(Zeroizing::new(self.authenticate(purpose, tenant, parts)))
    }

    /// What stands for `subject` (an address, a client) in the rows of the limit `name`, so that no address stands there itself.
    #[must_use]
    pub fn subject_hash(&self, tenant: TenantId, name: &str, subject: &str) -> [u8; 16] {
        let mut context = hmac::Context::with_key(&self.subjects);
        // The id's fixed length and the name's end keep the three apart.
        for part in [tenant.0.to_bytes().as_slice(), name.as_bytes(), b"\0", subject.as_bytes()] {
            context.update(part);
        }
        let tag = context.sign();
        let mut hash = [0; 16];
        for (to, from) in hash.iter_mut().zip(tag.as_ref()) {
            *to = *from;
        }
        hash
    }
}

/// HKDF-SHA256. The salt may be empty, since the master key is uniformly random.
#[expect(clippy::expect_used, reason = "it fails only for more than 8160 bytes")]
fn expand(secret: &[u8; 32], info: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    let source = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(secret);
    source.expand(info, hkdf::HKDF_SHA256).and_then(|okm| okm.fill(key.as_mut_slice())).expect("32 bytes of HKDF-SHA256");
    key
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[master key]")
    }
}

#[cfg(test)]
mod tests {
    use ulid::Ulid;

    use super::*;

    /// Computed with another implementation of RFC 5869.
    const PINNED: &str = "9QiCMJWY4fwDBTOjdnWP/6e8K8E21rjFNX8L7Z0wUjQ=";
    const CONTEXT: &str = "tenant/01J/signing_keys/01K";

    fn key(first: u8) -> MasterKey {
        let mut bytes = [7; 32];
        bytes[0] = first;
        MasterKey::from_base64(&STANDARD.encode(bytes)).unwrap()
    }

    fn tenant(n: u128) -> TenantId {
        TenantId(Ulid(n))
    }

    #[test]
    fn a_sealed_value_opens_in_its_context() {
        for plain in [&b""[..], b"x", &[0xff; 4096]] {
            let sealed = key(1).seal(CONTEXT, plain);
            assert_eq!((sealed.len(), sealed[0]), (plain.len() + 29, FORMAT));
            assert_eq!(key(1).open(CONTEXT, &sealed).unwrap().as_slice(), plain);
        }
        assert_ne!(key(1).seal(CONTEXT, b"x"), key(1).seal(CONTEXT, b"x"));
    }

    #[test]
    fn every_other_key_context_change_and_cut_gets_one_error() {
        let sealed = key(1).seal(CONTEXT, b"the secret");
        let mut refused = vec![key(2).open(CONTEXT, &sealed), key(1).open("tenant/01J/signing_keys/01L", &sealed), key(1).open("", &sealed)];
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            refused.push(key(1).open(CONTEXT, &changed));
            refused.push(key(1).open(CONTEXT, &sealed[..at]));
        }
        refused.push(key(1).open(CONTEXT, &[sealed.as_slice(), b"x"].concat()));
        let texts: std::collections::HashSet<_> = refused.into_iter().map(|r| r.unwrap_err().to_string()).collect();
        assert_eq!(texts.len(), 1);
        assert!(!texts.iter().any(|t| t.contains("the secret") || t.contains("01J")));
    }

    #[test]
    fn derived_keys_are_stable_and_apart() {
        // Pinned: a change would orphan everything that was made with these keys.
        let pinned = MasterKey::development().derive("limits", tenant(1));
        assert_eq!(STANDARD.encode(pinned), PINNED);
        let key = key(1);
        let all = [
            key.derive("limits", tenant(1)),
            key.derive("limits", tenant(2)),
            key.derive("idempotency", tenant(1)),
            key.derive("", tenant(1)),
            pinned,
            *expand(&key.secret, &[b"vestibule seal v1"]),
        ];
        assert_eq!(all.iter().collect::<std::collections::HashSet<_>>().len(), all.len());
    }

    #[test]
    fn a_narrowed_key_opens_with_its_parts_alone() {
        let narrowed = |first, purpose, n, part: &str| key(first).narrowed(purpose, tenant(n), &[part]);
        let sealed = narrowed(1, "answer", 1, "of the client").seal(CONTEXT, b"x");
        assert!(narrowed(1, "answer", 1, "of the client").open(CONTEXT, &sealed).is_ok());
        for other in [
            key(1),
            narrowed(2, "answer", 1, "of the client"),
            narrowed(1, "other", 1, "of the client"),
            narrowed(1, "answer", 2, "of the client"),
            narrowed(1, "answer", 1, ""),
        ] {
            assert!(other.open(CONTEXT, &sealed).is_err());
        }
    }

    #[test]
    fn a_subject_is_hashed_per_tenant_and_limit() {
        let key = key(1);
        let hash = key.subject_hash(tenant(1), "sign_in", "ann@example.com");
        assert_eq!(hash, key.subject_hash(tenant(1), "sign_in", "ann@example.com"));
        for other in [
            key.subject_hash(tenant(2), "sign_in", "ann@example.com"),
            key.subject_hash(tenant(1), "reset", "ann@example.com"),
            key.subject_hash(tenant(1), "sign_in", "bob@example.com"),
            key.subject_hash(tenant(1), "sign_ina", "nn@example.com"),
        ] {
            assert_ne!(hash, other);
        }
    }

    #[test]
    fn r14_unusable_keys_are_refused_without_being_shown() {
        for (wrong, why) in [
            (String::new(), "0 bytes"),
            (STANDARD.encode([1; 31]), "31 bytes"),
            (STANDARD.encode([1; 33]), "33 bytes"),
            (STANDARD.encode([0; 32]), "repeated"),
            (STANDARD.encode([0xaa; 32]), "repeated"),
            ("correct horse battery staple".into(), "base64"),
            (STANDARD.encode([1; 32]).replace('=', ""), "base64"),
        ] {
            let error = MasterKey::from_base64(&wrong).unwrap_err();
            assert!(error.contains(why) && (wrong.is_empty() || !error.contains(&wrong)), "{error}");
        }
    }

    #[test]
    fn the_published_key_is_known_wherever_it_comes_from() {
        assert!(MasterKey::development().is_development());
        assert!(MasterKey::from_base64(&format!("{}\n", STANDARD.encode(DEVELOPMENT))).unwrap().is_development());
        assert!(!key(1).is_development());
        assert_eq!(format!("{:?}", key(1)), "[master key]");
    }
}
