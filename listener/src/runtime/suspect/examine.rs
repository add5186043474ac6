//! Examines a delivery before its methods are called: a deferred retry waits on, a suspect is begun,
//! quarantined or given up, and a message near its delivery limit is replaced. The decision is in
//! `quarantine.rs`; called by `worker.rs`.

use std::time::Duration;

use tokio::time::Instant;

use crate::observer::Event;
use crate::options::listener::OnFailure;
use crate::redact::error_text;
use crate::runtime::case::{Case, Isolation, Suspicion};
use crate::runtime::judge::policy::{self, CopyKind};
use crate::runtime::schedule::key_order::Ticket;
use crate::runtime::schedule::permit;
use crate::runtime::settle::copier::{CopyError, MoveError};
use crate::runtime::settle::copies::{self, CopyResult, HOLD_AGAIN};
use crate::runtime::settle::copy_headers::CopyHeaders;
use crate::runtime::settle::progress::{CountedCopy, HoldDeadline, Unfinished};
use crate::runtime::settle::report::{End, LoggedNotification};
use crate::runtime::settle::settlement;
use crate::runtime::shared::{Shared, WorkContext};
use crate::runtime::suspect::isolation;
use crate::runtime::suspect::journal::{Key, Unavailable};
use crate::runtime::suspect::quarantine::{self, Decision};
use crate::runtime::suspect::quarantines::Quarantine;
use crate::transport::driver::Route;
use crate::transport::error::SendError;

/// How long a decision against a suspect waits for processes that lost their connection, but are alive,
/// to record that.
const GRACE: Duration = Duration::from_secs(5);

/// Whether a delivery is examined: it is deferred, a suspect, or near its delivery limit.
pub(crate) fn is_needed(shared: &Shared, case: &Case) -> bool {
    case.copy_headers.remaining.is_some()
        || case.delivery.is_near_limit()
        || suspected(shared, case).is_some()
}

/// Examines a delivery. Returns it if its methods are to be called; otherwise it is settled or released.
pub(crate) async fn examine(work: WorkContext<'_>, case: Case) -> Option<Case> {
    let case = defer_again(work, case).await?;
    if let Some(quarantine) = suspected(work.shared, &case) {
        return examine_suspect(work, case, quarantine).await;
    }
    let case = replace_near_limit(work, case).await?;
    warn_if_not_moved(&case, false);
    Some(case)
}

/// Returns a suspect if its methods are to be called where it is: it is recorded as begun, if there is a
/// journal. While the journal cannot be reached suspects are handled one at a time.
async fn examine_suspect(
    work: WorkContext<'_>,
    mut case: Case,
    quarantine: &Quarantine,
) -> Option<Case> {
    let WorkContext { shared, permit } = work;
    let is_quarantined = *case.delivery.info.queue == *quarantine.queue;
    let key = key_of(&case);
    let isolation = if is_quarantined { Isolation::FromSuspects } else { Isolation::None };
    let suspicion = Suspicion { key, record: None, isolation, permit: None };
    case.suspicion = Some(Box::new(suspicion));
    // Whether it stays isolated whatever the journal contains, and whether the journal is asked again.
    let (mut is_fixed, mut is_again) = (is_quarantined, false);
    if is_quarantined {
        case = replace_near_limit(work, case).await?;
    }
    loop {
        case = acquire_suspect_permit(work, case).await?;
        let decision = decide(work, key, quarantine, is_quarantined).await;
        if permit.stop.is_cancelled() || case.delivery.is_over() {
            settlement::release(shared, case);
            return None;
        }
        if let Ok(decision) = decision {
            case = carry_out(work, case, decision, quarantine).await?;
            // One that cannot be moved is handled where it is, as if it were in quarantine.
            is_fixed |= matches!(decision, Decision::Quarantine(_));
        }
        if !is_quarantined && !is_again {
            case = replace_near_limit(work, case).await?;
        }
        case = acquire_suspect_permit(work, case).await?;
        let recorded = match decision {
            Ok(_) => isolation::begin(work, &mut case).await,
            Err(unavailable) => Err(unavailable),
        };
        match recorded {
            // The journal may be reachable again when it has its permit.
            Err(Unavailable::Unreachable) if !is_fixed && !is_again => {
                is_again = true;
                isolate(&mut case, Isolation::FromSuspects);
            }
            recorded => {
                // Without a journal nothing can ever be known. This undoes no `FromAll`: `Decision::Last` is
                // for quarantined suspects only, which are fixed.
                let is_unreachable = matches!(recorded, Err(Unavailable::Unreachable));
                if !is_fixed && !is_unreachable {
                    isolate(&mut case, Isolation::None);
                }
                warn_if_not_moved(&case, is_fixed && !is_quarantined);
                return Some(case);
            }
        }
    }
}

/// Carries out a decision. Returns the suspect if its methods are to be called where it is.
async fn carry_out(
    work: WorkContext<'_>,
    mut case: Case,
    decision: Decision,
    quarantine: &Quarantine,
) -> Option<Case> {
    match decision {
        Decision::GiveUp(crashes) => {
            give_up(work, case, crashes).await;
            return None;
        }
        Decision::Quarantine(crashes) => {
            case = move_to_quarantine(work, case, &quarantine.queue, crashes).await.err()?;
            let is_last = quarantine::is_last(crashes, &work.shared.options.poison);
            isolate(&mut case, if is_last { Isolation::FromAll } else { Isolation::FromSuspects });
        }
        Decision::Last => isolate(&mut case, Isolation::FromAll),
        Decision::Work => {}
    }
    Some(case)
}

fn isolate(case: &mut Case, isolation: Isolation) {
    if let Some(suspicion) = &mut case.suspicion {
        suspicion.isolation = isolation;
        if isolation == Isolation::None {
            suspicion.permit = None;
        }
    }
}

/// Waits for the permit of a suspect, if it is isolated. `None` if it was released (the listener
/// stops, the session is over) or requeued: it has waited for as long as it may, and is a suspect in its queue
/// as before.
async fn acquire_suspect_permit(work: WorkContext<'_>, mut case: Case) -> Option<Case> {
    let shared = work.shared;
    let is_work_queue = shared.quarantines.is_work_queue(&case.delivery.info.queue);
    // In a key order it keeps its position for as long as it takes; and near its delivery limit the
    // queue would drop it.
    let in_order = case.ticket.as_ref().is_some_and(Ticket::is_in_order);
    let stays = (is_work_queue && in_order) || case.delivery.is_near_limit();
    let least = isolation::shortest_permit_time(shared);
    let until = (!stays)
        .then(|| Instant::now() + isolation::time_for_suspect_permit(shared, &case).max(least));
    match isolation::acquire_suspect_permit(work, &mut case, until).await {
        Ok(()) => return Some(case),
        Err(Unfinished::Overdue) => {
            settlement::settle(shared, case, &End::Requeued, &LoggedNotification::default());
        }
        Err(_) => settlement::release(shared, case),
    }
    None
}

/// The quarantine of a delivery that may have ended the process that worked on it: it was delivered
/// before, or comes from a quarantine queue. If methods may requeue on purpose, a redelivery is no
/// evidence.
fn suspected<'w>(shared: &'w Shared, case: &Case) -> Option<&'w Quarantine> {
    if shared.options.allow_requeue || shared.options.on_failure == OnFailure::Requeue {
        return None;
    }
    let info = &case.delivery.info;
    if !info.redelivered && shared.quarantines.is_work_queue(&info.queue) {
        return None;
    }
    shared.quarantines.of(&info.queue)
}

/// The decision for a suspect, from the crashes that the journal has.
async fn decide(
    work: WorkContext<'_>,
    key: Key,
    quarantine: &Quarantine,
    is_quarantined: bool,
) -> Result<Decision, Unavailable> {
    let WorkContext { shared, permit } = work;
    let decide = async || {
        let crashes = quarantine.journal.crashes(key).await?;
        Ok(quarantine::decide(crashes, is_quarantined, &shared.options.poison))
    };
    let decision = permit.finish(decide()).await?;
    if matches!(decision, Decision::Work | Decision::Last) {
        return Ok(decision);
    }
    // A process that lost its connection and is alive withdraws its record soon.
    if permit.wait(tokio::time::sleep(GRACE)).await.is_none() {
        return Ok(decision);
    }
    permit.finish(decide()).await
}

/// Moves a suspect to its quarantine queue; returns it if it cannot be moved.
async fn move_to_quarantine(
    work: WorkContext<'_>,
    case: Case,
    queue: &str,
    crashes: u64,
) -> Result<(), Case> {
    let route = Route::Quarantine(queue.to_owned());
    let moved = move_to(work, case, &route, &End::Quarantined { to: queue, crashes }).await;
    // A copy that was not confirmed may exist nevertheless.
    work.shared.quarantined.notify_one();
    moved
}

/// Replaces a message that its queue would drop soon by a copy at the end of the queue, whatever the journal
/// has. Returns any other, and one that cannot be replaced.
async fn replace_near_limit(work: WorkContext<'_>, case: Case) -> Option<Case> {
    if !case.delivery.is_near_limit() {
        return Some(case);
    }
    let route = Route::Queue(case.delivery.info.queue.to_string());
    move_to(work, case, &route, &End::Renewed).await.err()
}

/// Replaces a delivery by a copy on this route, or releases it once the listener stops or the session is
/// over. Returns it if no copy can be made.
async fn move_to(
    work: WorkContext<'_>,
    mut case: Case,
    route: &Route,
    end: &End<'_>,
) -> Result<(), Case> {
    let WorkContext { shared, permit } = work;
    if permit.stop.is_cancelled() || case.delivery.is_over() {
        settlement::release(shared, case);
        return Ok(());
    }
    isolation::release_suspect_permit(shared, &mut case);
    let hold = shared.options.retry.hold;
    let hold = match end {
        // Nothing else can be done with it.
        End::Replaced(_) => hold,
        // The time that it was held before counts. A slow broker needs some time to confirm.
        _ => hold.saturating_sub(case.in_flight.age()).max(hold / 3),
    };
    let original = case.original(permit.stop);
    let moved = shared.copier.move_to(original, route, hold, &shared.gate);
    match permit.finish(moved).await {
        Ok(closed) => {
            if let End::Quarantined { crashes, .. } = *end {
                let delivery = &case.copy_headers.origin;
                shared.observers.report(&Event::Quarantined { delivery, crashes });
            }
            let settler = case.delivery.settler();
            settlement::settle(shared, case, end, &LoggedNotification::default());
            // No method starts before the original is acknowledged.
            permit.finish(settler.flush()).await;
            drop(closed);
            Ok(())
        }
        Err(MoveError::Abandoned) => {
            settlement::release(shared, case);
            Ok(())
        }
        Err(MoveError::Failed(error)) => {
            warn_not_moved(&case, route, &error);
            Err(case)
        }
    }
}

/// Dead-letters a suspect after this number of crashes, without calling a method.
async fn give_up(work: WorkContext<'_>, mut case: Case, crashes: u64) {
    let WorkContext { shared, permit } = work;
    let copy = policy::poison(crashes, case.copy_headers.pending.clone());
    // No method is called: other suspects need not wait.
    isolation::release_suspect_permit(shared, &mut case);
    // In a work queue a copy of it would not be a suspect, so it is held without a deadline.
    let is_work_queue = shared.quarantines.is_work_queue(&case.delivery.info.queue);
    let hold = HoldDeadline::new(shared.options.retry.hold, case.in_flight.age(), false);
    let mut until = (!is_work_queue).then_some(hold.until);
    loop {
        let original = case.original(permit.stop);
        let making = shared.copier.make(original, &copy, until, Some(&shared.gate));
        match permit.finish(making).await {
            Ok(closed) => {
                let copies = [CountedCopy::without_a_call(copy, case.copy_headers.attempts)];
                // The records stay: if the process ends before the original is acknowledged, they are
                // evidence against it.
                let settler = case.delivery.settler();
                settlement::settle(
                    shared,
                    case,
                    &End::Copied(&copies),
                    &LoggedNotification::default(),
                );
                permit.finish(settler.flush()).await;
                return drop(closed);
            }
            Err(CopyError::Refused) => {
                return copies::return_later(work, case, &LoggedNotification::default()).await;
            }
            Err(CopyError::Abandoned | CopyError::NoDelay) => {
                return settlement::release(shared, case);
            }
            Err(CopyError::Overdue) => {
                let Err(held) = put_back(work, case).await else { return };
                case = held;
                until = Some(Instant::now() + HOLD_AGAIN);
            }
        }
    }
}

/// Replaces a delivery that was held for too long by a copy at the end of its queue. Returns it if that
/// is not possible.
async fn put_back(work: WorkContext<'_>, case: Case) -> Result<(), Case> {
    let route = Route::Queue(case.delivery.info.queue.to_string());
    move_to(work, case, &route, &End::Replaced(&[])).await
}

/// Delays a delivery for the rest of a delay that is longer than a broker delays a message: its copy is
/// delayed again. Returns it once the delay is over.
async fn defer_again(work: WorkContext<'_>, mut case: Case) -> Option<Case> {
    let WorkContext { shared, permit } = work;
    let mut until = HoldDeadline::new(shared.options.retry.hold, case.in_flight.age(), false).until;
    while let Some(remaining) = case.copy_headers.remaining.take() {
        let began = Instant::now();
        let copy = policy::deferred(remaining, case.copy_headers.pending.clone());
        // By the broker even in a key order: its position is lost already, and a publisher may have
        // written the header.
        let held_in_all = case.in_flight.age().saturating_add(remaining);
        let held = (held_in_all <= shared.options.retry.hold).then_some(remaining);
        let original = case.original(permit.stop);
        let delaying = copies::delay_copy(work, original, copy, held, Some(until));
        let (copy, result) = permit.finish(delaying).await;
        match result {
            CopyResult::Made => {
                let kind = copy.kind;
                let copies = [CountedCopy::without_a_call(copy, case.copy_headers.attempts)];
                let end = match kind {
                    CopyKind::Retry { after } => End::Deferred(after),
                    CopyKind::DeadLetter(_) => End::Copied(&copies),
                };
                settlement::settle(shared, case, &end, &LoggedNotification::default());
                return None;
            }
            CopyResult::Held(delay) => return wait_out(work, case, delay).await,
            CopyResult::Refused => {
                copies::return_later(work, case, &LoggedNotification::default()).await;
                return None;
            }
            CopyResult::Abandoned => {
                settlement::release(shared, case);
                return None;
            }
            CopyResult::Overdue => {
                case.copy_headers.remaining = Some(remaining.saturating_sub(began.elapsed()));
                case = put_back(work, case).await.err()?;
                until = Instant::now() + HOLD_AGAIN;
                case.copy_headers.remaining =
                    case.copy_headers.remaining.filter(|left| !left.is_zero());
            }
        }
    }
    Some(case)
}

/// Waits for the end of a delay without a slot. `None` if the delivery was released first: the listener
/// stops, or the session is over.
async fn wait_out(work: WorkContext<'_>, case: Case, delay: Duration) -> Option<Case> {
    let WorkContext { shared, permit } = work;
    let paused = async {
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = permit::session_ended(&case.delivery) => {}
        }
    };
    if permit.wait(paused).await.is_some() && !case.delivery.is_over() {
        return Some(case);
    }
    settlement::release(shared, case);
    None
}

/// Identifies a delivery as it arrived: by the queue that it was first taken from, its body, its
/// `message_id`, the methods that it is pending for (there may be a copy for each), and the time of its
/// dead letter, if that was returned to the queue, because its crashes are counted from zero then. Deliveries
/// that are equal in all of that share a key: they have the same effect on a process. Every copy has all of
/// it, except one whose headers or properties were too large to be kept: its crashes are counted from zero.
/// The timestamp of the message is left out: a broker may set another one on every copy.
fn key_of(case: &Case) -> Key {
    let CopyHeaders { origin, pending, dead_letter_time, .. } = &case.copy_headers;
    let message_id = &case.delivery.properties.message_id;
    let mut pending: Vec<_> = pending.names().iter().collect();
    pending.sort_unstable();
    let time = dead_letter_time.map(u64::to_le_bytes);
    let parts: [&[u8]; 4] = [
        origin.queue.as_bytes(),
        &case.delivery.body,
        message_id.as_deref().unwrap_or_default().as_bytes(),
        time.as_ref().map_or(&[], |time| time),
    ];
    Key::of(parts.into_iter().chain(pending.into_iter().map(String::as_bytes)))
}

fn warn_not_moved(case: &Case, to: &Route, error: &SendError) {
    tracing::warn!(
        queue = %case.delivery.info.queue,
        %to,
        error = error_text(error),
        "a delivery could not be moved"
    );
}

/// Warns once methods are called for a delivery that should be quarantined, or is near its limit.
fn warn_if_not_moved(case: &Case, should_be_quarantined: bool) {
    if should_be_quarantined || case.delivery.is_near_limit() {
        let queue = &case.delivery.info.queue;
        tracing::warn!(%queue, "a delivery that could not be moved is handled in its queue");
    }
}
