//! What a client asks of the demo provider behind the browser's back: a code for tokens, and who somebody is.

use aws_lc_rs::digest::{SHA256, digest};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

use super::memory::{Grant, TOKEN_LIFE, Worthless};
use super::{CLIENT_ID, CLIENT_SECRET, issuer, origin};
use crate::error::ApiError;
use crate::extract::App;
use crate::extract::body::{Kind, Raw};

/// A refusal in the words of RFC 6749 section 5.2: `error` and `error_description`.
struct Refusal(&'static str, &'static str);

/// `POST /dev/idp/token`.
pub async fn token(State(app): State<App>, headers: HeaderMap, raw: Raw) -> Result<Response, ApiError> {
    let (code, grant) = match form(&raw).and_then(|form| authenticated(&headers, &form).and_then(|()| bought(&app, &form))) {
        Ok(bought) => bought,
        Err(refusal) => return Ok(refused(&refusal)),
    };
    let now = app.engine.clock.now();
    let access_token = URL_SAFE_NO_PAD.encode(app.engine.rng.bytes::<32>());
    let id_token = app.demo_provider.sign(&claims(&app, &grant, &access_token))?;
    app.demo_provider.admit(access_token.clone(), &code, &grant, now);
    let body = json!({
        "access_token": access_token,
        "token_type": "Bearer",
        "expires_in": TOKEN_LIFE.as_secs(),
        "scope": grant.scope,
        "id_token": id_token,
    });
    Ok(kept_nowhere((StatusCode::OK, Json(body)).into_response()))
}

/// `GET /dev/idp/userinfo`, `POST /dev/idp/userinfo`.
pub async fn userinfo(State(app): State<App>, headers: HeaderMap) -> Response {
    let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|text| after(text, "Bearer "));
    let Some((person, scope)) = token.and_then(|token| app.demo_provider.admitted(token, app.engine.clock.now())) else {
        let challenge = [(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer error=\"invalid_token\""))];
        return kept_nowhere((StatusCode::UNAUTHORIZED, challenge, Json(json!({"error": "invalid_token"}))).into_response());
    };
    let mut claims = Map::from_iter([("sub".to_owned(), json!(person.subject))]);
    claims.extend(person.claims(&scope, &origin(app.engine.config.server.listen)));
    kept_nowhere(Json(claims).into_response())
}

fn form(raw: &Raw) -> Result<Value, Refusal> {
    if raw.kind != Kind::Form {
        return Err(Refusal("invalid_request", "The body must be a form."));
    }
    raw.parse().map_err(|_| Refusal("invalid_request", "The form could not be read, or has a field twice."))
}

fn field<'a>(form: &'a Value, name: &str) -> Option<&'a str> {
    form.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// What follows a word that may be written in any case.
fn after<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(word.len())?;
    start.eq_ignore_ascii_case(word).then_some(rest)
}

/// Whether the client has shown its secret, by Basic or in the form, and not by both.
fn authenticated(headers: &HeaderMap, form: &Value) -> Result<(), Refusal> {
    const UNKNOWN: Refusal = Refusal("invalid_client", "The client did not show its secret.");
    let (id, secret) = match headers.get(header::AUTHORIZATION) {
        Some(_) if field(form, "client_secret").is_some() => {
            return Err(Refusal("invalid_request", "The client shows its secret in two ways at once."));
        }
        Some(value) => value.to_str().ok().and_then(|text| after(text, "Basic ")).and_then(basic).ok_or(UNKNOWN)?,
        None => (field(form, "client_id").unwrap_or_default().to_owned(), field(form, "client_secret").unwrap_or_default().to_owned()),
    };
    let same = field(form, "client_id").is_none_or(|named| named == id);
    if same && id == CLIENT_ID && secret == CLIENT_SECRET { Ok(()) } else { Err(UNKNOWN) }
}

/// Name and secret, both form-encoded before they were joined (RFC 6749 section 2.3.1).
fn basic(credentials: &str) -> Option<(String, String)> {
    let text = String::from_utf8(STANDARD.decode(credentials.trim()).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    let plain = |part: &str| url::form_urlencoded::parse(part.as_bytes()).next().map(|(text, _)| text.into_owned()).unwrap_or_default();
    Some((plain(id), plain(secret)))
}

/// The code of the request, and what it stands for. Whatever is wrong, the code is spent.
fn bought(app: &App, form: &Value) -> Result<(String, Grant), Refusal> {
    if field(form, "grant_type") != Some("authorization_code") {
        return Err(Refusal("unsupported_grant_type", "The grant_type must be authorization_code."));
    }
    let code = field(form, "code").ok_or(Refusal("invalid_request", "The request has no code."))?;
    let grant = app.demo_provider.spend(code, app.engine.clock.now()).map_err(|worthless| {
        let text = match worthless {
            Worthless::Unknown => "The code is not known.",
            Worthless::Spent => "The code was used before.",
            Worthless::Expired => "The code is too old.",
        };
        Refusal("invalid_grant", text)
    })?;
    if field(form, "redirect_uri") != Some(&grant.redirect_uri) {
        return Err(Refusal("invalid_grant", "The redirect_uri is not the one that the code was made for."));
    }
    let verifier = field(form, "code_verifier").unwrap_or_default();
    if verifier.len() < 43 || URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()).as_ref()) != grant.code_challenge {
        return Err(Refusal("invalid_grant", "The code_verifier does not match the code_challenge."));
    }
    Ok((code.to_owned(), grant))
}

/// The claims of the `id_token`.
fn claims(app: &App, grant: &Grant, access_token: &str) -> Value {
    let address = app.engine.config.server.listen;
    let now = app.engine.clock.now();
    let half = digest(&SHA256, access_token.as_bytes()).as_ref().get(..16).map(|half| URL_SAFE_NO_PAD.encode(half));
    let mut claims = Map::from_iter([
        ("iss".to_owned(), json!(issuer(address))),
        ("sub".to_owned(), json!(grant.person.subject)),
        ("aud".to_owned(), json!(grant.client_id)),
        ("iat".to_owned(), json!(now.seconds())),
        ("exp".to_owned(), json!(now.after(TOKEN_LIFE).seconds())),
        ("at_hash".to_owned(), json!(half)),
    ]);
    claims.extend(grant.nonce.as_ref().map(|nonce| ("nonce".to_owned(), json!(nonce))));
    claims.extend(grant.person.claims(&grant.scope, &origin(address)));
    Value::Object(claims)
}

fn refused(Refusal(error, description): &Refusal) -> Response {
    let body = Json(json!({"error": error, "error_description": description}));
    kept_nowhere(if *error == "invalid_client" {
        (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"demo\""))], body).into_response()
    } else {
        (StatusCode::BAD_REQUEST, body).into_response()
    })
}

fn kept_nowhere(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
