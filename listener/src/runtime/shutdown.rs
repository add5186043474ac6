//! How a listener ends: nothing new is begun, methods that run are let finish up to a
//! deadline, acknowledgements are flushed, connections close. What was not begun stays unsettled
//! until then, so that it returns to its queue at once and in its old order. Also the signals
//! that ask for it.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;

use crate::runtime::case::Case;
use crate::runtime::schedule::scheduler::Scheduler;
use crate::runtime::settle::settlement;
use crate::runtime::shared::Shared;
use crate::transport::delivery::Delivery;
use crate::transport::driver::{Consumer, LONGEST_WAIT};

/// How long a method that ignores its cancellation (a plain `fn`) is waited for after the
/// deadline.
pub(super) const LAST_WAIT: Duration = Duration::from_millis(100);

/// How long whoever asks for a stop waits until it is recorded: a process that ends then has not
/// died.
const RECORDED_WITHIN: Duration = Duration::from_secs(1);

/// What is left when a listener stops.
pub(super) struct Ending {
    pub(super) consumer: Box<dyn Consumer>,
    pub(super) deliveries: UnboundedReceiver<Delivery>,
    pub(super) scheduler: Arc<Scheduler>,
    /// Cancelled once the stop is recorded, or was waited for long enough.
    pub(super) recorded: CancellationToken,
}

impl Ending {
    /// Ends a subscription. Gives the number of methods that run on all the same.
    pub(super) async fn shut_down(self, shared: &Shared) -> usize {
        let Self { consumer, mut deliveries, scheduler, recorded } = self;
        let running = &scheduler.running;
        let deadline = shared.options.shutdown_timeout;
        let until = tokio::time::Instant::now() + deadline.min(LONGEST_WAIT);
        let mut released = 0_usize;
        for case in scheduler.drain() {
            released += 1;
            settlement::release(shared, case);
        }
        running.close();
        let in_work = running.len();
        // The consumers stay until all that runs is done: cancelled before, another process would
        // be given what comes behind the rest.
        let finished = async {
            let mut done = pin!(running.wait());
            let mut recording = pin!(begin_stop(shared, &recorded).fuse());
            loop {
                tokio::select! {
                    biased;
                    () = &mut done => return,
                    // At once: a process that is killed before its methods have ended has not died
                    // of what they do.
                    () = &mut recording => {}
                    Some(delivery) = deliveries.recv() => {
                        released += 1;
                        settlement::release(shared, Case::new(shared, delivery));
                    }
                }
            }
        };
        if tokio::time::timeout_at(until, finished).await.is_err() {
            tracing::warn!(
                unfinished = running.len(),
                ?deadline,
                "methods still run after the deadline: their deliveries go back to the broker"
            );
            scheduler.abort.cancel();
            let _ = tokio::time::timeout(LAST_WAIT, running.wait()).await;
        }
        join_all(shared.quarantines.journals().map(|journal| journal.stop(until))).await;
        recorded.cancel();
        consumer.close().await;
        let unfinished = shared.dispatcher.blocking().max(running.len());
        tracing::info!(in_work, released, unfinished, "stopped");
        unfinished
    }
}

/// Withdraws what this process has recorded as begun.
async fn begin_stop(shared: &Shared, recorded: &CancellationToken) {
    let journals = shared.quarantines.journals().map(|journal| journal.begin_stop());
    let mut recording = pin!(join_all(journals));
    let soon = tokio::time::timeout(RECORDED_WITHIN, recording.as_mut()).await.is_ok();
    recorded.cancel();
    if !soon {
        recording.await;
    }
}

/// Ends the process at the next signal. For a program that waits, when it ends, for a method
/// that does not: the runtime has no task of ours any more that could look at signals.
pub(super) fn end_at_next_signal() {
    std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        // Without a runtime there is no signal to wait for, and nothing to tell.
        let Ok(runtime) = runtime else { return };
        runtime.block_on(async {
            if let Ok(mut signals) = Signals::new() {
                signals.next().await;
                std::process::exit(SECOND_SIGNAL);
            }
        });
    });
}

/// The longest that a second signal waits for the record of the stop.
pub(super) const SECOND_SIGNAL_WAITS: Duration = Duration::from_secs(2);

/// The exit code of a process that a second signal ends.
pub(super) const SECOND_SIGNAL: i32 = 130;

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
