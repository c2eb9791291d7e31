//! The issuer's key of the moment.

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::Algorithm;

/// DER's tags.
const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;

pub struct Keys {
    pub generation: u32,
    pair: Pair,
}

enum Pair {
    Rsa(Box<RsaKeyPair>),
    P256 { fixed: Box<EcdsaKeyPair>, der: Box<EcdsaKeyPair> },
    Ed25519(Ed25519KeyPair),
}

impl Keys {
    pub fn new(generation: u32, algorithm: Algorithm) -> Self {
        let pair = match algorithm {
            Algorithm::Rs256 => Pair::Rsa(Box::new(RsaKeyPair::generate(KeySize::Rsa2048).expect("an RSA key"))),
            Algorithm::Es256 => {
                let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).expect("a P-256 key");
                let read = |algorithm| Box::new(EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref()).expect("a P-256 key"));
                Pair::P256 { fixed: read(&ECDSA_P256_SHA256_FIXED_SIGNING), der: read(&ECDSA_P256_SHA256_ASN1_SIGNING) }
            }
            Algorithm::EdDsa => Pair::Ed25519(Ed25519KeyPair::generate().expect("an Ed25519 key")),
        };
        Self { generation, pair }
    }

    pub fn kid(&self) -> String {
        format!("key-{}", self.generation)
    }

    pub fn name(&self) -> &'static str {
        match self.pair {
            Pair::Rsa(_) => "RS256",
            Pair::P256 { .. } => "ES256",
            Pair::Ed25519(_) => "EdDSA",
        }
    }

    /// The public key as it is published.
    pub fn jwk(&self) -> Value {
        let public = self.public();
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut jwk = match self.pair {
            Pair::Rsa(_) => {
                let mut rest = public.as_slice();
                let mut inner = der(&mut rest, SEQUENCE);
                let (n, e) = (der(&mut inner, INTEGER), der(&mut inner, INTEGER));
                json!({"kty": "RSA", "n": encode(n), "e": encode(e)})
            }
            Pair::P256 { .. } => {
                let (x, y) = public.split_first().map_or((&[][..], &[][..]), |(_, point)| point.split_at(32));
                json!({"kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y)})
            }
            Pair::Ed25519(_) => json!({"kty": "OKP", "crv": "Ed25519", "x": encode(&public)}),
        };
        for (name, value) in [("kid", self.kid()), ("use", "sig".to_owned()), ("alg", self.name().to_owned())] {
            jwk.as_object_mut().expect("an object").insert(name.to_owned(), Value::String(value));
        }
        jwk
    }

    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).expect("a signature");
                signature
            }
            Pair::P256 { fixed, .. } => fixed.sign(&SystemRandom::new(), message).expect("a signature").as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// As `sign`, but ECDSA as certificates have it.
    pub fn sign_der(&self, message: &[u8]) -> Vec<u8> {
        match &self.pair {
            Pair::P256 { der, .. } => der.sign(&SystemRandom::new(), message).expect("a signature").as_ref().to_vec(),
            _ => self.sign(message),
        }
    }

    /// HS256 with the public key in PEM as the secret, which is what a verifier has that mixes the two kinds up.
    pub fn hmac(&self, message: &[u8]) -> Vec<u8> {
        let pem = format!("-----BEGIN RSA PUBLIC KEY-----\n{}\n-----END RSA PUBLIC KEY-----\n", STANDARD.encode(self.public()));
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, pem.as_bytes()), message).as_ref().to_vec()
    }

    fn public(&self) -> Vec<u8> {
        match &self.pair {
            Pair::Rsa(pair) => pair.public_key().as_ref().to_vec(),
            Pair::P256 { fixed, .. } => fixed.public_key().as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.public_key().as_ref().to_vec(),
        }
    }
}

/// Takes the element with `tag` from the front of `rest`, and returns what is in it.
fn der<'a>(rest: &mut &'a [u8], tag: u8) -> &'a [u8] {
    let (&found, after) = rest.split_first().expect("DER");
    let (&first, mut after) = after.split_first().expect("DER");
    assert_eq!(found, tag, "the key of aws-lc is RSAPublicKey in DER");
    let mut length = usize::from(first);
    if first & 0x80 != 0 {
        let (bytes, more) = after.split_at(usize::from(first & 0x7f));
        length = bytes.iter().fold(0, |sum, &byte| sum * 256 + usize::from(byte));
        after = more;
    }
    let (inside, more) = after.split_at(length);
    *rest = more;
    inside
}
