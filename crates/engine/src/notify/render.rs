//! Mails from templates: the built-in ones, which are embedded, and a shop's own. What a person typed is only ever a value in them.

use std::sync::LazyLock;

use minijinja::value::{Serde, ValueKind};
use minijinja::{AutoEscape, Environment, Output, State, UndefinedBehavior, Value};
use serde::Serialize;
use serde_json::Map;
use url::Url;

use super::Content;
use crate::error::{Error, Result};
use crate::model::locale::language;
pub use crate::model::template::Template;
pub use crate::model::tenant::Message;

/// More steps than any template takes.
const FUEL: u64 = 10_000;
/// The one file whose values are escaped.
const HTML: &str = "body.html";
/// A name that is longer is cut.
const NAME_LIMIT: usize = 100;
/// The language that has every message.
const FALLBACK: &str = "en";

/// The built-in templates: `{message}/{locale}/{file}` and the text.
static FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/mail.rs"));

/// The part of a message that a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Subject,
    Text,
    Html,
}

impl Part {
    pub(super) const ALL: [Self; 3] = [Self::Subject, Self::Text, Self::Html];

    pub(super) const fn file(self) -> &'static str {
        match self {
            Self::Subject => "subject.txt",
            Self::Text => "body.txt",
            Self::Html => HTML,
        }
    }

    pub(super) fn of(self, template: &Template) -> Option<&str> {
        match self {
            Self::Subject => template.subject.as_deref(),
            Self::Text => template.text.as_deref(),
            Self::Html => template.html.as_deref(),
        }
    }
}

/// A finished mail.
pub struct Rendered {
    /// The language that was found for it.
    pub locale: String,
    /// The sender that the shop wants for this message.
    pub sender: Option<String>,
    pub content: Content,
    /// The files in whose place the shop's own words stand.
    pub own: Vec<&'static str>,
    /// What of the shop's own words could not be used, in sentences for the operator.
    pub faults: Vec<String>,
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

impl MailContext {
    /// The same as data, for providers.
    pub fn into_data(self) -> Result<Map<String, serde_json::Value>> {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::Object(data)) => Ok(data),
            _ => Err(Error::unexpected("the context of a mail is no object")),
        }
    }
}

/// Renders `message` in the first language of `wanted` that there is, each as it is (`de-AT`) or without its region (`de`); else in English.
/// The shop's `own` words come before the built-in ones, which stand in for what cannot be rendered.
///
/// # Errors
/// If the context lacks something that the message needs, or its link is no web address.
pub fn render(message: Message, wanted: &[String], own: &[Template], context: &MailContext) -> Result<Rendered> {
    let context = MailContext { shop: plain(&context.shop).chars().take(NAME_LIMIT).collect(), address: plain(&context.address), ..context.clone() };
    if context.url.as_deref().is_some_and(|url| !is_web_link(url)) {
        return Err(Error::unexpected("the link of a mail is no http or https URL"));
    }
    let own: Vec<&Template> = own.iter().filter(|template| template.message == message).collect();
    let locale = choose(message, wanted, &own);
    let mut near: Vec<&Template> = own.iter().copied().filter(|template| template.locale == locale).collect();
    near.extend(own.iter().copied().filter(|template| template.locale != locale && template.locale == language(&locale)));
    let (mut used, mut faults) = (Vec::new(), Vec::new());
    let mut one = |part: Part| {
        if let Some(template) = near.iter().find(|template| part.of(template).is_some()) {
            match try_own(part, part.of(template).unwrap_or_default(), &context) {
                Ok(text) => {
                    used.push(part.file());
                    return Ok(text);
                }
                Err(why) => faults.push(format!("{} of {} in {}: {why}", part.file(), message.as_str(), template.locale)),
            }
        }
        built_in(message, &locale, part, &context)
    };
    let words = Content { subject: plain(&one(Part::Subject)?), text: one(Part::Text)?, html: one(Part::Html)? };
    let sender = near.iter().find_map(|template| template.sender.clone());
    Ok(Rendered { locale, sender, content: words, own: used, faults })
}

/// A part of a shop's own, rendered in the sandbox.
pub(super) fn try_own(part: Part, source: &str, context: &MailContext) -> std::result::Result<String, String> {
    super::template::grammar(source)?;
    environment().render_named_str(part.file(), source, Value::from(Serde(context))).map_err(|e| e.kind().to_string())
}

fn built_in(message: Message, locale: &str, part: Part, context: &MailContext) -> Result<String> {
    let name = |locale: &str| format!("{}/{locale}/{}", message.as_str(), part.file());
    let name = [locale, language(locale)].map(name).into_iter().find(|name| source(name).is_some()).unwrap_or_else(|| name(FALLBACK));
    let defect = |e: minijinja::Error| Error::unexpected(format!("the mail template {name}: {}", e.kind()));
    TEMPLATES.get_template(&name).and_then(|template| template.render(Value::from(Serde(context)))).map_err(defect)
}

/// The name by which a language is known that has words for `message`.
fn choose(message: Message, wanted: &[String], own: &[&Template]) -> String {
    let known = |name: &str| {
        let of_ours = locales(message).find(|locale| locale.eq_ignore_ascii_case(name));
        let of_shop = own.iter().map(|template| template.locale.as_str()).find(|locale| locale.eq_ignore_ascii_case(name));
        of_shop.or(of_ours).map(str::to_owned)
    };
    let mut names = wanted.iter().map(|name| name.replace('_', "-"));
    names.find_map(|name| known(&name).or_else(|| known(language(&name)))).unwrap_or_else(|| FALLBACK.to_owned())
}

/// The languages that have built-in words for `message`.
pub fn locales(message: Message) -> impl Iterator<Item = &'static str> {
    FILES.iter().filter_map(move |(name, _)| name.strip_prefix(message.as_str())?.strip_prefix('/')?.strip_suffix("/body.txt"))
}

/// The built-in words of `message` as they are written, in `locale` or its language. `None`: there are none in it.
#[must_use]
pub fn built_in_words(message: Message, locale: &str) -> Option<Template> {
    let of = |part: Part, locale: &str| source(&format!("{}/{locale}/{}", message.as_str(), part.file())).map(str::to_owned);
    let locale = [locale, language(locale)].into_iter().find(|locale| of(Part::Text, locale).is_some())?;
    let [subject, text, html] = Part::ALL.map(|part| of(part, locale));
    Some(Template { message, locale: locale.to_owned(), sender: None, subject, text, html })
}

/// Only what the templates use exists: no filters, no functions, no loading.
pub(super) fn environment() -> Environment<'static> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.set_auto_escape_callback(|name| if name.ends_with(HTML) { AutoEscape::Html } else { AutoEscape::None });
    environment.set_formatter(write_value);
    environment
}

/// Each built-in template is compiled once.
static TEMPLATES: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = environment();
    environment.set_loader(|name| Ok(source(name)));
    environment
});

/// The template called `{message}/{locale}/{file}`.
fn source(name: &str) -> Option<&'static str> {
    FILES.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// Escapes for HTML text and quoted attributes. Slashes stay, so that a link in the source is still a link.
/// The file decides and nothing that a template says.
fn write_value(out: &mut Output, state: &mut State, value: &Value) -> Result<(), minijinja::Error> {
    let text = value.to_string();
    if !state.name().ends_with(HTML) || value.kind() == ValueKind::Number {
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
#[path = "render_tests.rs"]
mod tests;
