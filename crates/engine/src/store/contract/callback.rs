//! Sign-ins that are away: a state is spent once, in its time, by its tenant and with its provider; so is a one-time code.

use super::{ALMOST, Fixture, RACERS, SECOND};
use crate::model::identity::ActorType;
use crate::store::callback::{self, Away, HandedOver};

each_db! {
    a_state_is_spent_once
    r109_of_many_callbacks_one_goes_on
    a_state_dies_at_its_end
    a_code_is_redeemed_once
    of_many_redemptions_one_wins
    a_code_dies_at_its_end
    a_sweep_takes_what_has_expired
}

const STATE: &[u8] = &[7; 32];
const CODE: &[u8] = &[8; 32];

fn away() -> Away {
    Away {
        actor: ActorType::customer(),
        redirect_uri: "https://acme.test/callback".into(),
        return_to: Some("https://acme.test/page".into()),
        browser: Some(vec![9; 32]),
        browser_required: true,
    }
}

async fn begin(f: &Fixture) {
    let (acme, end) = (f.acme, f.in_a_minute());
    commit!(f, |tx| callback::begin(tx, acme, STATE, "google", &away(), end).await);
}

async fn hand_over(f: &Fixture) -> HandedOver {
    let (acme, end, identity) = (f.acme, f.in_a_minute(), f.identity("ann").await);
    let over = HandedOver { identity, origin: "https://acme.test".into(), account_exists: true, browser: Some(vec![9; 32]), browser_required: true };
    let given = over.clone();
    f.db.write(move |tx| {
        let given = given.clone();
        Box::pin(async move { callback::hand_over(tx, acme, CODE, &ActorType::customer(), "google", &given, end).await })
    })
    .await
    .unwrap();
    over
}

async fn a_state_is_spent_once(f: &Fixture) {
    let (acme, other) = (f.acme, f.other);
    begin(f).await;
    assert_eq!(commit!(f, |tx| callback::spend(tx, other, STATE, "google").await), None, "another tenant's");
    assert_eq!(commit!(f, |tx| callback::spend(tx, acme, CODE, "google").await), None, "unknown");
    assert_eq!(commit!(f, |tx| callback::spend(tx, acme, STATE, "github").await), None, "begun with another provider");
    assert_eq!(commit!(f, |tx| callback::spend(tx, acme, STATE, "google").await), Some(away()));
    assert_eq!(commit!(f, |tx| callback::spend(tx, acme, STATE, "google").await), None, "spent");
}

async fn r109_of_many_callbacks_one_goes_on(f: &Fixture) {
    let acme = f.acme;
    begin(f).await;
    let won = f.race(move |tx| Box::pin(callback::spend(tx, acme, STATE, "google"))).await;
    assert_eq!((won.len(), won.into_iter().flatten().count()), (RACERS, 1));
}

async fn a_state_dies_at_its_end(f: &Fixture) {
    let acme = f.acme;
    begin(f).await;
    f.clock.advance(ALMOST + SECOND);
    assert_eq!(commit!(f, |tx| callback::spend(tx, acme, STATE, "google").await), None);
}

async fn a_code_is_redeemed_once(f: &Fixture) {
    let (acme, other) = (f.acme, f.other);
    let over = hand_over(f).await;
    let customer = ActorType::customer;
    assert_eq!(commit!(f, |tx| callback::redeem(tx, other, CODE, &customer(), "google").await), None, "another tenant's");
    assert_eq!(commit!(f, |tx| callback::redeem(tx, acme, STATE, &customer(), "google").await), None, "unknown");
    assert_eq!(commit!(f, |tx| callback::redeem(tx, acme, CODE, &ActorType::user(), "google").await), None, "another kind of actor's");
    assert_eq!(commit!(f, |tx| callback::redeem(tx, acme, CODE, &customer(), "github").await), None, "another provider's");
    assert_eq!(commit!(f, |tx| callback::redeem(tx, acme, CODE, &customer(), "google").await), Some(over));
    assert_eq!(commit!(f, |tx| callback::redeem(tx, acme, CODE, &customer(), "google").await), None, "spent");
}

async fn of_many_redemptions_one_wins(f: &Fixture) {
    let acme = f.acme;
    let over = hand_over(f).await;
    let won = f.race(move |tx| Box::pin(async move { callback::redeem(tx, acme, CODE, &ActorType::customer(), "google").await })).await;
    assert_eq!(won.into_iter().flatten().collect::<Vec<_>>(), [over]);
}

async fn a_code_dies_at_its_end(f: &Fixture) {
    let acme = f.acme;
    hand_over(f).await;
    f.clock.advance(ALMOST + SECOND);
    assert_eq!(commit!(f, |tx| callback::redeem(tx, acme, CODE, &ActorType::customer(), "google").await), None);
}

async fn a_sweep_takes_what_has_expired(f: &Fixture) {
    const ALL: &str = "SELECT (SELECT COUNT(*) FROM callback_states) + (SELECT COUNT(*) FROM callback_codes)";
    let (acme, other) = (f.acme, f.other);
    begin(f).await;
    hand_over(f).await;
    f.clock.advance(ALMOST);
    assert_eq!(commit!(f, |tx| callback::sweep(tx, acme).await), 0);
    f.clock.advance(SECOND);
    assert_eq!(commit!(f, |tx| callback::sweep(tx, other).await), 0);
    assert_eq!(f.count(ALL).await, 2);
    assert_eq!(commit!(f, |tx| callback::sweep(tx, acme).await), 1, "the larger of the two counts");
    assert_eq!(f.count(ALL).await, 0);
}
