//! What a client has already: an answer that has not changed is not sent again (RFC 9110, 13.1.2).

use aws_lc_rs::digest::{SHA256, digest};
use axum::body::{Body, HttpBody as _};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::BodyExt;

use super::body::LIMIT;

/// The tags of a request for something that can be read.
#[derive(Debug, Default)]
pub struct Known(Option<Vec<String>>);

impl Known {
    #[must_use]
    pub fn of(method: &Method, headers: &HeaderMap) -> Self {
        let lists = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|list| list.to_str().ok());
        let tags = lists.flat_map(|list| list.split(',')).map(|tag| tag.trim().to_owned()).collect();
        Self((*method == Method::GET).then_some(tags))
    }

    /// `response` with a tag of its body, or 304 if the client has that body. Answers without a length, which are no API's, stay as they are.
    pub async fn answer(&self, response: Response) -> Response {
        let Some(tags) = &self.0 else { return response };
        let short = response.body().size_hint().exact().is_some_and(|length| length > 0 && length <= LIMIT as u64 * 10);
        if response.status() != StatusCode::OK || !short {
            return response;
        }
        let (mut parts, body) = response.into_parts();
        let Ok(body) = body.collect().await.map(http_body_util::Collected::to_bytes) else {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        };
        let tag = tag(&body);
        let known = tags.iter().any(|known| known == "*" || known.trim_start_matches("W/") == tag.trim_start_matches("W/"));
        parts.headers.extend(HeaderValue::try_from(tag).ok().map(|tag| (header::ETAG, tag)));
        if !known {
            return Response::from_parts(parts, Body::from(body));
        }
        parts.status = StatusCode::NOT_MODIFIED;
        parts.headers.remove(header::CONTENT_TYPE);
        parts.headers.remove(header::CONTENT_LENGTH);
        Response::from_parts(parts, Body::empty())
    }
}

/// Half of the hash, which nobody meets by chance. Weak, because a proxy may compress what is tagged.
fn tag(body: &[u8]) -> String {
    let hash = digest(&SHA256, body);
    ["W/\"", &URL_SAFE_NO_PAD.encode(hash.as_ref().get(..16).unwrap_or_default()), "\""].concat()
}
