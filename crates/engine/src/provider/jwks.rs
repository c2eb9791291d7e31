//! The keys of an issuer (RFC 7517): those that can verify an `id_token`, and no others.

use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::Refusal;

/// Keys of one issuer that are kept; large issuers have about ten.
const MAX_KEYS: usize = 64;
const MAX_KID: usize = 256;
const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;
/// The point of P-256 without compression: a mark and two coordinates.
const UNCOMPRESSED: u8 = 4;

/// What may sign an `id_token`. A key is good for one of them, which its type decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    Rs256,
    Es256,
    EdDsa,
}

impl Algorithm {
    pub(super) fn from_header(name: &str) -> Option<Self> {
        match name {
            "RS256" => Some(Self::Rs256),
            "ES256" => Some(Self::Es256),
            "EdDSA" => Some(Self::EdDsa),
            _ => None,
        }
    }
}

/// The keys that an issuer publishes for signatures.
pub struct Jwks(Vec<Key>);

pub struct Key {
    kid: Option<String>,
    /// Microsoft says for which of its issuers a key is.
    pub issuer: Option<String>,
    material: Material,
}

enum Material {
    Rsa(PublicKeyComponents<Vec<u8>>),
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
}

impl Jwks {
    /// Keys that are for something else, of another kind or malformed are left out.
    ///
    /// # Errors
    /// If this is no key set.
    pub fn read(document: &Map<String, Value>) -> Result<Self, Refusal> {
        let keys = document.get("keys").and_then(Value::as_array).ok_or_else(|| Refusal::failed("the key set has no keys"))?;
        Ok(Self(keys.iter().filter_map(Value::as_object).filter_map(Key::read).take(MAX_KEYS).collect()))
    }

    /// The keys that may have signed: of the kind that `algorithm` needs, and of this name. Without a name all of that kind are tried: an issuer
    /// may leave it out when it has one key, and during a rotation it has two.
    pub fn candidates<'a>(&'a self, algorithm: Algorithm, kid: Option<&'a str>) -> impl Iterator<Item = &'a Key> {
        self.0.iter().filter(move |key| key.algorithm() == algorithm && kid.is_none_or(|kid| key.kid.as_deref() == Some(kid)))
    }
}

impl Key {
    fn read(jwk: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        if jwk.get("use").is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        if jwk.get("key_ops").is_some_and(|uses| !uses.as_array().is_some_and(|uses| uses.iter().any(|one| one == "verify"))) {
            return None;
        }
        let kid = match jwk.get("kid") {
            Some(kid) => Some(kid.as_str().filter(|kid| kid.len() <= MAX_KID)?.to_owned()),
            None => None,
        };
        let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok();
        let (material, named) = match (text("kty")?, text("crv")) {
            ("RSA", _) => (rsa(&bytes("n")?, &bytes("e")?)?, ["RS256"].as_slice()),
            ("EC", Some("P-256")) => (p256(&bytes("x")?, &bytes("y")?)?, ["ES256"].as_slice()),
            ("OKP", Some("Ed25519")) => (Material::Ed25519(bytes("x").filter(|x| x.len() == 32)?), ["EdDSA", "Ed25519"].as_slice()),
            _ => return None,
        };
        if jwk.get("alg").is_some_and(|alg| !named.iter().any(|name| alg == name)) {
            return None;
        }
        Some(Self { kid, issuer: text("issuer").map(str::to_owned), material })
    }

    fn algorithm(&self) -> Algorithm {
        match self.material {
            Material::Rsa(_) => Algorithm::Rs256,
            Material::P256(_) => Algorithm::Es256,
            Material::Ed25519(_) => Algorithm::EdDsa,
        }
    }

    /// Whether the key made `signature`, which for ECDSA is r‖s in 64 bytes.
    pub fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.material {
            Material::Rsa(components) => components.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature),
            Material::P256(point) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature),
            Material::Ed25519(public) => UnparsedPublicKey::new(&ED25519, public).verify(message, signature),
        }
        .is_ok()
    }
}

fn rsa(n: &[u8], e: &[u8]) -> Option<Material> {
    let (n, e) = (bare(n), bare(e));
    let bits = n.len() * 8 - n.first().map_or(0, |first| first.leading_zeros() as usize);
    let odd = |number: &[u8]| number.last().is_some_and(|last| last % 2 == 1);
    // An exponent of 1 would make every message its own signature.
    let sound = RSA_BITS.contains(&bits) && odd(n) && odd(e) && e != [1] && e.len() <= 4;
    sound.then(|| Material::Rsa(PublicKeyComponents { n: n.to_vec(), e: e.to_vec() }))
}

/// Without the zeros that some issuers put before a number.
fn bare(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|&&byte| byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

fn p256(x: &[u8], y: &[u8]) -> Option<Material> {
    (x.len() == 32 && y.len() == 32).then(|| Material::P256([&[UNCOMPRESSED], x, y].concat()))
}
