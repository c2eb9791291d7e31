//! A storefront's HTTP client.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{HeaderMap, Method};
use serde_json::{Value, json};

use super::documented;

/// One shop's API.
#[derive(Clone)]
pub struct Shop {
    http: reqwest::Client,
    base: String,
    host: String,
    key: String,
}

/// A request that is being put together.
pub struct Call(reqwest::RequestBuilder);

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Shop {
    pub fn new(base: &str, host: &str, key: &str) -> Self {
        // The client wants a TLS library, although it only speaks plain HTTP here. An error means that it has one.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        #[expect(clippy::disallowed_methods, reason = "a storefront has its own client")]
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap();
        Self { http, base: base.into(), host: host.into(), key: key.into() }
    }

    /// The same client at another host.
    pub fn at(&self, host: &str) -> Self {
        Self { host: host.into(), ..self.clone() }
    }

    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn key(&self) -> &str {
        &self.key
    }

    pub fn call(&self, method: Method, path: &str) -> Call {
        let call = self.http.request(method, format!("{}{path}", self.base)).header("host", &self.host).header("accept", "application/json");
        Call(if path.starts_with("/store") { call.header("x-publishable-api-key", &self.key) } else { call })
    }

    pub fn get(&self, path: &str) -> Call {
        self.call(Method::GET, path)
    }

    pub fn post(&self, path: &str) -> Call {
        self.call(Method::POST, path)
    }

    pub async fn register(&self, address: &str, password: &str) -> Answer {
        self.post("/auth/customer/emailpass/register").json(&json!({"email": address, "password": password})).send().await
    }

    pub async fn sign_in(&self, address: &str, password: &str) -> Answer {
        self.post("/auth/customer/emailpass").json(&json!({"email": address, "password": password})).send().await
    }

    pub async fn request_reset(&self, address: &str) -> Answer {
        self.post("/auth/customer/emailpass/reset-password").json(&json!({"identifier": address})).send().await
    }

    pub async fn complete_reset(&self, token: &str, password: &str) -> Answer {
        self.post("/auth/customer/emailpass/update").bearer(token).json(&json!({"password": password})).send().await
    }

    /// The cookie of the token's session, as a browser sends it back.
    pub async fn cookie(&self, token: &str) -> String {
        let answer = self.post("/auth/session").bearer(token).send().await.expect_status(200);
        answer.header("set-cookie").split(';').next().unwrap().to_owned()
    }

    pub async fn me(&self, token: &str) -> Answer {
        self.get("/store/customers/me").bearer(token).send().await
    }
}

impl Call {
    pub fn header(self, name: &str, value: &str) -> Self {
        // One value per name: what the defaults said is replaced.
        let headers = HeaderMap::from_iter([(
            http::HeaderName::from_bytes(name.as_bytes()).unwrap(),
            http::HeaderValue::from_bytes(value.as_bytes()).unwrap(),
        )]);
        Self(self.0.headers(headers))
    }

    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub fn cookie(self, cookie: &str) -> Self {
        self.header("cookie", cookie)
    }

    pub fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }

    pub fn body(self, body: impl Into<reqwest::Body>) -> Self {
        Self(self.0.body(body))
    }

    pub async fn send(self) -> Answer {
        self.try_send().await.unwrap()
    }

    /// The answer, which is as the API is described.
    ///
    /// An error: the connection broke, and nobody knows what became of the request.
    pub async fn try_send(self) -> reqwest::Result<Answer> {
        let (http, request) = self.0.build_split();
        let request = request?;
        let (method, path) = (request.method().clone(), request.url().path().to_owned());
        let response = http.execute(request).await?;
        let answer = Answer { status: response.status().as_u16(), headers: response.headers().clone(), text: response.text().await? };
        documented::check(&method, &path, &answer);
        Ok(answer)
    }
}

impl Answer {
    #[track_caller]
    pub fn expect_status(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    #[track_caller]
    pub fn expect_error(self, status: u16, message: &str) -> Self {
        let answer = self.expect_status(status);
        assert_eq!(answer.json()["message"], message);
        answer
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("no JSON ({e}): {}", self.text))
    }

    #[track_caller]
    pub fn token(&self) -> String {
        self.json()["token"].as_str().unwrap_or_else(|| panic!("no token: {}", self.text)).to_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|v| v.to_str().unwrap()).unwrap_or_default()
    }
}

/// The `Authorization` of a program that has a secret key.
pub fn basic(key: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{key}:")))
}

/// The claims of a JWT, unverified.
pub fn claims(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

/// The header of a JWT, as it was written.
pub fn header(token: &str) -> String {
    String::from_utf8(URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap()).unwrap()
}
