//! The stream that lapin reads: the bytes of `byte_stream.rs`, of which `greeting.rs` reads the first, and
//! `workarounds/nested_tables.rs` replaces what lapin cannot parse. Bytes that are sent pass unchanged.
//! `link.rs` makes one for each connection.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_rs::traits::Reactor;
use async_rs::util::RuntimeParts;
use async_rs::{Runtime, Tokio};
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::Stream;
use tokio::runtime::Handle;

use super::byte_stream::ByteStream;
use super::greeting::{Greeting, Peer};
use super::socket::Socket;
use super::tls::Tls;
use crate::drivers::rabbit::workarounds::nested_tables::FrameFilter;

/// A runtime for lapin: tokio, with inspected streams. Must be called within tokio's. What is learnt of
/// the peer is stored in `peer`. `frame_max`: the frame size that lapin proposes, in bytes. `pauses`: as
/// in `Socket::new`. `tls`: if the connection is to be encrypted.
pub(crate) fn runtime(
    peer: Peer,
    frame_max: u32,
    pauses: bool,
    tls: Option<Tls>,
) -> Runtime<RuntimeParts<Tokio, InspectingReactor>> {
    let tokio = Tokio::current();
    let reactor = Handle::current();
    let inspecting =
        InspectingReactor { tokio: tokio.clone(), reactor, peer, frame_max, pauses, tls };
    Runtime::new(RuntimeParts::new(tokio, inspecting))
}

/// tokio's reactor with inspected streams.
#[derive(Clone, Debug)]
pub(crate) struct InspectingReactor {
    tokio: Tokio,
    reactor: Handle,
    peer: Peer,
    frame_max: u32,
    pauses: bool,
    tls: Option<Tls>,
}

impl Reactor for InspectingReactor {
    type TcpStream = InspectedStream<ByteStream>;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: Send + 'static>(
        &self,
        _: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        // lapin opens connections by address and registers nothing else.
        Err::<Self::TcpStream, _>(io::ErrorKind::Unsupported.into())
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.tokio.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.tokio.interval(duration)
    }

    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        let Self { reactor, peer, frame_max, pauses, tls, .. } = self.clone();
        let connected = self.tokio.tcp_connect_addr(address);
        async move {
            let socket = Socket::new(connected.await?.into_inner(), reactor, pauses);
            let stream = match tls {
                None => ByteStream::Plain(socket),
                Some(tls) => ByteStream::Tls(Box::new(tls.handshake(socket, peer.clone()).await?)),
            };
            Ok(InspectedStream::new(stream, peer, frame_max))
        }
    }
}

/// A stream whose frames are inspected as they arrive.
#[derive(Debug)]
pub(crate) struct InspectedStream<S> {
    stream: S,
    filter: FrameFilter,
    greeting: Greeting,
    /// Replaced bytes, to be read first, from position `read`.
    ready: Vec<u8>,
    read: usize,
}

impl<S> InspectedStream<S> {
    /// `frame_max`: the frame size that lapin proposes, in bytes.
    pub(crate) fn new(stream: S, peer: Peer, frame_max: u32) -> Self {
        let mut filter = FrameFilter::default();
        filter.limit(frame_max);
        Self { stream, filter, greeting: Greeting::new(peer), ready: Vec::new(), read: 0 }
    }

    pub(crate) fn get_ref(&self) -> &S {
        &self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for InspectedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        while this.read == this.ready.len() {
            this.read = 0;
            this.ready.clear();
            // Straight into lapin's buffer, where nearly all of it remains.
            let length = ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
            let read = &buffer[..length];
            // No properties are sent before frame sizes are negotiated; lapin uses the lower one.
            if let Some(frame_max) = this.greeting.read(read) {
                this.filter.limit(frame_max);
            }
            let passed = this.filter.pass_unchanged(read);
            this.filter.filter(&read[passed..], &mut this.ready);
            if passed > 0 || length == 0 {
                return Poll::Ready(Ok(passed));
            }
        }
        let length = buffer.len().min(this.ready.len() - this.read);
        buffer[..length].copy_from_slice(&this.ready[this.read..this.read + length]);
        this.read += length;
        Poll::Ready(Ok(length))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for InspectedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(context)
    }
}
