//! Shops' own words for messages.

use super::Fixture;
use crate::model::template::Template;
use crate::model::tenant::Message;
use crate::store::template;

each_db! {
    what_is_set_replaces_what_was_there
    each_tenant_has_its_own
}

fn words(message: Message, locale: &str, subject: Option<&str>) -> Template {
    Template { message, locale: locale.into(), sender: None, subject: subject.map(str::to_owned), text: None, html: Some("<p>ü</p>".into()) }
}

async fn what_is_set_replaces_what_was_there(f: &Fixture) {
    let acme = f.acme;
    let reset = |subject| words(Message::PasswordReset, "de", subject);
    commit!(f, |tx| template::set(tx, acme, &words(Message::PasswordReset, "de", Some("one"))).await);
    commit!(f, |tx| template::set(tx, acme, &words(Message::PasswordChanged, "de", Some("other"))).await);
    commit!(f, |tx| template::set(tx, acme, &words(Message::PasswordReset, "de-AT", None)).await);
    let replacing = Template { sender: Some("a@b.example".into()), text: Some("t".into()), html: None, ..reset(None) };
    let set = replacing.clone();
    let set = std::sync::Arc::new(set);
    f.db.write(move |tx| {
        let set = set.clone();
        Box::pin(async move { template::set(tx, acme, &set).await })
    })
    .await
    .unwrap();
    let all = look!(f, |r| template::list(r, acme).await);
    let austrian = words(Message::PasswordReset, "de-AT", None);
    assert_eq!(all, [words(Message::PasswordChanged, "de", Some("other")), replacing.clone(), austrian.clone()]);
    assert_eq!(look!(f, |r| template::of_message(r, acme, Message::PasswordReset).await), [replacing, austrian.clone()]);
    assert!(commit!(f, |tx| template::remove(tx, acme, Message::PasswordReset, "de").await));
    assert!(!commit!(f, |tx| template::remove(tx, acme, Message::PasswordReset, "de").await));
    assert_eq!(look!(f, |r| template::of_message(r, acme, Message::PasswordReset).await), [austrian]);
}

async fn each_tenant_has_its_own(f: &Fixture) {
    let (acme, other) = (f.acme, f.other);
    commit!(f, |tx| template::set(tx, acme, &words(Message::PasswordReset, "de", Some("one"))).await);
    assert!(look!(f, |r| template::list(r, other).await).is_empty());
    assert!(look!(f, |r| template::of_message(r, other, Message::PasswordReset).await).is_empty());
    assert!(!commit!(f, |tx| template::remove(tx, other, Message::PasswordReset, "de").await));
    commit!(f, |tx| template::set(tx, other, &words(Message::PasswordReset, "de", Some("two"))).await);
    let mine = look!(f, |r| template::list(r, acme).await);
    assert_eq!(mine, [words(Message::PasswordReset, "de", Some("one"))]);
}
