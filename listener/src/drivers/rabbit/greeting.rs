//! Hears the broker's version on its way to lapin, which does not tell it: a stream that reads
//! along until the broker has introduced itself. What follows from the version is `version.rs`;
//! `link.rs` puts the stream between lapin and the socket.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_rs::traits::Reactor;
use async_rs::util::RuntimeParts;
use async_rs::{Runtime, Tokio};
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::{Stream, TryFutureExt};
use lapin::protocol::{AMQPClass, connection, parse_class};
use lapin::types::{AMQPValue, FieldTable};

use super::version::Version;

/// lapin's runtime: tokio, whose streams read along.
pub(super) type Hearing = Runtime<RuntimeParts<Tokio, Ear>>;

/// Within tokio's runtime that is current; the greeting is put into `heard`.
pub(super) fn hearing(heard: Heard) -> Hearing {
    let tokio = Tokio::current();
    Runtime::new(RuntimeParts::new(tokio.clone(), Ear { tokio, heard }))
}

/// What a broker has said of itself, once it has.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard(Arc<OnceLock<Option<Version>>>);

impl Heard {
    /// Nothing while it has not been greeted, and for a broker that is no RabbitMQ.
    pub(super) fn version(&self) -> Option<Version> {
        self.0.get().copied().flatten()
    }
}

/// tokio's reactor, but for the type of its streams.
#[derive(Clone, Debug)]
pub(super) struct Ear {
    tokio: Tokio,
    heard: Heard,
}

impl Ear {
    fn listen<S>(&self, stream: S) -> Greeted<S> {
        Greeted { stream, greeting: Some(Vec::new()), heard: self.heard.clone() }
    }
}

type Tcp = <Tokio as Reactor>::TcpStream;

impl Reactor for Ear {
    type TcpStream = Greeted<Tcp>;
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
        let ear = self.clone();
        self.tokio.tcp_connect_addr(address).map_ok(move |stream| ear.listen(stream))
    }
}

/// A stream whose first frame is read along.
#[derive(Debug)]
pub(super) struct Greeted<S> {
    stream: S,
    /// What has come of the greeting; none once it is complete, or is none.
    greeting: Option<Vec<u8>>,
    heard: Heard,
}

impl<S> Greeted<S> {
    pub(super) fn get_ref(&self) -> &S {
        &self.stream
    }

    fn hear(&mut self, bytes: &[u8]) {
        let Some(greeting) = &mut self.greeting else {
            return;
        };
        greeting.extend_from_slice(bytes);
        match introduction(greeting) {
            Introduction::Incomplete => return,
            Introduction::Complete(version) => drop(self.heard.0.set(version)),
            Introduction::None => {}
        }
        self.greeting = None;
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Introduction {
    Incomplete,
    /// With the version, of a RabbitMQ.
    Complete(Option<Version>),
    /// What came is no greeting: lapin will say what is wrong with it.
    None,
}

/// Type, channel and size stand before a frame's payload.
const HEAD: usize = 7;
/// A greeting has some hundred bytes.
const LONGEST: usize = 64 * 1024;

/// Reads the frame of `connection.start`, with which a broker begins.
fn introduction(bytes: &[u8]) -> Introduction {
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() else {
        return Introduction::Incomplete;
    };
    let [kind, _, _, size @ ..] = *head;
    let size = u32::from_be_bytes(size) as usize;
    if kind != 1 || size > LONGEST {
        return Introduction::None;
    }
    let Some(payload) = rest.get(..size) else {
        return Introduction::Incomplete;
    };
    match parse_class(payload) {
        Ok((_, AMQPClass::Connection(connection::AMQPMethod::Start(start)))) => {
            Introduction::Complete(version(&start.server_properties))
        }
        _ => Introduction::None,
    }
}

fn version(properties: &FieldTable) -> Option<Version> {
    let text = |name| match properties.inner().get(name) {
        Some(AMQPValue::LongString(text)) => Some(text.to_string()),
        _ => None,
    };
    Version::read(&text("product")?, &text("version")?)
}

impl<S: AsyncRead + Unpin> AsyncRead for Greeted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let read = ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.hear(&buffer[..read]);
        Poll::Ready(Ok(read))
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.greeting.is_none() {
            return Pin::new(&mut self.stream).poll_read_vectored(context, buffers);
        }
        let empty = &mut [][..];
        let first = buffers.iter_mut().find(|buffer| !buffer.is_empty());
        self.poll_read(context, first.map_or(empty, |buffer| &mut **buffer))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Greeted<S> {
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
        buffers: &[IoSlice<'_>],
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

#[cfg(test)]
mod tests {
    use super::*;

    /// `connection.start`, as RabbitMQ 3.10.8 begins it.
    fn greeting(product: &str) -> Vec<u8> {
        let mut table = Vec::new();
        for (name, value) in [("product", product), ("version", "3.10.8")] {
            table.push(u8::try_from(name.len()).expect("short"));
            table.extend_from_slice(name.as_bytes());
            table.push(b'S');
            table.extend_from_slice(&long(value));
        }
        let mut payload = vec![0, 10, 0, 10, 0, 9];
        payload.extend_from_slice(&u32::try_from(table.len()).expect("short").to_be_bytes());
        payload.extend_from_slice(&table);
        payload.extend_from_slice(&long("PLAIN AMQPLAIN"));
        payload.extend_from_slice(&long("en_US"));
        let mut frame = vec![1, 0, 0];
        frame.extend_from_slice(&u32::try_from(payload.len()).expect("short").to_be_bytes());
        frame.extend_from_slice(&payload);
        frame.push(0xce);
        frame
    }

    fn long(text: &str) -> Vec<u8> {
        let length = u32::try_from(text.len()).expect("short").to_be_bytes();
        length.into_iter().chain(text.bytes()).collect()
    }

    fn heard(pieces: &[&[u8]]) -> Option<Option<Version>> {
        let mut stream =
            Greeted { stream: (), greeting: Some(Vec::new()), heard: Heard::default() };
        for piece in pieces {
            stream.hear(piece);
        }
        stream.heard.0.get().copied()
    }

    #[test]
    fn the_version_is_heard_however_the_greeting_is_cut() {
        let greeting = greeting("RabbitMQ");
        let expected = Some(Some(Version::new(3, 10)));
        for at in 0..=greeting.len() {
            let (begin, end) = greeting.split_at(at);
            assert_eq!(heard(&[begin, end, b"more"]), expected, "cut at {at}");
        }
    }

    #[test]
    fn another_broker_has_no_version() {
        assert_eq!(heard(&[&greeting("Qpid")]), Some(None));
    }

    #[test]
    fn what_is_no_greeting_is_not_kept() {
        for bytes in [&b"AMQP\0\0\x09\x01"[..], b"\x01\0\0\xff\xff\xff\xff", b"\x01\0\0\0\0\0\0"] {
            assert_eq!(introduction(bytes), Introduction::None);
        }
    }
}
