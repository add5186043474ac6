//! The stream that lapin reads: that of `socket.rs`, with all that comes looked over by `screen.rs`,
//! and the broker's greeting read along by `greeting.rs`. What is sent goes through as it is. Made
//! by `link.rs`, for each connection.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_rs::traits::Reactor;
use async_rs::util::RuntimeParts;
use async_rs::{Runtime, Tokio};
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::{FutureExt, Stream};
use tokio::runtime::Handle;

use super::greeting::{Greeting, Heard};
use super::socket::Socket;
use crate::drivers::rabbit::workarounds::nested_tables::Screen;

/// lapin's runtime: tokio, whose streams are looked over. To be made within tokio's. The broker's
/// version is put into `heard`. `frame_max`: the largest frame that lapin asks for, in bytes.
/// `pauses` as in `Socket::new`.
pub(crate) fn runtime(
    heard: Heard,
    frame_max: u32,
    pauses: bool,
) -> Runtime<RuntimeParts<Tokio, Screening>> {
    let tokio = Tokio::current();
    let reactor = Handle::current();
    let screening = Screening { tokio: tokio.clone(), reactor, heard, frame_max, pauses };
    Runtime::new(RuntimeParts::new(tokio, screening))
}

/// tokio's reactor, but for the type of its streams.
#[derive(Clone, Debug)]
pub(crate) struct Screening {
    tokio: Tokio,
    reactor: Handle,
    heard: Heard,
    frame_max: u32,
    pauses: bool,
}

impl Reactor for Screening {
    type TcpStream = Screened<Socket>;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: Send + 'static>(
        &self,
        _: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        // Connections are opened by address; nothing else is ever registered.
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
        let Self { reactor, heard, frame_max, pauses, .. } = self.clone();
        self.tokio.tcp_connect_addr(address).map(move |stream| {
            Ok(Screened::new(Socket::new(stream?.into_inner(), reactor, pauses), heard, frame_max))
        })
    }
}

/// A stream whose frames are looked over as they come.
#[derive(Debug)]
pub(crate) struct Screened<S> {
    stream: S,
    screen: Screen,
    greeting: Greeting,
    /// What may be read before anything else, from `read` on.
    ready: Vec<u8>,
    read: usize,
}

impl<S> Screened<S> {
    /// `frame_max`: the largest frame that lapin asks for, in bytes.
    pub(crate) fn new(stream: S, heard: Heard, frame_max: u32) -> Self {
        let mut screen = Screen::default();
        screen.limit(frame_max);
        Self { stream, screen, greeting: Greeting::new(heard), ready: Vec::new(), read: 0 }
    }

    pub(crate) fn get_ref(&self) -> &S {
        &self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Screened<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        while this.read == this.ready.len() {
            this.read = 0;
            this.ready.clear();
            // Straight to where lapin wants it: nearly all of it stays there.
            let length = ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
            let read = &buffer[..length];
            // No properties are sent before the limit of frames is agreed: lapin takes the lower one.
            if let Some(frame_max) = this.greeting.hear(read) {
                this.screen.limit(frame_max);
            }
            let passed = this.screen.let_pass(read);
            this.screen.feed(&read[passed..], &mut this.ready);
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

impl<S: AsyncWrite + Unpin> AsyncWrite for Screened<S> {
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
