//! A mail server that counts and forgets. It has a thread of its own, so that a busy load driver never holds up a delivery.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::Result;

pub struct Sink {
    pub port: u16,
    mails: Arc<AtomicUsize>,
}

impl Sink {
    pub fn start() -> Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let mails = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&mails);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("sink".into()).spawn(move || runtime.block_on(accept(listener, counter)))?;
        Ok(Self { port, mails })
    }

    pub fn mails(&self) -> usize {
        self.mails.load(Ordering::Relaxed)
    }
}

async fn accept(listener: std::net::TcpListener, mails: Arc<AtomicUsize>) -> std::io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let mut sessions = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        sessions.spawn(session(stream, Arc::clone(&mails)));
        while sessions.try_join_next().is_some() {}
    }
}

/// One SMTP connection, for as many mails as the client likes to send over it.
async fn session(stream: TcpStream, mails: Arc<AtomicUsize>) -> std::io::Result<()> {
    let mut stream = BufReader::with_capacity(32 * 1024, stream);
    stream.write_all(b"220 sink.localhost ESMTP\r\n").await?;
    let mut line = Vec::with_capacity(1024);
    loop {
        line.clear();
        if stream.read_until(b'\n', &mut line).await? == 0 {
            return Ok(());
        }
        match line.get(..4).unwrap_or_default().to_ascii_uppercase().as_slice() {
            b"EHLO" => stream.write_all(b"250-sink.localhost\r\n250 8BITMIME\r\n").await?,
            b"DATA" => {
                stream.write_all(b"354 go on\r\n").await?;
                if !skip_mail(&mut stream, &mut line).await? {
                    return Ok(());
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
}
