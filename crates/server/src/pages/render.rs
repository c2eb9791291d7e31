//! The hosted pages and the development inbox as HTML. Templates live in `pages/` and are part of the binary.

use std::sync::LazyLock;

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde::{Serialize, Serializer};

use super::console::DoorPage;
use super::demo_provider::Person;
use super::openapi::Reference;
use super::template::TemplatesPage;

/// `{base}/account/assets/style.css`, `text/css; charset=utf-8`.
pub const STYLE_CSS: &str = include_str!("../../pages/assets/style.css");
/// `{base}/account/assets/show_password.js`, `text/javascript; charset=utf-8`.
pub const SHOW_PASSWORD_JS: &str = include_str!("../../pages/assets/show_password.js");

/// `/account/assets/console.css`, `text/css; charset=utf-8`.
pub const CONSOLE_CSS: &str = include_str!("../../pages/assets/console.css");
/// `/account/assets/console.js`, `text/javascript; charset=utf-8`.
pub const CONSOLE_JS: &str = include_str!("../../pages/assets/console.js");

/// `/dev/assets/demo.css`, `text/css; charset=utf-8`.
pub const DEMO_CSS: &str = include_str!("../../pages/assets/demo.css");
/// `/dev/assets/demo.js`, `text/javascript; charset=utf-8`.
pub const DEMO_JS: &str = include_str!("../../pages/assets/demo.js");

/// What the visitor of the reset page sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetState {
    /// No token: asks for an address.
    Ask,
    /// The same words whether or not the address has an account.
    Asked,
    /// The token looks good so far: asks for the new password.
    Form,
    /// The password is changed.
    Done,
    /// The link was spent before.
    Used,
    /// The link is too old.
    Expired,
    /// The link is another shop's, or damaged.
    Foreign,
    /// Too many tries: wait.
    Limited,
    /// Nothing could be done at the moment. With a token the password form stays, otherwise the address form.
    Unavailable,
}

impl ResetState {
    /// The word by which the template knows the state.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ask => "ask",
            Self::Asked => "asked",
            Self::Form => "form",
            Self::Done => "done",
            Self::Used => "used",
            Self::Expired => "expired",
            Self::Foreign => "foreign",
            Self::Limited => "limited",
            Self::Unavailable => "unavailable",
        }
    }
}

impl Serialize for ResetState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// One view of the reset page.
#[derive(Clone, Copy, Serialize)]
pub struct ResetPage<'a> {
    /// The shop's name, as its customers know it.
    pub shop: &'a str,
    /// What stands before `/account`: empty, or `/t/{slug}`.
    pub base: &'a str,
    /// Whose password it is; the way of a `user` leads back to the console.
    pub actor_type: &'a str,
    /// Which of the views.
    pub state: ResetState,
    /// Goes into the hidden field of the password form, and nowhere else.
    pub token: Option<&'a str>,
    /// What is wrong with the field's value, in the customer's words.
    pub error: Option<&'a str>,
    /// The shortest password allowed, in characters.
    pub min_length: usize,
    /// Whether the new password ends every session.
    pub signs_out: bool,
    /// Where "Back to the shop" leads. Anything but http and https is left out.
    pub storefront_url: Option<&'a str>,
}

/// A line of the development inbox.
#[derive(Debug, Clone, Serialize)]
pub struct InboxRow {
    /// The mail's id, part of its address.
    pub id: String,
    /// The tenant's slug.
    pub tenant: String,
    /// The recipient.
    pub to: String,
    /// The decoded subject.
    pub subject: String,
    /// When it was caught, RFC 3339.
    pub at: String,
}

/// One mail of the development inbox.
#[derive(Debug, Clone, Serialize)]
pub struct InboxMailView {
    /// The mail's id, part of its address.
    pub id: String,
    /// The tenant's slug.
    pub tenant: String,
    /// The sender.
    pub from: String,
    /// The recipient.
    pub to: String,
    /// The decoded subject.
    pub subject: String,
    /// When it was caught, RFC 3339.
    pub at: String,
    /// The plain text body.
    pub text: String,
    /// Whether there is an HTML body at `/dev/inbox/{id}/html`.
    pub has_html: bool,
    /// Addresses to click. Anything but http and https is left out.
    pub links: Vec<String>,
}

/// The demo provider's page: whom to be, or why the request is refused.
#[derive(Clone, Copy, Serialize)]
pub struct ChoosePage<'a> {
    pub people: &'a [Person],
    /// Name and value of what the form carries on.
    pub hidden: &'a [(&'static str, &'a str)],
    /// The origin that the choice leads to.
    pub target: &'a str,
    /// What is wrong with the request, in a sentence.
    pub refused: Option<&'a str>,
}

/// A page of the demo storefront.
#[derive(Clone, Copy, Serialize)]
pub struct StorefrontPage<'a> {
    /// The shop's name.
    pub shop: &'a str,
    /// What the page's calls to `/store` carry.
    pub publishable_key: &'a str,
}

/// A page at the root, whose links have nothing before them.
#[derive(Serialize)]
struct AtRoot<T: Serialize> {
    base: &'static str,
    #[serde(flatten)]
    page: T,
}

#[derive(Serialize)]
struct Inbox<'a> {
    base: &'a str,
    mails: &'a [InboxRow],
}

#[derive(Serialize)]
struct InboxMail<'a> {
    base: &'a str,
    mail: &'a InboxMailView,
}

/// The reset page.
///
/// # Errors
/// Only if a template is broken; the tests render each state.
pub fn reset_password(page: &ResetPage<'_>) -> Result<String, minijinja::Error> {
    let page = ResetPage { storefront_url: page.storefront_url.filter(|url| is_web_address(url)), ..*page };
    render("reset_password.html", page)
}

/// The door of the console.
///
/// # Errors
/// Only if a template is broken.
pub fn console_door(page: &DoorPage<'_>) -> Result<String, minijinja::Error> {
    render("console_door.html", AtRoot { base: "", page })
}

/// What a store's mails say.
///
/// # Errors
/// Only if a template is broken.
pub fn console_templates(page: &TemplatesPage<'_>) -> Result<String, minijinja::Error> {
    render("console_templates.html", AtRoot { base: "", page })
}

/// The list of caught mails, in the given order.
///
/// # Errors
/// Only if a template is broken.
pub fn inbox(mails: &[InboxRow]) -> Result<String, minijinja::Error> {
    render("inbox.html", Inbox { base: "", mails })
}

/// One caught mail.
///
/// # Errors
/// Only if a template is broken.
pub fn inbox_mail(mail: &InboxMailView) -> Result<String, minijinja::Error> {
    let mut mail = mail.clone();
    mail.links.retain(|url| is_web_address(url));
    render("inbox_mail.html", InboxMail { base: "", mail: &mail })
}

/// The demo provider's page.
///
/// # Errors
/// Only if a template is broken.
pub fn demo_choose(page: &ChoosePage<'_>) -> Result<String, minijinja::Error> {
    render("demo_choose.html", AtRoot { base: "", page })
}

/// The demo storefront's page on which a sign-in begins.
///
/// # Errors
/// Only if a template is broken.
pub fn demo_sign_in(page: &StorefrontPage<'_>) -> Result<String, minijinja::Error> {
    render("demo_sign_in.html", AtRoot { base: "", page })
}

/// The demo storefront's page on which a sign-in ends.
///
/// # Errors
/// Only if a template is broken.
pub fn demo_callback(page: &StorefrontPage<'_>) -> Result<String, minijinja::Error> {
    render("demo_callback.html", AtRoot { base: "", page })
}

/// The description of the API.
///
/// # Errors
/// Only if a template is broken.
pub fn openapi(page: &Reference) -> Result<String, minijinja::Error> {
    render("openapi.html", AtRoot { base: "", page })
}

static TEMPLATES: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut templates = Environment::new();
    templates.set_undefined_behavior(UndefinedBehavior::Strict);
    templates.set_auto_escape_callback(|_| AutoEscape::Html);
    templates.set_loader(|name| Ok(source(name)));
    templates
});

fn source(name: &str) -> Option<&'static str> {
    match name {
        "door.svg" => Some(include_str!("../../pages/door.svg")),
        "layout.html" => Some(include_str!("../../pages/layout.html")),
        "reset_password.html" => Some(include_str!("../../pages/reset_password.html")),
        "console_door.html" => Some(include_str!("../../pages/console_door.html")),
        "console_templates.html" => Some(include_str!("../../pages/console_templates.html")),
        "inbox.html" => Some(include_str!("../../pages/inbox.html")),
        "openapi.html" => Some(include_str!("../../pages/openapi.html")),
        "demo_choose.html" => Some(include_str!("../../pages/demo_choose.html")),
        "demo_sign_in.html" => Some(include_str!("../../pages/demo_sign_in.html")),
        "demo_callback.html" => Some(include_str!("../../pages/demo_callback.html")),
        "inbox_mail.html" => Some(include_str!("../../pages/inbox_mail.html")),
        _ => None,
    }
}

fn render(name: &str, context: impl Serialize) -> Result<String, minijinja::Error> {
    TEMPLATES.get_template(name)?.render(Serde(context))
}

/// Escaping keeps a value inside its attribute, but a `javascript:` address would still run: only web addresses become links.
fn is_web_address(url: &str) -> bool {
    let has_scheme = |scheme: &str| url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    has_scheme("https://") || has_scheme("http://")
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [ResetState; 9] = [
        ResetState::Ask,
        ResetState::Asked,
        ResetState::Form,
        ResetState::Done,
        ResetState::Used,
        ResetState::Expired,
        ResetState::Foreign,
        ResetState::Limited,
        ResetState::Unavailable,
    ];
    const HOSTILE: &str = r#""><script>alert(1)</script>{{ 7*7 }}"#;

    fn page(state: ResetState) -> ResetPage<'static> {
        ResetPage {
            shop: "Acme Outdoor",
            base: "/t/acme",
            actor_type: "customer",
            state,
            token: Some("eyJ.tok.en"),
            error: None,
            min_length: 12,
            signs_out: true,
            storefront_url: Some("https://shop.example"),
        }
    }

    fn mail() -> InboxMailView {
        InboxMailView {
            id: "01J/../x".into(),
            tenant: "acme".into(),
            from: "shop@example.com".into(),
            to: "ann@example.com".into(),
            subject: HOSTILE.into(),
            at: "2026-11-23T17:00:00Z".into(),
            text: HOSTILE.into(),
            has_html: true,
            links: vec!["https://shop.example/reset?token=1&x=2".into(), "javascript:alert(1)".into()],
        }
    }

    #[test]
    fn each_state_has_a_heading_and_a_title() {
        for state in STATES {
            let html = reset_password(&page(state)).unwrap();
            let heading = html.split("<h1>").nth(1).and_then(|rest| rest.split("</h1>").next()).unwrap();
            assert!(!heading.is_empty() && heading.trim() == heading, "{state:?}: {heading:?}");
            assert!(html.contains(&format!("<title>{heading} – Acme Outdoor</title>")), "{state:?}");
            assert!(!html.contains("style=") && !html.contains("<style") && !html.contains("onclick"), "{state:?}");
        }
    }

    #[test]
    fn the_forms_belong_to_their_states() {
        for state in STATES {
            let with_token = reset_password(&page(state)).unwrap().replace("&#x2f;", "/");
            let without = reset_password(&ResetPage { token: None, ..page(state) }).unwrap();
            let asks = matches!(state, ResetState::Ask | ResetState::Used | ResetState::Expired | ResetState::Foreign);
            let sets = matches!(state, ResetState::Form | ResetState::Unavailable);
            assert_eq!(with_token.contains(r#"action="/t/acme/account/reset-password/request""#), asks, "{state:?}");
            assert_eq!(with_token.contains(r#"action="/t/acme/account/reset-password""#), sets, "{state:?}");
            assert_eq!(with_token.contains("eyJ.tok.en"), sets, "{state:?}: the token stands in the password form only");
            assert_eq!(without.contains(r#"name="address""#), asks || state == ResetState::Unavailable, "{state:?}");
        }
    }

    #[test]
    fn the_staff_is_led_to_the_console_where_there_is_one() {
        for state in STATES {
            let at = |base, actor_type| reset_password(&ResetPage { base, actor_type, ..page(state) }).unwrap().replace("&#x2f;", "/");
            assert!(at("", "user").contains("/app/sign-in") && !at("", "user").contains("https://shop.example"), "{state:?}");
            assert!(!at("/t/acme", "user").contains("/app/sign-in") && !at("/t/acme", "user").contains("https://shop.example"), "{state:?}");
            assert!(!at("", "customer").contains("/app/sign-in") && at("", "customer").contains("https://shop.example"), "{state:?}");
        }
    }

    #[test]
    fn an_error_is_tied_to_its_field() {
        let html = reset_password(&ResetPage { error: Some("Password is too common"), ..page(ResetState::Form) }).unwrap();
        assert!(html.contains(r#"aria-describedby="password-error password-hint" aria-invalid="true""#));
        assert!(html.contains(r#"id="password-error" role="alert">Password is too common<"#));
        assert!(html.contains(r#"minlength="12""#));
    }

    #[test]
    fn signing_out_is_announced_only_where_it_happens() {
        for state in [ResetState::Form, ResetState::Done] {
            for signs_out in [true, false] {
                let html = reset_password(&ResetPage { signs_out, ..page(state) }).unwrap();
                assert_eq!(html.contains("signed out"), signs_out, "{state:?}");
            }
        }
    }

    #[test]
    fn what_strangers_write_stays_text() {
        for state in STATES {
            let html = reset_password(&ResetPage { shop: HOSTILE, token: Some(HOSTILE), error: Some(HOSTILE), ..page(state) }).unwrap();
            assert!(!html.contains("<script>") && !html.contains(r#""><script"#), "{state:?}");
            assert!(html.contains("&lt;script&gt;") && html.contains("{{ 7*7 }}"), "{state:?}");
        }
    }

    #[test]
    fn only_web_addresses_become_links() {
        for url in ["javascript:alert(1)", "data:text/html,x", "//shop.example", " https://shop.example", "é"] {
            let html = reset_password(&ResetPage { storefront_url: Some(url), ..page(ResetState::Done) }).unwrap();
            assert!(!html.contains("Go to"), "{url}");
        }
        assert!(reset_password(&page(ResetState::Done)).unwrap().contains("Go to Acme Outdoor"));
    }

    #[test]
    fn the_inbox_lists_and_shows() {
        assert!(inbox(&[]).unwrap().contains("No mail yet"));
        let shown = mail();
        let row = InboxRow { id: shown.id.clone(), tenant: HOSTILE.into(), to: HOSTILE.into(), subject: HOSTILE.into(), at: shown.at.clone() };
        let list = inbox(&[row]).unwrap();
        assert!(list.contains("1 mail.") && !list.contains("<script>"));
        let html = inbox_mail(&shown).unwrap();
        assert!(!html.contains("<script>") && !html.contains("javascript:"));
        assert!(
            html.contains("token=1&amp;x=2")
                && html.contains(" sandbox=\"allow-popups allow-popups-to-escape-sandbox\">")
                && !html.contains("/dev/inbox/01J/../x")
        );
    }
}
