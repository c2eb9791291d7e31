//! What can go wrong, in the product's words. The server alone turns these into HTTP.

use std::borrow::Cow;
use std::time::Duration;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The kinds of failure. `docs/errors.md` describes each; the server maps each to one status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// The request's data breaks a rule that the message names.
    InvalidData,
    /// The request is well formed, and this tenant does not allow it.
    NotAllowed,
    /// Credentials were given and refused; the message says in which words.
    Unauthorized,
    /// No usable credentials; the message is always `Unauthorized`.
    Unauthenticated,
    /// The caller is known, and may not do this, or not now.
    Forbidden,
    /// There is no such thing in this tenant.
    NotFound,
    /// It was there and is no longer kept.
    Gone,
    /// A unique value is taken.
    Duplicate,
    /// Another request changed the same rows; a retry may pass.
    Conflict,
    /// A budget is spent; `retry_after` says when it refills.
    TooManyRequests,
    /// The server sheds load or the database is out of reach; nothing was changed, or the message says that it is unknown.
    Busy,
    /// A password could not be hashed.
    HashingFailed,
    /// The database refused a statement.
    StorageFailed,
    /// A defect of ours.
    Unexpected,
}

/// A failure. `message` is for the caller, `detail` for the log alone.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{code:?}: {message}{}", detail.as_deref().map(|d| format!(" ({d})")).unwrap_or_default())]
pub struct Error {
    pub code: Code,
    pub message: Cow<'static, str>,
    pub detail: Option<String>,
    pub retry_after: Option<Duration>,
}

impl Error {
    #[must_use]
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), detail: None, retry_after: None }
    }

    #[must_use]
    pub fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::InvalidData, message)
    }

    #[must_use]
    pub fn unauthorized(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::Unauthorized, message)
    }

    #[must_use]
    pub fn unauthenticated() -> Self {
        Self::new(Code::Unauthenticated, "Unauthorized")
    }

    /// A budget is spent.
    #[must_use]
    pub fn too_many(retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(Code::TooManyRequests, "Too many requests. Please try again later.") }
    }

    /// Another request is at the same thing; the caller may try again.
    #[must_use]
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(Code::Conflict, "The request conflicted with another request. You may retry the request with the provided Idempotency-Key.")
            .with_detail(detail)
    }

    /// Load is shed or the database is away: worth a retry in a second.
    #[must_use]
    pub fn busy(detail: impl Into<String>) -> Self {
        Self {
            retry_after: Some(Duration::from_secs(1)),
            ..Self::new(Code::Busy, "The service is busy. Please try again shortly.").with_detail(detail)
        }
    }

    /// The connection was lost while the change was being committed, so nobody knows whether it is stored.
    #[must_use]
    pub fn outcome_unknown(detail: impl Into<String>) -> Self {
        Self { message: "The connection to the database was lost; the request may or may not have taken effect.".into(), ..Self::busy(detail) }
    }

    #[must_use]
    pub fn storage(detail: impl Into<String>) -> Self {
        Self::new(Code::StorageFailed, "An error occurred while accessing the database").with_detail(detail)
    }

    /// A defect of ours; the caller learns nothing of it.
    #[must_use]
    pub fn unexpected(detail: impl Into<String>) -> Self {
        Self::new(Code::Unexpected, "An unknown error occurred.").with_detail(detail)
    }

    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }
}
