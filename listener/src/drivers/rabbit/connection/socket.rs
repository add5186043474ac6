//! A TCP stream for lapin's I/O loop, which runs on a thread of its own. Under load it is read without
//! tokio's reactor: when nothing is left, the thread sleeps for a moment and reads what has accumulated,
//! because a wake-up by the reactor for each segment costs more than parsing it. This works around
//! lapin 4.12, which reads in a loop of its own; `stream.rs` makes the sockets.

use std::io::{self, IoSlice, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};
use socket2::SockRef;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::runtime::Handle;

/// How long the thread sleeps when nothing is left to read. Writes wait as long.
const PAUSE: Duration = Duration::from_micros(500);

/// The least number of bytes between two pauses for which another pause pays.
const FLOW: usize = 4 * 1024;

/// A TCP stream. It may block the thread that polls it, for `PAUSE`.
#[derive(Debug)]
pub(crate) struct Socket {
    /// None only during a conversion, or after one has failed.
    stream: Option<Stream>,
    /// The runtime whose reactor is used.
    reactor: Handle,
    pauses: bool,
    /// A write waits for the reactor.
    is_full: bool,
}

#[derive(Debug)]
enum Stream {
    /// Registered with the reactor.
    Registered(TcpStream),
    /// Read without the reactor.
    Polled {
        stream: std::net::TcpStream,
        /// The number of bytes read since the last pause.
        read: usize,
        /// The last read found nothing.
        is_dry: bool,
    },
}

impl Socket {
    /// Without `pauses` it behaves as tokio's stream.
    pub(crate) const fn new(stream: TcpStream, reactor: Handle, pauses: bool) -> Self {
        Self { stream: Some(Stream::Registered(stream)), reactor, pauses, is_full: false }
    }

    /// The options of the socket.
    pub(crate) fn settings(&self) -> io::Result<SockRef<'_>> {
        match self.stream.as_ref().ok_or(io::ErrorKind::NotConnected)? {
            Stream::Registered(stream) => Ok(SockRef::from(stream)),
            Stream::Polled { stream, .. } => Ok(SockRef::from(stream)),
        }
    }

    /// The stream, registered with the reactor.
    fn registered(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        let stream = match self.stream.take().ok_or(io::ErrorKind::NotConnected)? {
            Stream::Registered(stream) => stream,
            Stream::Polled { stream, .. } => {
                let _reactor = self.reactor.enter();
                TcpStream::from_std(stream)?
            }
        };
        match self.stream.insert(Stream::Registered(stream)) {
            Stream::Registered(stream) => Ok(Pin::new(stream)),
            Stream::Polled { .. } => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Deregisters the stream, from which `read` bytes were just read. Must not be called while a write
    /// waits for the reactor.
    fn deregister(&mut self, read: usize) -> io::Result<()> {
        self.stream = match self.stream.take() {
            Some(Stream::Registered(stream)) => {
                Some(Stream::Polled { stream: stream.into_std()?, read, is_dry: false })
            }
            other => other,
        };
        Ok(())
    }

    /// Reads without the reactor, after a pause if the last read found nothing. None if it is
    /// registered, or if nothing is left and little was read since the last pause.
    fn read_polled(&mut self, buffer: &mut [u8]) -> Option<Poll<io::Result<usize>>> {
        let Some(Stream::Polled { stream, read, is_dry }) = &mut self.stream else { return None };
        if std::mem::take(is_dry) {
            std::thread::sleep(PAUSE);
        }
        match stream.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                *is_dry = std::mem::take(read) >= FLOW;
                is_dry.then_some(Poll::Pending)
            }
            result => {
                *read += result.as_ref().map_or(0, |length| *length);
                Some(Poll::Ready(result))
            }
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if let Some(polled) = this.read_polled(buffer) {
            if polled.is_pending() {
                // Before it sleeps, lapin parses what was read and writes what is queued.
                context.waker().wake_by_ref();
            }
            return polled;
        }
        let mut read_buffer = ReadBuf::new(buffer);
        ready!(this.registered()?.poll_read(context, &mut read_buffer))?;
        let length = read_buffer.filled().len();
        if this.pauses && !this.is_full && length >= FLOW {
            this.deregister(length)?;
        }
        Poll::Ready(Ok(length))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if let Some(Stream::Polled { stream, .. }) = &mut this.stream {
            match stream.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
        let polled = this.registered()?.poll_write(context, bytes);
        this.is_full = polled.is_pending();
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if let Some(Stream::Polled { stream, .. }) = &mut this.stream {
            match stream.write_vectored(buffers) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
        let polled = this.registered()?.poll_write_vectored(context, buffers);
        this.is_full = polled.is_pending();
        polled
    }

    // Nothing is buffered.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.registered()?.poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// A socket, and its peer.
    async fn pair(pauses: bool) -> (Socket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let peer = listener.accept().await.unwrap().0;
        (Socket::new(stream, Handle::current(), pauses), peer)
    }

    impl Socket {
        fn is_flowing(&self) -> bool {
            matches!(self.stream, Some(Stream::Polled { .. }))
        }

        async fn read(&mut self, buffer: &mut [u8]) -> usize {
            poll_fn(|context| Pin::new(&mut *self).poll_read(context, buffer)).await.unwrap()
        }

        /// Reads this many bytes, or to the end.
        async fn read_up_to(&mut self, length: usize) -> Vec<u8> {
            let mut all = Vec::new();
            while all.len() < length {
                let mut buffer = vec![0; (length - all.len()).min(100_000)];
                let read = self.read(&mut buffer).await;
                if read == 0 {
                    break;
                }
                all.extend(&buffer[..read]);
            }
            all
        }

        /// Polls it while nothing arrives, until it is registered with the reactor again.
        async fn run_dry(&mut self) {
            let mut polls = 0;
            poll_fn(|context| {
                assert!(Pin::new(&mut *self).poll_read(context, &mut [0; 10]).is_pending());
                polls += 1;
                if self.is_flowing() { Poll::Pending } else { Poll::Ready(()) }
            })
            .await;
            assert_eq!(polls, 2, "it has to find nothing twice");
        }

        /// Writes until the buffers are full. Returns the number of bytes.
        fn fill(&mut self) -> usize {
            let mut context = Context::from_waker(std::task::Waker::noop());
            let mut filled = 0;
            while let Poll::Ready(written) =
                Pin::new(&mut *self).poll_write(&mut context, &[7; 65_536])
            {
                filled += written.unwrap();
            }
            filled
        }

        async fn write(&mut self, bytes: &[u8]) -> usize {
            poll_fn(|context| Pin::new(&mut *self).poll_write(context, bytes)).await.unwrap()
        }
    }

    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|index| (index % 251) as u8).collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn all_bytes_arrive_under_heavy_and_light_load() {
        let (mut socket, mut peer) = pair(true).await;
        for _ in 0..5 {
            let sent = bytes(3_000_000);
            let expected = sent.clone();
            let sending = tokio::spawn(async move {
                peer.write_all(&sent).await.unwrap();
                peer
            });
            assert_eq!(socket.read_up_to(expected.len()).await, expected);
            peer = sending.await.unwrap();
            // All bytes have arrived before they are read.
            peer.write_all(&bytes(FLOW)).await.unwrap();
            assert_eq!(socket.read_up_to(FLOW).await, bytes(FLOW));
            assert!(socket.is_flowing());
            socket.run_dry().await;
            let reading = tokio::spawn(async move {
                let read = socket.read_up_to(3).await;
                (socket, read)
            });
            peer.write_all(b"end").await.unwrap();
            let (back, read) = reading.await.unwrap();
            socket = back;
            assert_eq!(read, b"end");
            assert!(!socket.is_flowing());
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn without_pauses_the_reactor_reports_readiness() {
        let (mut socket, mut peer) = pair(false).await;
        let sent = bytes(3_000_000);
        let expected = sent.clone();
        let sending = tokio::spawn(async move { peer.write_all(&sent).await.unwrap() });
        assert_eq!(socket.read_up_to(expected.len()).await, expected);
        assert!(!socket.is_flowing());
        sending.await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_end_is_reported_with_and_without_the_reactor() {
        for much in [FLOW, 10] {
            let (mut socket, mut peer) = pair(true).await;
            peer.write_all(&bytes(much)).await.unwrap();
            assert_eq!(socket.read_up_to(much).await, bytes(much));
            assert_eq!(socket.is_flowing(), much == FLOW);
            drop(peer);
            assert_eq!(socket.read(&mut [0; 10]).await, 0);
        }
    }

    /// Reads this many bytes from the peer, while the socket is not polled.
    async fn take(peer: &mut TcpStream, mut length: usize) {
        let mut buffer = vec![0; 65_536];
        while length > 0 {
            let most = length.min(buffer.len());
            length -= peer.read_exact(&mut buffer[..most]).await.unwrap();
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_waiting_writer_is_woken_while_much_is_read() {
        let (mut socket, mut peer) = pair(true).await;
        let filled = socket.fill();
        peer.write_all(&bytes(2 * FLOW)).await.unwrap();
        assert_eq!(socket.read_up_to(2 * FLOW).await.len(), 2 * FLOW);
        assert!(!socket.is_flowing(), "the reactor would have nothing to report");
        let writing = tokio::spawn(async move { socket.write(b"more").await });
        take(&mut peer, filled).await;
        assert_eq!(writing.await.unwrap(), 4);
        take(&mut peer, 4).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_write_that_would_block_under_heavy_reading_is_completed_later() {
        let (mut socket, mut peer) = pair(true).await;
        peer.write_all(&bytes(FLOW)).await.unwrap();
        socket.read_up_to(FLOW).await;
        assert!(socket.is_flowing());
        let filled = socket.fill();
        assert!(!socket.is_flowing());
        let writing = tokio::spawn(async move {
            assert_eq!(socket.write(b"more").await, 4);
            socket
        });
        take(&mut peer, filled + 4).await;
        let mut socket = writing.await.unwrap();
        peer.write_all(&bytes(FLOW)).await.unwrap();
        socket.read_up_to(FLOW).await;
        assert!(socket.is_flowing());
    }
}
