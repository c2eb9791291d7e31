//! Two nodes on one PostgreSQL and one NATS: each is killed, paused and replaced while the other works, and NATS goes away and comes back.
//! Every acknowledged reset is mailed, nothing is lost, and no reset is issued twice (F1, F14, F15, F25, F27 with a bystander).
//!
//! `scripts/two_nodes.sh` runs this for longer.

use std::collections::{BTreeMap, BTreeSet};

use vestibule_engine::testing::Backend;

use crate::crash::ledger::{Ledger, Workers};
use crate::crash::process::Server;
use crate::crash::stage::Stage;
use crate::crash::{block_on, is_reset, number};
use crate::faults::report::Report;
use crate::support::app::token_in;
use crate::support::client::claims;
use crate::support::nats::{NatsServer, PASSWORD};

/// The nodes, each with its writers.
struct Cluster {
    stage: Stage,
    nats: NatsServer,
    nodes: Vec<Server>,
    crews: Vec<Workers>,
    kills: usize,
}

impl Cluster {
    async fn start() -> Self {
        let nats = NatsServer::start().await;
        let stage = Stage::set_with(Backend::Postgres, &format!("[nats]\nurl = \"{}\"\n", nats.url()), "").await;
        let nodes = vec![stage.start().await, stage.start().await];
        let crew = |(n, node): (usize, &Server)| Workers::start_crew(n, &node.base, &stage.mail, &stage.rng);
        let crews = nodes.iter().enumerate().map(crew).collect();
        Self { stage, nats, nodes, crews, kills: 0 }
    }

    /// A new process in place of one that has ended.
    async fn replace(&mut self, node: usize) {
        self.nodes[node] = self.stage.start().await;
        self.crews[node].go_on_at(&self.nodes[node].base);
    }

    /// The writers of `node` get this many answers more.
    async fn works(&mut self, node: usize, most: u32) {
        let more = 1 + self.stage.below(most);
        self.crews[node].acknowledged(more).await;
    }

    /// One of the things that happen, to one of the nodes; the other works meanwhile.
    async fn round(&mut self, n: u64) {
        let hit = usize::from(self.stage.below(2) == 1);
        self.works(hit, 30).await;
        match n % 4 {
            0 => {
                self.kills += 1;
                self.stage.logs += &self.nodes[hit].kill();
                self.works(1 - hit, 30).await;
                self.replace(hit).await;
            }
            1 => {
                self.nodes[hit].signal("STOP");
                self.works(1 - hit, 30).await;
                self.nodes[hit].signal("CONT");
                // Whose request took too long goes on here, too.
                self.crews[hit].go_on_at(&self.nodes[hit].base);
            }
            2 => {
                let next = self.stage.start().await;
                let (code, log) = std::mem::replace(&mut self.nodes[hit], next).terminate().await;
                assert_eq!(code, Some(0), "{log}");
                self.stage.logs += &log;
                self.crews[hit].go_on_at(&self.nodes[hit].base);
                self.works(1 - hit, 30).await;
            }
            _ => {
                self.nats.kill();
                for node in [0, 1] {
                    self.works(node, 30).await;
                }
                self.nats.restart().await;
            }
        }
    }

    async fn verify(mut self, rounds: u64) {
        for node in [0, 1] {
            self.works(node, 10).await;
        }
        let mut ledger = Ledger::default();
        for crew in self.crews.drain(..) {
            ledger.add(crew.stop().await);
        }
        for node in self.nodes.drain(..) {
            let (code, log) = node.terminate().await;
            assert_eq!(code, Some(0), "{log}");
            self.stage.logs += &log;
        }
        println!("{ledger}; {} kills", self.kills);
        assert!(!self.stage.logs.contains(PASSWORD) && !self.stage.logs.contains(&self.nats.url()), "the log holds the password");
        let (nats, kills) = (self.nats, self.kills);
        let report = Report { trials: rounds, ..Report::on(&self.stage.database) };
        let report = self.stage.verify_with(ledger, report, async |stage, ledger, report| look(stage, ledger, &nats, kills, report).await).await;
        report.tell("F1, F14, F25, F27 at one of two nodes");
    }
}

/// What is there when everything is done.
async fn look(stage: &Stage, ledger: &Ledger, nats: &NatsServer, kills: usize, report: &mut Report) {
    // Each event once in the stream.
    let stored = nats.messages().await;
    let ids: BTreeSet<String> = stored.iter().map(|message| message.id.clone()).collect();
    assert_eq!(ids.len(), stored.len(), "an event is in the stream twice");
    let events: BTreeSet<String> = stage.column("SELECT id FROM events").await.into_iter().map(|id| format!("evt_{id}")).collect();
    assert!(ids.is_subset(&events), "what is in the stream is an event");
    report.lost.extend(events.difference(&ids).map(|id| format!("{id} is not in the stream")));
    // No request was issued twice.
    let issued = stage.column("SELECT secret_ref FROM events WHERE name = 'auth.password_reset'").await;
    assert!(issued.len() <= ledger.requests + ledger.unknown, "{} resets were issued for {ledger}", issued.len());
    assert_eq!(issued.iter().collect::<BTreeSet<_>>().len(), issued.len());
    // Each that was delivered was mailed; twice only what was under way when its node was killed, and then as the same mail.
    let mut mailed: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for mail in stage.mail.mails().iter().filter(|mail| is_reset(mail)) {
        let jti = claims(&token_in(mail))["jti"].as_str().unwrap().to_owned();
        mailed.entry(jti).or_default().extend(mail.headers("Message-ID"));
    }
    let delivered = "SELECT e.secret_ref FROM events e JOIN deliveries d ON d.tenant_id = e.tenant_id AND d.event_id = e.id
        WHERE d.subscriber = 'mail' AND d.state = 'delivered' AND e.name = 'auth.password_reset'";
    for jti in stage.column(delivered).await {
        report.lost.extend((!mailed.contains_key(&jti)).then(|| format!("{jti} was not mailed")));
    }
    let repeated: Vec<_> = mailed.values().filter(|ids| ids.len() > 1).collect();
    assert!(repeated.iter().all(|ids| ids.iter().all(|id| *id == ids[0])), "one token in two mails: {repeated:?}");
    // A node has at most this many mails of a shop under way.
    assert!(repeated.len() <= kills * 128, "{} mails came twice after {kills} kills", repeated.len());
}

#[test]
fn nothing_is_lost_while_one_of_two_nodes_is_away() {
    block_on(async {
        let mut cluster = Cluster::start().await;
        let rounds = number("VESTIBULE_TEST_ROUNDS").unwrap_or(8);
        for n in 0..rounds {
            cluster.round(n).await;
        }
        cluster.verify(rounds).await;
    });
}
