//! The connection under SMTP, which reads no more than a reply is worth: lettre gathers a line, however long, before it looks at its length, and keeps what
//! was read behind a line for later, also what came in plain text before TLS.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Bytes between two writes of ours: a reply, or one flight of a TLS handshake. RFC 5321 has lines of 512 bytes.
const MOST: usize = 64 * 1024;
/// With which TLS begins: a record of the kind "handshake" (RFC 8446, 5.1). No command of SMTP does.
const HANDSHAKE: u8 = 0x16;

#[derive(Debug)]
pub(super) struct SmtpStream {
    inner: TcpStream,
    /// Since the last write.
    read: usize,
    /// Whether TLS is still to come. Until then a byte at a time is read: none behind the reply that leads to it, which would pass for the server's word under TLS.
    before_tls: bool,
}

impl SmtpStream {
    pub(super) async fn connect(host: &str, port: u16, before_tls: bool) -> io::Result<Self> {
        let inner = TcpStream::connect((host, port)).await?;
        inner.set_nodelay(true)?;
        Ok(Self { inner, read: 0, before_tls })
    }
}

impl AsyncTokioStream for SmtpStream {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.inner.peer_addr()
    }
}

impl AsyncRead for SmtpStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.read > MOST {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "a reply without an end")));
        }
        let before = buffer.filled().len();
        let polled = if self.before_tls {
            let mut byte = [0];
            let mut one = ReadBuf::new(&mut byte);
            ready!(Pin::new(&mut self.inner).poll_read(cx, &mut one))?;
            buffer.put_slice(one.filled());
            Poll::Ready(Ok(()))
        } else {
            Pin::new(&mut self.inner).poll_read(cx, buffer)
        };
        self.read += buffer.filled().len() - before;
        polled
    }
}

impl AsyncWrite for SmtpStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.read = 0;
        self.before_tls &= bytes.first() != Some(&HANDSHAKE);
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
