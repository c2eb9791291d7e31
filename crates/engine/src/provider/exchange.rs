//! What every provider is asked for in the same way: the customer's way there, and a code turned into tokens.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Map, Value};
use url::{Url, form_urlencoded};

use super::{Flow, Refusal, Returned};
use crate::crypto::sha256;
use crate::crypto::unique::Unique;
use crate::ports::http::Http;

/// Bytes of an access token; it travels in a header.
const MAX_ACCESS_TOKEN: usize = 8 * 1024;

/// The authorization URL. What every provider has comes first, in the order of Medusa's; `more` comes after it.
pub fn authorization(endpoint: &Url, flow: Flow<'_>, scope: Option<&str>, state: &str, more: &[(&str, &str)]) -> Url {
    let challenge = URL_SAFE_NO_PAD.encode(sha256(&[flow.code_verifier.as_bytes()]));
    let mut url = endpoint.clone();
    url.set_fragment(None);
    url.query_pairs_mut()
        .append_pair("redirect_uri", flow.redirect_uri)
        .append_pair("client_id", &flow.settings.client_id)
        .append_pair("response_type", "code")
        .extend_pairs(scope.map(|scope| ("scope", scope)))
        .append_pair("state", state)
        .extend_pairs(more)
        .append_pair("code_challenge", &challenge)
        .append_pair("code_challenge_method", "S256");
    url
}

/// The scopes of the settings, or `built_in`.
pub fn scope(flow: Flow<'_>, built_in: &str) -> String {
    flow.settings.scopes.as_ref().map_or_else(|| built_in.to_owned(), |scopes| scopes.join(" "))
}

/// The configured secret. Its absence is a wrong configuration, which `check` has seen.
pub fn client_secret(flow: Flow<'_>) -> &str {
    flow.settings.client_secret.as_ref().map_or("", |secret| secret.expose())
}

/// What the token endpoint gave.
pub struct Tokens(Map<String, Value>);

impl Tokens {
    /// # Errors
    /// If the answer has none.
    pub fn id_token(&self) -> Result<&str, Refusal> {
        self.0.get("id_token").and_then(Value::as_str).ok_or_else(|| Refusal::failed("the token endpoint's answer has no id_token"))
    }

    /// # Errors
    /// If the answer has none, or one that no header can carry.
    pub fn access_token(&self) -> Result<&str, Refusal> {
        let token = self.0.get("access_token").and_then(Value::as_str);
        token
            .filter(|token| (1..=MAX_ACCESS_TOKEN).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic()))
            .ok_or_else(|| Refusal::failed("the token endpoint's answer has no usable access_token"))
    }
}

/// Turns the code into tokens. Code and secrets travel in the body; with `basic` the secret is in a header, for endpoints that take nothing else.
///
/// # Errors
/// If the endpoint is out of reach, refuses the code, or answers anything but a bearer token.
pub async fn exchange(flow: Flow<'_>, endpoint: &Url, returned: Returned<'_>, secret: &str, basic: bool) -> Result<Tokens, Refusal> {
    let client_id = flow.settings.client_id.as_str();
    let mut fields = vec![
        ("grant_type", "authorization_code"),
        ("code", returned.code),
        ("redirect_uri", flow.redirect_uri),
        ("code_verifier", flow.code_verifier),
    ];
    let mut headers = vec![("accept", "application/json".to_owned())];
    if basic {
        let [id, secret] = [client_id, secret].map(|text| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>());
        headers.push(("authorization", format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))));
    } else {
        fields.extend([("client_id", client_id), ("client_secret", secret)]);
    }
    let answer = flow.http.post_form(endpoint, &headers, &fields).await.map_err(|e| Refusal::unreachable("token endpoint", &e))?;
    let body = serde_json::from_slice(&answer.body).map(|Unique(body)| body);
    if !answer.is_success() {
        let message = format!("Could not exchange token, {}, {}", answer.status, answer.reason());
        let said = body.ok().as_ref().and_then(error_code).map(|code| format!(": {code}")).unwrap_or_default();
        return Err(Refusal::new(message, format!("the token endpoint answered {}{said}", answer.status)));
    }
    let body = body.map_err(|_| Refusal::failed("the token endpoint's answer is no JSON object without repeated names"))?;
    if body.contains_key("error") {
        let said = error_code(&body).unwrap_or("a text that is no code");
        return Err(Refusal::failed(format!("the token endpoint answered {} with the error {said}", answer.status)));
    }
    if !body.get("token_type").and_then(Value::as_str).is_some_and(|kind| kind.eq_ignore_ascii_case("bearer")) {
        return Err(Refusal::failed("the token endpoint's answer has no token_type bearer"));
    }
    Ok(Tokens(body))
}

/// The JSON object at `url`. `what` names it in the log.
///
/// # Errors
/// If it is out of reach, or the answer is no success, or no JSON object without repeated names.
pub async fn fetch(http: &Http, url: &Url, headers: &[(&'static str, String)], what: &str) -> Result<Map<String, Value>, Refusal> {
    let accept = ("accept", "application/json".to_owned());
    let headers: Vec<_> = [accept].into_iter().chain(headers.iter().cloned()).collect();
    let answer = http.get(url, &headers).await.map_err(|e| Refusal::unreachable(what, &e))?;
    if !answer.is_success() {
        return Err(Refusal::status(what, answer.status));
    }
    let body = serde_json::from_slice(&answer.body).map(|Unique(body)| body);
    body.map_err(|_| Refusal::failed(format!("{what}: no JSON object without repeated names")))
}

/// The error of an OAuth answer, if it looks like one of OAuth's codes: the log takes no other text of a stranger's.
fn error_code(body: &Map<String, Value>) -> Option<&str> {
    let code = body.get("error")?.as_str()?;
    ((1..=64).contains(&code.len()) && code.bytes().all(|b| b == b'_' || b.is_ascii_lowercase())).then_some(code)
}
