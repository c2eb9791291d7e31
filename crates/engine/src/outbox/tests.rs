//! What writes a job or an event wakes the lanes, the sequencer and the other processes. No dispatcher runs here, so that a bell that was rung stays rung.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use futures_util::FutureExt as _;
use serde_json::{Map, json};

use super::*;
use crate::error::Result;
use crate::model::customer::Profile;
use crate::model::email::Email;
use crate::model::identity::ActorType;
use crate::model::ids::{CustomerId, DeliveryId};
use crate::model::tenant::{Secret, Tenant};
use crate::ops::account::{self, Page};
use crate::ops::callback::{Answer, Browser};
use crate::ops::delivery::Filter;
use crate::ops::idempotency::Receipt;
use crate::ops::password_reset::NewPassword;
use crate::ops::session::{self, Caller, Which};
use crate::ops::{self, Client};
use crate::testing::{Backend, PausedWorker, TestDatabase, arrival, code_id, one_shop, reopened};
use crate::{Surroundings, ports};

const ADDRESS: &str = "ann@example.com";
const PASSWORD: &str = "an-Old-pass-8";

/// Neither process has a dispatcher here, so a bell that rings was rung by the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_in_one_process_wakes_every_lane_of_the_other() {
    let (one, _shop, database) = one_shop(Backend::Postgres).await.unwrap();
    let surroundings = Surroundings { clock: one.clock.clone(), rng: ports::rng::Rng::os(), ..Surroundings::default() };
    let other = Engine::open(one.config.clone(), surroundings).await.unwrap();
    let mut listening = tokio::task::JoinSet::new();
    for engine in [&one, &other] {
        let engine = engine.clone();
        listening.spawn(async move { engine.listen().await });
    }
    let rung = async |engine: &Engine| {
        for lane in Lane::ALL {
            tokio::time::timeout(Duration::from_secs(20), engine.outbox.bell(lane).notified()).await.unwrap();
        }
    };
    // Both listen, and look for what they missed.
    rung(&one).await;
    rung(&other).await;
    one.outbox.wake();
    rung(&other).await;
    listening.shutdown().await;
    database.remove().await.unwrap();
}

/// A shop that sends mail, has a provider and does not run.
struct Quiet {
    engine: Arc<Engine>,
    shop: Arc<Tenant>,
    client: Client,
    actor: ActorType,
    email: Email,
    database: TestDatabase,
}

impl Quiet {
    async fn open() -> Self {
        let (engine, _, database) = one_shop(Backend::Sqlite).await.unwrap();
        let engine = reopened(&engine, |config| {
            let acme = &mut config.tenants[0];
            acme.mail.transport = Some(Secret::new("inbox"));
            acme.mail.from = Some("no-reply@acme.example".into());
            let provider = json!({"type": "oidc", "client_id": "shop", "client_secret": "a secret of the shop", "issuer": "https://issuer.example", "callback_url": "https://acme.example/back"});
            acme.providers.insert("google".to_owned(), serde_json::from_value(provider).unwrap());
            let hook = json!({"url": "https://hook.example", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "events": ["auth.signed_in"]});
            acme.webhooks.push(serde_json::from_value(hook).unwrap());
        })
        .await
        .unwrap();
        let shop = ops::tenant::by_slug(&engine, "acme").await.unwrap();
        let client = Client { ip: IpAddr::V4(Ipv4Addr::LOCALHOST), user_agent: None };
        Self { engine, shop, client, actor: ActorType::customer(), email: Email::parse(ADDRESS).unwrap(), database }
    }

    /// Which bells were rung since they were asked last.
    fn rung(&self) -> Vec<bool> {
        let outbox = &self.engine.outbox;
        let lanes = Lane::ALL.map(|lane| outbox.bell(lane));
        lanes.into_iter().chain([&*outbox.numbers, &*outbox.others]).map(|bell| bell.notified().now_or_never().is_some()).collect()
    }

    /// What `work` gives, which rings all bells.
    async fn rings<T>(&self, what: &str, work: impl Future<Output = Result<T>>) -> T {
        self.rung();
        let done = work.await.unwrap_or_else(|e| panic!("{what}: {e:?}"));
        assert_eq!(self.rung(), [true; 7], "{what}: jobs, mail, webhooks, NATS, Medusa, the sequencer, the others");
        done
    }

    /// What `work` gives, which rings the bells of the sequencer, of the others, and of webhooks where one hears what it tells.
    async fn announces<T>(&self, what: &str, heard: bool, work: impl Future<Output = Result<T>>) -> T {
        self.rung();
        let done = work.await.unwrap_or_else(|e| panic!("{what}: {e:?}"));
        assert_eq!(
            self.rung(),
            [false, false, heard, false, false, true, true],
            "{what}: jobs, mail, webhooks, NATS, Medusa, the sequencer, the others"
        );
        done
    }

    async fn sign_in(&self, password: &str) -> String {
        let Self { engine, shop, client, actor, email, .. } = self;
        self.announces("a sign-in", true, ops::sign_in::sign_in(engine, shop, client, actor, email, password, &Receipt::none())).await
    }

    async fn caller(&self, token: &str) -> Caller {
        session::authenticate(&self.engine, &self.shop, token).await.unwrap().unwrap()
    }

    /// A customer: its token.
    async fn customer(&self) -> (CustomerId, String) {
        let Self { engine, shop, client, actor, email, .. } = self;
        let registered =
            self.rings("a registration", ops::registration::register(engine, shop, client, actor, email, PASSWORD, &Receipt::none())).await;
        let caller = self.caller(&registered).await;
        let id = self
            .rings("a customer that is made", ops::customer::create(engine, shop, &caller, Some(ADDRESS), Profile::default(), &Receipt::none()))
            .await
            .id;
        (id, self.sign_in(PASSWORD).await)
    }

    /// Does what is due, once.
    async fn work(&self) {
        PausedWorker::claim(&self.engine).await.unwrap().resume().await;
    }

    /// Numbers what has none.
    async fn number(&self) {
        let stop = tokio_util::sync::CancellationToken::new();
        stop.cancel();
        number(self.engine.clone(), stop).await;
    }

    async fn column(&self, sql: &str) -> Vec<String> {
        self.database.rows(sql).await.unwrap().into_iter().map(|row| row.join(" ")).collect()
    }
}

#[tokio::test]
async fn whatever_touches_a_customer_rings() {
    let q = Quiet::open().await;
    let Quiet { engine, shop, client, .. } = &q;
    let (id, token) = q.customer().await;
    let caller = q.caller(&token).await;
    q.announces("an update", false, ops::customer::update(engine, shop, id, Profile::default(), false, &Receipt::none())).await;
    q.rings("a cookie", ops::session_cookie::give(engine, shop, &caller, ops::session_cookie::Opens::Api, None, &Receipt::none())).await;
    q.rings("a change of the password", ops::password_change::change(engine, shop, client, &caller, PASSWORD, "a-New-pass-9", &Receipt::none()))
        .await;
    q.rings("the end of a session", session::end(engine, shop, &caller, Which::Own)).await;
    let refused = ops::sign_in::sign_in(engine, shop, client, &q.actor, &q.email, PASSWORD, &Receipt::none()).await;
    assert!(refused.is_err());
    q.rings("failed sign-ins", ops::failed_sign_in::tell(engine).map(Ok)).await;
    assert!(q.rings("a deletion", ops::customer::delete(engine, shop, id)).await);
    q.rings("a member of the staff", ops::user::create(engine, shop, &Email::parse("staff@acme.example").unwrap(), "a-Staff-pass-7")).await;
}

#[tokio::test]
async fn whatever_touches_a_reset_or_is_sent_again_rings() {
    let q = Quiet::open().await;
    let Quiet { engine, shop, client, actor, email, .. } = &q;
    q.customer().await;
    q.work().await;
    let ask = async || ops::password_reset::request(engine, shop, client, actor, email, Map::new(), &Receipt::none()).await;
    q.rings("a request", ask()).await;
    // Of a job the other processes hear nothing: what it wrote is for the lanes of this one first.
    q.rung();
    q.work().await;
    assert_eq!(q.rung()[..6], [true; 6], "a job that is done");
    let jti = q.column("SELECT id FROM password_resets").await.remove(0);
    let event = q.column("SELECT id FROM events WHERE name = 'auth.password_reset'").await.remove(0);
    let told = ops::template::recorded(engine, shop, event.parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(told.secret_ref.as_deref(), Some(&*jti));
    q.rings("a link that is issued anew", ops::password_reset::reissue(engine, shop, &jti, &told)).await;
    let jti = q.column("SELECT id FROM password_resets WHERE voided_at IS NULL").await.remove(0);
    let reset = ops::password_reset::deliverable(engine, shop, &jti).await.unwrap().ok().unwrap();
    let new = NewPassword { actor, provider: "emailpass", token: &reset.token, secret: Some("a-New-pass-9") };
    q.rings("a new password", ops::password_reset::complete(engine, shop, client, &new, &Receipt::none())).await;
    q.number().await;
    let last = ops::event::list(engine, shop, &ops::event::Wanted { after: None, after_id: None, names: Vec::new(), most: 1 }).await.unwrap().last;
    q.work().await;
    assert!(q.rings("a replay", ops::event::replay(engine, shop, "mail", 1, last)).await > 0);
    crate::testing::execute(engine, "UPDATE deliveries SET state = 'dead'").await.unwrap();
    let dead: DeliveryId = q.column("SELECT id FROM deliveries ORDER BY id LIMIT 1").await[0].parse().unwrap();
    q.rings("a retry", ops::delivery::retry(engine, shop, dead)).await;
    assert!(q.rings("a retry of all", ops::delivery::retry_all(engine, shop, &Filter::default())).await > 0);
}

#[tokio::test]
async fn whatever_a_third_party_vouches_for_rings() {
    let q = Quiet::open().await;
    let Quiet { engine, shop, actor, .. } = &q;
    let (_, token) = q.customer().await;
    let own = q.caller(&token).await;
    ops::identity::vouch(engine, shop, own.identity).await.unwrap();
    let arrived = q.rings("an arrival", account::arrive(engine, shop, arrival(actor.clone(), "1"), None, &Receipt::none())).await;
    let other = q.caller(&arrived.token).await.identity;
    q.rings("a login that is linked", ops::identity::link(engine, shop, own.clone(), &arrived.token, &Receipt::none())).await;
    q.rings("a login that is removed", ops::identity::unlink(engine, shop, own, other)).await;
    let (code, state, until) = ("vestibule_code", "state", engine.clock.now().after(Duration::from_mins(1)));
    let page = Page { origin: "https://acme.example".into(), browser: None, browser_required: false };
    let id = code_id(code, state);
    q.rings("a hand-over", account::hand_over(engine, shop, arrival(actor.clone(), "2"), id, page, until)).await;
    let answer = Answer { code: Some(code.into()), state: Some(state.into()), ..Answer::default() };
    let receipt = Receipt::none();
    let redeemed = ops::callback::arrive(engine, shop, actor, "google", &answer, Browser::default(), None, &receipt);
    q.rings("a code that is redeemed", redeemed).await;
}
