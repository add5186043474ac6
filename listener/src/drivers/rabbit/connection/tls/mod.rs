//! TLS between the socket and the inspected stream, through rustls. `setup.rs` reads certificates and keys,
//! `explain.rs` says what is wrong with them. Called by `link.rs` for each connection, so that replaced files are
//! used by the next one. `no_tls.rs` takes the place of this folder without the feature `tls`.

mod explain;
mod setup;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_io::{AsyncRead, AsyncWrite};
use futures_rustls::TlsConnector;
use futures_rustls::client;
use futures_util::io::BufReader;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::SockRef;

use self::explain::Phase;
use super::greeting::Peer;
use super::socket::Socket;
use super::tls_problem::TlsProblem;
use crate::drivers::rabbit::options::RabbitOptions;

/// rustls reads 4 KiB at a time: the socket is read in larger pieces.
const READ: usize = 64 * 1024;

/// What a handshake needs.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    subject: explain::Subject,
}

/// A stream that is encrypted. A problem that rustls reports is recorded in the peer.
#[derive(Debug)]
pub(crate) struct TlsStream {
    stream: client::TlsStream<BufReader<Socket>>,
    peer: Peer,
    subject: explain::Subject,
}

impl Tls {
    /// Reads the certificates and keys of the options, for a connection to this host.
    ///
    /// # Errors
    /// They cannot be read, or do not fit.
    pub(crate) async fn prepare(options: &RabbitOptions, host: &str) -> Result<Self, TlsProblem> {
        let (options, host) = (options.clone(), host.to_owned());
        // Files may be on a slow file system.
        let prepared = tokio::task::spawn_blocking(move || setup::prepare(&options, &host)).await;
        let (config, name, subject) = prepared.unwrap_or_else(|error| {
            Err(TlsProblem::setup(format!("its files were not read: {error}"), "try again"))
        })?;
        Ok(Self { config: Arc::new(config), name, subject })
    }

    /// Encrypts the connection.
    ///
    /// # Errors
    /// The handshake failed; the reason is in the peer, if rustls has one.
    pub(crate) async fn handshake(self, socket: Socket, peer: Peer) -> io::Result<TlsStream> {
        let Self { config, name, subject } = self;
        let socket = BufReader::with_capacity(READ, socket);
        let connected = TlsConnector::from(config).connect(name, socket).await;
        let stream = connected
            .inspect_err(|error| peer.record_tls(subject.problem(error, Phase::Handshake)))?;
        Ok(TlsStream { stream, peer, subject })
    }
}

impl TlsStream {
    fn record(&self, error: &io::Error) {
        self.peer.record_tls(self.subject.problem(error, Phase::Established));
    }

    /// Passes on the result of a write. If the peer has closed the connection, its reason may be left to read.
    fn written<T>(
        &mut self,
        context: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &polled {
            self.record(error);
            let read = Pin::new(&mut self.stream).poll_read(context, &mut [0; 1024]);
            if let Poll::Ready(Err(error)) = read {
                self.record(&error);
            }
        }
        polled
    }

    /// The options of the socket.
    pub(crate) fn settings(&self) -> io::Result<SockRef<'_>> {
        self.stream.get_ref().0.get_ref().settings()
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.stream).poll_read(context, buffer);
        // A broker with TLS 1.3 refuses the client's certificate after the handshake.
        if let Poll::Ready(Err(error)) = &polled {
            this.record(error);
        }
        polled
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(context, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, buffers);
        self.written(context, polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(context);
        self.written(context, polled)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(context)
    }
}
