//! Takes the place of `tls/` in a build without the feature `tls`: TLS cannot be used. `query.rs` and
//! `builder.rs` refuse the option that asks for it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_io::{AsyncRead, AsyncWrite};
use socket2::SockRef;

use super::greeting::Peer;
use super::socket::Socket;
use super::tls_problem::TlsProblem;
use crate::drivers::rabbit::options::RabbitOptions;

/// Does not exist.
#[derive(Clone, Debug)]
pub(crate) enum Tls {}

/// Does not exist.
#[derive(Debug)]
pub(crate) enum TlsStream {}

impl Tls {
    pub(crate) async fn prepare(_: &RabbitOptions, _: &str) -> Result<Self, TlsProblem> {
        let fix = "enable the feature `tls` of the crate `listener`";
        Err(TlsProblem::setup("this build has no TLS", fix))
    }

    pub(crate) async fn handshake(self, _: Socket, _: Peer) -> io::Result<TlsStream> {
        match self {}
    }
}

impl TlsStream {
    pub(crate) fn settings(&self) -> io::Result<SockRef<'_>> {
        match *self {}
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match *self {}
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        match *self {}
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match *self {}
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match *self {}
    }
}
