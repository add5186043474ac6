//! Carries out what a verdict leaves pending: copies are made, or methods are held in the process for
//! another call. A delivery that is held for too long is replaced by a copy in its queue. One copy is
//! made in `copier.rs`. Called by `worker.rs` after each round of calls, and by `suspect/examine.rs` for a
//! deferred delivery.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::time::Instant;

use crate::options::listener::RetryStorage;
use crate::runtime::case::Case;
use crate::runtime::judge::policy::{CopyKind, MessageCopy};
use crate::runtime::schedule::permit;
use crate::runtime::settle::copier::{CopyError, Original};
use crate::runtime::settle::copy_headers::CopyHeaders;
use crate::runtime::settle::held::Round;
use crate::runtime::settle::pending::Pending;
use crate::runtime::settle::progress::{
    CountedCopy, HoldDeadline, Progress, SHORTEST_HOLD, Unfinished,
};
use crate::runtime::settle::report::{End, LoggedNotification, Report};
use crate::runtime::settle::settlement;
use crate::runtime::shared::{Shared, WorkContext};
use crate::runtime::suspect::isolation;

/// How much longer a delivery is held if no copy can replace it either.
pub(crate) const HOLD_AGAIN: Duration = Duration::from_secs(30);

/// The next step for a delivery.
pub(crate) enum Next {
    Call(Round),
    /// It is pending for no method, and all copies are made.
    Done,
    Unfinished(Unfinished),
}

/// What became of an attempt to make a copy.
pub(crate) enum CopyResult {
    Made,
    /// Its methods are held in the process for this delay.
    Held(Duration),
    /// The broker never accepts it: the delivery returns to its queue.
    Refused,
    /// Not made: the listener stopped, or the session is over.
    Abandoned,
    /// Not made for as long as the delivery may be held.
    Overdue,
}

impl From<Result<(), CopyError>> for CopyResult {
    fn from(made: Result<(), CopyError>) -> Self {
        match made {
            Ok(()) => Self::Made,
            Err(CopyError::Refused) => Self::Refused,
            Err(CopyError::Overdue) => Self::Overdue,
            // `delay_copy` handles `NoDelay`, and a dead letter needs no delay.
            Err(CopyError::Abandoned | CopyError::NoDelay) => Self::Abandoned,
        }
    }
}

/// Makes the copies that are due, and waits for the next calls. If the delivery is held for too long,
/// puts a copy for its pending methods at the end of its queue, and returns `Unfinished::Replaced` once
/// it is confirmed.
pub(crate) async fn advance(
    work: WorkContext<'_>,
    case: &mut Case,
    progress: &mut Progress,
    logged: &LoggedNotification,
) -> Next {
    let WorkContext { shared, permit } = work;
    if progress.is_done() {
        return Next::Done;
    }
    isolation::release_suspect_permit(shared, case);
    loop {
        let next = match make_due(work, case, progress, logged).await {
            Ok(()) => next_call(work, case, progress).await,
            Err(unfinished) => Next::Unfinished(unfinished),
        };
        if !matches!(next, Next::Unfinished(Unfinished::Overdue)) {
            return next;
        }
        if case.delivery.is_over() {
            return Next::Unfinished(Unfinished::Released);
        }
        let remaining = progress.headers_for_pending(&case.copy_headers);
        if permit.finish(shared.copier.replace(&case.delivery, &remaining)).await {
            return Next::Unfinished(Unfinished::Replaced);
        }
        progress.hold.until = Instant::now() + HOLD_AGAIN;
    }
}

/// Makes the copies that are due, and holds in the process those that need none. Retries come first, so
/// that they do not wait for a dead letter, whose queue may be full.
///
/// # Errors
/// Not all could be made; those stay due.
async fn make_due(
    work: WorkContext<'_>,
    case: &Case,
    progress: &mut Progress,
    logged: &LoggedNotification,
) -> Result<(), Unfinished> {
    if progress.due.is_empty() {
        return Ok(());
    }
    let shared = work.shared;
    let in_process =
        progress.hold.in_order || shared.options.retry.storage == RetryStorage::Process;
    let is_retry = |due: &CountedCopy| matches!(due.copy.kind, CopyKind::Retry { .. });
    let (retries, dead) = std::mem::take(&mut progress.due).into_iter().partition(is_retry);
    progress.due = dead;
    if in_process {
        hold_retries(shared, case, progress, retries, logged);
    } else {
        make_all(work, case, progress, retries, logged).await?;
    }
    if progress.delays_copies() {
        return Ok(());
    }
    let due = std::mem::take(&mut progress.due);
    make_all(work, case, progress, due, logged).await
}

/// Holds in the process those retries whose delay is short enough.
fn hold_retries(
    shared: &Shared,
    case: &Case,
    progress: &mut Progress,
    retries: Vec<CountedCopy>,
    logged: &LoggedNotification,
) {
    for due in retries {
        match due.copy.kind {
            CopyKind::Retry { after: delay } if may_hold(shared, delay, progress.hold.began) => {
                hold_in_process(shared, case, progress, due, delay, logged);
            }
            _ => progress.due.push(due),
        }
    }
}

/// Makes copies concurrently.
///
/// # Errors
/// Not all could be made; those stay due.
async fn make_all(
    work: WorkContext<'_>,
    case: &Case,
    progress: &mut Progress,
    copies: Vec<CountedCopy>,
    logged: &LoggedNotification,
) -> Result<(), Unfinished> {
    if copies.is_empty() {
        return Ok(());
    }
    let WorkContext { shared, permit } = work;
    let hold = progress.hold;
    let make = |CountedCopy { copy, attempts, attempts_before }| async move {
        let copy_headers = CopyHeaders { attempts, ..case.copy_headers.clone() };
        let original = Original { copy_headers: &copy_headers, ..case.original(permit.stop) };
        let (copy, result) = make(work, original, copy, hold).await;
        (CountedCopy { copy, attempts, attempts_before }, result)
    };
    let mut made = Ok(());
    for (due, result) in permit.finish(join_all(copies.into_iter().map(make))).await {
        match result {
            CopyResult::Made => progress.made.push(due),
            CopyResult::Held(delay) => hold_in_process(shared, case, progress, due, delay, logged),
            CopyResult::Refused => {
                progress.due.push(due);
                made = Err(Unfinished::Refused);
            }
            CopyResult::Abandoned => {
                progress.due.push(due);
                made = Err(Unfinished::Released);
            }
            CopyResult::Overdue => {
                progress.due.push(due);
                made = made.and(Err(Unfinished::Overdue));
            }
        }
    }
    made
}

/// Holds the methods of a retry in the process.
fn hold_in_process(
    shared: &Shared,
    case: &Case,
    progress: &mut Progress,
    pending: CountedCopy,
    delay: Duration,
    logged: &LoggedNotification,
) {
    let (info, copy_headers) = (&case.delivery.info, &case.copy_headers);
    Report { info, copy_headers, logged, observers: &shared.observers }.held(&pending);
    let CountedCopy { copy, attempts, .. } = pending;
    progress.held.hold_for(copy.pending, attempts, delay);
}

/// Whether a delay may be spent in the process: `retry.hold` is the limit for all delays of a delivery
/// together. A longer delay is left to the broker, even in a key order, which cannot be kept for so
/// long; if many short ones have taken so long, order is kept and the notification given up.
fn may_hold(shared: &Shared, delay: Duration, began: Instant) -> bool {
    began.elapsed().saturating_add(delay) <= shared.options.retry.hold
}

/// Makes a copy, or decides that its methods are held in the process.
async fn make(
    work: WorkContext<'_>,
    original: Original<'_>,
    copy: MessageCopy,
    hold: HoldDeadline,
) -> (MessageCopy, CopyResult) {
    let shared = work.shared;
    let until = hold.deadline();
    match copy.kind {
        CopyKind::DeadLetter(_) => {
            let made = shared.copier.make(original, &copy, until, None).await;
            (copy, made.map(drop).into())
        }
        // `hold_retries` left it due: all delays together exceed `retry.hold`.
        CopyKind::Retry { after: delay } if hold.in_order && delay <= shared.options.retry.hold => {
            give_up(work, original, copy, until).await
        }
        CopyKind::Retry { after: delay } => {
            let held = may_hold(shared, delay, hold.began).then_some(delay);
            delay_copy(work, original, copy, held, until).await
        }
    }
}

/// Makes a copy that the broker delays. Where it cannot, its methods are held in the process for `held`,
/// or the notification is given up without it.
pub(crate) async fn delay_copy(
    work: WorkContext<'_>,
    original: Original<'_>,
    copy: MessageCopy,
    held: Option<Duration>,
    until: Option<Instant>,
) -> (MessageCopy, CopyResult) {
    let shared = work.shared;
    let made = if shared.has_retry_queues {
        shared.copier.make(original, &copy, until, None).await.map(drop)
    } else {
        Err(CopyError::NoDelay)
    };
    match (made, held) {
        (Err(CopyError::NoDelay), Some(delay)) => (copy, CopyResult::Held(delay)),
        (Err(CopyError::NoDelay), None) => give_up(work, original, copy, until).await,
        (made, _) => (copy, made.into()),
    }
}

/// Dead-letters a retry that neither the broker nor the process can delay for long enough.
async fn give_up(
    work: WorkContext<'_>,
    original: Original<'_>,
    mut copy: MessageCopy,
    until: Option<Instant>,
) -> (MessageCopy, CopyResult) {
    let shared = work.shared;
    copy.give_up_beyond(shared.options.retry.hold);
    let made = shared.copier.make(original, &copy, until, None).await;
    (copy, made.map(drop).into())
}

/// Waits without a slot for the next round of calls. The deadline of the hold applies only if all rounds
/// wait for paused methods, which may stay paused for ever; a delay ends, and `may_hold` has bounded it.
async fn next_call(work: WorkContext<'_>, case: &mut Case, progress: &mut Progress) -> Next {
    let WorkContext { shared, permit } = work;
    let (held, deadline) = (&progress.held, progress.hold.deadline());
    if held.is_empty() {
        return Next::Done;
    }
    let ready = permit.wait(async {
        tokio::select! {
            ready = held.next_ready(&shared.copier) => ready,
            () = permit::session_ended(&case.delivery) => None,
        }
    });
    let ready = match deadline.filter(|_| !held.has_delays()) {
        Some(deadline) => match tokio::time::timeout_at(deadline, ready).await {
            Ok(ready) => ready,
            Err(_) => return Next::Unfinished(Unfinished::Overdue),
        },
        None => ready.await,
    };
    let Some(ready) = ready.flatten() else { return Next::Unfinished(Unfinished::Released) };
    // On the heap, so that the futures of other deliveries stay small.
    if case.is_isolated()
        && let Err(unfinished) =
            isolation::reacquire_suspect_permit(work, case, progress.hold).boxed().await
    {
        return Next::Unfinished(unfinished);
    }
    // The session may have ended during the delay.
    if case.delivery.is_over() {
        return Next::Unfinished(Unfinished::Released);
    }
    Next::Call(progress.held.take(ready))
}

/// Ends the work on a delivery that is unfinished. If it was handled by some of its methods, or copies
/// exist for some, these would be called again: a copy for the pending methods replaces it, unless order
/// is kept. With `Unfinished::Replaced` that copy is already confirmed: it is acknowledged.
pub(crate) async fn leave(
    work: WorkContext<'_>,
    mut case: Case,
    progress: Progress,
    unfinished: Unfinished,
    logged: &LoggedNotification,
) {
    let WorkContext { shared, permit } = work;
    isolation::release_suspect_permit(shared, &mut case);
    let replaced = End::Replaced(&progress.made);
    if unfinished == Unfinished::Replaced {
        return settlement::settle(shared, case, &replaced, logged);
    }
    // A requeue concerns all methods.
    let is_handled = logged.handled > 0 && unfinished != Unfinished::Requeued;
    let is_done_in_part = is_handled || !progress.made.is_empty();
    if is_done_in_part && !progress.hold.in_order && !case.delivery.is_over() {
        let remaining = progress.headers_for_pending(&case.copy_headers);
        if remaining.pending != Pending::All
            && permit.finish(shared.copier.replace(&case.delivery, &remaining)).await
        {
            return settlement::settle(shared, case, &replaced, logged);
        }
    }
    match unfinished {
        Unfinished::Requeued => settlement::settle(shared, case, &End::Requeued, logged),
        Unfinished::Refused => return_later(work, case, logged).await,
        Unfinished::Released | Unfinished::Overdue | Unfinished::Replaced => {
            settlement::settle(shared, case, &End::Released, logged);
        }
    }
}

/// Returns a delivery to its queue whose dead letter the broker never accepts; after a while, so that it
/// is not redelivered immediately. That loses its order, so no other delivery waits for it.
pub(crate) async fn return_later(
    work: WorkContext<'_>,
    mut case: Case,
    logged: &LoggedNotification,
) {
    let WorkContext { shared, permit } = work;
    case.ticket = None;
    isolation::release_suspect_permit(shared, &mut case);
    let hold = shared.options.retry.hold.max(SHORTEST_HOLD);
    tracing::warn!(
        queue = %case.delivery.info.queue,
        held = ?hold,
        "a delivery is held before it returns to its queue, because its dead letter is refused"
    );
    let held = async {
        tokio::select! {
            () = tokio::time::sleep(hold) => {}
            () = permit::session_ended(&case.delivery) => {}
        }
    };
    let is_held = permit.wait_outside(held).await.is_some();
    let end = if is_held { End::Refused } else { End::Released };
    settlement::settle(shared, case, &end, logged);
}
