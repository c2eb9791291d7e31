//! What a shop says in a message instead of the built-in words.

use super::tenant::Message;

/// A shop's own words for a message in a language. What is `None` is the built-in's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    pub message: Message,
    /// `de`, or `de-AT` for a region alone.
    pub locale: String,
    /// `Acme <no-reply@acme.example>` or a bare address.
    pub sender: Option<String>,
    pub subject: Option<String>,
    pub text: Option<String>,
    pub html: Option<String>,
}

impl Template {
    /// Whether it says nothing of its own.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.sender.is_none() && self.subject.is_none() && self.text.is_none() && self.html.is_none()
    }
}
