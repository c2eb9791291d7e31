//! What the demo provider keeps: its key, and the codes and access tokens that it has given out. All of it lives in memory, and is bounded.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use vestibule_engine::error::Error;
use vestibule_engine::model::time::Timestamp;

use super::people::Person;

/// Codes, and access tokens, at once; the oldest go first.
const CAPACITY: usize = 1_000;
const CODE_LIFE: Duration = Duration::from_mins(1);
pub const TOKEN_LIFE: Duration = Duration::from_mins(5);

/// What somebody agreed to on the authorization page.
#[derive(Clone)]
pub struct Grant {
    pub person: &'static Person,
    pub client_id: String,
    pub redirect_uri: String,
    pub scope: String,
    pub code_challenge: String,
    pub nonce: Option<String>,
}

/// Why a code buys nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Worthless {
    Unknown,
    Spent,
    Expired,
}

struct Code {
    text: String,
    grant: Grant,
    until: Timestamp,
    spent: bool,
}

struct Access {
    text: String,
    /// The code that it was bought with.
    code: String,
    person: &'static Person,
    scope: String,
    until: Timestamp,
}

#[derive(Default)]
struct Given {
    codes: VecDeque<Code>,
    tokens: VecDeque<Access>,
}

/// The demo provider's memory. It has a key in development only.
pub struct Memory {
    key: Option<EcdsaKeyPair>,
    given: Mutex<Given>,
}

impl Memory {
    #[must_use]
    pub fn new(development: bool) -> Self {
        let key = development.then(|| EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)).and_then(Result::ok);
        Self { key, given: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Given> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a grant under the code `text`.
    pub fn grant(&self, text: String, grant: Grant, now: Timestamp) {
        let mut given = self.lock();
        if given.codes.len() >= CAPACITY {
            given.codes.pop_front();
        }
        given.codes.push_back(Code { text, grant, until: now.after(CODE_LIFE), spent: false });
    }

    /// Spends a code. Whoever shows one a second time may have stolen it, so what it bought the first time is taken back.
    pub fn spend(&self, text: &str, now: Timestamp) -> Result<Grant, Worthless> {
        let mut given = self.lock();
        let code = given.codes.iter_mut().find(|code| code.text == text).ok_or(Worthless::Unknown)?;
        if code.spent {
            given.tokens.retain(|token| token.code != text);
            return Err(Worthless::Spent);
        }
        code.spent = true;
        if now >= code.until { Err(Worthless::Expired) } else { Ok(code.grant.clone()) }
    }

    /// Keeps the access token `text`, which `code` bought.
    pub fn admit(&self, text: String, code: &str, grant: &Grant, now: Timestamp) {
        let mut given = self.lock();
        if given.tokens.len() >= CAPACITY {
            given.tokens.pop_front();
        }
        given.tokens.push_back(Access {
            text,
            code: code.to_owned(),
            person: grant.person,
            scope: grant.scope.clone(),
            until: now.after(TOKEN_LIFE),
        });
    }

    /// Whose access token this is, and for which scopes.
    #[must_use]
    pub fn admitted(&self, text: &str, now: Timestamp) -> Option<(&'static Person, String)> {
        let given = self.lock();
        given.tokens.iter().find(|token| token.text == text && now < token.until).map(|token| (token.person, token.scope.clone()))
    }

    fn key(&self) -> Result<&EcdsaKeyPair, Error> {
        self.key.as_ref().ok_or_else(|| Error::unexpected("the demo provider has no key"))
    }

    /// The public key as a JWK (RFC 7518 section 6.2).
    pub fn jwk(&self) -> Result<Value, Error> {
        let point = self.key()?.public_key().as_ref();
        let (Some(x), Some(y)) = (point.get(1..33), point.get(33..65)) else { return Err(Error::unexpected("the demo provider's key has no point")) };
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        Ok(json!({"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.kid()?, "x": x, "y": y}))
    }

    fn kid(&self) -> Result<String, Error> {
        Ok(URL_SAFE_NO_PAD.encode(digest(&SHA256, self.key()?.public_key().as_ref()).as_ref()))
    }

    /// A signed JWT.
    #[expect(clippy::disallowed_methods, reason = "the library takes a signature's nonce from nothing but the system's randomness")]
    pub fn sign(&self, claims: &Value) -> Result<String, Error> {
        let header = json!({"alg": "ES256", "typ": "JWT", "kid": self.kid()?});
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = self.key()?.sign(&SystemRandom::new(), message.as_bytes()).map_err(|_| Error::unexpected("the demo provider cannot sign"))?;
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::demo_provider::people::PEOPLE;

    fn grant() -> Grant {
        Grant {
            person: &PEOPLE[0],
            client_id: String::new(),
            redirect_uri: String::new(),
            scope: "openid".into(),
            code_challenge: String::new(),
            nonce: None,
        }
    }

    #[test]
    fn a_code_is_good_once_and_for_a_minute() {
        let (memory, now) = (Memory::new(true), Timestamp::from_seconds(100));
        memory.grant("a".into(), grant(), now);
        memory.grant("b".into(), grant(), now);
        assert!(memory.spend("a", now.after(Duration::from_secs(59))).is_ok());
        assert_eq!(memory.spend("a", now).err(), Some(Worthless::Spent));
        assert_eq!(memory.spend("b", now.after(CODE_LIFE)).err(), Some(Worthless::Expired));
        assert_eq!(memory.spend("c", now).err(), Some(Worthless::Unknown));
    }

    #[test]
    fn a_code_that_is_shown_again_takes_its_access_token_with_it() {
        let (memory, now) = (Memory::new(true), Timestamp::from_seconds(100));
        memory.grant("a".into(), grant(), now);
        let grant = memory.spend("a", now).unwrap();
        memory.admit("token".into(), "a", &grant, now);
        assert!(memory.admitted("token", now).is_some() && memory.admitted("token", now.after(TOKEN_LIFE)).is_none());
        assert!(memory.spend("a", now).is_err());
        assert!(memory.admitted("token", now).is_none());
    }

    #[test]
    fn the_oldest_make_room() {
        let (memory, now) = (Memory::new(true), Timestamp::from_seconds(100));
        for n in 0..=CAPACITY {
            memory.grant(n.to_string(), grant(), now);
            memory.admit(n.to_string(), "", &grant(), now);
        }
        assert_eq!(memory.spend("0", now).err(), Some(Worthless::Unknown));
        assert!(memory.spend("1", now).is_ok() && memory.admitted("0", now).is_none() && memory.admitted("1", now).is_some());
    }

    #[test]
    fn without_development_nothing_is_signed() {
        assert!(Memory::new(false).sign(&json!({})).is_err() && Memory::new(false).jwk().is_err());
    }
}
