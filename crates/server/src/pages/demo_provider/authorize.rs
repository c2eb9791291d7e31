//! The page on which somebody chooses who to be, and the way back from it.

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderValue, StatusCode, header};
use serde_json::Value;
use url::Url;
use vestibule_engine::config::is_loopback;
use vestibule_engine::error::Error;

use super::memory::Grant;
use super::people::{PEOPLE, chosen};
use super::{CLIENT_ID, issuer};
use crate::error::ApiError;
use crate::extract::App;
use crate::extract::body::Body;
use crate::pages::render::{self, ChoosePage};
use crate::pages::{page, secure};

/// As for our other pages, but the form may lead on: browsers hold its answer's redirect to `form-action`, too.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self' http://localhost:* https://localhost:* http://*.localhost:* https://*.localhost:* http://127.0.0.1:* https://127.0.0.1:*; base-uri 'none'; object-src 'none'; frame-ancestors 'none'";
/// Longest parameter, in bytes: what is kept of a request stays small.
const LONGEST: usize = 2_048;
/// The parameters of a request that the form carries on.
const CARRIED: [&str; 8] = ["response_type", "client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge", "code_challenge_method"];

/// The parameters of a request, each given once.
struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn new(pairs: Vec<(String, String)>) -> Result<Self, &'static str> {
        let repeated = pairs.iter().enumerate().any(|(n, (name, _))| pairs.iter().take(n).any(|(earlier, _)| earlier == name));
        if repeated {
            return Err("A parameter is given twice.");
        }
        if pairs.iter().any(|(_, value)| value.len() > LONGEST) {
            return Err("A parameter is too long.");
        }
        Ok(Self(pairs))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    fn text(&self, name: &str) -> String {
        self.get(name).unwrap_or_default().to_owned()
    }
}

/// `GET /dev/idp/authorize`.
pub async fn show(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Response, ApiError> {
    let pairs = serde_html_form::from_str(query.as_deref().unwrap_or_default());
    let parameters = pairs.map_err(|_| "The address could not be read.").and_then(Parameters::new);
    answer(&app, parameters, None)
}

/// `POST /dev/idp/authorize`: with a choice it is made, without one the page is shown.
pub async fn decide(State(app): State<App>, Body(form): Body) -> Result<Response, ApiError> {
    let pairs = form.as_object().into_iter().flatten().filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
    let pairs: Vec<(String, String)> = pairs.collect();
    let choice = form.get("choice").and_then(Value::as_str).map(str::to_owned);
    answer(&app, Parameters::new(pairs), choice.as_deref())
}

fn answer(app: &App, parameters: Result<Parameters, &'static str>, choice: Option<&str>) -> Result<Response, ApiError> {
    let parameters = match parameters {
        Ok(parameters) => parameters,
        Err(reason) => return refused(reason),
    };
    // Until it is known who asks and where the answer goes, nobody is sent anywhere.
    let target = match target(&parameters) {
        Ok(target) => target,
        Err(reason) => return refused(reason),
    };
    if let Some((error, description)) = fault(&parameters) {
        return back(app, target, &parameters, &[("error", error), ("error_description", description)]);
    }
    match choice {
        None => chooser(&target, &parameters),
        Some("deny") => {
            back(app, target, &parameters, &[("error", "access_denied"), ("error_description", "Access was denied on the demo provider's page.")])
        }
        Some(choice) => {
            let Some(person) = chosen(choice) else { return refused("There is nobody of this name here.") };
            let code = URL_SAFE_NO_PAD.encode(app.engine.rng.bytes::<32>());
            let grant = Grant {
                person,
                client_id: parameters.text("client_id"),
                redirect_uri: parameters.text("redirect_uri"),
                scope: parameters.text("scope"),
                code_challenge: parameters.text("code_challenge"),
                nonce: parameters.get("nonce").map(str::to_owned),
            };
            app.demo_provider.grant(code.clone(), grant, app.engine.clock.now());
            back(app, target, &parameters, &[("code", &code)])
        }
    }
}

/// Where the answer goes: to this machine, or nowhere.
fn target(parameters: &Parameters) -> Result<Url, &'static str> {
    if parameters.get("client_id") != Some(CLIENT_ID) {
        return Err("The client is not known here.");
    }
    let text = parameters.get("redirect_uri").ok_or("The request has no redirect_uri.")?;
    let url = Url::parse(text).map_err(|_| "The redirect_uri is no address.")?;
    let plain = matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    if !plain || !is_loopback(&url) {
        return Err("The redirect_uri does not lead to this machine. The demo provider is for this machine alone.");
    }
    Ok(url)
}

/// What is wrong with a request whose client and target are right: `error` and `error_description`.
fn fault(parameters: &Parameters) -> Option<(&'static str, &'static str)> {
    if parameters.get("request").is_some() {
        return Some(("request_not_supported", "Request objects are not supported."));
    }
    if parameters.get("request_uri").is_some() {
        return Some(("request_uri_not_supported", "Request objects are not supported."));
    }
    if parameters.get("response_type") != Some("code") {
        return Some(("unsupported_response_type", "The response_type must be code."));
    }
    if parameters.get("response_mode").is_some_and(|mode| mode != "query") {
        return Some(("invalid_request", "The response_mode must be query."));
    }
    if !parameters.get("scope").unwrap_or_default().split_ascii_whitespace().any(|scope| scope == "openid") {
        return Some(("invalid_scope", "The scope must include openid."));
    }
    // SHA-256 in base64url without padding.
    let challenge = parameters.get("code_challenge").unwrap_or_default();
    let sound = challenge.len() == 43 && challenge.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if !sound || parameters.get("code_challenge_method") != Some("S256") {
        return Some(("invalid_request", "PKCE with S256 is required."));
    }
    (parameters.get("prompt") == Some("none")).then_some(("login_required", "Nobody is signed in at the demo provider: it always asks."))
}

/// Back to the client, with `state` as it came and the issuer's name (RFC 9207).
fn back(app: &App, mut target: Url, parameters: &Parameters, answer: &[(&str, &str)]) -> Result<Response, ApiError> {
    let issuer = issuer(app.engine.config.server.listen);
    target.query_pairs_mut().extend_pairs(answer).extend_pairs(parameters.get("state").map(|state| ("state", state))).append_pair("iss", &issuer);
    let location = HeaderValue::from_str(target.as_str()).map_err(|e| Error::unexpected(format!("a redirect: {e}")))?;
    let mut response = (StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response();
    secure(response.headers_mut(), POLICY);
    Ok(response)
}

fn chooser(target: &Url, parameters: &Parameters) -> Result<Response, ApiError> {
    let hidden: Vec<_> = CARRIED.into_iter().filter_map(|name| Some((name, parameters.get(name)?))).collect();
    let target = target.origin().ascii_serialization();
    let mut response = page(StatusCode::OK, render::demo_choose(&ChoosePage { people: &PEOPLE, hidden: &hidden, target: &target, refused: None }))?;
    secure(response.headers_mut(), POLICY);
    Ok(response)
}

fn refused(reason: &str) -> Result<Response, ApiError> {
    let mut response =
        page(StatusCode::BAD_REQUEST, render::demo_choose(&ChoosePage { people: &[], hidden: &[], target: "", refused: Some(reason) }))?;
    secure(response.headers_mut(), POLICY);
    Ok(response)
}
