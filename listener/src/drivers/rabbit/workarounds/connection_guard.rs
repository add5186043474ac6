//! lapin 4.12 offers no way to abort a connection: `Connection::close` waits for the broker's answer,
//! and dropping the connection, or the future that connects, leaves lapin's I/O loop running with the
//! socket open for as long as the peer accepts data and sends nothing. So the socket is shut down from
//! outside when its guard is dropped. `tests/rabbit/workarounds.rs` fails once lapin
//! closes it.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use socket2::{SockRef, Socket, TcpKeepalive};
use tokio_util::sync::CancellationToken;

/// Aborts its connection when it is dropped, whatever lapin waits for.
#[derive(Default)]
pub(crate) struct ConnectionGuard(Arc<AbortHandle>);

impl ConnectionGuard {
    /// For the future that connects.
    pub(crate) fn abort_handle(&self) -> Arc<AbortHandle> {
        Arc::clone(&self.0)
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.0.token.cancel();
        self.0.shut();
    }
}

/// The socket of a connection, once there is one, and whether it is aborted.
#[derive(Default)]
pub(crate) struct AbortHandle {
    token: CancellationToken,
    socket: OnceLock<Socket>,
}

impl AbortHandle {
    /// Completes when the guard is dropped.
    pub(crate) async fn aborted(&self) -> io::Error {
        self.token.cancelled().await;
        aborted()
    }

    /// Registers the socket that is shut down when the guard is dropped, and sets its options.
    pub(crate) fn register(&self, socket: &SockRef<'_>) -> io::Result<()> {
        socket.set_tcp_nodelay(true)?;
        // Heartbeats detect a dead peer sooner, unless the broker disables them.
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(Duration::from_secs(60)))?;
        let _ = self.socket.set(socket.try_clone()?);
        // The guard may have been dropped while the socket connected.
        if self.token.is_cancelled() {
            self.shut();
            return Err(aborted());
        }
        Ok(())
    }

    fn shut(&self) {
        if let Some(socket) = self.socket.get() {
            let _ = socket.shutdown(std::net::Shutdown::Both);
        }
    }
}

fn aborted() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the connection was aborted")
}
