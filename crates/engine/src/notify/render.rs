//! Mails from templates. The templates are ours and embedded; what a shop or a person typed is only ever a value in them.

use std::sync::LazyLock;

use minijinja::value::{Serde, ValueKind};
use minijinja::{AutoEscape, Environment, Output, State, UndefinedBehavior, Value};
use serde::Serialize;
use url::Url;

use crate::error::{Error, Result};
pub use crate::model::tenant::Message;

/// More steps than any template takes.
const FUEL: u64 = 10_000;
/// The one file whose values are escaped.
const HTML: &str = "body.html";
/// A name that is longer is cut.
const NAME_LIMIT: usize = 100;

/// A finished mail.
#[derive(Clone, PartialEq, Eq)]
pub struct Rendered {
    pub subject: String,
    pub text: String,
    pub html: String,
}

/// What the templates may use. A field that is `None` and used all the same is an error.
#[derive(Clone, Serialize)]
pub struct MailContext {
    /// The shop's name.
    pub shop: String,
    /// The address of the account.
    pub address: String,
    /// The reset link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// How many minutes the link lives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minutes: Option<u64>,
}

/// Renders `message` in the language that suits `locale` best: itself (`de-AT`), its language (`de`), English.
///
/// # Errors
/// If the context lacks something that the message needs, or its link is no web address.
pub fn render(message: Message, locale: Option<&str>, context: &MailContext) -> Result<Rendered> {
    let context = MailContext { shop: plain(&context.shop).chars().take(NAME_LIMIT).collect(), address: plain(&context.address), ..context.clone() };
    if context.url.as_deref().is_some_and(|url| !is_web_link(url)) {
        return Err(Error::unexpected("the link of a mail is no http or https URL"));
    }
    let locale = language(locale).locale;
    let one = |file: &str| {
        let name = format!("{}/{locale}/{file}", message.as_str());
        let defect = |e: minijinja::Error| Error::unexpected(format!("the mail template {name}: {}", e.kind()));
        TEMPLATES.get_template(&name).and_then(|template| template.render(Value::from(Serde(&context)))).map_err(defect)
    };
    Ok(Rendered { subject: plain(&one("subject.txt")?), text: one("body.txt")?, html: one(HTML)? })
}

/// The templates of one message in one language.
struct Texts {
    subject: &'static str,
    text: &'static str,
    html: &'static str,
}

struct Language {
    locale: &'static str,
    password_reset: Texts,
    password_changed: Texts,
}

impl Language {
    const fn texts(&self, message: Message) -> &Texts {
        match message {
            Message::PasswordReset => &self.password_reset,
            Message::PasswordChanged => &self.password_changed,
        }
    }
}

macro_rules! template {
    ($message:literal, $locale:literal, $file:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/mail/", $message, "/", $locale, "/", $file))
    };
}

macro_rules! texts {
    ($message:literal, $locale:literal) => {
        Texts {
            subject: template!($message, $locale, "subject.txt"),
            text: template!($message, $locale, "body.txt"),
            html: template!($message, $locale, "body.html"),
        }
    };
}

macro_rules! language {
    ($locale:literal) => {
        Language { locale: $locale, password_reset: texts!("password_reset", $locale), password_changed: texts!("password_changed", $locale) }
    };
}

const ENGLISH: Language = language!("en");

/// A further language is its files under `mail/` and a line here.
const LANGUAGES: &[Language] = &[ENGLISH];

fn language(locale: Option<&str>) -> &'static Language {
    let wanted = locale.unwrap_or_default().replace('_', "-");
    let primary = wanted.split('-').next().unwrap_or_default();
    let find = |name: &str| LANGUAGES.iter().find(|language| language.locale.eq_ignore_ascii_case(name));
    find(&wanted).or_else(|| find(primary)).unwrap_or(&ENGLISH)
}

/// Only what the templates use exists: no filters, no functions, no loading.
fn environment() -> Environment<'static> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.set_auto_escape_callback(|name| if name.ends_with(HTML) { AutoEscape::Html } else { AutoEscape::None });
    environment.set_formatter(write_value);
    environment
}

/// Each template is compiled once.
static TEMPLATES: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = environment();
    environment.set_loader(|name| Ok(source(name)));
    environment
});

/// The template called `{message}/{locale}/{file}`.
fn source(name: &str) -> Option<&'static str> {
    let mut parts = name.split('/');
    let (message, locale, file) = (parts.next()?, parts.next()?, parts.next()?);
    let message = Message::ALL.into_iter().find(|known| known.as_str() == message)?;
    let texts = LANGUAGES.iter().find(|known| known.locale == locale)?.texts(message);
    match file {
        "subject.txt" => Some(texts.subject),
        "body.txt" => Some(texts.text),
        HTML => Some(texts.html),
        _ => None,
    }
}

/// Escapes for HTML text and quoted attributes. Slashes stay, so that a link in the source is still a link.
fn write_value(out: &mut Output, state: &mut State, value: &Value) -> Result<(), minijinja::Error> {
    let text = value.to_string();
    if matches!(state.auto_escape(), AutoEscape::None) || value.kind() == ValueKind::Number {
        return out.write_str(&text).map_err(Into::into);
    }
    text.chars()
        .try_for_each(|c| match c {
            '&' => out.write_str("&amp;"),
            '<' => out.write_str("&lt;"),
            '>' => out.write_str("&gt;"),
            '"' => out.write_str("&quot;"),
            '\'' => out.write_str("&#39;"),
            c => out.write_str(c.encode_utf8(&mut [0; 4])),
        })
        .map_err(Into::into)
}

/// One line without control characters and without marks that turn the direction of writing.
fn plain(text: &str) -> String {
    let hidden = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let spaced: String = text.chars().filter(|c| !hidden(*c)).map(|c| if c.is_control() { ' ' } else { c }).collect();
    spaced.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn is_web_link(url: &str) -> bool {
    !url.contains(|c: char| c.is_whitespace() || c.is_control())
        && Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "https" | "http") && url.has_host())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: &str = "https://acme.example/reset-password?from=mail&token=a.b-c_d";

    fn context(shop: &str) -> MailContext {
        MailContext { shop: shop.to_owned(), address: "ann@example.com".to_owned(), url: Some(LINK.to_owned()), minutes: Some(15) }
    }

    #[test]
    fn every_message_renders_in_every_language() {
        for language in LANGUAGES {
            for message in Message::ALL {
                let mail = render(message, Some(language.locale), &context("Acme")).unwrap();
                for part in [&mail.subject, &mail.text, &mail.html] {
                    assert!(part.contains("Acme") && !part.contains("{{") && !part.contains("{%"), "{} {part}", language.locale);
                }
                assert!(!mail.subject.contains('\n') && mail.subject.trim() == mail.subject && mail.subject.len() < 78);
                assert!(mail.text.contains("ann@example.com") && mail.html.contains("ann@example.com"));
                assert!(mail.text.lines().all(|line| line.len() <= 78), "{}", mail.text);
                for remote in ["src=", "url(", "<link", "<script", "@import"] {
                    assert!(!mail.html.contains(remote), "{remote}");
                }
            }
        }
    }

    #[test]
    fn the_reset_mail_holds_the_link_in_both_parts() {
        let mail = render(Message::PasswordReset, None, &context("Acme")).unwrap();
        assert!(mail.text.lines().any(|line| line == LINK), "{}", mail.text);
        let escaped = LINK.replace('&', "&amp;");
        assert!(mail.html.contains(&format!("href=\"{escaped}\"")), "{}", mail.html);
        assert_eq!(mail.html.matches(&escaped).count(), 3, "{}", mail.html);
        assert!(!mail.html.contains(LINK));
        assert!(mail.text.contains("15 minutes") && mail.html.contains("15 minutes"));
        let mail = render(Message::PasswordReset, None, &MailContext { minutes: Some(1), ..context("Acme") }).unwrap();
        assert!(mail.text.contains("1 minute ") || mail.text.contains("1 minute.") || mail.text.contains("1 minute,"), "{}", mail.text);
    }

    #[test]
    fn what_others_typed_stays_literal() {
        for name in ["{{7*7}}", "{% if true %}", "${7*7}", "<% 7 %>", "<script>alert(1)</script>", r#"O'Neill & "Sons""#, "{# gone #}"] {
            let escaped = name.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;");
            for message in Message::ALL {
                let mail = render(message, Some("en"), &context(name)).unwrap();
                assert!(mail.subject.contains(name) && mail.text.contains(name), "{name}");
                assert!(mail.html.contains(&escaped), "{name}");
                assert!(escaped == name || !mail.html.contains(name), "{name}");
            }
        }
    }

    #[test]
    fn a_name_cannot_leave_its_line() {
        let mail = render(Message::PasswordReset, None, &context("Acme\r\nBcc: evil@example.com\u{0}\u{2028}x\u{202e}y")).unwrap();
        assert!(mail.subject.contains("Acme Bcc: evil@example.com xy"), "{}", mail.subject);
        assert!(!mail.subject.contains(char::is_control));
        assert!(!mail.text.contains("\nBcc:"));
        let mail = render(Message::PasswordReset, None, &context(&"x".repeat(5_000))).unwrap();
        assert!(mail.subject.len() < 200);
    }

    #[test]
    fn what_is_missing_is_an_error() {
        for context in [MailContext { url: None, ..context("Acme") }, MailContext { minutes: None, ..context("Acme") }] {
            assert!(render(Message::PasswordReset, None, &context).is_err());
            assert!(render(Message::PasswordChanged, None, &context).is_ok());
        }
        for url in ["javascript:alert(1)", "/reset", "https://acme.example/a b", "https://acme.example/\nx", "data:text/html,x", ""] {
            assert!(render(Message::PasswordReset, None, &MailContext { url: Some(url.to_owned()), ..context("Acme") }).is_err(), "{url}");
        }
        let one = |source: &str, shop: &str| environment().render_named_str("body.txt", source, Value::from(Serde(context(shop))));
        assert!(one("{{ nothing }}", "Acme").is_err());
        assert!(one("{% for x in shop %}{% for y in shop %}{{ y }}{% endfor %}{% endfor %}", &"x".repeat(900)).is_err());
    }

    #[test]
    fn a_locale_falls_back_to_its_language_and_to_english() {
        for locale in [None, Some("en"), Some("EN"), Some("en-GB"), Some("en_US"), Some("tlh"), Some(""), Some("../../etc")] {
            assert_eq!(language(locale).locale, "en");
        }
    }
}
