//! A mail server for tests: it speaks SMTP on 127.0.0.1, keeps what it gets and misbehaves on demand.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

/// The account that `AUTH PLAIN` takes: user, NUL, password.
const ACCOUNT: &str = "\0sink@acme.example\0p@ss/word+";

/// What the server does from now on, on open connections too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Accept,
    /// Answers this to the end of DATA and keeps nothing.
    Reply(&'static str),
    /// Answers this to RCPT.
    RejectRcpt(&'static str),
    /// Reads and says nothing any more.
    Hang,
    /// Hangs up before a word, as if there were no server.
    Away,
}

/// When the conversation is encrypted. The certificate is for `sink.test` and 127.0.0.1, by an authority of our own: `testdata/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    Never,
    /// Once the client says STARTTLS; before that the server takes no mail.
    Start,
    /// As `Start`, with somebody on the way who answers in the server's place: behind the leave to begin, in plain text, stand the replies to all
    /// that a client would say. What it does say is read, and nobody answers.
    Forged,
    /// From the first byte.
    Always,
}

/// A connection, encrypted or not.
trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// The server. It ends when it is dropped.
pub struct SmtpSink {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: AbortHandle,
}

struct Shared {
    state: Mutex<State>,
    arrived: watch::Sender<usize>,
    /// Rises when all open connections are to be closed.
    hang_ups: watch::Sender<usize>,
}

struct State {
    mode: Mode,
    mails: Vec<ReceivedMail>,
    /// What was answered with `Mode::Reply`.
    refused: Vec<ReceivedMail>,
    connections: usize,
}

/// A mail as it came over the wire, dots unstuffed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedMail {
    pub from: String,
    pub to: Vec<String>,
    pub raw: Vec<u8>,
}

impl SmtpSink {
    /// Listens on a free port. Must be called inside a runtime.
    ///
    /// # Panics
    /// If no port can be had.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(Tls::Never)
    }

    /// As `start`, encrypted.
    ///
    /// # Panics
    /// As `start`.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test without its server cannot go on")]
    #[expect(clippy::disallowed_methods, reason = "the server of a test lives beside the product's tasks")]
    pub fn start_with(tls: Tls) -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        listener.set_nonblocking(true).expect("a listener that does not block");
        let address = listener.local_addr().expect("the listener's address");
        let listener = TcpListener::from_std(listener).expect("a listener of the runtime");
        let state = State { mode: Mode::Accept, mails: Vec::new(), refused: Vec::new(), connections: 0 };
        let shared = Arc::new(Shared { state: Mutex::new(state), arrived: watch::Sender::new(0), hang_ups: watch::Sender::new(0) });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared), tls)).abort_handle();
        Self { address, shared, accepting }
    }

    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn set_mode(&self, mode: Mode) {
        self.shared.lock().mode = mode;
    }

    /// What has arrived so far, oldest first.
    #[must_use]
    pub fn mails(&self) -> Vec<ReceivedMail> {
        self.shared.lock().mails.clone()
    }

    /// What was sent and not taken, oldest first.
    #[must_use]
    pub fn refused(&self) -> Vec<ReceivedMail> {
        self.shared.lock().refused.clone()
    }

    /// How many connections there have been.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.lock().connections
    }

    /// Closes all open connections.
    pub fn hang_up(&self) {
        self.shared.hang_ups.send_modify(|n| *n += 1);
    }

    /// All mails, as soon as there are `n`.
    ///
    /// # Errors
    /// If there are fewer after `limit`.
    pub async fn wait_for(&self, n: usize, limit: Duration) -> Result<Vec<ReceivedMail>, String> {
        let mut arrived = self.shared.arrived.subscribe();
        match tokio::time::timeout(limit, arrived.wait_for(|count| *count >= n)).await {
            Ok(_) => Ok(self.mails()),
            Err(_) => Err(format!("{} of {n} mails arrived within {} ms", self.mails().len(), limit.as_millis())),
        }
    }
}

impl Drop for SmtpSink {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, tls: Tls) {
    let mut sessions = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        shared.lock().connections += 1;
        if shared.lock().mode == Mode::Away {
            continue;
        }
        let shared = Arc::clone(&shared);
        sessions.spawn(async move {
            let mut hang_ups = shared.hang_ups.subscribe();
            let session = Session { stream: BufReader::new(Box::new(stream)), shared: Arc::clone(&shared), from: String::new(), to: Vec::new() };
            tokio::select! {
                biased; // nothing more is answered once the connection is to be closed
                _ = hang_ups.changed() => {}
                _ = session.run(tls) => {}
            }
        });
    }
}

/// What proves the server to be `sink.test`.
fn acceptor() -> io::Result<TlsAcceptor> {
    let wrong = |e: &dyn std::fmt::Display| io::Error::other(e.to_string());
    let certificate = CertificateDer::from_pem_slice(include_bytes!("testdata/certificate.pem")).map_err(|e| wrong(&e))?;
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("testdata/key.pem")).map_err(|e| wrong(&e))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(|e| wrong(&e))?;
    let config = config.with_no_client_auth().with_single_cert(vec![certificate], key).map_err(|e| wrong(&e))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

struct Session {
    stream: BufReader<Box<dyn Wire>>,
    shared: Arc<Shared>,
    from: String,
    to: Vec<String>,
}

impl Session {
    /// What the client said before is forgotten, and so is what it sent ahead of the handshake.
    async fn encrypted(self) -> io::Result<Self> {
        let stream = acceptor()?.accept(self.stream.into_inner()).await?;
        Ok(Self { stream: BufReader::new(Box::new(stream)), from: String::new(), to: Vec::new(), shared: self.shared })
    }

    async fn run(mut self, tls: Tls) -> io::Result<()> {
        if tls == Tls::Always {
            self = self.encrypted().await?;
        }
        self.say("220 sink.test ESMTP").await?;
        let mut plain = matches!(tls, Tls::Start | Tls::Forged);
        while let Some(line) = self.line().await? {
            let line = String::from_utf8_lossy(&line).into_owned();
            let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
            match verb.to_ascii_uppercase().as_str() {
                "EHLO" if plain => self.say("250-sink.test\r\n250 STARTTLS").await?,
                "EHLO" => self.say("250-sink.test\r\n250-AUTH PLAIN\r\n250-SMTPUTF8\r\n250 8BITMIME").await?,
                "STARTTLS" if tls == Tls::Forged => {
                    self.say("220 2.0.0 go ahead\r\n250-sink.test\r\n250 8BITMIME\r\n250 ok\r\n250 ok\r\n354 go ahead\r\n250 2.0.0 forged").await?;
                    self = self.encrypted().await?;
                    while self.line().await?.is_some() {}
                }
                "STARTTLS" if plain => {
                    self.say("220 2.0.0 go ahead").await?;
                    self = self.encrypted().await?;
                    plain = false;
                }
                "QUIT" => return self.say("221 2.0.0 bye").await,
                _ if plain => self.say("530 5.7.0 STARTTLS first").await?,
                "DATA" if self.to.is_empty() => self.say("503 5.5.1 no recipient").await?,
                "DATA" => {
                    self.say("354 go ahead").await?;
                    if !self.data().await? {
                        return Ok(());
                    }
                }
                verb => self.envelope(verb, rest).await?,
            }
        }
        Ok(())
    }

    /// What leads up to a mail.
    async fn envelope(&mut self, verb: &str, rest: &str) -> io::Result<()> {
        match verb {
            "AUTH" => {
                let known = rest.strip_prefix("PLAIN ").is_some_and(|given| given == STANDARD.encode(ACCOUNT));
                self.say(if known { "235 2.7.0 welcome" } else { "535 5.7.8 wrong user or password" }).await
            }
            "MAIL" => {
                self.from = path(rest);
                self.to.clear();
                self.say("250 2.1.0 ok").await
            }
            "RCPT" => self.recipient(rest).await,
            "RSET" => {
                self.to.clear();
                self.say("250 2.0.0 ok").await
            }
            "HELO" | "NOOP" => self.say("250 2.0.0 ok").await,
            _ => self.say("500 5.5.2 unknown command").await,
        }
    }

    async fn recipient(&mut self, argument: &str) -> io::Result<()> {
        let mode = self.shared.lock().mode;
        if let Mode::RejectRcpt(reply) = mode {
            return self.say(reply).await;
        }
        self.to.push(path(argument));
        self.say("250 2.1.5 ok").await
    }

    /// Reads up to the lonely dot. `false`: the connection ends.
    async fn data(&mut self) -> io::Result<bool> {
        let mut raw = Vec::new();
        loop {
            let Some(line) = self.line().await? else { return Ok(false) };
            if line == b"." {
                break;
            }
            raw.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
            raw.extend_from_slice(b"\r\n");
        }
        let mail = ReceivedMail { from: std::mem::take(&mut self.from), to: std::mem::take(&mut self.to), raw };
        let mode = self.shared.lock().mode;
        if let Mode::Reply(reply) = mode {
            self.shared.lock().refused.push(mail);
            self.say(reply).await?;
            return Ok(!reply.starts_with("421"));
        }
        if mode != Mode::Hang {
            let count = {
                let mut state = self.shared.lock();
                state.mails.push(mail);
                state.mails.len()
            };
            self.shared.arrived.send_replace(count);
        }
        self.say("250 2.0.0 kept").await?;
        Ok(true)
    }

    /// The next line without its CRLF; `None` at the end. A bare LF does not end a line.
    async fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        while self.stream.read_until(b'\n', &mut line).await? > 0 {
            if let Some(whole) = line.strip_suffix(b"\r\n") {
                return Ok(Some(whole.to_vec()));
            }
        }
        Ok(None)
    }

    async fn say(&mut self, reply: &str) -> io::Result<()> {
        let mode = self.shared.lock().mode;
        if mode == Mode::Hang {
            return std::future::pending().await;
        }
        self.stream.write_all(format!("{reply}\r\n").as_bytes()).await
    }
}

/// The address in `FROM:<…>` or `TO:<…>`.
fn path(argument: &str) -> String {
    let inside = argument.split_once('<').and_then(|(_, rest)| rest.rsplit_once('>'));
    inside.map_or(argument, |(address, _)| address).to_owned()
}

impl ReceivedMail {
    /// The values of all headers of this name, folded lines joined.
    #[must_use]
    pub fn headers(&self, name: &str) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.raw);
        fields(text.split("\r\n\r\n").next().unwrap_or_default(), name)
    }

    /// The decoded part of this type, `text/plain` or `text/html`.
    #[must_use]
    pub fn part(&self, content_type: &str) -> Option<String> {
        let text = String::from_utf8_lossy(&self.raw);
        let boundary = self.headers("content-type").first()?.split("boundary=\"").nth(1)?.split('"').next()?.to_owned();
        text.split(&format!("--{boundary}")).skip(1).find_map(|part| {
            let (head, body) = part.split_once("\r\n\r\n")?;
            fields(head, "content-type").iter().any(|value| value.starts_with(content_type)).then(|| {
                let encoding = fields(head, "content-transfer-encoding").concat().to_ascii_lowercase();
                decode(&encoding, body.strip_suffix("\r\n").unwrap_or(body))
            })
        })
    }
}

fn fields(head: &str, name: &str) -> Vec<String> {
    let unfolded = head.replace("\r\n ", " ").replace("\r\n\t", " ");
    let named = |line: &str| line.split_once(':').filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned());
    unfolded.lines().filter_map(named).collect()
}

fn decode(encoding: &str, body: &str) -> String {
    let bytes = match encoding {
        "base64" => STANDARD.decode(body.replace(['\r', '\n'], "")).unwrap_or_default(),
        "quoted-printable" => {
            let mut pieces = body.replace("=\r\n", "").split('=').map(str::to_owned).collect::<Vec<_>>().into_iter();
            let mut bytes = pieces.next().unwrap_or_default().into_bytes();
            for piece in pieces {
                let (code, rest) = piece.split_at_checked(2).unwrap_or((&piece, ""));
                bytes.extend(u8::from_str_radix(code, 16));
                bytes.extend_from_slice(rest.as_bytes());
            }
            bytes
        }
        _ => return body.to_owned(),
    };
    String::from_utf8_lossy(&bytes).into_owned()
}
