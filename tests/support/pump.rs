//! Forwards the bytes of a link in one direction, with the toxics that `proxy.rs` sets. `proxy.rs`
//! accepts the links, and calls it for both directions.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::proxy::Toxics;

/// One direction of a link.
#[derive(Clone)]
pub(crate) struct Direction {
    stall: watch::Receiver<bool>,
    toxics: watch::Receiver<Toxics>,
    to_client: bool,
    /// After this many bytes the link is reset.
    left: Option<usize>,
    /// Bytes were discarded: the bytes after them would not be valid AMQP, so nothing follows.
    broken: bool,
}

impl Direction {
    /// The direction from the client to the broker.
    pub(crate) fn new(stall: watch::Receiver<bool>, toxics: watch::Receiver<Toxics>) -> Self {
        Self { stall, toxics, to_client: false, left: None, broken: false }
    }

    /// The opposite direction of the same link.
    pub(crate) fn back(self, limit: Option<usize>) -> Self {
        Self { to_client: true, left: limit, ..self }
    }
}

/// Forwards bytes in one direction until the sender closes, which is forwarded, too. An error resets the
/// link.
pub(crate) async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut way: Direction,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = from.read(&mut buffer).await?;
        // Bytes read while the link is stalled wait here, and the end of the stream as well.
        if way.stall.wait_for(|stalled| !stalled).await.is_err() {
            return Ok(());
        }
        let toxics = *way.toxics.borrow();
        let delay = jittered(toxics.latency, toxics.jitter);
        if !delay.is_zero() {
            sleep(delay).await;
        }
        if count == 0 {
            return to.shutdown().await;
        }
        // The toxics after the delay: bytes in transit when the fault begins are lost.
        let toxics = *way.toxics.borrow();
        way.broken |= if way.to_client { toxics.deaf } else { toxics.mute };
        if way.broken {
            continue;
        }
        let allowed = way.left.map_or(count, |left| left.min(count));
        send(&mut to, &buffer[..allowed], toxics).await?;
        way.left = way.left.map(|left| left - allowed);
        if way.left == Some(0) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
    }
}

async fn send(to: &mut WriteHalf<'_>, bytes: &[u8], toxics: Toxics) -> io::Result<()> {
    for piece in bytes.chunks(toxics.slice.unwrap_or(bytes.len()).max(1)) {
        to.write_all(piece).await?;
    }
    if let Some(rate) = toxics.rate {
        sleep(Duration::from_secs_f64(bytes.len() as f64 / f64::from(rate))).await;
    }
    Ok(())
}

/// Evenly from `latency - jitter` to `latency + jitter`.
fn jittered(latency: Duration, jitter: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish();
    let share = random as f64 / u64::MAX as f64;
    (latency + jitter.mul_f64(2.0 * share)).saturating_sub(jitter)
}
