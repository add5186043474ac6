//! How a listener ends: nothing new is taken, methods that run are let finish up to a
//! deadline, the rest goes back to the broker, acknowledgements are flushed, connections
//! close. Also the signals that ask for it.

use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::transport::delivery::{Delivery, Settle};
use crate::transport::driver::Consumer;

/// How long a method that ignores its cancellation (a plain `fn`) is waited for after the
/// deadline.
const LAST_WAIT: Duration = Duration::from_millis(100);

/// Ends a subscription. `abort` is cancelled at the deadline, and ends what still runs.
pub(super) async fn shut_down(
    consumer: Box<dyn Consumer>,
    mut deliveries: UnboundedReceiver<Delivery>,
    running: &TaskTracker,
    abort: &CancellationToken,
    deadline: Duration,
) {
    let until = tokio::time::Instant::now() + deadline;
    consumer.cancel().await;
    let mut given_back = 0_usize;
    while let Ok(Some(delivery)) = tokio::time::timeout_at(until, deliveries.recv()).await {
        // A session that is over gives its deliveries back by itself.
        given_back += usize::from(delivery.settle(Settle::GiveBack).is_ok());
    }
    running.close();
    let in_work = running.len();
    if tokio::time::timeout_at(until, running.wait()).await.is_err() {
        tracing::warn!(
            unfinished = running.len(),
            ?deadline,
            "methods still run after the deadline: their deliveries go back to the broker"
        );
        abort.cancel();
        let _ = tokio::time::timeout(LAST_WAIT, running.wait()).await;
    }
    consumer.close().await;
    tracing::info!(in_work, given_back, "stopped");
}

/// The signals that ask a program to end. They are caught from the moment this is made.
#[cfg(unix)]
pub(super) struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    pub(super) fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// The next signal's name.
    pub(super) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}

/// The signals that ask a program to end. They are caught from the moment this is made.
#[cfg(not(unix))]
pub(super) struct Signals;

#[cfg(not(unix))]
impl Signals {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    /// The next signal's name.
    pub(super) async fn next(&mut self) -> &'static str {
        match tokio::signal::ctrl_c().await {
            Ok(()) => "Ctrl-C",
            Err(_) => std::future::pending().await,
        }
    }
}
