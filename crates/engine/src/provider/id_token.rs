//! Verification of an `id_token` (OpenID Connect Core 3.1.3.7).
//!
//! A header can choose among the issuer's published keys and nothing else: its `jwk`, `jku`, `x5u` and `x5c` are never read, and an extension
//! that must be understood makes the token a foreign one.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use url::Url;

use super::endpoints::{TENANT_ID, is_guid};
use super::exchange::fetch;
use super::jwks::{Algorithm, Jwks};
use super::{Flow, Providers, Refusal};
use crate::crypto::unique::Unique;

/// Bytes of a token. Microsoft's, with groups, are the longest.
const MAX_TOKEN: usize = 64 * 1024;
/// Seconds by which the issuer's clock may be ahead (`iat`, `nbf`). `exp` gets no grace.
const SKEW: i64 = 60;
/// OpenID Connect Core 2.
const MAX_SUBJECT: usize = 255;

/// What a token got wrong, as far as anybody tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Malformed,
    Algorithm,
    Signature,
    Key,
    Issuer,
    Audience,
    Expired,
    NotActive,
    Nonce,
}

/// Why there are no claims.
pub enum Rejected {
    /// The issuer's keys are out of reach.
    Keys(Refusal),
    Token(Kind, &'static str),
}

impl From<Rejected> for Refusal {
    fn from(rejected: Rejected) -> Self {
        match rejected {
            Rejected::Keys(refusal) => refusal,
            Rejected::Token(_, detail) => Self::failed(format!("id_token: {detail}")),
        }
    }
}

/// Who must have made the token.
#[derive(Clone, Copy)]
pub struct Expected<'a> {
    /// The spellings of the issuer. In one with `{tenantid}` the token's `tid` takes its place.
    pub issuers: &'a [String],
    pub jwks: &'a Url,
}

/// The claims of `token`, verified in all but the subject.
///
/// # Errors
/// The first thing that is wrong with it, or with the way to the issuer's keys.
pub async fn verify(providers: &Providers, flow: Flow<'_>, expected: Expected<'_>, token: &str) -> Result<Map<String, Value>, Rejected> {
    let unverified = Unverified::read(token).map_err(|(kind, detail)| Rejected::Token(kind, detail))?;
    let fetched = async || Jwks::read(&fetch(flow.http, expected.jwks, &[], "key set").await?);
    let known = |keys: &Jwks| unverified.is_known_to(keys);
    let keys = providers.keys.get(flow.tenant, expected.jwks, flow.clock, known, fetched).await.map_err(Rejected::Keys)?;
    let check = || {
        let issuer = unverified.check_signature(&keys)?;
        check_times(&unverified.claims, flow.clock.now().seconds())?;
        check_audience(&unverified.claims, &flow.settings.client_id)?;
        check_issuer(&unverified.claims, expected.issuers, issuer.as_deref())?;
        check_nonce(&unverified.claims, flow.nonce)
    };
    check().map_err(|(kind, detail)| Rejected::Token(kind, detail))?;
    Ok(unverified.claims)
}

/// The person's name with the issuer.
///
/// # Errors
/// If it is missing, or could not be kept.
pub fn subject(claims: &Map<String, Value>) -> Result<String, &'static str> {
    let subject = claims.get("sub").ok_or("no sub")?.as_str().ok_or("sub is no string")?;
    match subject.len() {
        0 => Err("sub is empty"),
        1..=MAX_SUBJECT if !subject.chars().any(char::is_control) => Ok(subject.to_owned()),
        1..=MAX_SUBJECT => Err("sub holds a control character"),
        _ => Err("sub is longer than 255 bytes"),
    }
}

type Fault = (Kind, &'static str);

struct Unverified<'a> {
    algorithm: Algorithm,
    kid: Option<String>,
    /// What is signed.
    message: &'a str,
    signature: Vec<u8>,
    claims: Map<String, Value>,
}

impl<'a> Unverified<'a> {
    fn read(token: &'a str) -> Result<Self, Fault> {
        let malformed = |detail| (Kind::Malformed, detail);
        if token.len() > MAX_TOKEN {
            return Err(malformed("longer than 64 KiB"));
        }
        let (message, signature) = token.rsplit_once('.').ok_or(malformed("not three parts"))?;
        let (header, claims) = message.split_once('.').filter(|(_, claims)| !claims.contains('.')).ok_or(malformed("not three parts"))?;
        let header = object(header).ok_or(malformed("the header is no JSON object without repeated names"))?;
        let algorithm = header.get("alg").and_then(Value::as_str).and_then(Algorithm::from_header);
        let algorithm = algorithm.ok_or((Kind::Algorithm, "the algorithm is not one of RS256, ES256 and EdDSA"))?;
        if header.contains_key("crit") {
            return Err(malformed("the header has a crit, of which nothing is understood"));
        }
        if header.get("typ").is_some_and(|typ| !typ.as_str().is_some_and(|typ| typ.eq_ignore_ascii_case("JWT"))) {
            return Err(malformed("the header's typ is not JWT"));
        }
        let kid = match header.get("kid") {
            Some(kid) => Some(kid.as_str().ok_or(malformed("the header's kid is no string"))?.to_owned()),
            None => None,
        };
        let claims = object(claims).ok_or(malformed("the claims are no JSON object without repeated names"))?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| malformed("the signature is not base64url"))?;
        Ok(Self { algorithm, kid, message, signature, claims })
    }

    /// Whether fetching `keys` again would be of no use. Without a `kid` only the signature tells a rotation.
    fn is_known_to(&self, keys: &Jwks) -> bool {
        let signed = |key: &super::jwks::Key| key.signed(self.message.as_bytes(), &self.signature);
        keys.candidates(self.algorithm, self.kid.as_deref()).any(|key| self.kid.is_some() || signed(key))
    }

    /// The issuer for which the key is, where the key set says so.
    fn check_signature(&self, keys: &Jwks) -> Result<Option<String>, Fault> {
        let mut candidates = keys.candidates(self.algorithm, self.kid.as_deref()).peekable();
        if candidates.peek().is_none() {
            return Err((Kind::Key, "the issuer has no key of this kid and algorithm"));
        }
        let signer = candidates.find(|key| key.signed(self.message.as_bytes(), &self.signature));
        signer.map(|key| key.issuer.clone()).ok_or((Kind::Signature, "the signature is wrong"))
    }
}

fn object(part: &str) -> Option<Map<String, Value>> {
    let Unique(object) = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()?;
    Some(object)
}

fn check_times(claims: &Map<String, Value>, now: i64) -> Result<(), Fault> {
    let seconds = |name: &str| claims.get(name).map(Value::as_i64);
    let malformed = |detail| (Kind::Malformed, detail);
    let latest = now.saturating_add(SKEW);
    if let Some(nbf) = seconds("nbf")
        && nbf.ok_or(malformed("nbf is no integer"))? > latest
    {
        return Err((Kind::NotActive, "nbf is in the future"));
    }
    let exp = seconds("exp").ok_or(malformed("no exp"))?.ok_or(malformed("exp is no integer"))?;
    if exp <= now {
        return Err((Kind::Expired, "exp has passed"));
    }
    let iat = seconds("iat").ok_or(malformed("no iat"))?.ok_or(malformed("iat is no integer"))?;
    if iat > latest {
        return Err((Kind::Malformed, "iat is in the future"));
    }
    Ok(())
}

fn check_audience(claims: &Map<String, Value>, client_id: &str) -> Result<(), Fault> {
    let audience = |detail| (Kind::Audience, detail);
    let listed = match claims.get("aud").ok_or(audience("no aud"))? {
        Value::Array(listed) => listed.as_slice(),
        one => std::slice::from_ref(one),
    };
    if !listed.iter().all(Value::is_string) {
        return Err(audience("aud is neither a string nor a list of strings"));
    }
    if !listed.iter().any(|one| one == client_id) {
        return Err(audience("aud does not name this client"));
    }
    match claims.get("azp") {
        None if listed.len() > 1 => Err(audience("several audiences and no azp")),
        Some(azp) if azp != client_id => Err(audience("azp is another client")),
        _ => Ok(()),
    }
}

fn check_issuer(claims: &Map<String, Value>, expected: &[String], of_key: Option<&str>) -> Result<(), Fault> {
    let iss = claims.get("iss").ok_or((Kind::Issuer, "no iss"))?.as_str().ok_or((Kind::Issuer, "iss is no string"))?;
    // A placeholder is filled before it is compared, so a token cannot hold one.
    let filled = |text: &str| {
        if !text.contains(TENANT_ID) {
            return Ok(text.to_owned());
        }
        let directory = claims.get("tid").and_then(Value::as_str).filter(|tid| is_guid(tid));
        directory.map(|tid| text.replace(TENANT_ID, tid)).ok_or((Kind::Issuer, "tid is no GUID"))
    };
    let issuers = expected.iter().map(|issuer| filled(issuer)).collect::<Result<Vec<_>, _>>()?;
    if !issuers.iter().any(|issuer| issuer == iss) {
        return Err((Kind::Issuer, "iss is another issuer"));
    }
    let many = expected.iter().any(|issuer| issuer.contains(TENANT_ID));
    match of_key {
        Some(of_key) if many && filled(of_key)? != iss => Err((Kind::Key, "the key is another issuer's")),
        _ => Ok(()),
    }
}

fn check_nonce(claims: &Map<String, Value>, expected: &str) -> Result<(), Fault> {
    let nonce = claims.get("nonce").ok_or((Kind::Nonce, "no nonce"))?.as_str().ok_or((Kind::Nonce, "nonce is no string"))?;
    verify_slices_are_equal(nonce.as_bytes(), expected.as_bytes()).map_err(|_| (Kind::Nonce, "nonce is another sign-in's"))
}
