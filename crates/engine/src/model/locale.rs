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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locale_is_2_to_16_letters_digits_and_hyphens() {
        for (text, is) in [
            ("de", true),
            ("pt-BR", true),
            ("es-419", true),
            ("abcdefgh-ijklmno", true),
            ("abcdefgh-ijklmnop", false),
            ("d", false),
            ("", false),
            ("de_AT", false),
            ("de/../x", false),
            ("dé", false),
            ("de AT", false),
        ] {
            assert_eq!(is_locale(text), is, "{text}");
        }
    }

    #[test]
    fn the_language_stands_before_the_region() {
        for (locale, named) in [("de", "de"), ("pt-BR", "pt"), ("zh-Hant-TW", "zh"), ("de_AT", "de"), ("", "")] {
            assert_eq!(language(locale), named, "{locale}");
        }
    }
}
