//! Handles one delivery: it is examined (`suspect/`), then its methods are called in rounds (`judge/`) until
//! it is settled (`settle/`). Called by `schedule/scheduler.rs`, which has the stages before.

use std::time::Duration;

use futures_util::FutureExt;

use crate::options::listener::Executor;
use crate::runtime::case::Case;
use crate::runtime::judge::policy::Verdict;
use crate::runtime::judge::{self, Judgement};
use crate::runtime::open::body::TextBuffer;
use crate::runtime::schedule::key_order::Ticket;
use crate::runtime::settle::copies::{self, Next};
use crate::runtime::settle::progress::{CountedCopy, HoldDeadline, Progress, Unfinished};
use crate::runtime::settle::report::End;
use crate::runtime::settle::settlement;
use crate::runtime::shared::WorkContext;
use crate::runtime::suspect::{examine, isolation};

/// Works on a delivery until it is settled, or left to the broker.
pub(crate) async fn work(work: WorkContext<'_>, mut case: Case, buffer: &mut TextBuffer) {
    let shared = work.shared;
    let is_examined = examine::is_needed(shared, &case);
    if is_examined {
        // On the heap, so that the futures of other deliveries stay small.
        let Some(examined) = examine::examine(work, case).boxed().await else { return };
        case = examined;
    }
    // The examination may have given up the slot: it is held again after this wait.
    let waits = is_examined || !shared.gate.is_open(case.passage());
    if waits && !isolation::wait_at_gate(work, &case).await {
        return settlement::release(shared, case);
    }
    call_until_settled(work, case, buffer).await;
}

/// Calls the methods, again while some are held in the process, and carries out the verdicts.
async fn call_until_settled(work: WorkContext<'_>, mut case: Case, buffer: &mut TextBuffer) {
    let shared = work.shared;
    case.in_flight.start_work();
    let in_order = case.ticket.as_ref().is_some_and(Ticket::is_in_order)
        || shared.options.executor == Executor::Sequential;
    let hold = HoldDeadline::new(shared.options.retry.hold, case.in_flight.age(), in_order);
    let mut progress = Progress::new(hold);
    let mut handled = 0;
    loop {
        let attempts_before = case.copy_headers.attempts;
        let Judgement { verdict, mut logged, attempts, uncalled } =
            judge::judge(work, &case, buffer).await;
        handled += logged.handled;
        logged.handled = handled;
        case.copy_headers.attempts = attempts;
        uncalled
            .into_iter()
            .for_each(|method| progress.held.hold_until_resumed(method, attempts_before));
        let unfinished = match verdict {
            Verdict::NoCopies => None,
            Verdict::Copies(copies) => {
                progress.due.extend(copies.into_iter().map(|copy| CountedCopy {
                    copy,
                    attempts,
                    attempts_before,
                }));
                None
            }
            Verdict::Requeue => Some(Unfinished::Requeued),
            Verdict::Release => Some(Unfinished::Released),
        };
        if let Some(unfinished) = unfinished {
            // Not for a call: `leave` makes its copy for the methods in `progress`, so these are added
            // to it.
            progress.held.hold_for(
                case.copy_headers.pending.clone(),
                attempts_before,
                Duration::ZERO,
            );
            return copies::leave(work, case, progress, unfinished, &logged).await;
        }
        match copies::advance(work, &mut case, &mut progress, &logged).await {
            Next::Call(round) => {
                case.copy_headers.pending = round.pending;
                case.copy_headers.attempts = round.attempts;
            }
            Next::Done => {
                let made = progress.made;
                let end = if made.is_empty() { End::Handled } else { End::Copied(&made) };
                return settlement::settle(shared, case, &end, &logged);
            }
            Next::Unfinished(unfinished) => {
                return copies::leave(work, case, progress, unfinished, &logged).await;
            }
        }
    }
}
