//! Signing in with a third party: going there, and coming back.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use url::Url;

use crate::Engine;
use crate::crypto::sha256;
use crate::error::{Error, Result};
use crate::limits::{self, Limit, Ticket};
use crate::model::identity::ActorType;
use crate::model::ids::TenantId;
use crate::model::provider::ProviderSettings;
use crate::model::tenant::{CallbackCookie, Tenant, TenantSettings};
use crate::ops::account::{self, Arrival, Page};
use crate::ops::idempotency::Receipt;
use crate::ops::{Client, session};
use crate::provider::{Claims, Flow, Refusal, Returned, check};
use crate::store;
use crate::store::callback::{Away, HandedOver};

/// How long a customer may be away. Source: RFC 9700 asks for a short life; ten minutes leave time for a second factor.
pub const AWAY: Duration = Duration::from_mins(10);
/// How long a one-time code is good.
const HAND_OVER: Duration = Duration::from_mins(1);
/// Marks a one-time code of ours, so that it is never taken for a provider's.
const CODE: &str = "vestibule_";
/// Longest code that a provider is shown, in bytes. Providers' codes run to some 2 KiB.
const LONGEST: usize = 4096;

/// What the browser shows that asks, or comes back.
#[derive(Debug, Clone, Copy, Default)]
pub struct Browser<'a> {
    /// The value of the flow's cookie.
    pub cookie: Option<&'a str>,
    /// Whether it is a browser on the API's own host or on one of the same site, so that it can keep a cookie of ours.
    pub same_site: bool,
    /// What it calls itself.
    pub user_agent: Option<&'a str>,
}

impl Browser<'_> {
    /// Whether it must show the cookie. Asked at both ends: whoever forges a sign-in for somebody else chooses how it begins, but not the browser in which it ends.
    fn must_show(self, tenant: &Tenant) -> bool {
        match tenant.settings.callbacks.cookie {
            CallbackCookie::SameSite => self.same_site,
            CallbackCookie::Always => true,
            CallbackCookie::Never => false,
        }
    }
}

/// Where to send the customer.
#[derive(Debug)]
pub struct Departure {
    pub location: Url,
    /// The cookie to give to the browser, and for how long.
    pub cookie: Option<(String, Duration)>,
}

/// Begins a sign-in with the provider `name`.
///
/// # Errors
/// `InvalidData` for a return address that is not the shop's, `Unauthorized` for a provider that is wrongly configured or does not answer, `TooManyRequests`.
pub async fn depart(
    engine: &Engine,
    tenant: &Arc<Tenant>,
    client: &Client,
    actor: &ActorType,
    name: &str,
    callback_url: Option<&str>,
    browser: Browser<'_>,
) -> Result<Departure> {
    let settings = provider(tenant, name)?;
    let (redirect_uri, return_to) = addresses(engine, name, settings, callback_url)?;
    let state = State::draw(engine, tenant.id);
    let required = browser.must_show(tenant);
    // One cookie for all flows of a browser, so that two tabs do not take it from each other.
    let kept = browser.cookie.filter(|cookie| cookie.len() == 43).map(str::to_owned);
    let cookie = required.then(|| kept.unwrap_or_else(|| URL_SAFE_NO_PAD.encode(engine.rng.bytes::<32>())));
    let away = Away {
        actor: actor.clone(),
        redirect_uri,
        return_to,
        browser: cookie.as_deref().map(|cookie| sha256(&[cookie.as_bytes()]).to_vec()),
        browser_required: required,
    };
    let budgets = limits::per_client_and_all(engine, tenant, [Limit::SignInsPerClient, Limit::SignInsPerTenant], client.ip);
    let redirect_uri = away.redirect_uri.clone();
    note(engine, tenant, budgets, state.id(), name.to_owned(), away).await?;
    let secrets = state.secrets(engine, tenant.id);
    let flow = secrets.flow(engine, tenant.id, name, settings, &redirect_uri);
    let location = engine.providers.location(flow, &state.text).await.map_err(|refused| unauthorized(tenant, name, refused))?;
    Ok(Departure { location, cookie: cookie.map(|cookie| (cookie, AWAY)) })
}

fn provider<'t>(tenant: &'t Tenant, name: &str) -> Result<&'t ProviderSettings> {
    tenant.settings.providers.get(name).ok_or_else(|| Error::unauthorized(format!("The auth provider {name} is not configured")))
}

/// Counts the try and stores that somebody is away, in one transaction.
async fn note(engine: &Engine, tenant: &Arc<Tenant>, budgets: Vec<Ticket>, id: [u8; 32], provider: String, away: Away) -> Result<()> {
    let expires_at = engine.clock.now().after(AWAY);
    let input = Arc::new((tenant.clone(), budgets, provider, away));
    engine
        .db
        .write(move |tx| {
            let input = input.clone();
            Box::pin(async move {
                let (tenant, budgets, provider, away) = &*input;
                // A refusal is no error here: what was counted must be committed.
                if let Some(refusal) = limits::take(tx, tenant, budgets).await? {
                    return Ok(Err(refusal));
                }
                store::callback::begin(tx, tenant.id, &id, provider, away, expires_at).await?;
                Ok(Ok(()))
            })
        })
        .await?
}

/// The callback that the server takes itself, for any shop.
#[must_use]
pub fn shared_callback(engine: &Engine, name: &str) -> Option<String> {
    let base = engine.config.server.public_url.as_ref()?;
    Some(format!("{}/auth/callback/{name}", base.as_str().trim_end_matches('/')))
}

/// What the provider is told to send back to, and, if that is the server itself, the shop's page that comes after it.
fn addresses(engine: &Engine, name: &str, settings: &ProviderSettings, asked: Option<&str>) -> Result<(String, Option<String>)> {
    let configured = settings.callback_url.as_deref();
    let asked = match asked {
        None => None,
        Some(url) if configured == Some(url) || settings.allowed_callback_urls.iter().any(|allowed| allowed == url) => Some(url.to_owned()),
        Some(_) => {
            return Err(Error::invalid(
                "The callback_url is neither the provider's callback_url nor in its allowed_callback_urls; it must equal one of them letter by letter",
            ));
        }
    };
    let none = || Error::unauthorized(format!("The auth provider {name} is not configured: callback_url is missing"));
    let Some(shared) = shared_callback(engine, name).filter(|shared| configured == Some(shared)) else {
        return Ok((asked.or_else(|| configured.map(str::to_owned)).ok_or_else(none)?, None));
    };
    // The server's own address is no page of the shop's.
    let page = asked.filter(|url| *url != shared).or_else(|| settings.allowed_callback_urls.first().cloned());
    let page = page
        .ok_or_else(|| Error::unauthorized(format!("The auth provider {name} is not configured: allowed_callback_urls names no page of the shop")))?;
    Ok((shared, Some(page)))
}

/// What came back with the customer.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    pub code: Option<String>,
    pub state: Option<String>,
    pub error: Option<String>,
    pub error_description: Option<String>,
    pub error_uri: Option<String>,
    pub iss: Option<String>,
    /// What Apple posts of the person, once.
    pub user: Option<String>,
}

/// Somebody is signed in.
#[derive(Debug)]
pub struct Arrived {
    pub token: String,
    /// Whether the proven address has an account, to which this login is not linked.
    pub account_exists: bool,
}

/// Ends a sign-in at the shop's host. The state is spent before the provider is asked, whatever else came.
///
/// # Errors
/// `Unauthorized` with the reason that the customer may know; `TooManyRequests`.
#[expect(clippy::too_many_arguments, reason = "each is one of the things that a sign-in is bound to")]
pub async fn arrive(
    engine: &Arc<Engine>,
    tenant: &Arc<Tenant>,
    actor: &ActorType,
    name: &str,
    answer: &Answer,
    browser: Browser<'_>,
    origin: Option<&str>,
    receipt: &Receipt<Arrived>,
) -> Result<Arrived> {
    let settings = provider(tenant, name)?;
    if let Some(code) = answer.code.as_deref().filter(|code| code.starts_with(CODE)) {
        return redeem(engine, tenant, actor, name, code, answer, browser, origin, receipt).await;
    }
    let state = answer.state.as_deref().and_then(State::parse).filter(|state| state.tenant == tenant.id);
    let away = match &state {
        Some(state) => spend(engine, state, name).await?,
        None => None,
    };
    if let Some(refusal) = provider_error(answer) {
        return Err(refusal);
    }
    let code = answer.code.as_deref().filter(|code| !code.is_empty()).ok_or_else(|| Error::unauthorized("No code provided"))?;
    let (Some(state), Some(away)) = (state, away) else { return Err(no_state()) };
    // A state of one kind of actor is none of another's, and one whose callback is the server's own ends there.
    if away.actor != *actor || away.return_to.is_some() {
        return Err(no_state());
    }
    same_browser(tenant, away.browser.as_deref(), away.browser_required, browser)?;
    let claims = ask(engine, tenant, name, settings, &state, &away, code, answer).await?;
    account::arrive(engine, tenant, Arrival { actor: actor.clone(), provider: name.to_owned(), claims }, browser.user_agent, receipt).await
}

fn no_state() -> Error {
    Error::unauthorized("No state provided, or session expired")
}

async fn spend(engine: &Engine, state: &State, name: &str) -> Result<Option<Away>> {
    let (tenant, id, name) = (state.tenant, state.id(), name.to_owned());
    let input = Arc::new(name);
    engine
        .db
        .write(move |tx| {
            let input = input.clone();
            Box::pin(async move { store::callback::spend(tx, tenant, &id, &input).await })
        })
        .await
}

/// What the provider says went wrong, in its own words, shortened and on one line; it is text in JSON, and never HTML.
#[must_use]
pub fn provider_error(answer: &Answer) -> Option<Error> {
    let error = answer.error.as_deref()?;
    let clean = |text: &str| text.chars().filter(|c| !c.is_control()).take(300).collect::<String>();
    let what = answer.error_description.as_deref().filter(|text| !text.is_empty()).unwrap_or(error);
    let more = answer.error_uri.as_deref().map(|uri| format!(", read more at: {}", clean(uri))).unwrap_or_default();
    Some(Error::unauthorized(format!("{}{more}", clean(what))))
}

/// `expected` and `required` are what was stored at the start.
fn same_browser(tenant: &Tenant, expected: Option<&[u8]>, required: bool, browser: Browser<'_>) -> Result<()> {
    let shown = browser.cookie.map(|cookie| sha256(&[cookie.as_bytes()]));
    let same = shown.is_some_and(|shown| expected == Some(shown.as_slice()));
    if same || !(required || browser.must_show(tenant)) {
        return Ok(());
    }
    Err(Error::unauthorized("This sign-in was begun in another browser, or without cookies"))
}

#[expect(clippy::too_many_arguments, reason = "each is one of the things that one exchange is bound to")]
async fn ask(
    engine: &Engine,
    tenant: &Tenant,
    name: &str,
    settings: &ProviderSettings,
    state: &State,
    away: &Away,
    code: &str,
    answer: &Answer,
) -> Result<Claims> {
    if code.len() > LONGEST {
        return Err(Error::unauthorized("Authentication failed"));
    }
    let secrets = state.secrets(engine, tenant.id);
    let flow = secrets.flow(engine, tenant.id, name, settings, &away.redirect_uri);
    let returned = Returned { code, iss: answer.iss.as_deref(), user: answer.user.as_deref() };
    engine.providers.claims(flow, returned).await.map_err(|refused| unauthorized(tenant, name, refused))
}

fn unauthorized(tenant: &Tenant, name: &str, refused: Refusal) -> Error {
    tracing::warn!(tenant = tenant.slug, provider = name, reason = refused.detail, "a third party's sign-in was refused");
    Error::unauthorized(refused.message)
}

/// Where a browser goes from the server's own callback.
#[derive(Debug)]
pub struct Handover {
    /// The shop's page, with `code` and `state`, or with what the provider says went wrong.
    pub location: Url,
}

/// Ends a sign-in of any shop at the server's own callback: the shop's page gets a one-time code, never a token.
///
/// # Errors
/// `Unauthorized` where no state says whose sign-in it is.
pub async fn arrive_shared(engine: &Engine, name: &str, answer: &Answer) -> Result<Handover> {
    let state = answer.state.as_deref().and_then(State::parse).ok_or_else(no_state)?;
    let tenant = super::tenant::by_id(engine, state.tenant).await?.ok_or_else(no_state)?;
    let settings = provider(&tenant, name).map_err(|_| no_state())?;
    let away = spend(engine, &state, name).await?.ok_or_else(no_state)?;
    let page = away.return_to.as_deref().and_then(|page| Url::parse(page).ok()).ok_or_else(no_state)?;
    let outcome = match (provider_error(answer), answer.code.as_deref().filter(|code| !code.is_empty())) {
        (Some(refusal), _) => Err(refusal),
        (None, None) => Err(Error::unauthorized("No code provided")),
        (None, Some(code)) => ask(engine, &tenant, name, settings, &state, &away, code, answer).await,
    };
    let mut location = page.clone();
    let claims = match outcome {
        Ok(claims) => claims,
        Err(refusal) => {
            location.query_pairs_mut().append_pair("error", "access_denied").append_pair("error_description", &refusal.message);
            location.query_pairs_mut().append_pair("state", &state.text);
            return Ok(Handover { location });
        }
    };
    let code = format!("{CODE}{}", URL_SAFE_NO_PAD.encode(engine.rng.bytes::<32>()));
    let arrival = Arrival { actor: away.actor.clone(), provider: name.to_owned(), claims };
    let page = Page { origin: page.origin().ascii_serialization(), browser: away.browser.clone(), browser_required: away.browser_required };
    let expires_at = engine.clock.now().after(HAND_OVER);
    account::hand_over(engine, &tenant, arrival, code_id(&code, &state.text), page, expires_at).await?;
    location.query_pairs_mut().append_pair("code", &code).append_pair("state", &state.text);
    Ok(Handover { location })
}

/// Changes a one-time code for a token, once, and for the page and the browser that it was made for.
#[expect(clippy::too_many_arguments, reason = "each is one of the things that a code is bound to")]
async fn redeem(
    engine: &Arc<Engine>,
    tenant: &Arc<Tenant>,
    actor: &ActorType,
    name: &str,
    code: &str,
    answer: &Answer,
    browser: Browser<'_>,
    origin: Option<&str>,
    receipt: &Receipt<Arrived>,
) -> Result<Arrived> {
    let id = code_id(code, answer.state.as_deref().ok_or_else(no_state)?);
    let over = spend_code(engine, tenant, actor, name, id).await?.filter(|over| !is_foreign(over, origin)).ok_or_else(no_state)?;
    same_browser(tenant, over.browser.as_deref(), over.browser_required, browser)?;
    let new = session::draw(engine, tenant, browser.user_agent);
    let (tenant_id, login) = (tenant.id, over.identity);
    let input = Arc::new((engine.clone(), tenant.clone(), new, receipt.clone()));
    let account_exists = over.account_exists;
    let arrived = engine
        .db
        .write(move |tx| {
            let input = input.clone();
            Box::pin(async move {
                let (engine, tenant, new, receipt) = &*input;
                // The lock orders this against the login's removal, which ends its sessions: this one would be born after.
                if !store::identity::lock(tx, tenant_id, login).await? {
                    return Ok(None);
                }
                let Some(identity) = store::identity::by_id(tx, tenant_id, login).await? else { return Ok(None) };
                session::begin(tx, tenant, new, &identity).await?;
                let arrived = Arrived { token: session::token(engine, tenant, new, &identity)?, account_exists };
                receipt.settle(tx, &arrived, Some(new.id())).await?;
                Ok(Some(arrived))
            })
        })
        .await?;
    engine.outbox.wake();
    arrived.ok_or_else(no_state)
}

async fn spend_code(engine: &Engine, tenant: &Tenant, actor: &ActorType, name: &str, id: [u8; 32]) -> Result<Option<HandedOver>> {
    let input = Arc::new((tenant.id, actor.clone(), name.to_owned()));
    engine
        .db
        .write(move |tx| {
            let input = input.clone();
            Box::pin(async move { store::callback::redeem(tx, input.0, &id, &input.1, &input.2).await })
        })
        .await
}

/// What is stored of a one-time code and the state that it belongs to.
fn code_id(code: &str, state: &str) -> [u8; 32] {
    sha256(&[code.as_bytes(), b"\0", state.as_bytes()])
}

/// Whether a page at another origin redeems: browsers name theirs in every call that a page could read the answer of.
fn is_foreign(over: &HandedOver, origin: Option<&str>) -> bool {
    origin.is_some_and(|origin| origin != over.origin)
}

/// `base64url(tenant id ‖ 32 random bytes)`: a value that comes back to no tenant's host names its tenant itself.
struct State {
    tenant: TenantId,
    text: String,
}

impl State {
    fn draw(engine: &Engine, tenant: TenantId) -> Self {
        let bytes = [tenant.0.to_bytes().as_slice(), &engine.rng.bytes::<32>()].concat();
        Self { tenant, text: URL_SAFE_NO_PAD.encode(bytes) }
    }

    fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; 48] = URL_SAFE_NO_PAD.decode(text.get(..64).filter(|_| text.len() == 64)?).ok()?.try_into().ok()?;
        let (tenant, _) = bytes.split_first_chunk::<16>()?;
        Some(Self { tenant: TenantId(ulid::Ulid::from_bytes(*tenant)), text: text.to_owned() })
    }

    /// What is stored of it.
    fn id(&self) -> [u8; 32] {
        sha256(&[self.text.as_bytes()])
    }

    /// Code verifier and nonce follow from the state and the tenant's key, so neither needs to rest anywhere.
    fn secrets(&self, engine: &Engine, tenant: TenantId) -> Secrets {
        let derive = |purpose: &str| URL_SAFE_NO_PAD.encode(engine.master.authenticate("callback", tenant, &[purpose, "\0", &self.text]));
        Secrets { code_verifier: derive("code_verifier"), nonce: derive("nonce") }
    }
}

struct Secrets {
    code_verifier: String,
    nonce: String,
}

impl Secrets {
    fn flow<'a>(&'a self, engine: &'a Engine, tenant: TenantId, name: &'a str, settings: &'a ProviderSettings, redirect_uri: &'a str) -> Flow<'a> {
        let Self { code_verifier, nonce } = self;
        Flow { http: &engine.http, clock: &engine.clock, tenant, name, settings, redirect_uri, nonce, code_verifier }
    }
}

/// What an operator should mend: each provider that is closed because its settings are wrong.
#[must_use]
pub fn warnings(settings: &TenantSettings) -> Vec<String> {
    let closed = settings.providers.iter().filter_map(|(name, provider)| Some((name, check(name, provider).err()?)));
    closed.map(|(name, what)| format!("tenant {}: the provider {name} is closed: {what}", settings.slug)).collect()
}

/// What `GET /auth/{actor_type}/providers` lists.
#[derive(Debug, PartialEq, Eq)]
pub struct Listed {
    pub identifier: String,
    pub display_name: String,
    /// `credentials` or `redirect`.
    pub flow: &'static str,
}

/// The providers that `actor` may use here.
#[must_use]
pub fn list(tenant: &Tenant, actor: &ActorType) -> Vec<Listed> {
    let local = Listed { identifier: "emailpass".to_owned(), display_name: "Email/Password Authentication".to_owned(), flow: "credentials" };
    let others = tenant.settings.providers.iter().map(|(name, settings)| Listed {
        identifier: name.clone(),
        display_name: settings.display_name(name),
        flow: "redirect",
    });
    others.chain([local]).filter(|provider| tenant.allows(actor, &provider.identifier)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_names_its_tenant() {
        let tenant = TenantId(ulid::Ulid(7));
        let text = URL_SAFE_NO_PAD.encode([tenant.0.to_bytes().as_slice(), &[9; 32]].concat());
        assert_eq!((text.len(), State::parse(&text).unwrap().tenant), (64, tenant));
        let padded = format!("{text}=");
        for wrong in ["", "deadbeef", padded.as_str(), text.get(1..).unwrap(), &"ü".repeat(32)] {
            assert!(State::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn r108_what_a_provider_says_is_one_short_line() {
        let answer = |error: &str, description: Option<&str>, uri: Option<&str>| Answer {
            error: Some(error.to_owned()),
            error_description: description.map(str::to_owned),
            error_uri: uri.map(str::to_owned),
            ..Answer::default()
        };
        let text = |answer: Answer| provider_error(&answer).unwrap().message;
        assert_eq!(text(answer("access_denied", Some("User denied"), Some("https://x/y"))), "User denied, read more at: https://x/y");
        assert_eq!(text(answer("access_denied", None, None)), "access_denied");
        assert_eq!(text(answer("x", Some("a\r\nb"), None)), "ab");
        assert_eq!(text(answer(&"x".repeat(5_000), None, None)).len(), 300);
        assert!(provider_error(&Answer::default()).is_none());
    }
}
