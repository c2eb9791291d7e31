//! What stands in a PostgreSQL URL, and what lies between us and the server: each session's bounds, TLS, a network that loses an answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use url::Url;

use super::Fixture;
use crate::error::{Code, Result};
use crate::store::postgres_url::Target;
use crate::store::{Db, Tx};
use crate::testing::Backend;

/// The authority of the tests' certificate, which is for 127.0.0.1 and `sink.test`.
const AUTHORITY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/notify/testdata/authority.pem");
/// What a client begins with that wants TLS: its length, and a number of its own.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// What stands between a client and PostgreSQL.
#[derive(Default)]
struct Between {
    /// Whether TLS ends here.
    tls: bool,
    /// Whether the answer to the next COMMIT is lost, and the connection with it.
    loses: AtomicBool,
    /// Connections that came encrypted.
    encrypted: AtomicUsize,
}

/// Listens on this machine until it is dropped.
struct Proxy {
    between: Arc<Between>,
    url: Url,
    _connections: JoinSet<()>,
}

impl Proxy {
    async fn before(f: &Fixture, between: Between) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut url = Url::parse(f.database.url()).unwrap();
        let server = (url.host_str().unwrap().to_owned(), url.port().unwrap_or(5432));
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
        let (between, mut connections) = (Arc::new(between), JoinSet::new());
        let shared = Arc::clone(&between);
        connections.spawn(async move {
            let mut clients = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let (between, server) = (Arc::clone(&shared), server.clone());
                clients.spawn(async move {
                    let server = TcpStream::connect(server).await.unwrap();
                    // What ends a conversation is the client's to tell.
                    let _ = if between.tls { between.encrypted(client, server).await } else { between.plain(client, server).await };
                });
            }
        });
        Self { between, url, _connections: connections }
    }

    fn url(&self, query: &str) -> String {
        format!("{}?{query}", self.url)
    }
}

impl Between {
    /// Whoever does not ask for TLS gets nothing.
    async fn encrypted(&self, mut client: TcpStream, mut server: TcpStream) -> std::io::Result<()> {
        let mut asked = [0; SSL_REQUEST.len()];
        client.read_exact(&mut asked).await?;
        if asked != SSL_REQUEST {
            return Ok(());
        }
        client.write_all(b"S").await?;
        let mut client = acceptor().accept(client).await?;
        self.encrypted.fetch_add(1, Ordering::SeqCst);
        copy_bidirectional(&mut client, &mut server).await.map(|_| ())
    }

    /// Hands everything on, unless an answer is to be lost.
    async fn plain(&self, mut client: TcpStream, mut server: TcpStream) -> std::io::Result<()> {
        let (mut up, mut down, mut committing) = (vec![0; 8192], vec![0; 8192], false);
        let holds = |bytes: &[u8], words: &[u8]| bytes.windows(words.len()).any(|part| part == words);
        loop {
            tokio::select! {
                read = client.read(&mut up) => {
                    let sent = &up[..read?];
                    committing |= holds(sent, b"SELECT; COMMIT") && self.loses.swap(false, Ordering::SeqCst);
                    if sent.is_empty() { return Ok(()) }
                    server.write_all(sent).await?;
                }
                read = server.read(&mut down) => {
                    let told = &down[..read?];
                    // It has committed.
                    if told.is_empty() || committing && holds(told, b"COMMIT\0") { return Ok(()) }
                    client.write_all(told).await?;
                }
            }
        }
    }
}

fn acceptor() -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_slice(include_bytes!("../../notify/testdata/certificate.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("../../notify/testdata/key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    TlsAcceptor::from(Arc::new(config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap()))
}

async fn fixture() -> Fixture {
    Fixture::create(Backend::Postgres).await
}

async fn mark(tx: &mut Tx, name: &'static str) -> Result<()> {
    let sql = "INSERT INTO backlogs (tenant_id, kind, waiting) VALUES ((SELECT MIN(id) FROM tenants), $1, 0)";
    tx.exec(sql, &[name.into()]).await.map(|_| ())
}

/// What the server has for these settings, on a connection of the pool.
async fn settings<const N: usize>(db: &Db, names: [&'static str; N]) -> [String; N] {
    let mut found = names.map(|_| String::new());
    for (at, name) in names.into_iter().enumerate() {
        found[at] = db
            .read(move |r| Box::pin(async move { r.one::<(String,)>("SELECT current_setting($1)", &[name.into()]).await }))
            .await
            .unwrap()
            .unwrap()
            .0;
    }
    found
}

#[tokio::test]
async fn each_session_is_bounded_and_the_operators_own_options_stand() {
    const NAMES: [&str; 5] = ["statement_timeout", "idle_in_transaction_session_timeout", "lock_timeout", "work_mem", "application_name"];
    let f = fixture().await;
    assert_eq!(settings(&f.db, NAMES).await, ["10s", "15s", "5s", "4MB", "vestibule"]);
    let url = format!("{}?application_name=id&options=-c%20work_mem%3D8MB%20-c%20statement_timeout%3D7s", f.database.url());
    let db = Db::open(&url, f.clock.clone()).await.unwrap();
    assert_eq!(settings(&db, NAMES).await, ["7s", "15s", "5s", "8MB", "id"]);
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_unknown_and_not_tried_again() {
    let f = fixture().await;
    let proxy = Proxy::before(&f, Between::default()).await;
    let db = Db::open(&proxy.url(""), f.clock.clone()).await.unwrap();
    proxy.between.loses.store(true, Ordering::SeqCst);
    let runs: &'static AtomicUsize = Box::leak(Box::default());
    let answer = db.write(move |tx| {
        runs.fetch_add(1, Ordering::SeqCst);
        Box::pin(mark(tx, "one"))
    });
    let told = answer.await.unwrap_err();
    assert!(told.code == Code::Busy && told.message.contains("may or may not"), "{told}");
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    assert_eq!(f.count("SELECT COUNT(*) FROM backlogs").await, 1, "it was committed");
    db.write(|tx| Box::pin(mark(tx, "later"))).await.unwrap();
}

#[tokio::test]
async fn who_asks_for_tls_gets_it_from_the_server_that_is_named() {
    let f = fixture().await;
    let proxy = Proxy::before(&f, Between { tls: true, ..Between::default() }).await;
    for mode in ["require", "verify-ca", "verify-full"] {
        let before = proxy.between.encrypted.load(Ordering::SeqCst);
        let url = proxy.url(&format!("sslmode={mode}&sslrootcert={AUTHORITY}"));
        let db = Db::open(&url, f.clock.clone()).await.unwrap();
        db.check().await.unwrap();
        let (_client, connection) = Target::parse(&url).unwrap().connect().await.unwrap();
        drop(connection);
        assert_eq!(proxy.between.encrypted.load(Ordering::SeqCst), before + 2, "the pool's, and that of the wake-ups");
        let elsewhere = url.replace("127.0.0.1", "localhost");
        for (url, why) in [(elsewhere, "another name"), (proxy.url(&format!("sslmode={mode}")), "an authority that nobody knows")] {
            let refused = Db::open(&url, f.clock.clone()).await.err().map(|e| e.to_string()).unwrap_or_default();
            assert!(refused.contains("certificate"), "{mode}, {why}: {refused:?}");
        }
        assert_eq!(proxy.between.encrypted.load(Ordering::SeqCst), before + 2);
        // A server without TLS is sent nothing.
        let plain = format!("{}?sslmode={mode}", f.database.url());
        assert!(Db::open(&plain, f.clock.clone()).await.is_err(), "{mode}");
    }
    for mode in ["disable", "prefer"] {
        let plain = format!("{}?sslmode={mode}", f.database.url());
        Db::open(&plain, f.clock.clone()).await.unwrap();
        assert_eq!(Db::plain_hosts(&plain).unwrap().len(), 1);
        assert!(Db::open(&proxy.url(&format!("sslmode={mode}")), f.clock.clone()).await.is_err());
    }
}

#[test]
fn what_the_driver_does_not_know_is_taken_out_and_all_else_is_left() {
    let of = |url: &str| Target::parse(url).unwrap();
    let odd = of("postgres://u:p%3F?sslmode=disable&x@h.example:5/v?connect_timeout=7&sslmode=require&options=-c%20a%3D%2B1");
    assert_eq!(odd.config.get_password(), Some(b"p??sslmode=disable&x".as_slice()), "a question mark of the password begins no query");
    assert!(odd.config.get_options().unwrap().ends_with(" -c a=+1") && odd.plain_hosts().is_empty());
    assert_eq!(odd.config.get_connect_timeout().map(std::time::Duration::as_secs), Some(7));
    assert_eq!(of("postgresql://h.example,127.0.0.1/v").plain_hosts(), ["h.example", "127.0.0.1"]);
    assert_eq!(of("postgres://h.example/v?hostaddr=192.0.2.1").plain_hosts(), ["192.0.2.1"]);
    // A folder is no name to look for in a certificate: the driver would dial the address as if nothing had been asked for.
    for url in ["postgres:///v?host=/run/pg&hostaddr=203.0.113.9", "postgres://db.example/v?host=/run/pg&hostaddr=192.0.2.1,203.0.113.9"] {
        for mode in ["require", "verify-ca", "verify-full"] {
            let refused = Target::parse(&format!("{url}&sslmode={mode}")).err().map(|e| e.to_string()).unwrap_or_default();
            assert!(refused.contains("hostaddr"), "{url}, {mode}: {refused:?}");
        }
        assert!(!of(url).plain_hosts().is_empty());
    }
    assert!(of("postgres://db.example/v?hostaddr=192.0.2.1&sslmode=verify-full").plain_hosts().is_empty());
    // A socket's folder is never encrypted, and is on this machine.
    assert_eq!(of("postgres:///v?host=/run/postgresql&sslmode=verify-full").plain_hosts(), ["/run/postgresql"]);
}
