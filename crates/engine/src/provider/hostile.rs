//! An OpenID issuer and a GitHub for tests. It is honest until one thing about it is bent.

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "for tests alone, which must fail where their surroundings do"
)]

mod keys;
mod wire;

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use url::Url;

pub use super::jwks::Algorithm;
use crate::ports::clock::Clock;
use crate::ports::rng::Rng;
use keys::Keys;
pub use wire::Request;
use wire::{Body, Reply};

const DISCOVERY: &str = "/.well-known/openid-configuration";
/// Seconds that an `id_token` lives.
const LIFE: i64 = 300;

/// Where the issuer can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    Discovery,
    Jwks,
    Authorize,
    Token,
    Userinfo,
    /// GitHub's.
    User,
    Emails,
}

impl Endpoint {
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Discovery => DISCOVERY,
            Self::Jwks => "/jwks",
            Self::Authorize => "/authorize",
            Self::Token => "/token",
            Self::Userinfo => "/userinfo",
            Self::User => "/user",
            Self::Emails => "/user/emails",
        }
    }

    /// Discovery answers below every path, because issuers may have one.
    fn of(path: &str) -> Option<Self> {
        let all = [Self::Jwks, Self::Authorize, Self::Token, Self::Userinfo, Self::User, Self::Emails];
        all.into_iter().find(|one| one.path() == path).or_else(|| path.ends_with(DISCOVERY).then_some(Self::Discovery))
    }
}

/// One thing that is not as it should be. Where a name and a value are, the member is that; without a value it is missing.
#[derive(Debug, Clone, PartialEq)]
pub enum Bend {
    Claim(&'static str, Value),
    NoClaim(&'static str),
    /// Two claims of one name.
    RepeatedClaim(&'static str, Value),
    Header(&'static str, Value),
    NoHeader(&'static str),
    /// The header names this algorithm, and the signature is empty.
    Unsigned(&'static str),
    /// HS256, with the published RSA key as the secret.
    HmacOverPublicKey,
    BrokenSignature,
    /// ECDSA in DER, as certificates have it.
    DerSignature,
    Discovery(&'static str, Value),
    NoDiscovery(&'static str),
    /// The whole list of keys.
    Keys(Value),
    Token(&'static str, Value),
    NoToken(&'static str),
    Userinfo(&'static str, Value),
    /// The `iss` of the callback.
    Iss(Option<&'static str>),
    IgnoresPkce,
    Status(Endpoint, u16),
    Redirect(Endpoint),
    Oversized(Endpoint),
    Endless(Endpoint),
    Cut(Endpoint),
    Silent(Endpoint),
}

/// What was asked for with the customer, by the code that was given for it.
#[derive(Debug, Clone)]
struct Grant {
    nonce: Option<String>,
    code_challenge: String,
    redirect_uri: String,
    client_id: String,
}

/// A server on 127.0.0.1 with the networks of which the client must be allowed to speak. It ends when it is dropped.
pub struct HostileIssuer {
    shared: Arc<Shared>,
}

struct Shared {
    address: SocketAddr,
    clock: Clock,
    rng: Rng,
    stopped: AtomicBool,
    state: Mutex<State>,
}

struct State {
    keys: Keys,
    person: Map<String, Value>,
    emails: Value,
    bends: Vec<Bend>,
    grants: HashMap<String, Grant>,
    requests: Vec<Request>,
}

impl HostileIssuer {
    #[must_use]
    pub fn start() -> Self {
        Self::start_at(Clock::System)
    }

    /// An issuer whose tokens carry the time of `clock`.
    #[must_use]
    pub fn start_at(clock: Clock) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let person = json!({"sub": "person-1", "id": 583_231, "email": "ann@example.com", "email_verified": true, "name": "Ann Lee"});
        let state = State {
            keys: Keys::new(1, Algorithm::Es256),
            person: object(person),
            emails: json!([{"email": "ann@example.com", "primary": true, "verified": true}]),
            bends: Vec::new(),
            grants: HashMap::new(),
            requests: Vec::new(),
        };
        let shared = Arc::new(Shared { address, clock, rng: Rng::os(), stopped: AtomicBool::new(false), state: Mutex::new(state) });
        let served = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if served.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(stream), served) = (stream, Arc::clone(&served)) else { continue };
                // Whoever hangs up in the middle is no fault of the issuer's.
                std::thread::spawn(move || wire::serve(stream, |request| served.answer(request)).ok());
            }
        });
        Self { shared }
    }

    #[must_use]
    pub fn issuer(&self) -> Url {
        Url::parse(&self.shared.base()).expect("a URL")
    }

    #[must_use]
    pub fn url(&self, endpoint: Endpoint) -> Url {
        self.issuer().join(endpoint.path()).expect("a URL")
    }

    pub fn bend(&self, bend: Bend) {
        self.shared.state().bends.push(bend);
    }

    /// Takes every bend back.
    pub fn straighten(&self) {
        self.shared.state().bends.clear();
    }

    /// Who signs in: claims of the `id_token` and of `UserInfo`, and GitHub's user.
    pub fn person(&self, claims: Value) {
        self.shared.state().person = object(claims);
    }

    /// GitHub's list of the person's addresses.
    pub fn emails(&self, emails: Value) {
        self.shared.state().emails = emails;
    }

    /// Publishes a new key of this kind alone, and signs with it. The `kid` is new, too.
    pub fn rotate(&self, algorithm: Algorithm) {
        let mut state = self.shared.state();
        state.keys = Keys::new(state.keys.generation + 1, algorithm);
    }

    /// The published key.
    #[must_use]
    pub fn jwk(&self) -> Value {
        self.shared.state().keys.jwk()
    }

    /// A code as for a customer who was sent with these parameters.
    #[must_use]
    pub fn grant(&self, nonce: &str, code_challenge: &str, redirect_uri: &str, client_id: &str) -> String {
        self.shared.grant(Grant {
            nonce: Some(nonce.to_owned()),
            code_challenge: code_challenge.to_owned(),
            redirect_uri: redirect_uri.to_owned(),
            client_id: client_id.to_owned(),
        })
    }

    /// What a browser does that was sent to `location`, with a person who consents: the callback's URL with `code`, `state` and `iss`.
    #[must_use]
    pub fn visit(&self, location: &Url) -> Url {
        self.shared.visit(location).expect("an authorization URL with redirect_uri, client_id and code_challenge")
    }

    /// What came so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.shared.state().requests.clone()
    }

    /// How often `endpoint` was asked.
    #[must_use]
    pub fn count(&self, endpoint: Endpoint) -> usize {
        self.shared.state().requests.iter().filter(|request| Endpoint::of(&request.path) == Some(endpoint)).count()
    }
}

impl Drop for HostileIssuer {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the listener, so that it sees that it is over.
        TcpStream::connect(self.shared.address).ok();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    fn grant(&self, grant: Grant) -> String {
        let code = self.rng.uuid();
        self.state().grants.insert(code.clone(), grant);
        code
    }

    fn visit(&self, location: &Url) -> Option<Url> {
        let query: HashMap<String, String> = location.query_pairs().into_owned().collect();
        let asked = |name: &str| query.get(name).cloned();
        let mut callback = Url::parse(query.get("redirect_uri")?).ok()?;
        let (code_challenge, redirect_uri, client_id) = (asked("code_challenge")?, asked("redirect_uri")?, asked("client_id")?);
        let code = self.grant(Grant { nonce: asked("nonce"), code_challenge, redirect_uri, client_id });
        let bent = self.state().bends.iter().find_map(|bend| if let Bend::Iss(iss) = bend { Some(*iss) } else { None });
        let base = self.base();
        callback
            .query_pairs_mut()
            .append_pair("code", &code)
            .extend_pairs(asked("state").map(|state| ("state", state)))
            .extend_pairs(bent.unwrap_or(Some(&base)).map(|iss| ("iss", iss)));
        Some(callback)
    }

    fn answer(&self, request: &Request) -> Reply {
        let endpoint = Endpoint::of(&request.path);
        self.state().requests.push(request.clone());
        let Some(endpoint) = endpoint else { return Reply::json(404, &json!({"error": "not_found"})) };
        let bends = self.state().bends.clone();
        let mut reply = match endpoint {
            Endpoint::Discovery => Reply::json(200, &self.discovery(request.path.trim_end_matches(DISCOVERY), &bends)),
            Endpoint::Jwks => Reply::json(200, &self.jwks(&bends)),
            Endpoint::Authorize => match self.visit(&request.url()) {
                Some(callback) => Reply::redirect(callback.as_str()),
                None => Reply::json(400, &json!({"error": "invalid_request"})),
            },
            Endpoint::Token => self.token(&request.form(), &bends),
            Endpoint::Userinfo => Reply::json(200, &self.userinfo(&bends)),
            Endpoint::User => Reply::json(200, &Value::Object(self.state().person.clone())),
            Endpoint::Emails => Reply::json(200, &self.state().emails),
        };
        for bend in bends {
            match bend {
                Bend::Status(at, status) if at == endpoint => reply.status = status,
                Bend::Redirect(at) if at == endpoint => reply = Reply::redirect(&format!("{}/elsewhere", self.base())),
                Bend::Oversized(at) if at == endpoint => reply.body = Body::Oversized,
                Bend::Endless(at) if at == endpoint => reply.body = Body::Endless,
                Bend::Cut(at) if at == endpoint => reply.body = Body::Cut,
                Bend::Silent(at) if at == endpoint => reply.body = Body::Silent,
                _ => {}
            }
        }
        reply
    }

    fn discovery(&self, prefix: &str, bends: &[Bend]) -> Value {
        let base = self.base();
        let url = |endpoint: Endpoint| format!("{base}{}", endpoint.path());
        let mut document = object(json!({
            // As Microsoft writes it.
            "issuer": format!("{base}{prefix}").replace("/common/", "/{tenantid}/"),
            "authorization_endpoint": url(Endpoint::Authorize),
            "token_endpoint": url(Endpoint::Token),
            "userinfo_endpoint": url(Endpoint::Userinfo),
            "jwks_uri": url(Endpoint::Jwks),
            "authorization_response_iss_parameter_supported": true,
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256", "ES256", "EdDSA"],
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
        }));
        for bend in bends {
            match bend {
                Bend::Discovery(name, value) => drop(document.insert((*name).to_owned(), value.clone())),
                Bend::NoDiscovery(name) => drop(document.remove(*name)),
                _ => {}
            }
        }
        Value::Object(document)
    }

    fn jwks(&self, bends: &[Bend]) -> Value {
        let bent = bends.iter().find_map(|bend| if let Bend::Keys(keys) = bend { Some(keys.clone()) } else { None });
        json!({"keys": bent.unwrap_or_else(|| json!([self.state().keys.jwk()]))})
    }

    fn userinfo(&self, bends: &[Bend]) -> Value {
        let mut said = self.state().person.clone();
        for bend in bends {
            if let Bend::Userinfo(name, value) = bend {
                said.insert((*name).to_owned(), value.clone());
            }
        }
        Value::Object(said)
    }

    fn token(&self, form: &HashMap<String, Vec<String>>, bends: &[Bend]) -> Reply {
        let one = |name: &str| form.get(name).and_then(|values| <&[String; 1]>::try_from(values.as_slice()).ok()).map(|[value]| value.as_str());
        let refused = |why: &str| Reply::json(400, &json!({"error": "invalid_grant", "error_description": format!("<script>{why}</script>")}));
        let Some(grant) = one("code").and_then(|code| self.state().grants.remove(code)) else { return refused("code") };
        let verifier = digest::digest(&digest::SHA256, one("code_verifier").unwrap_or_default().as_bytes());
        let proven = URL_SAFE_NO_PAD.encode(verifier) == grant.code_challenge || bends.contains(&Bend::IgnoresPkce);
        let same = one("redirect_uri") == Some(&grant.redirect_uri) && one("client_id").is_none_or(|id| id == grant.client_id);
        if !proven || !same || one("grant_type") != Some("authorization_code") {
            return refused("grant");
        }
        let mut answer = object(json!({"access_token": "hostile-access-token", "token_type": "Bearer", "expires_in": LIFE}));
        answer.insert("id_token".to_owned(), Value::String(self.id_token(&grant, bends)));
        for bend in bends {
            match bend {
                Bend::Token(name, value) => drop(answer.insert((*name).to_owned(), value.clone())),
                Bend::NoToken(name) => drop(answer.remove(*name)),
                _ => {}
            }
        }
        Reply::json(200, &Value::Object(answer))
    }

    fn id_token(&self, grant: &Grant, bends: &[Bend]) -> String {
        let now = self.clock.now().seconds();
        let state = self.state();
        let mut claims = object(json!({"iss": self.base(), "aud": grant.client_id, "iat": now, "exp": now + LIFE, "nonce": grant.nonce}));
        claims.extend(state.person.clone());
        let mut header = object(json!({"alg": state.keys.name(), "typ": "JWT", "kid": state.keys.kid()}));
        let mut repeated = String::new();
        for bend in bends {
            match bend {
                Bend::Claim(name, value) => drop(claims.insert((*name).to_owned(), value.clone())),
                Bend::NoClaim(name) => drop(claims.remove(*name)),
                Bend::RepeatedClaim(name, value) => repeated = format!("\"{name}\":{value},"),
                Bend::Header(name, value) => drop(header.insert((*name).to_owned(), value.clone())),
                Bend::NoHeader(name) => drop(header.remove(*name)),
                Bend::Unsigned(name) => drop(header.insert("alg".to_owned(), json!(name))),
                Bend::HmacOverPublicKey => drop(header.insert("alg".to_owned(), json!("HS256"))),
                _ => {}
            }
        }
        let claims = Value::Object(claims).to_string().replacen('{', &format!("{{{repeated}"), 1);
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(Value::Object(header).to_string()), URL_SAFE_NO_PAD.encode(claims));
        let mut signature = match bends.iter().find(|bend| matches!(bend, Bend::Unsigned(_) | Bend::HmacOverPublicKey | Bend::DerSignature)) {
            Some(Bend::Unsigned(_)) => Vec::new(),
            Some(Bend::HmacOverPublicKey) => state.keys.hmac(message.as_bytes()),
            Some(Bend::DerSignature) => state.keys.sign_der(message.as_bytes()),
            _ => state.keys.sign(message.as_bytes()),
        };
        if bends.contains(&Bend::BrokenSignature) {
            signature.iter_mut().take(1).for_each(|byte| *byte ^= 1);
        }
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn object(value: Value) -> Map<String, Value> {
    if let Value::Object(object) = value { object } else { Map::new() }
}
