//! `vestibule template`: a tenant's own words for its mails, also of a tenant that is declared.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{ArgGroup, Args, Subcommand};
use serde_json::{Value, json};
use vestibule_engine::Engine;
use vestibule_engine::model::event::Event;
use vestibule_engine::model::locale::is_locale;
use vestibule_engine::model::template::Template;
use vestibule_engine::model::tenant::{Message, Tenant};
use vestibule_engine::notify::preview::{Preview as Mail, languages, preview};
use vestibule_engine::notify::render::Rendered;
use vestibule_engine::notify::template;
use vestibule_engine::{ops, outbox};

use super::{Failure, OfTenant, print_json};

#[derive(Args)]
pub struct TemplateCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Puts a tenant's own words in the place of the built-in ones; what is not given is the built-in's. The next mail has them.
    Set {
        #[command(flatten)]
        of: OfTenant,
        #[arg(long, value_parser = message)]
        message: Message,
        /// `de`, or `de-AT` for a region alone.
        #[arg(long)]
        locale: String,
        #[command(flatten)]
        words: Words,
    },
    /// Lists what a tenant has of its own.
    List {
        #[command(flatten)]
        of: OfTenant,
        #[arg(long)]
        json: bool,
    },
    /// Goes back to the built-in words.
    Remove {
        #[command(flatten)]
        of: OfTenant,
        #[arg(long, value_parser = message)]
        message: Message,
        #[arg(long)]
        locale: String,
    },
    /// Shows a mail as it would be sent, with a link that is none; files that are given stand for words that are not set yet.
    Preview(Preview),
}

/// A tenant's own words.
#[derive(Args)]
struct Words {
    /// `Acme <no-reply@acme.example>` or a bare address.
    #[arg(long)]
    sender: Option<String>,
    /// A file with the subject.
    #[arg(long, value_name = "FILE")]
    subject: Option<PathBuf>,
    /// A file with the plain text.
    #[arg(long, value_name = "FILE")]
    text: Option<PathBuf>,
    /// A file with the HTML.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

#[derive(Args)]
#[command(group = ArgGroup::new("mail").args(["message", "event"]).required(true))]
struct Preview {
    #[command(flatten)]
    of: OfTenant,
    #[arg(long, value_parser = message)]
    message: Option<Message>,
    /// The language; without it the event's, then the tenant's.
    #[arg(long)]
    locale: Option<String>,
    /// A recorded event, `evt_…`, whose address and language are taken.
    #[arg(long)]
    event: Option<String>,
    #[command(flatten)]
    words: Words,
    /// Sends the mail to this address, too, by the tenant's transport.
    #[arg(long, value_name = "ADDRESS")]
    send_to: Option<String>,
    #[arg(long)]
    json: bool,
}

fn message(text: &str) -> Result<Message, String> {
    Message::parse(text).ok_or_else(|| format!("one of {}", Message::ALL.map(Message::as_str).join(", ")))
}

impl TemplateCommand {
    pub async fn run(self) -> Result<(), Failure> {
        match self.what {
            What::Set { of, message, locale, words } => {
                let own = words.read(message, locale)?;
                template::check(&own).map_err(Failure::Usage)?;
                warn(&template::unused(&own));
                let (engine, tenant) = of.open().await?;
                Ok(ops::template::set(&engine, &tenant, own).await?)
            }
            What::List { of, json } => list(of, json).await,
            What::Remove { of, message, locale } => {
                let (engine, tenant) = of.open().await?;
                if ops::template::remove(&engine, &tenant, message, &locale).await? {
                    return Ok(());
                }
                Err(Failure::Failed(format!("tenant {} has no words of its own for {} in {locale}", tenant.slug, message.as_str())))
            }
            What::Preview(preview) => preview.run().await,
        }
    }
}

impl Words {
    fn read(&self, message: Message, locale: String) -> Result<Template, Failure> {
        let part = |path: &Option<PathBuf>| path.as_deref().map(text_of).transpose();
        Ok(Template {
            message,
            locale,
            sender: self.sender.clone(),
            subject: part(&self.subject)?.map(|subject| subject.trim_end().to_owned()),
            text: part(&self.text)?,
            html: part(&self.html)?,
        })
    }
}

fn text_of(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|e| Failure::Failed(format!("{}: {e}", path.display())))
}

fn warn(faults: &[String]) {
    for fault in faults {
        eprintln!("vestibule: warning: {fault}");
    }
}

async fn list(of: OfTenant, json: bool) -> Result<(), Failure> {
    let (engine, tenant) = of.open().await?;
    let own = ops::template::list(&engine, &tenant).await?;
    if json {
        let shown = own.iter().map(
            |t| json!({"message": t.message.as_str(), "locale": t.locale, "sender": t.sender, "subject": t.subject, "text": t.text, "html": t.html}),
        );
        print_json(&Value::Array(shown.collect()));
        return Ok(());
    }
    for t in own {
        let parts = [("sender", t.sender.is_some()), ("subject", t.subject.is_some()), ("text", t.text.is_some()), ("html", t.html.is_some())];
        let parts: Vec<_> = parts.into_iter().filter(|(_, set)| *set).map(|(name, _)| name).collect();
        println!("{}\t{}\t{}", t.message.as_str(), t.locale, parts.join(","));
    }
    Ok(())
}

impl Preview {
    async fn run(self) -> Result<(), Failure> {
        let Self { of, message, locale, event, words, send_to, json } = self;
        if let Some(wrong) = locale.as_deref().filter(|locale| !is_locale(locale)) {
            return Err(Failure::Usage(format!("`{wrong}` is no language")));
        }
        let (engine, tenant) = of.open().await?;
        if send_to.is_some() && tenant.settings.mail.transport.as_ref().is_some_and(|transport| transport.expose() == "inbox") {
            return Err(Failure::Failed("the inbox is in the memory of the server; send from the console, /app/templates".into()));
        }
        let event = match event {
            Some(id) => Some(recorded(&engine, &tenant, &id).await?),
            None => None,
        };
        let of_event = event.as_ref().and_then(|event| ops::event::message_for(event.name));
        let message = message.or(of_event).ok_or_else(|| Failure::Failed("no mail is sent for this event".into()))?;
        let wanted = languages(&tenant, locale.as_deref(), event.as_ref());
        let draft = words.read(message, wanted.first().map_or("en", String::as_str).to_owned())?;
        if !draft.is_empty() {
            template::check(&draft).map_err(Failure::Usage)?;
        }
        let own = ops::template::list(&engine, &tenant).await?;
        let mail = preview(&tenant, message, &wanted, event.as_ref(), own, Some(draft).filter(|draft| !draft.is_empty()))?;
        warn(&mail.remarks);
        show(&mail, json);
        match send_to {
            Some(to) => send(&engine, &tenant, mail, to).await,
            None => Ok(()),
        }
    }
}

async fn recorded(engine: &Engine, tenant: &Tenant, id: &str) -> Result<Event, Failure> {
    let id = id.parse().map_err(|()| Failure::Usage(format!("`{id}` is no event id")))?;
    ops::template::recorded(engine, tenant, id).await?.ok_or_else(|| Failure::Failed(format!("tenant {} has no such event", tenant.slug)))
}

fn show(mail: &Mail, json: bool) {
    let Rendered { locale, content, .. } = &mail.rendered;
    let from = mail.from.as_deref();
    if json {
        print_json(&json!({
            "message": mail.message.as_str(), "locale": locale, "from": from,
            "subject": content.subject, "text": content.text, "html": content.html,
        }));
    } else {
        println!(
            "From: {}\nSubject: {}\nContent-Language: {locale}\n\n{}\n{}",
            from.unwrap_or_default(),
            content.subject,
            content.text,
            content.html
        );
    }
}

async fn send(engine: &Arc<Engine>, tenant: &Tenant, mail: Mail, to: String) -> Result<(), Failure> {
    let notification = mail.notification(to, engine.rng.ulid(engine.clock.now()).to_string())?;
    let sent = outbox::send(engine, tenant, &notification).await.map_err(Failure::Failed)?;
    eprintln!("vestibule: {}", sent.reply);
    Ok(())
}
