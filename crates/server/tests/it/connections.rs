//! What a stranger may hold of the server by connecting to it and being slow, or by connecting often.

use std::future::Future;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use vestibule::app::{Bounds, serve_within};

use crate::support::app::TestApp;
use crate::support::each_db;

const SOON: Duration = Duration::from_millis(50);
const HEALTH: &[u8] = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n";

/// A second server on the app's engine, within other bounds.
struct Door {
    address: std::net::SocketAddr,
    stop: CancellationToken,
    server: JoinHandle<()>,
}

impl Door {
    async fn open(app: &TestApp, bounds: Bounds) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        #[expect(clippy::disallowed_methods, reason = "the test is its own runtime")]
        let server = tokio::spawn(serve_within(bounds, app.engine.clone(), listener, stop.clone()));
        Self { address, stop, server }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// What the server says to `bytes` until it closes, while the client waits and keeps its side open.
    async fn says(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.unwrap();
        rest_of(&mut stream).await
    }

    async fn close(self) {
        self.stop.cancel();
        self.server.await.unwrap();
    }
}

async fn in_time<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("the server did not close the connection")
}

/// What comes until the server closes, in order or not.
async fn rest_of(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let _ = in_time(stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// Whether the server answers on this connection, which stays open.
async fn is_served(stream: &mut TcpStream) -> bool {
    let mut first = [0; 12];
    stream.write_all(HEALTH).await.is_ok() && in_time(stream.read_exact(&mut first)).await.is_ok() && first == *b"HTTP/1.1 200"
}

each_db! {
    async fn a_connection_without_a_request_is_closed(app: TestApp) {
        let door = Door::open(app, Bounds { head: SOON, ..Bounds::default() }).await;
        assert_eq!(door.says(b"").await, "", "silent from the beginning");
        assert_eq!(door.says(b"P").await, "", "it may become anything");
        assert_eq!(door.says(b"PRI * HTTP/2.0\r\n").await.matches("HTTP/1.1 200").count(), 0, "it may become HTTP/2");
        assert!(!door.says(b"GET /health HTTP/1.1\r\nHost: x\r\nX-Slow: ").await.contains("200"), "half a head");
        assert!(door.says(HEALTH).await.ends_with("OK"), "silent after a request");
        door.close().await;
    }

    async fn http2_is_not_spoken_so_pings_hold_no_connection(app: TestApp) {
        let door = Door::open(app, Bounds { head: SOON, ..Bounds::default() }).await;
        let mut stream = door.connect().await;
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
        let (mut from, mut to) = stream.into_split();
        let mut answer = Vec::new();
        let read = from.read_to_end(&mut answer);
        let pings = async { while to.write_all(b"\0\0\x08\x06\0\0\0\0\0pingping").await.is_ok() { tokio::task::yield_now().await; } };
        let _ = in_time(async { tokio::join!(read, pings) }).await;
        assert!(!answer.starts_with(b"\0\0"), "frames: {answer:?}");
        door.close().await;
    }

    async fn a_body_that_does_not_come_is_not_waited_for(app: TestApp) {
        let door = Door::open(app, Bounds { body: SOON, ..Bounds::default() }).await;
        let head = "POST /auth/customer/emailpass HTTP/1.1\r\nHost: acme.api.example.com\r\nContent-Type: application/json\r\nContent-Length: 30\r\n\r\n";
        for begun in ["", "{\"email\":"] {
            let answer = door.says(format!("{head}{begun}").as_bytes()).await;
            assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("The body took too long to arrive"), "{answer}");
        }
        door.close().await;
    }

    async fn who_takes_no_answer_is_cut_off(app: TestApp) {
        let door = Door::open(app, Bounds { answer: SOON, ..Bounds::default() }).await;
        let mut stream = door.connect().await;
        let many = HEALTH.repeat(1_000);
        in_time(async { while stream.write_all(&many).await.is_ok() {} }).await;
        door.close().await;
    }

    async fn more_connections_than_there_are_places_are_closed(app: TestApp) {
        let door = Door::open(app, Bounds { connections: 2, ..Bounds::default() }).await;
        let (mut one, mut two) = (door.connect().await, door.connect().await);
        assert!(is_served(&mut one).await && is_served(&mut two).await);
        assert_eq!(rest_of(&mut door.connect().await).await, "", "there is no third place");
        drop(one);
        in_time(async { while !is_served(&mut door.connect().await).await {} }).await;
        door.close().await;
    }
}
