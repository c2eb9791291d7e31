//! `/app/templates`: what a store's mails say, as they would be sent; and the store's own words for them.

use std::borrow::Cow;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{Html, IntoResponse, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::form_urlencoded::Serializer;
use vestibule_engine::error::{Code, Error};
use vestibule_engine::model::event::Event;
use vestibule_engine::model::locale::is_locale;
use vestibule_engine::model::template::Template;
use vestibule_engine::model::tenant::Message;
use vestibule_engine::notify::preview::{Preview, languages, preview};
use vestibule_engine::notify::render::{built_in_words, locales};
use vestibule_engine::notify::template::check;
use vestibule_engine::{ops, outbox};

use super::console::{Console, led_to, mark};
use super::{page, render, secure};
use crate::error::{ApiError, status};
use crate::extract::App;
use crate::extract::body::Body;

/// The mail's HTML may have styles and embedded pictures: no script, no form, nothing from elsewhere, and it is of no origin.
const MAIL_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'; sandbox";

/// Which mail is looked at, as the browser says it.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    message: String,
    locale: String,
    event: String,
    /// What was done just now.
    done: String,
}

/// The same, understood.
struct Looked {
    message: Message,
    /// The language that was asked for.
    locale: Option<String>,
    event: Option<Event>,
    own: Vec<Template>,
    /// Words that are not kept.
    draft: Option<Template>,
}

type Given = Result<Query<Asked>, QueryRejection>;

/// `GET /app/templates?message=…&locale=…&event=…`.
pub async fn show(State(app): State<App>, console: Console, asked: Given) -> Result<Response, ApiError> {
    let asked = understood(asked)?;
    match look(&app, &console, &asked).await {
        Ok(looked) => {
            let done = match asked.done.as_str() {
                "saved" => Some(Notice::good("Saved. The next mail says so.")),
                "removed" => Some(Notice::good("Removed. The next mail has the built-in words.")),
                _ => None,
            };
            shown(&app, &console, &looked, StatusCode::OK, done).await
        }
        Err(e) => instead(&app, &console, e).await,
    }
}

/// `GET /app/templates/html?…`: the mail's HTML, shown in a sandboxed frame.
pub async fn html(State(app): State<App>, console: Console, asked: Given) -> Result<Response, ApiError> {
    let looked = look(&app, &console, &understood(asked)?).await?;
    Ok(framed(looked.mail(&console)?))
}

/// `POST /app/templates/html`: the same of a draft.
pub async fn draft_html(State(app): State<App>, console: Console, Body(form): Body) -> Result<Response, ApiError> {
    let looked = drafted(&app, &console, &form).await?;
    Ok(framed(looked.mail(&console)?))
}

/// `POST /app/templates/preview`: the page as it would be with the words of the form, which are not kept.
pub async fn draft(State(app): State<App>, console: Console, Body(form): Body) -> Result<Response, ApiError> {
    match drafted(&app, &console, &form).await {
        Ok(looked) => shown(&app, &console, &looked, StatusCode::OK, None).await,
        Err(e) => instead(&app, &console, e).await,
    }
}

/// `POST /app/templates`: keeps the words of the form.
pub async fn save(State(app): State<App>, console: Console, Body(form): Body) -> Result<Response, ApiError> {
    let looked = match drafted(&app, &console, &form).await {
        Ok(looked) => looked,
        Err(e) => return instead(&app, &console, e).await,
    };
    let Some(draft) = looked.draft.clone().filter(|draft| check(draft).is_ok()) else {
        return shown(&app, &console, &looked, StatusCode::BAD_REQUEST, Some(Notice::bad("Not saved: see below what is wrong."))).await;
    };
    ops::template::set(&app.engine, &console.tenant, draft).await?;
    Ok(led_to(&looked.address("saved"), None))
}

/// `POST /app/templates/remove`: goes back to the built-in words.
pub async fn remove(State(app): State<App>, console: Console, Body(form): Body) -> Result<Response, ApiError> {
    // Its words are those that go.
    let looked = match drafted(&app, &console, &form).await {
        Ok(looked) => looked,
        Err(e) => return instead(&app, &console, e).await,
    };
    let locale = looked.locale.as_deref().unwrap_or_default();
    ops::template::remove(&app.engine, &console.tenant, looked.message, locale).await?;
    Ok(led_to(&looked.address("removed"), None))
}

/// `POST /app/templates/send`: sends what the form says to the member who asks, and to nobody else.
pub async fn send(State(app): State<App>, console: Console, Body(form): Body) -> Result<Response, ApiError> {
    let looked = match drafted(&app, &console, &form).await {
        Ok(looked) => looked,
        Err(e) => return instead(&app, &console, e).await,
    };
    if looked.fault().is_some() {
        return shown(&app, &console, &looked, StatusCode::BAD_REQUEST, Some(Notice::bad("Not sent: see below what is wrong."))).await;
    }
    if let Err(e) = ops::template::admit_try(&app.engine, &console.tenant, console.member.id).await {
        if e.code != Code::TooManyRequests {
            return Err(e.into());
        }
        let mut response = shown(&app, &console, &looked, status(e.code), Some(Notice::bad(e.message.clone()))).await?;
        mark(&e, &mut response);
        return Ok(response);
    }
    let (to, key) = (console.member.address.clone(), app.engine.rng.ulid(app.engine.clock.now()).to_string());
    let mail = looked.mail(&console)?.notification(to.clone(), key)?;
    let notice = match outbox::send(&app.engine, &console.tenant, &mail).await {
        Ok(sent) => Notice::good(format!("Sent to {to}. The mail server answered: {}", sent.reply)),
        Err(reply) => Notice::bad(format!("Not sent to {to}: {reply}")),
    };
    shown(&app, &console, &looked, StatusCode::OK, Some(notice)).await
}

fn understood(asked: Given) -> Result<Asked, Error> {
    asked.map(|Query(asked)| asked).map_err(|_| Error::invalid("The query could not be read"))
}

fn text<'f>(form: &'f Value, name: &str) -> &'f str {
    form.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn asked_in(form: &Value) -> Asked {
    let [message, locale, event] = ["message", "locale", "event"].map(|name| text(form, name).to_owned());
    Asked { message, locale, event, done: String::new() }
}

async fn look(app: &App, console: &Console, asked: &Asked) -> Result<Looked, Error> {
    let message = match asked.message.as_str() {
        "" => None,
        name => Some(Message::parse(name).ok_or_else(|| Error::invalid("There is no such message"))?),
    };
    let locale = Some(asked.locale.trim()).filter(|locale| !locale.is_empty()).map(str::to_owned);
    if locale.as_deref().is_some_and(|locale| !is_locale(locale)) {
        return Err(Error::invalid("A language is 2 to 16 letters, digits and hyphens: de or pt-BR, say"));
    }
    let event = match asked.event.trim() {
        "" => None,
        id => {
            let id = id.parse().map_err(|()| Error::invalid("This is no id of an event: evt_… is one"))?;
            let found = ops::template::recorded(&app.engine, &console.tenant, id).await?;
            Some(found.ok_or_else(|| Error::new(Code::NotFound, "There is no such event"))?)
        }
    };
    let of_event = event.as_ref().map(|event| ops::event::message_for(event.name));
    let message = match (message, of_event) {
        (_, Some(None)) => return Err(Error::invalid("No mail is sent for this event")),
        (Some(asked), Some(Some(made))) if asked != made => return Err(Error::invalid("Another mail is sent for this event")),
        (Some(message), _) | (None, Some(Some(message))) => message,
        (None, None) => Message::PasswordReset,
    };
    let own = ops::template::list(&app.engine, &console.tenant).await?;
    Ok(Looked { message, locale, event, own, draft: None })
}

/// What the form says, in the place of what is kept. Browsers send the end of a line as two characters.
async fn drafted(app: &App, console: &Console, form: &Value) -> Result<Looked, Error> {
    let mut looked = look(app, console, &asked_in(form)).await?;
    let locale = looked.locale.clone().ok_or_else(|| Error::invalid("The form names no language"))?;
    let words = |name: &str| Some(text(form, name).replace("\r\n", "\n")).filter(|words| !words.trim().is_empty());
    let line = |name: &str| words(name).map(|words| words.trim().to_owned());
    let (sender, subject) = (line("sender"), line("subject"));
    looked.draft = Some(Template { message: looked.message, locale, sender, subject, text: words("text"), html: words("html") });
    Ok(looked)
}

impl Looked {
    fn mail(&self, console: &Console) -> Result<Preview, Error> {
        let wanted = languages(&console.tenant, self.locale.as_deref(), self.event.as_ref());
        preview(&console.tenant, self.message, &wanted, self.event.as_ref(), self.own.clone(), self.draft.clone())
    }

    /// What is wrong with the draft, if it says anything.
    fn fault(&self) -> Option<String> {
        self.draft.as_ref().filter(|draft| !draft.is_empty()).and_then(|draft| check(draft).err())
    }

    /// The page on which this is looked at, after `done`.
    fn address(&self, done: &str) -> String {
        format!("/app/templates?{}", self.query(&[("done", done)]))
    }

    fn query(&self, more: &[(&str, &str)]) -> String {
        let event = self.event.as_ref().map(|event| event.id.to_string());
        let named = [("message", Some(self.message.as_str())), ("locale", self.locale.as_deref()), ("event", event.as_deref())];
        let named = named.into_iter().filter_map(|(name, value)| Some((name, value?)));
        Serializer::new(String::new()).extend_pairs(named).extend_pairs(more).finish()
    }
}

fn framed(mail: Preview) -> Response {
    let mut response = Html(mail.rendered.content.html).into_response();
    secure(response.headers_mut(), MAIL_POLICY);
    response
}

/// The page of the first mail, with what is wrong with what was asked for.
async fn instead(app: &App, console: &Console, e: Error) -> Result<Response, ApiError> {
    if !matches!(e.code, Code::InvalidData | Code::NotFound) {
        return Err(e.into());
    }
    let looked = look(app, console, &Asked::default()).await?;
    shown(app, console, &looked, status(e.code), Some(Notice::bad(e.message))).await
}

/// What is said above all.
#[derive(Serialize)]
pub struct Notice {
    good: bool,
    text: Cow<'static, str>,
}

impl Notice {
    fn good(text: impl Into<Cow<'static, str>>) -> Self {
        Self { good: true, text: text.into() }
    }

    fn bad(text: impl Into<Cow<'static, str>>) -> Self {
        Self { good: false, text: text.into() }
    }
}

/// The page, for its template.
#[derive(Serialize)]
pub struct TemplatesPage<'a> {
    pub shop: &'a str,
    pub member: &'a str,
    pub notice: Option<Notice>,
    /// Each message in each language that there is for it.
    pub messages: Vec<MessageRow>,
    pub message: &'static str,
    pub title: String,
    /// The language that is looked at and edited.
    pub locale: String,
    pub event: String,
    pub events: Vec<EventRow>,
    pub mail: MailView,
    /// Where the mail's HTML is, unless it is a draft's.
    pub html: Option<String>,
    /// What is wrong with the draft.
    pub fault: Option<String>,
    pub words: Words,
    pub built_in: Words,
    pub has_own: bool,
    pub variables: &'static [&'static str],
}

/// A message and its languages.
#[derive(Serialize)]
pub struct MessageRow {
    name: &'static str,
    title: String,
    locales: Vec<LocaleCell>,
}

#[derive(Serialize)]
struct LocaleCell {
    locale: String,
    own: bool,
    current: bool,
}

/// An event that was told, to choose from.
#[derive(Serialize)]
pub struct EventRow {
    id: String,
    address: String,
    at: String,
}

/// A mail as it would arrive.
#[derive(Serialize)]
pub struct MailView {
    from: String,
    to: String,
    subject: String,
    language: String,
    text: String,
    own: Vec<&'static str>,
    remarks: Vec<String>,
}

/// Words as they are written.
#[derive(Serialize)]
pub struct Words {
    language: String,
    sender: String,
    subject: String,
    text: String,
    html: String,
}

impl From<Template> for Words {
    fn from(template: Template) -> Self {
        let Template { locale, sender, subject, text, html, .. } = template;
        let [sender, subject, text, html] = [sender, subject, text, html].map(Option::unwrap_or_default);
        Self { language: locale, sender, subject, text, html }
    }
}

fn title(message: Message) -> String {
    let words = message.as_str().replace('_', " ");
    words.get(..1).unwrap_or_default().to_uppercase() + words.get(1..).unwrap_or_default()
}

fn rows(own: &[Template], message: Message, current: &str) -> Vec<MessageRow> {
    let row = |of: Message| {
        let own_names = own.iter().filter(|own| own.message == of).map(|own| &*own.locale);
        let mut names: Vec<&str> = locales(of).map(|name| name as &str).chain(own_names).collect();
        names.sort_unstable();
        names.dedup();
        let cell = |name: &str| LocaleCell {
            locale: name.to_owned(),
            own: own.iter().any(|own| own.message == of && own.locale == name),
            current: of == message && name == current,
        };
        MessageRow { name: of.as_str(), title: title(of), locales: names.into_iter().map(cell).collect() }
    };
    Message::ALL.into_iter().map(row).collect()
}

fn viewed(mail: Preview) -> MailView {
    let Preview { from, rendered, to, remarks, .. } = mail;
    let content = rendered.content;
    MailView {
        from: from.unwrap_or_default(),
        to,
        subject: content.subject,
        language: rendered.locale,
        text: content.text,
        own: rendered.own,
        remarks,
    }
}

async fn shown(app: &App, console: &Console, looked: &Looked, status: StatusCode, notice: Option<Notice>) -> Result<Response, ApiError> {
    let Looked { message, own, draft, .. } = looked;
    let mail = viewed(looked.mail(console)?);
    let locale = looked.locale.clone().unwrap_or_else(|| mail.language.clone());
    let stored = own.iter().find(|own| own.message == *message && own.locale == locale);
    let nothing = || Template { message: *message, locale: locale.clone(), sender: None, subject: None, text: None, html: None };
    let built_in = built_in_words(*message, &locale).or_else(|| built_in_words(*message, "en")).unwrap_or_else(nothing);
    let address = |event: &Event| event.data.get("entity_id").and_then(Value::as_str).unwrap_or_default().to_owned();
    let recent = ops::template::recent(&app.engine, &console.tenant, *message).await?;
    let events = recent.iter().map(|event| EventRow { id: event.id.to_string(), address: address(event), at: event.created_at.to_string() });
    let templates = TemplatesPage {
        shop: console.tenant.name(),
        member: &console.member.address,
        notice,
        messages: rows(own, *message, &locale),
        message: message.as_str(),
        title: title(*message),
        event: looked.event.as_ref().map(|event| event.id.to_string()).unwrap_or_default(),
        events: events.collect(),
        html: draft.is_none().then(|| format!("/app/templates/html?{}", looked.query(&[]))),
        fault: looked.fault(),
        words: draft.as_ref().or(stored).cloned().unwrap_or_else(nothing).into(),
        built_in: Words { sender: console.tenant.settings.mail.from.clone().unwrap_or_default(), ..built_in.into() },
        has_own: stored.is_some(),
        variables: message.variables(),
        mail,
        locale,
    };
    page(status, render::console_templates(&templates))
}
