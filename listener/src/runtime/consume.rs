//! The task of one run (from `Listener::start` until it has stopped): it passes deliveries from the driver to
//! the scheduler, and reacts to changes of the session. The end of a run is in `shutdown.rs`.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::observer::Event;
use crate::runtime::schedule::scheduler::Scheduler;
use crate::runtime::shared::Shared;
use crate::runtime::shutdown::Shutdown;
use crate::runtime::suspect::journal::Journal;
use crate::transport::driver::{ConnectionState, Subscribed};

/// How often the deliveries in flight are checked for slow ones.
const CHECK_SLOW_EVERY: Duration = Duration::from_secs(30);

/// How often missing quarantine queues are looked up: another listener may have quarantined something
/// and stopped.
const CHECK_QUARANTINES_EVERY: Duration = Duration::from_secs(5 * 60);

/// When a delivery in flight is reported as slow. RabbitMQ closes the channel, and redelivers all of its
/// deliveries, once one is unacknowledged for 30 minutes.
const SLOW_AFTER: Duration = Duration::from_secs(24 * 60);

/// The most deliveries that are taken from the driver at a time.
const BATCH: usize = 256;

/// If nothing was begun for this time, the busy workers are assumed to be in methods that block their
/// threads.
const STUCK_AFTER: Duration = Duration::from_millis(10);

/// Consumes until the listener stops or the driver ends the subscription, and ends the run. Returns how many
/// tasks and plain `fn`s still run.
pub(super) async fn consume(
    shared: Arc<Shared>,
    subscribed: Subscribed,
    stop: CancellationToken,
    recorded: CancellationToken,
) -> usize {
    let Subscribed { mut deliveries, consumer, demand } = subscribed;
    let scheduler = Scheduler::new(Arc::clone(&shared), demand, stop.clone());
    let mut state = consumer.state();
    let mut slow_check = tokio::time::interval(CHECK_SLOW_EVERY);
    let mut quarantine_check = tokio::time::interval(CHECK_QUARANTINES_EVERY);
    quarantine_check.reset();
    shared.observers.report(&Event::Attached);
    let mut batch = Vec::new();
    // Reset only after it has fired: a reset may wake the thread that drives the timers.
    let mut stuck_check = pin!(tokio::time::sleep(STUCK_AFTER));
    let mut stuck = None;
    loop {
        if stuck.is_none() {
            stuck = scheduler.schedule_stuck_check();
            if stuck.is_some() {
                stuck_check.as_mut().reset(Instant::now() + STUCK_AFTER);
            }
        }
        // In this order: nothing is taken after a stop, and the loss of a session is handled before the
        // deliveries of the next one.
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Ok(()) = state.changed() => react(&shared, &state.borrow_and_update().clone()),
            count = deliveries.recv_many(&mut batch, BATCH) => match count {
                // The driver ended the subscription: held retries must not wait any longer.
                0 => {
                    stop.cancel();
                    break;
                }
                _ => scheduler.take(batch.drain(..)),
            },
            () = shared.quarantined.notified() => consumer.recheck_quarantine_queues(),
            () = stuck_check.as_mut(), if stuck.is_some() => {
                if let Some(check) = stuck.take() {
                    scheduler.add_worker_if_stuck(check);
                }
            }
            // The next iteration schedules a check for stuck workers.
            () = scheduler.needs_stuck_check.notified() => {}
            _ = quarantine_check.tick() => consumer.recheck_quarantine_queues(),
            _ = slow_check.tick() => report_slow(&shared),
        }
    }
    Shutdown { consumer, deliveries, scheduler, recorded }.run(&shared).await
}

/// Reacts to a change of the session.
fn react(shared: &Shared, state: &ConnectionState) {
    match state {
        ConnectionState::Attached => {
            shared.quarantines.journals().for_each(Journal::attached);
            shared.observers.report(&Event::Attached);
        }
        // Suspects that were begun are redelivered although no process crashed.
        ConnectionState::Lost { reason } => {
            shared.quarantines.journals().for_each(Journal::release_all);
            shared.observers.report(&Event::Disconnected { reason });
        }
        ConnectionState::Closed => {}
    }
}

fn report_slow(shared: &Shared) {
    for (queue, since) in shared.in_flight.slow(SLOW_AFTER) {
        tracing::warn!(
            %queue,
            ?since,
            "a delivery is still not settled: RabbitMQ closes the channel, and redelivers all of its \
             deliveries, once one is unacknowledged for the consumer_timeout, 30 minutes by default; set a \
             shorter `handler_timeout`, or return `Outcome::Retry` to continue in another call; if no \
             method was called for it yet, set a smaller `prefetch`"
        );
        shared.observers.report(&Event::Slow { queue: &queue, elapsed: since });
    }
}
