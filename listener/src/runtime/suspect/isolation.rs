//! Isolates a suspect while its methods are called: from other suspects, and the last time from all
//! methods. Also records in the journal that it is begun. Whether it is isolated is decided in
//! `examine.rs`.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::runtime::case::{Case, Isolation, SuspectPermit};
use crate::runtime::schedule::permit;
use crate::runtime::settle::progress::{HoldDeadline, SHORTEST_HOLD, Unfinished};
use crate::runtime::shared::{Shared, WorkContext};
use crate::runtime::suspect::gate::{ExclusiveAccess, Passage};
use crate::runtime::suspect::journal::Unavailable;
use crate::transport::delivery::Settler;
use crate::transport::driver::MAX_TIMEOUT;

/// How long plain `fn`s that timed out are waited for before a suspect is handled for the last time.
const BLOCKING_TIMEOUT: Duration = Duration::from_secs(5);

/// While a suspect is called that one more crash would dead-letter, no other method starts: for up to this
/// long until the running ones have ended, then for up to this long while its own run.
const CLOSED_TIMEOUT: Duration = Duration::from_secs(30);

/// How often to check whether plain `fn`s that timed out have ended.
const CHECK_BLOCKING_EVERY: Duration = Duration::from_millis(50);

/// Waits for the permit to call the methods of an isolated suspect; does nothing for others.
///
/// # Errors
/// The listener stops, the session is over, or it had no permit by `until`.
pub(crate) async fn acquire_suspect_permit(
    work: WorkContext<'_>,
    case: &mut Case,
    until: Option<Instant>,
) -> Result<(), Unfinished> {
    let WorkContext { shared, permit } = work;
    let Case { suspicion: Some(suspicion), delivery, .. } = case else { return Ok(()) };
    if suspicion.isolation == Isolation::None || suspicion.permit.is_some() {
        return Ok(());
    }
    let suspects = permit.wait(async {
        tokio::select! {
            biased;
            suspects = Arc::clone(&shared.suspect_mutex).lock_owned() => Some(suspects),
            () = permit::session_ended(delivery) => None,
        }
    });
    // The deadline includes the wait for a slot.
    let suspects = match until {
        Some(until) => timeout_at(until, suspects).await.map_err(|_| Unfinished::Overdue)?,
        None => suspects.await,
    };
    let suspects = suspects.flatten().ok_or(Unfinished::Released)?;
    suspicion.permit = Some(SuspectPermit { closed_gate: None, suspects });
    Ok(())
}

/// Records that a suspect is begun, before its methods are called. Does nothing for a delivery that is not
/// a suspect.
///
/// # Errors
/// There is no journal, or it cannot be reached.
pub(crate) async fn begin(work: WorkContext<'_>, case: &mut Case) -> Result<(), Unavailable> {
    close_for_others(work, case).await;
    let WorkContext { shared, permit } = work;
    let passage = case.passage();
    let Case { suspicion: Some(suspicion), delivery, .. } = case else { return Ok(()) };
    let Some(quarantine) = shared.quarantines.of(&delivery.info.queue) else { return Ok(()) };
    let recording = quarantine.journal.begin(suspicion.key);
    let recorded = match passage {
        Passage::Exclusive => recording.await,
        Passage::Normal => permit.finish(recording).await,
    };
    suspicion.record = Some(recorded?);
    Ok(())
}

/// Keeps other methods from starting while a suspect is handled for the last time: if the process ends
/// then, this suspect is the cause, as far as can be known within the time limits.
async fn close_for_others(work: WorkContext<'_>, case: &mut Case) {
    let WorkContext { shared, permit } = work;
    let Case { suspicion: Some(suspicion), delivery, .. } = case else { return };
    let Some(suspect_permit) = &mut suspicion.permit else { return };
    if suspicion.isolation != Isolation::FromAll || suspect_permit.closed_gate.is_some() {
        return;
    }
    // The slot comes first: it is kept while the gate is closed.
    if permit.wait(std::future::ready(())).await.is_none() {
        return;
    }
    suspect_permit.closed_gate = Some(close_gate(shared, delivery.settler()));
    let others_ended = async {
        tokio::select! {
            () = others_ended(shared) => {}
            () = permit::session_ended(delivery) => {}
        }
    };
    let _ = permit.stop.run_until_cancelled(others_ended).await;
}

/// Closes the gate until the returned value is dropped and the settlement is sent, for twice
/// `CLOSED_TIMEOUT` at most.
fn close_gate(shared: &Shared, settler: Arc<dyn Settler>) -> ExclusiveAccess {
    let (closed, over) = (Arc::new(shared.gate.close()), CancellationToken::new());
    let shut = ExclusiveAccess::new(&closed, over.clone().drop_guard());
    tokio::spawn(async move {
        let over = async {
            over.cancelled().await;
            // If the process ended before the broker has the settlement, the suspect would be redelivered.
            settler.flush().await;
        };
        let _ = tokio::time::timeout(2 * CLOSED_TIMEOUT, over).await;
        drop(closed);
    });
    shut
}

/// Waits until no other method runs, for a limited time.
async fn others_ended(shared: &Shared) {
    let _ = tokio::time::timeout(CLOSED_TIMEOUT, shared.gate.wait_empty()).await;
    // A plain `fn` keeps running after its timeout, and may end the process as well. The wait is short,
    // because it may never end, or may be an earlier call for this suspect.
    let blocking_ended = async {
        while shared.dispatcher.blocking() > 0 {
            tokio::time::sleep(CHECK_BLOCKING_EVERY).await;
        }
    };
    let _ = tokio::time::timeout(BLOCKING_TIMEOUT, blocking_ended).await;
}

/// Releases the permit of a suspect that waits: other suspects go on, and its record is withdrawn, because
/// what ends the process now is not this one.
pub(crate) fn release_suspect_permit(shared: &Shared, case: &mut Case) {
    let Case { suspicion: Some(suspicion), delivery, .. } = case else { return };
    let Some(SuspectPermit { closed_gate, suspects }) = suspicion.permit.take() else { return };
    drop(closed_gate);
    if let (Some(record), Some(quarantine)) =
        (suspicion.record, shared.quarantines.of(&delivery.info.queue))
    {
        suspicion.record = Some(quarantine.journal.withdrawn(record));
    }
    drop(suspects);
}

/// Waits until the methods of an isolated suspect may be called again, and records that it is begun if
/// there is a journal.
///
/// # Errors
/// The listener stops, the session is over, or it has waited for as long as it may.
pub(crate) async fn reacquire_suspect_permit(
    work: WorkContext<'_>,
    case: &mut Case,
    hold: HoldDeadline,
) -> Result<(), Unfinished> {
    let is_work_queue = work.shared.quarantines.is_work_queue(&case.delivery.info.queue);
    let stays = is_work_queue && hold.in_order;
    // It may have been overdue before, when no copy could replace it.
    let until = (!stays)
        .then(|| (Instant::now() + time_for_suspect_permit(work.shared, case)).max(hold.until));
    acquire_suspect_permit(work, case, until).await?;
    // It is isolated whether or not this is recorded.
    let _ = begin(work, case).await;
    if wait_at_gate(work, case).await { Ok(()) } else { Err(Unfinished::Released) }
}

/// Waits until the gate is open for the methods of this delivery. Returns `false` if the listener stops
/// first. A suspect that keeps the gate closed keeps its slot.
pub(crate) async fn wait_at_gate(work: WorkContext<'_>, case: &Case) -> bool {
    let WorkContext { shared, permit } = work;
    let passage = case.passage();
    let open = shared.gate.wait_open(passage);
    let passed = match passage {
        Passage::Exclusive => permit.stop.run_until_cancelled(open).await,
        Passage::Normal => permit.wait(open).await,
    };
    passed.is_some()
}

/// How long a delivery may wait for its suspect permit and for a slot.
pub(crate) fn time_for_suspect_permit(shared: &Shared, case: &Case) -> Duration {
    remaining_permit_time(shared.options.retry.hold, case.in_flight.age())
}

/// The shortest time that a delivery may wait for its suspect permit: it may only lack a slot.
pub(crate) fn shortest_permit_time(shared: &Shared) -> Duration {
    bounded_hold(shared.options.retry.hold) / 9
}

/// `retry.hold`, between `SHORTEST_HOLD` and `MAX_TIMEOUT`.
fn bounded_hold(hold: Duration) -> Duration {
    hold.clamp(SHORTEST_HOLD, MAX_TIMEOUT)
}

/// The rest of `hold` for a delivery that was held for `held`. If it was held for another reason before,
/// up to a third of `hold` is added.
fn remaining_permit_time(hold: Duration, held: Duration) -> Duration {
    let hold = bounded_hold(hold);
    let more = hold / 3;
    hold.saturating_sub(held).max(more.min((hold + more).saturating_sub(held)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_for_a_permit_is_the_rest_of_the_hold_and_at_most_a_third_more() {
        let minutes = |count: u64| Duration::from_secs(60 * count);
        let left = |held| remaining_permit_time(minutes(18), minutes(held)).as_secs() / 60;
        assert_eq!([0, 10, 12, 17, 18, 20, 22, 24, 60].map(left), [18, 8, 6, 6, 6, 4, 2, 0, 0]);
        assert_eq!(remaining_permit_time(Duration::ZERO, Duration::ZERO), SHORTEST_HOLD);
    }
}
