//! `GET /openapi.json`: what this API is, for programs. It is the same for every store.

use std::sync::LazyLock;

use http::{HeaderValue, header};

use crate::openapi;

static TEXT: LazyLock<String> = LazyLock::new(openapi::text);

pub async fn get() -> ([(header::HeaderName, HeaderValue); 2], &'static str) {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300")),
    ];
    (headers, &TEXT)
}
