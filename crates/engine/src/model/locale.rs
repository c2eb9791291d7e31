//! Names of languages.

/// Letters, digits and hyphens, as in `pt-BR`: nothing that could change a URL or a path around it.
#[must_use]
pub fn is_locale(text: &str) -> bool {
    (2..=16).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// The language of a locale, without its region: `pt` of `pt-BR`.
#[must_use]
pub fn language(locale: &str) -> &str {
    locale.split(['-', '_']).next().unwrap_or_default()
}
