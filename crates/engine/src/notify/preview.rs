//! A mail as it would be sent, to be looked at and tried: by `vestibule template preview` and on the console's page.

use serde_json::Value;

use super::render::{MailContext, Rendered, render};
use super::{Channel, Notification, template};
use crate::error::Result;
use crate::model::event::Event;
use crate::model::locale::is_locale;
use crate::model::template::Template;
use crate::model::tenant::{Message, Tenant};

/// Where there is no recorded event whose address could be taken.
const SAMPLE_ADDRESS: &str = "ann@example.com";

/// A mail that nobody has sent. Its link is none.
pub struct Preview {
    pub message: Message,
    pub from: Option<String>,
    pub rendered: Rendered,
    /// Whose address it names.
    pub to: String,
    context: MailContext,
    /// What an operator should know of the shop's own words in it, in sentences.
    pub remarks: Vec<String>,
}

/// The languages that the mail may be in, the best first: the one that is asked for, the event's, the shop's.
#[must_use]
pub fn languages(tenant: &Tenant, asked: Option<&str>, event: Option<&Event>) -> Vec<String> {
    let of_event = event.and_then(|event| event.data.get("metadata")).and_then(|metadata| metadata.get("locale")).and_then(Value::as_str);
    let named = [asked, of_event, tenant.settings.mail.locale.as_deref()].into_iter().flatten();
    named.filter(|name| is_locale(name)).map(str::to_owned).collect()
}

/// The mail that `message` would be in the first language of `wanted` that there is. Address and language are those of `event`, if there is one. `draft`
/// stands for words that are not kept yet, in the place of what the shop has in `own` for its language.
///
/// # Errors
/// As `render`.
pub fn preview(
    tenant: &Tenant,
    message: Message,
    wanted: &[String],
    event: Option<&Event>,
    mut own: Vec<Template>,
    draft: Option<Template>,
) -> Result<Preview> {
    if let Some(draft) = draft {
        own.retain(|other| other.message != draft.message || other.locale != draft.locale);
        own.extend(Some(draft).filter(|draft| !draft.is_empty()));
    }
    let address = event.and_then(|event| event.data.get("entity_id")).and_then(Value::as_str).unwrap_or(SAMPLE_ADDRESS);
    let minutes = tenant.settings.tokens.reset_ttl.0.as_secs().div_ceil(60);
    let context = template::sample(message, tenant.name(), address, minutes);
    let rendered = render(message, wanted, &own, &context)?;
    let from = rendered.sender.clone().or_else(|| tenant.settings.mail.from.clone());
    let in_it = own.iter().filter(|own| own.message == message && own.locale == rendered.locale);
    let remarks = rendered.faults.iter().cloned().chain(in_it.flat_map(template::unused)).collect();
    Ok(Preview { message, from, rendered, to: address.to_owned(), context, remarks })
}

impl Preview {
    /// The mail, addressed to somebody who tries it.
    ///
    /// # Errors
    /// `Unexpected` if its data cannot be written.
    pub fn notification(self, to: String, idempotency_key: String) -> Result<Notification> {
        Ok(Notification {
            channel: Channel::Email,
            to,
            from: self.from,
            template: self.message,
            locale: self.rendered.locale,
            data: self.context.into_data()?,
            content: self.rendered.content,
            idempotency_key,
        })
    }
}
