//! Where an issuer is spoken to: built in, configured, or found by OpenID discovery.

use serde_json::{Map, Value};
use url::Url;

use super::exchange::fetch;
use super::{Flow, Providers, Refusal, Returned};
use crate::model::provider::{ProviderSettings, ProviderType};

/// What Microsoft's issuers for many directories write in place of the directory.
pub const TENANT_ID: &str = "{tenantid}";
/// Microsoft's names for many directories at once.
const MANY: [&str; 2] = ["common", "organizations"];
/// The directory of all personal accounts, and its name.
const PERSONAL: [&str; 2] = ["9188040d-6c67-4c5b-b112-36a304b66dad", "consumers"];

/// What a discovery document says.
pub struct Metadata {
    issuer: String,
    authorization: Url,
    token: Url,
    userinfo: Option<Url>,
    jwks: Url,
    iss_announced: bool,
    basic: bool,
}

/// Where to go for one sign-in, and who is expected to answer.
pub struct Endpoints {
    /// The spellings of the issuer that are accepted. One may hold `{tenantid}`.
    pub issuers: Vec<String>,
    pub authorization: Url,
    pub token: Url,
    pub userinfo: Option<Url>,
    pub jwks: Url,
    /// Whether the issuer says that its callbacks carry `iss`: one without is then not the issuer's.
    pub iss_announced: bool,
    /// Whether the token endpoint takes the secret in a header only.
    pub basic: bool,
}

impl Endpoints {
    /// Endpoints that are built in; what the settings name goes before.
    ///
    /// # Errors
    /// If a built-in URL is none: a defect.
    pub fn built_in(settings: &ProviderSettings, issuers: &[&str], [authorization, token, jwks]: [&str; 3]) -> Result<Self, Refusal> {
        Ok(Self {
            issuers: issuers.iter().map(|&issuer| issuer.to_owned()).collect(),
            authorization: chosen(settings.authorization_endpoint.as_ref(), authorization)?,
            token: chosen(settings.token_endpoint.as_ref(), token)?,
            userinfo: settings.userinfo_endpoint.clone(),
            jwks: chosen(settings.jwks_uri.as_ref(), jwks)?,
            iss_announced: false,
            basic: false,
        })
    }

    /// The endpoints of `issuer`, by discovery unless the settings name all that are needed.
    ///
    /// # Errors
    /// If the issuer does not answer, or its document is not its own.
    pub async fn discover(providers: &Providers, flow: Flow<'_>, issuer: &Url) -> Result<Self, Refusal> {
        let settings = flow.settings;
        if let (Some(authorization), Some(token), Some(jwks)) = (&settings.authorization_endpoint, &settings.token_endpoint, &settings.jwks_uri) {
            return Ok(Self {
                issuers: spellings(issuer),
                authorization: authorization.clone(),
                token: token.clone(),
                userinfo: settings.userinfo_endpoint.clone(),
                jwks: jwks.clone(),
                iss_announced: false,
                basic: false,
            });
        }
        let document = document_of(issuer)?;
        let fetched = async || Metadata::read(&fetch(flow.http, &document, &[], "discovery").await?, issuer, settings.kind);
        let found = providers.metadata.get(flow.tenant, &document, flow.clock, |_| true, fetched).await?;
        Ok(Self {
            issuers: vec![found.issuer.clone()],
            authorization: settings.authorization_endpoint.clone().unwrap_or_else(|| found.authorization.clone()),
            token: settings.token_endpoint.clone().unwrap_or_else(|| found.token.clone()),
            userinfo: settings.userinfo_endpoint.clone().or_else(|| found.userinfo.clone()),
            jwks: settings.jwks_uri.clone().unwrap_or_else(|| found.jwks.clone()),
            iss_announced: found.iss_announced,
            basic: found.basic,
        })
    }

    /// Whether the callback is this issuer's, as far as its `iss` parameter tells (RFC 9207).
    ///
    /// # Errors
    /// If it names another, or is missing although the issuer announces it.
    pub fn check_iss(&self, returned: Returned<'_>) -> Result<(), Refusal> {
        match returned.iss {
            None if self.iss_announced => Err(Refusal::failed("the callback has no iss parameter, which the issuer announces")),
            Some(iss) if !self.issuers.iter().any(|issuer| is_issuer(issuer, iss)) => {
                Err(Refusal::failed("the iss parameter of the callback names another issuer"))
            }
            _ => Ok(()),
        }
    }
}

impl Metadata {
    fn read(document: &Map<String, Value>, configured: &Url, kind: ProviderType) -> Result<Self, Refusal> {
        let issuer = document.get("issuer").and_then(Value::as_str).ok_or_else(|| Refusal::failed("discovery: no issuer"))?;
        let microsoft = kind == ProviderType::Microsoft;
        let own = |text: &str| spellings(configured).iter().any(|spelling| spelling == text);
        let [guid, name] = PERSONAL;
        let of_microsoft = || MANY.iter().any(|name| own(&issuer.replace(TENANT_ID, name))) || own(&issuer.replace(guid, name));
        let configured_one = own(issuer) || (microsoft && of_microsoft());
        if !configured_one {
            return Err(Refusal::failed("discovery: the issuer is not the configured one"));
        }
        if issuer.contains(TENANT_ID) && !microsoft {
            return Err(Refusal::failed("discovery: the issuer is a template"));
        }
        let methods = document.get("token_endpoint_auth_methods_supported").and_then(Value::as_array);
        let takes = |name: &str| methods.is_some_and(|methods| methods.iter().any(|method| method == name));
        Ok(Self {
            issuer: issuer.to_owned(),
            authorization: required(document, "authorization_endpoint", configured)?,
            token: required(document, "token_endpoint", configured)?,
            userinfo: optional(document, "userinfo_endpoint", configured)?,
            jwks: required(document, "jwks_uri", configured)?,
            iss_announced: document.get("authorization_response_iss_parameter_supported") == Some(&Value::Bool(true)),
            basic: takes("client_secret_basic") && !takes("client_secret_post"),
        })
    }
}

/// Whether `text` is the issuer `expected`, exactly but for a directory in place of `{tenantid}`.
pub fn is_issuer(expected: &str, text: &str) -> bool {
    match expected.split_once(TENANT_ID) {
        Some((before, after)) => text.strip_prefix(before).and_then(|rest| rest.strip_suffix(after)).is_some_and(is_guid),
        None => expected == text,
    }
}

/// Whether `text` is a GUID in lower case, as Microsoft writes it.
pub fn is_guid(text: &str) -> bool {
    let lengths = text.split('-').map(str::len);
    lengths.eq([8, 4, 4, 4, 12]) && text.bytes().all(|b| matches!(b, b'-' | b'0'..=b'9' | b'a'..=b'f'))
}

/// How `issuer` may be spelt. A URL type does not tell `https://a` from `https://a/`, and issuers use either; apart from that there is one spelling.
fn spellings(issuer: &Url) -> Vec<String> {
    let text = issuer.as_str();
    let bare = text.strip_suffix('/').filter(|_| issuer.path() == "/");
    bare.into_iter().chain([text]).map(str::to_owned).collect()
}

fn document_of(issuer: &Url) -> Result<Url, Refusal> {
    let text = format!("{}/.well-known/openid-configuration", issuer.as_str().trim_end_matches('/'));
    Url::parse(&text).map_err(|e| Refusal::failed(format!("discovery: the issuer makes no URL: {e}")))
}

fn chosen(configured: Option<&Url>, built_in: &str) -> Result<Url, Refusal> {
    match configured {
        Some(url) => Ok(url.clone()),
        None => Url::parse(built_in).map_err(|e| Refusal::failed(format!("a built-in endpoint: {e}"))),
    }
}

fn required(document: &Map<String, Value>, name: &str, issuer: &Url) -> Result<Url, Refusal> {
    optional(document, name, issuer)?.ok_or_else(|| Refusal::failed(format!("discovery: no {name}")))
}

/// An endpoint is as safe as its issuer: `https`, or `http` where the issuer is. The customer's browser goes to one of them.
fn optional(document: &Map<String, Value>, name: &str, issuer: &Url) -> Result<Option<Url>, Refusal> {
    let Some(value) = document.get(name) else { return Ok(None) };
    let url = value.as_str().and_then(|text| Url::parse(text).ok());
    let url = url.filter(|url| url.has_host() && (url.scheme() == "https" || (url.scheme() == "http" && issuer.scheme() == "http")));
    url.map(Some).ok_or_else(|| Refusal::failed(format!("discovery: {name} is no https URL")))
}
