//! How a run ends: nothing new is begun, running methods may finish until a deadline, settlements are
//! flushed, connections are closed. Deliveries that were not begun stay unsettled until then, so that the
//! broker redelivers them in their old order. Called by `consume.rs`.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::runtime::case::Case;
use crate::runtime::schedule::scheduler::Scheduler;
use crate::runtime::settle::settlement;
use crate::runtime::shared::Shared;
use crate::runtime::suspect::journal::{Journal, Unavailable};
use crate::transport::delivery::Delivery;
use crate::transport::driver::{Consumer, MAX_TIMEOUT};

/// How long methods have to react to their cancellation after the deadline. Plain `fn`s ignore it.
pub(super) const LAST_WAIT: Duration = Duration::from_millis(100);

/// The longest that a caller of `stop` waits until the stop is recorded, from the beginning of the stop.
const RECORD_TIMEOUT: Duration = Duration::from_secs(2);

/// After which time a record of the stop that the journal could not take is tried again.
const WITHDRAW_AGAIN: Duration = Duration::from_millis(200);

/// The parts of a run that has to end.
pub(super) struct Shutdown {
    pub(super) consumer: Box<dyn Consumer>,
    pub(super) deliveries: UnboundedReceiver<Delivery>,
    pub(super) scheduler: Arc<Scheduler>,
    /// Cancelled once the stop is recorded, or `RECORD_TIMEOUT` is over.
    pub(super) recorded: CancellationToken,
}

impl Shutdown {
    /// Ends the run. Returns how many tasks and plain `fn`s still run, because they cannot be cancelled.
    pub(super) async fn run(mut self, shared: &Shared) -> usize {
        let timeout = shared.options.shutdown_timeout;
        let now = Instant::now();
        let (deadline, record_deadline) = (now + timeout.min(MAX_TIMEOUT), now + RECORD_TIMEOUT);
        let mut released = 0_usize;
        for case in self.scheduler.drain() {
            released += 1;
            settlement::release(shared, case);
        }
        self.scheduler.running.close();
        let started = self.scheduler.running.len();
        let finished = self.finish_running(shared, record_deadline, &mut released);
        if tokio::time::timeout_at(deadline, finished).await.is_err() {
            self.cancel_running(shared, timeout).await;
        }
        let Self { consumer, scheduler, recorded, .. } = self;
        let journals = shared.quarantines.journals().map(|journal| journal.stop(deadline));
        record(join_all(journals), record_deadline, &recorded).await;
        consumer.close().await;
        let unfinished = shared.dispatcher.blocking().max(scheduler.running.len());
        tracing::info!(started, released, unfinished, "stopped");
        unfinished
    }

    /// Waits for the running methods, and records the stop meanwhile. The consumers stay until the methods
    /// are done: if they were cancelled before, another process would receive later deliveries first.
    async fn finish_running(
        &mut self,
        shared: &Shared,
        record_deadline: Instant,
        released: &mut usize,
    ) {
        let mut done = pin!(self.scheduler.running.wait());
        // Withdraws what this process has recorded as begun.
        let journals =
            shared.quarantines.journals().map(|journal| withdraw(journal, record_deadline));
        let recording = record(join_all(journals), record_deadline, &self.recorded);
        let mut recording = pin!(recording.fuse());
        loop {
            tokio::select! {
                biased;
                () = &mut done => return,
                // While methods run: a process that is killed before they end did not die of them.
                () = &mut recording => {}
                Some(delivery) = self.deliveries.recv() => {
                    *released += 1;
                    settlement::release(shared, Case::receive(shared, delivery));
                }
            }
        }
    }

    async fn cancel_running(&self, shared: &Shared, timeout: Duration) {
        tracing::warn!(
            deliveries = self.scheduler.running.len(),
            methods = shared.gate.running(),
            ?timeout,
            "deliveries are unfinished at the deadline: the broker redelivers them"
        );
        self.scheduler.abort.cancel();
        let _ = tokio::time::timeout(LAST_WAIT, self.scheduler.running.wait()).await;
    }
}

/// Withdraws what this process has recorded as started; again until the deadline while the journal cannot be
/// reached, because a process that exits without that counts as crashed.
async fn withdraw(journal: &Journal, deadline: Instant) {
    while journal.begin_stop().await == Err(Unavailable::Unreachable) && Instant::now() < deadline {
        tokio::time::sleep(WITHDRAW_AGAIN).await;
    }
}

/// Waits until the stop is recorded, and cancels `recorded` then, or at the deadline if that is earlier.
async fn record<T>(
    recording: impl Future<Output = T>,
    deadline: Instant,
    recorded: &CancellationToken,
) {
    let mut recording = pin!(recording);
    let in_time = tokio::time::timeout_at(deadline, recording.as_mut()).await.is_ok();
    recorded.cancel();
    if !in_time {
        recording.await;
    }
}
