//! Signing keys, and the tokens that are signed with them.
//!
//! What is accepted is what this file makes, and nothing else: three strict base64url parts, a header of `alg`, `typ` and `kid` alone, the
//! algorithm that the key was made for, integral times. A header can therefore not bring a key, name one elsewhere, or ask for an extension.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Once};
use std::time::Duration;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, EncodingKey, crypto};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use crate::crypto::sha256;
use crate::crypto::unique::Unique;
use crate::error::{Error, Result};
use crate::model::ids::{KeyId, TenantId};
use crate::model::tenant::Algorithm;
use crate::model::time::Timestamp;
use crate::model::token::{FormerClaims, ResetClaims, SessionClaims};

/// Bytes of a token; longer ones are neither made nor read.
const MAX_TOKEN: usize = 8 * 1024;
/// Seconds by which a peer's clock may be ahead (`iat`, `nbf`). `exp` gets no grace.
const SKEW: i64 = 60;
/// Seconds; the longest life that the settings can give.
const MAX_LIFE: i64 = 3_650 * 86_400;
/// Estimated bytes of the cache of verified tokens: about 23 000 usual tokens.
const CACHE_BYTES: u64 = 48 << 20;
const CACHE_IDLE: Duration = Duration::from_mins(15);

/// A key that signs tokens with one algorithm, and verifies them with no other.
#[derive(Clone)]
pub struct SigningKey {
    kid: KeyId,
    algorithm: Algorithm,
    /// PKCS #8 for `EdDSA`, the shared secret for HS256. Wiped when dropped.
    signing: EncodingKey,
    verifying: DecodingKey,
    /// Ed25519 only: what the JWKS publishes.
    public: Option<Vec<u8>>,
    /// Tells this key from every other, also from one of the same `kid`.
    fingerprint: [u8; 32],
}

impl SigningKey {
    /// A new Ed25519 key, and its PKCS #8 form to be kept sealed.
    /// # Errors
    /// `Unexpected` if the system has no randomness.
    #[expect(clippy::disallowed_methods, reason = "the library takes a key from nothing but the system's randomness")]
    pub fn generate(kid: KeyId) -> Result<(Self, Zeroizing<Vec<u8>>)> {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| Error::unexpected("no Ed25519 key could be made"))?;
        let pkcs8 = Zeroizing::new(document.as_ref().to_vec());
        Ok((Self::from_parts(kid, Algorithm::EdDsa, &pkcs8)?, pkcs8))
    }

    /// The key that was kept as `material`: PKCS #8 for `EdDSA`, the secret itself for HS256.
    ///
    /// How long a shared secret must be is for the configuration to say; here it is only not empty.
    /// # Errors
    /// `Unexpected` if `material` is no such key.
    pub fn from_parts(kid: KeyId, algorithm: Algorithm, material: &[u8]) -> Result<Self> {
        install_provider();
        let label = [algorithm.as_str().as_bytes(), &kid.0.to_bytes()].concat();
        match algorithm {
            Algorithm::EdDsa => {
                let pair = Ed25519KeyPair::from_pkcs8(material).map_err(|_| Error::unexpected("a signing key is no Ed25519 key in PKCS #8"))?;
                let public = pair.public_key().as_ref().to_vec();
                let (signing, verifying) = (EncodingKey::from_ed_der(material), DecodingKey::from_ed_der(&public));
                let fingerprint = sha256(&[&label, &public]);
                Ok(Self { kid, algorithm, signing, verifying, public: Some(public), fingerprint })
            }
            Algorithm::Hs256 if material.is_empty() => Err(Error::unexpected("a signing secret is empty")),
            Algorithm::Hs256 => {
                let (signing, verifying) = (EncodingKey::from_secret(material), DecodingKey::from_secret(material));
                let fingerprint = sha256(&[hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, material), &label).as_ref()]);
                Ok(Self { kid, algorithm, signing, verifying, public: None, fingerprint })
            }
        }
    }

    #[must_use]
    pub fn kid(&self) -> KeyId {
        self.kid
    }

    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// What `from_parts` takes. Secret.
    #[must_use]
    pub fn material(&self) -> &[u8] {
        self.signing.as_bytes()
    }

    fn sign<C: Serialize>(&self, claims: &C) -> Result<String> {
        let claims = serde_json::to_vec(claims).map_err(|e| Error::unexpected(format!("claims: {e}")))?;
        let mut token = URL_SAFE_NO_PAD.encode(match self.algorithm {
            Algorithm::EdDsa => format!(r#"{{"alg":"EdDSA","typ":"JWT","kid":"{}"}}"#, self.kid.bare()),
            // Without `kid`, byte for byte as the server whose place this takes writes it.
            Algorithm::Hs256 => r#"{"alg":"HS256","typ":"JWT"}"#.to_owned(),
        });
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature =
            crypto::sign(token.as_bytes(), &self.signing, self.jwt_algorithm()).map_err(|e| Error::unexpected(format!("signing: {e}")))?;
        token.push('.');
        token.push_str(&signature);
        if token.len() > MAX_TOKEN {
            return Err(Error::unexpected(format!("a token of {} bytes; metadata must not make it larger than {MAX_TOKEN}", token.len())));
        }
        Ok(token)
    }

    fn signed(&self, message: &str, signature: &str) -> bool {
        crypto::verify(signature, message.as_bytes(), &self.verifying, self.jwt_algorithm()).unwrap_or(false)
    }

    fn jwt_algorithm(&self) -> jsonwebtoken::Algorithm {
        match self.algorithm {
            Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
            Algorithm::Hs256 => jsonwebtoken::Algorithm::HS256,
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({} {})", self.algorithm.as_str(), self.kid)
    }
}

/// Names the provider, because the crate's own choice panics as soon as any other dependency switches on its second one.
fn install_provider() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error means that one is installed already.
        let _ = crypto::aws_lc::DEFAULT_PROVIDER.install_default();
    });
}

/// The keys of one tenant.
#[derive(Debug, Clone)]
pub struct TenantKeys {
    /// Signs, and verifies.
    pub current: SigningKey,
    /// Verify until the last token made with them has expired.
    pub retired: Vec<SigningKey>,
    /// Shared secrets of the server that was here before. They verify session tokens, and never a reset.
    pub former: Vec<SigningKey>,
}

impl TenantKeys {
    #[must_use]
    pub fn new(current: SigningKey, retired: Vec<SigningKey>) -> Self {
        Self { current, retired, former: Vec::new() }
    }

    /// # Errors
    /// `Unexpected` if the token would be longer than 8 KiB.
    pub fn sign_session(&self, claims: &SessionClaims) -> Result<String> {
        self.current.sign(claims)
    }

    /// # Errors
    /// As `sign_session`.
    pub fn sign_reset(&self, claims: &ResetClaims) -> Result<String> {
        self.current.sign(claims)
    }

    /// The claims of a session token of the tenant with this `slug`. Without `sid`, `iss`, `aud` and `jti`: it was made elsewhere, with a former secret. `None` for whatever reason: the caller learns no more, and neither should the client.
    /// The session row is yet to be read.
    #[must_use]
    pub fn verify_session(&self, token: &str, slug: &str, now: Timestamp) -> Option<SessionClaims> {
        self.read_session(token).filter(|read| read.admits(audience(&read.claims, slug), slug, now)).map(|read| read.claims)
    }

    /// The claims of a reset token; otherwise as `verify_session`.
    #[must_use]
    pub fn verify_reset(&self, token: &str, slug: &str, now: Timestamp) -> Option<ResetClaims> {
        let read = self.read::<ResetClaims>(token, "sid")?;
        let named = !read.claims.jti.is_empty() && !read.claims.entity_id.is_empty();
        (named && read.admits(&read.claims.aud, slug, now)).then_some(read.claims)
    }

    /// The claims of a reset token that was made for this tenant, whether or not it has expired: enough to say in words what became of a link,
    /// never enough to spend it.
    #[must_use]
    pub fn read_reset(&self, token: &str, slug: &str) -> Option<ResetClaims> {
        self.read::<ResetClaims>(token, "sid").map(|read| read.claims).filter(|claims| claims.aud == slug)
    }

    fn all(&self) -> impl Iterator<Item = &SigningKey> {
        std::iter::once(&self.current).chain(&self.retired)
    }

    fn read_session(&self, token: &str) -> Option<Read<SessionClaims>> {
        let own = self.read::<SessionClaims>(token, "purpose").filter(|read| !read.claims.sid.is_empty());
        own.or_else(|| self.read_former(token))
    }

    /// As `read_session`, of a token made with a former secret: one of ours, or one of the server that was here before, which has no session.
    fn read_former(&self, token: &str) -> Option<Read<SessionClaims>> {
        let opened = open(token, |header| if header.kid.is_none() { self.former.iter().collect() } else { Vec::new() })?;
        let ours = ["sid", "iss", "aud"].iter().any(|claim| opened.claims.contains_key(*claim));
        if ours {
            return opened.parse::<SessionClaims>("purpose").filter(|read| !read.claims.sid.is_empty());
        }
        let read = opened.parse::<FormerClaims>("purpose")?;
        let claims = read.claims.into_session(read.times.iat, read.times.exp)?;
        Some(Read { claims, times: read.times, key: read.key })
    }

    /// Everything about a token that time and tenant do not change. `foreign` is a claim that marks the other kind of token.
    fn read<C: DeserializeOwned>(&self, token: &str, foreign: &str) -> Option<Read<C>> {
        open(token, |header| self.candidates(header))?.parse(foreign)
    }

    /// The keys that may have signed. `kid` is compared with the tenant's own and used for nothing else.
    /// Without one: the shared secrets, which is how HS256 tokens are made, or, where there are none, the current key.
    fn candidates(&self, header: &Header) -> Vec<&SigningKey> {
        let mut keys: Vec<_> = match &header.kid {
            Some(kid) => self.all().filter(|key| key.kid.bare() == *kid).collect(),
            None => self.all().filter(|key| key.algorithm == Algorithm::Hs256).collect(),
        };
        if keys.is_empty() && header.kid.is_none() {
            keys.push(&self.current);
        }
        keys
    }

    /// Whether the key that verified `read` would verify it today.
    fn stand_behind(&self, read: &Verified) -> bool {
        let of_former = self.former.iter().any(|key| key.fingerprint == read.read.key);
        of_former || (!read.claims.sid.is_empty() && self.all().any(|key| key.fingerprint == read.read.key))
    }
}

/// A token that one of `candidates` signed.
fn open<'k>(token: &str, candidates: impl Fn(&Header) -> Vec<&'k SigningKey>) -> Option<Opened> {
    if token.len() > MAX_TOKEN {
        return None;
    }
    let (message, signature) = token.rsplit_once('.')?;
    let (header, claims) = message.split_once('.')?;
    let header: Header = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
    let mut keys = candidates(&header);
    // One key, one algorithm: the header may agree, not choose.
    keys.retain(|key| header.typ == "JWT" && header.alg == key.algorithm.as_str());
    let key = keys.into_iter().find(|key| key.signed(message, signature))?.fingerprint;
    let Unique(claims) = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    let times = Times::read(&claims)?;
    Some(Opened { claims, times, key })
}

/// What a key signed, before anybody knows what kind of token it is.
struct Opened {
    claims: Map<String, Value>,
    times: Times,
    key: [u8; 32],
}

impl Opened {
    fn parse<C: DeserializeOwned>(self, foreign: &str) -> Option<Read<C>> {
        if self.claims.contains_key(foreign) {
            return None;
        }
        Some(Read { claims: serde_json::from_value(Value::Object(self.claims)).ok()?, times: self.times, key: self.key })
    }
}

/// The whole header of a token of ours. Any other member (`crit`, `b64`, `zip`, `enc`, `jwk`, `jku`, `x5u`, …) makes it a foreign one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    typ: String,
    #[serde(default, deserialize_with = "present")]
    kid: Option<String>,
}

/// So that `"kid":null` is refused and not taken for an absent one.
fn present<'de, D: Deserializer<'de>>(d: D) -> Result<Option<String>, D::Error> {
    String::deserialize(d).map(Some)
}

/// A token whose signature and shape are right.
struct Read<C> {
    claims: C,
    times: Times,
    /// Of the key that verified it.
    key: [u8; 32],
}

impl<C> Read<C> {
    fn admits(&self, audience: &str, slug: &str, now: Timestamp) -> bool {
        audience == slug && self.times.admit(now.seconds())
    }
}

/// Whom a session token is for. One of the server that was here before does not say; it is the tenant's that lists its secret.
fn audience<'a>(claims: &'a SessionClaims, slug: &'a str) -> &'a str {
    if claims.sid.is_empty() { slug } else { &claims.aud }
}

/// Seconds since 1970, each an integer.
struct Times {
    iat: i64,
    exp: i64,
    nbf: Option<i64>,
}

impl Times {
    fn read(claims: &Map<String, Value>) -> Option<Self> {
        let nbf = match claims.get("nbf") {
            Some(value) => Some(value.as_i64()?),
            None => None,
        };
        let (iat, exp) = (claims.get("iat")?.as_i64()?, claims.get("exp")?.as_i64()?);
        (iat >= 0 && exp.saturating_sub(iat) <= MAX_LIFE).then_some(Self { iat, exp, nbf })
    }

    fn admit(&self, now: i64) -> bool {
        let latest = now.saturating_add(SKEW);
        self.exp > now && self.iat <= latest && self.nbf.is_none_or(|nbf| nbf <= latest)
    }
}

/// Verifies session tokens, and remembers whose signatures were right, so that each is computed once.
///
/// Remembered is the signature alone: audience, times and the key's standing are looked at in every use.
pub struct TokenVerifier {
    /// By the tenant and the SHA-256 of the token.
    verified: Cache<(TenantId, [u8; 32]), Arc<Verified>>,
}

struct Verified {
    claims: Arc<SessionClaims>,
    read: Read<()>,
}

impl TokenVerifier {
    /// With an empty memory, which grows to about 48 MiB.
    #[must_use]
    pub fn new() -> Self {
        let verified = Cache::builder().weigher(|_, v: &Arc<Verified>| estimated_bytes(&v.claims)).max_capacity(CACHE_BYTES);
        // Who comes again is what counts, not how often: and counting would cost every use.
        let verified = verified.eviction_policy(EvictionPolicy::lru()).time_to_idle(CACHE_IDLE).build();
        Self { verified }
    }

    /// As `TenantKeys::verify_session`, with memory.
    #[must_use]
    pub fn verify_session(&self, keys: &TenantKeys, tenant: TenantId, slug: &str, token: &str, now: Timestamp) -> Option<Arc<SessionClaims>> {
        if token.len() > MAX_TOKEN {
            return None;
        }
        let slot = (tenant, sha256(&[token.as_bytes()]));
        let known = self.verified.get(&slot).filter(|known| keys.stand_behind(known));
        let fresh = known.is_none();
        let verified = match known {
            Some(known) => known,
            None => Arc::new(Verified::from(keys.read_session(token)?)),
        };
        if !verified.read.admits(audience(&verified.claims, slug), slug, now) {
            self.verified.invalidate(&slot);
            return None;
        }
        let claims = Arc::clone(&verified.claims);
        if fresh {
            self.verified.insert(slot, verified);
        }
        Some(claims)
    }
}

impl Default for TokenVerifier {
    fn default() -> Self {
        Self::new()
    }
}

impl From<Read<SessionClaims>> for Verified {
    fn from(read: Read<SessionClaims>) -> Self {
        Self { claims: Arc::new(read.claims), read: Read { claims: (), times: read.times, key: read.key } }
    }
}

/// What remembering `claims` takes, the cache's own included. It is the small metadata entries that take many times their length in the token.
pub(super) fn estimated_bytes(claims: &SessionClaims) -> u32 {
    let texts =
        [&claims.actor_id, &claims.actor_type, &claims.auth_identity_id, &claims.auth_provider, &claims.iss, &claims.aud, &claims.jti, &claims.sid];
    let bytes = 1_200 + texts.iter().map(|t| t.len() + 16).sum::<usize>() + members(&claims.app_metadata) + members(&claims.user_metadata);
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

fn members(map: &Map<String, Value>) -> usize {
    256 + map.iter().map(|(name, value)| 256 + name.len() + weight(value)).sum::<usize>()
}

fn weight(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len() + 16,
        Value::Array(items) => items.iter().map(|item| 160 + weight(item)).sum(),
        Value::Object(map) => members(map),
    }
}

/// The public keys, current and retired, as RFC 7517 and RFC 8037 write them. A shared secret contributes nothing.
#[must_use]
pub fn jwks(keys: &TenantKeys) -> Value {
    let mut seen = HashSet::new();
    let keys = keys.all().filter(|key| seen.insert(key.kid)).filter_map(|key| {
        let x = URL_SAFE_NO_PAD.encode(key.public.as_ref()?);
        Some(json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": key.kid.bare(), "alg": "EdDSA", "use": "sig"}))
    });
    json!({"keys": keys.collect::<Vec<_>>()})
}
