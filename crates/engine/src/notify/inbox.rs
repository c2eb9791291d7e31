//! The development inbox: mails stay in memory, where `/dev/inbox` shows them, and go nowhere else.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::{BoxFuture, FutureExt as _, ready};

use super::{Content, Notification, Provider, SendFailure, Sent};
use crate::model::time::Timestamp;
use crate::ports::clock::Clock;

/// How many mails are kept; the oldest go first.
const CAPACITY: usize = 500;

/// The mails of all shops. Clones share them. They hold live links, so they are in no database and no log.
#[derive(Clone)]
pub struct Inbox {
    clock: Clock,
    mails: Arc<Mutex<VecDeque<InboxMail>>>,
}

/// A mail as it was caught.
#[derive(Clone, PartialEq, Eq)]
pub struct InboxMail {
    /// The idempotency key of its notification.
    pub id: String,
    /// The shop's slug.
    pub tenant: String,
    pub to: String,
    pub from: Option<String>,
    pub subject: String,
    pub text: String,
    pub html: String,
    pub at: Timestamp,
}

impl fmt::Debug for InboxMail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, tenant, subject, at, .. } = self;
        f.debug_struct("InboxMail").field("id", id).field("tenant", tenant).field("subject", subject).field("at", at).finish_non_exhaustive()
    }
}

impl Inbox {
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { clock, mails: Arc::default() }
    }

    /// The clock that dates the mails.
    #[must_use]
    pub const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The provider that catches the mails of one shop.
    #[must_use]
    pub fn for_tenant(&self, slug: &str) -> TenantInbox {
        TenantInbox { tenant: slug.to_owned(), inbox: self.clone() }
    }

    /// The mails of all shops, newest first.
    #[must_use]
    pub fn list(&self) -> Vec<InboxMail> {
        self.lock().iter().rev().cloned().collect()
    }

    /// Keeps a mail, unless an earlier attempt has left it here already.
    fn keep(&self, mail: InboxMail) {
        let mut mails = self.lock();
        if mails.iter().any(|known| known.id == mail.id && known.tenant == mail.tenant) {
            return;
        }
        if mails.len() >= CAPACITY {
            mails.pop_front();
        }
        mails.push_back(mail);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<InboxMail>> {
        self.mails.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Catches the mails of one shop.
pub struct TenantInbox {
    tenant: String,
    inbox: Inbox,
}

impl Provider for TenantInbox {
    fn send<'a>(&'a self, notification: &'a Notification) -> BoxFuture<'a, Result<Sent, SendFailure>> {
        let Notification { to, from, content: Content { subject, text, html }, idempotency_key, .. } = notification.clone();
        let sent = Sent { reply: "kept in the development inbox".to_owned() };
        let (tenant, at) = (self.tenant.clone(), self.inbox.clock.now());
        self.inbox.keep(InboxMail { id: idempotency_key, tenant, to, from, subject, text, html, at });
        ready(Ok(sent)).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(key: &str) -> Notification {
        let content = Content { text: "secret link".to_owned(), ..Content::default() };
        Notification { content, ..Notification::sample(key) }
    }

    #[tokio::test]
    async fn mails_are_listed_newest_first_and_once() {
        let inbox = Inbox::new(Clock::frozen(Timestamp::from_seconds(7)));
        let (acme, globex) = (inbox.for_tenant("acme"), inbox.for_tenant("globex"));
        for (provider, key) in [(&acme, "1"), (&globex, "1"), (&acme, "2"), (&acme, "1")] {
            provider.send(&mail(key)).await.unwrap();
        }
        let ids: Vec<_> = inbox.list().into_iter().map(|m| (m.tenant, m.id)).collect();
        let pair = |tenant: &str, id: &str| (tenant.to_owned(), id.to_owned());
        assert_eq!(ids, [pair("acme", "2"), pair("globex", "1"), pair("acme", "1")]);
        let first = inbox.list().remove(1);
        assert_eq!((first.at, first.text.as_str()), (Timestamp::from_seconds(7), "secret link"));
        assert!(!format!("{first:?} {:?}", mail("1")).contains("secret"));
    }

    #[tokio::test]
    async fn the_oldest_mail_makes_room() {
        let inbox = Inbox::new(Clock::System);
        let acme = inbox.for_tenant("acme");
        for n in 0..CAPACITY + 3 {
            acme.send(&mail(&n.to_string())).await.unwrap();
        }
        let ids: Vec<String> = inbox.list().into_iter().map(|mail| mail.id).collect();
        assert_eq!((ids.len(), ids.first().unwrap().as_str(), ids.last().unwrap().as_str()), (CAPACITY, "502", "3"));
    }
}
