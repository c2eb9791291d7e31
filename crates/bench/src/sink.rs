//! A mail server that counts and forgets, or is slow, refuses or says nothing. It has a thread of its own, so that a busy load driver never holds up a delivery.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::Result;

/// How long a slow one thinks about a mail.
const SLOW: Duration = Duration::from_millis(200);

/// What becomes of a mail.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Takes,
    Slow,
    /// Now is not the time, as it says.
    Refuses,
    /// Nothing is said any more.
    Hangs,
}

pub struct Sink {
    pub port: u16,
    mails: Arc<AtomicUsize>,
    mood: watch::Sender<Mood>,
}

impl Sink {
    pub fn start() -> Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let mails = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&mails);
        let (mood, moods) = watch::channel(Mood::Takes);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("sink".into()).spawn(move || runtime.block_on(accept(listener, counter, moods)))?;
        Ok(Self { port, mails, mood })
    }

    /// From now on. Who hung until now is hung up on.
    pub fn be(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    pub fn mails(&self) -> usize {
        self.mails.load(Ordering::Relaxed)
    }
}

async fn accept(listener: std::net::TcpListener, mails: Arc<AtomicUsize>, moods: watch::Receiver<Mood>) -> std::io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let mut sessions = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        sessions.spawn(session(stream, Arc::clone(&mails), moods.clone()));
        while sessions.try_join_next().is_some() {}
    }
}

/// One SMTP connection, for as many mails as the client likes to send over it.
async fn session(stream: TcpStream, mails: Arc<AtomicUsize>, mut moods: watch::Receiver<Mood>) -> std::io::Result<()> {
    let mut stream = BufReader::with_capacity(32 * 1024, stream);
    if !speaks(&mut stream, &mut moods).await? {
        return Ok(());
    }
    stream.write_all(b"220 sink.localhost ESMTP\r\n").await?;
    let mut line = Vec::with_capacity(1024);
    loop {
        line.clear();
        if stream.read_until(b'\n', &mut line).await? == 0 {
            return Ok(());
        }
        if !speaks(&mut stream, &mut moods).await? {
            return Ok(());
        }
        match line.get(..4).unwrap_or_default().to_ascii_uppercase().as_slice() {
            b"EHLO" => stream.write_all(b"250-sink.localhost\r\n250 8BITMIME\r\n").await?,
            b"DATA" => {
                stream.write_all(b"354 go on\r\n").await?;
                if !skip_mail(&mut stream, &mut line).await? {
                    return Ok(());
                }
                if *moods.borrow() == Mood::Slow {
                    tokio::time::sleep(SLOW).await;
                }
                mails.fetch_add(1, Ordering::Relaxed);
                stream.write_all(b"250 2.0.0 counted\r\n").await?;
            }
            b"QUIT" => return stream.write_all(b"221 2.0.0 bye\r\n").await,
            b"HELO" | b"MAIL" | b"RCPT" | b"RSET" | b"NOOP" => stream.write_all(b"250 2.0.0 fine\r\n").await?,
            _ => stream.write_all(b"502 5.5.1 not spoken here\r\n").await?,
        }
    }
}

/// Whether the conversation goes on.
async fn speaks(stream: &mut BufReader<TcpStream>, moods: &mut watch::Receiver<Mood>) -> std::io::Result<bool> {
    let mood = *moods.borrow_and_update();
    match mood {
        Mood::Takes | Mood::Slow => return Ok(true),
        Mood::Refuses => stream.write_all(b"421 4.3.2 not now\r\n").await?,
        Mood::Hangs => drop(moods.changed().await),
    }
    Ok(false)
}

/// Reads up to the lone dot. `false`: the client left before it.
async fn skip_mail(stream: &mut BufReader<TcpStream>, line: &mut Vec<u8>) -> std::io::Result<bool> {
    loop {
        line.clear();
        if stream.read_until(b'\n', line).await? == 0 {
            return Ok(false);
        }
        if line == b".\r\n" {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::{Ipv4Addr, TcpStream};

    use super::*;

    #[test]
    fn two_mails_over_one_connection_are_counted() {
        let sink = Sink::start().unwrap();
        let mut stream = BufReader::new(TcpStream::connect((Ipv4Addr::LOCALHOST, sink.port)).unwrap());
        let mut said = |request: &str, expected: &str| {
            stream.get_mut().write_all(request.as_bytes()).unwrap();
            let mut line = String::new();
            stream.read_line(&mut line).unwrap();
            while line.as_bytes().get(3) == Some(&b'-') {
                line.clear();
                stream.read_line(&mut line).unwrap();
            }
            assert!(line.starts_with(expected), "{request:?}: {line:?}");
        };
        said("", "220");
        said("EHLO bench\r\n", "250");
        for mails in 0..2 {
            assert_eq!(sink.mails(), mails);
            said("MAIL FROM:<a@example.com>\r\n", "250");
            said("RCPT TO:<b@example.com>\r\n", "250");
            said("DATA\r\n", "354");
            said("Subject: x\r\n\r\n..dot\r\n.\r\n", "250");
        }
        assert_eq!(sink.mails(), 2);
        said("QUIT\r\n", "221");
    }

    #[test]
    fn one_that_refuses_says_so_and_one_that_hangs_says_nothing_until_it_is_better() {
        let sink = Sink::start().unwrap();
        let connect = || BufReader::new(TcpStream::connect((Ipv4Addr::LOCALHOST, sink.port)).unwrap());
        let said = |stream: &mut BufReader<TcpStream>| {
            let mut line = String::new();
            stream.read_line(&mut line).unwrap();
            line
        };
        let mut open = connect();
        assert!(said(&mut open).starts_with("220"));
        sink.be(Mood::Refuses);
        open.get_mut().write_all(b"NOOP\r\n").unwrap();
        assert!(said(&mut open).starts_with("421") && said(&mut connect()).starts_with("421"));
        sink.be(Mood::Hangs);
        let mut hung = connect();
        hung.get_mut().set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        assert!(hung.read_line(&mut String::new()).is_err(), "it said something");
        sink.be(Mood::Takes);
        hung.get_mut().set_read_timeout(None).unwrap();
        assert_eq!(said(&mut hung), "", "hung up on");
        assert!(said(&mut connect()).starts_with("220"));
    }
}
