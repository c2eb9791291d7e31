//! Shops' own words for messages.

use super::value::{FromRow, Row};
use super::{Reader, Tx, statements};
use crate::error::{Error, Result};
use crate::model::ids::TenantId;
use crate::model::template::Template;
use crate::model::tenant::Message;

statements! {
    SET = "INSERT INTO templates (tenant_id, message, locale, sender, subject, body_text, body_html, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        ON CONFLICT (tenant_id, message, locale) DO UPDATE SET sender = excluded.sender, subject = excluded.subject, body_text = excluded.body_text,
        body_html = excluded.body_html, updated_at = excluded.updated_at";
    REMOVE = "DELETE FROM templates WHERE tenant_id = $1 AND message = $2 AND locale = $3";
    LIST = "SELECT message, locale, sender, subject, body_text, body_html FROM templates WHERE tenant_id = $1 ORDER BY message, locale";
    OF_MESSAGE = "SELECT message, locale, sender, subject, body_text, body_html FROM templates WHERE tenant_id = $1 AND message = $2 ORDER BY locale";
}

impl FromRow for Template {
    fn from_row(row: &Row<'_>) -> Result<Self> {
        let message: String = row.get(0)?;
        let message = Message::parse(&message).ok_or_else(|| Error::storage(format!("unknown message {message}")))?;
        Ok(Self { message, locale: row.get(1)?, sender: row.get(2)?, subject: row.get(3)?, text: row.get(4)?, html: row.get(5)? })
    }
}

/// Puts `template` in the place of what the tenant had for this message and language.
pub async fn set(tx: &mut Tx, tenant: TenantId, template: &Template) -> Result<()> {
    let now = tx.now();
    let values = [
        tenant.into(),
        template.message.as_str().into(),
        (&template.locale).into(),
        template.sender.as_deref().into(),
        template.subject.as_deref().into(),
        template.text.as_deref().into(),
        template.html.as_deref().into(),
        now.into(),
    ];
    tx.exec(SET, &values).await?;
    Ok(())
}

/// False: there was none.
pub async fn remove(tx: &mut Tx, tenant: TenantId, message: Message, locale: &str) -> Result<bool> {
    Ok(tx.exec(REMOVE, &[tenant.into(), message.as_str().into(), locale.into()]).await? == 1)
}

pub async fn list(reader: &mut Reader, tenant: TenantId) -> Result<Vec<Template>> {
    reader.all(LIST, &[tenant.into()]).await
}

pub async fn of_message(reader: &mut Reader, tenant: TenantId, message: Message) -> Result<Vec<Template>> {
    reader.all(OF_MESSAGE, &[tenant.into(), message.as_str().into()]).await
}
