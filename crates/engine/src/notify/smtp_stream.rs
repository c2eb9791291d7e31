//! The connection under SMTP, which reads no more than a reply is worth: lettre gathers a line, however long, before it looks at its length.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Bytes between two writes of ours: a reply, or one flight of a TLS handshake. RFC 5321 has lines of 512 bytes.
const MOST: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct SmtpStream {
    inner: TcpStream,
    /// Since the last write.
    read: usize,
}

impl SmtpStream {
    pub(super) async fn connect(host: &str, port: u16) -> io::Result<Self> {
        let inner = TcpStream::connect((host, port)).await?;
        inner.set_nodelay(true)?;
        Ok(Self { inner, read: 0 })
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
        let polled = Pin::new(&mut self.inner).poll_read(cx, buffer);
        self.read += buffer.filled().len() - before;
        polled
    }
}

impl AsyncWrite for SmtpStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.read = 0;
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
