//! From a body to one verdict on its delivery: it is opened (`open/`), the methods are called (`invoke.rs`), and
//! their failures decided (`policy.rs`). Called by `worker.rs`, once for each round of calls.

mod batch_call;
pub(crate) mod invoke;
pub(crate) mod policy;

use std::borrow::Cow;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

use crate::notification::Notification;
use crate::options::listener::OnUnknownPriority;
use crate::outcome::BoxError;
use crate::redact::panic_message;
use crate::runtime::case::Case;
use crate::runtime::judge::invoke::{Invocation, InvocationResult, policy_context};
use crate::runtime::judge::policy::Verdict;
use crate::runtime::open::body::{self, TextBuffer};
use crate::runtime::open::priority::{self, NoPriority};
use crate::runtime::settle::report::LoggedNotification;
use crate::runtime::shared::{Shared, WorkContext};

/// What follows from one round of calls.
pub(crate) struct Judgement {
    pub(crate) verdict: Verdict,
    pub(crate) logged: LoggedNotification,
    /// How often methods have been called for the notification.
    pub(crate) attempts: u32,
    /// As `InvocationResult::uncalled`: they stay pending.
    pub(crate) uncalled: Vec<String>,
}

impl Judgement {
    /// Without calls.
    fn of(verdict: Verdict, attempts: u32) -> Self {
        let logged = LoggedNotification::default();
        Self { verdict, logged, attempts, uncalled: Vec::new() }
    }
}

/// Opens a delivery and calls its methods. A method that panics is caught where it is called; here the
/// program's other code is caught, such as serializers and errors that panic when printed.
pub(crate) async fn judge(
    work: WorkContext<'_>,
    case: &Case,
    buffer: &mut TextBuffer,
) -> Judgement {
    let shared = work.shared;
    let judged = AssertUnwindSafe(open_and_invoke(work, case, buffer)).catch_unwind().await;
    let attempts = case.copy_headers.attempts;
    let pending = || case.copy_headers.pending.clone();
    match judged {
        Ok(Ok(judgement)) => judgement,
        Ok(Err(error)) => Judgement::of(policy::undecodable(&*error, pending()), attempts),
        Err(panic) => {
            let calls = attempts.saturating_add(1);
            let message = panic_message(panic);
            let verdict = policy::panicked(&message, pending(), policy_context(shared, calls));
            Judgement::of(verdict, calls)
        }
    }
}

async fn open_and_invoke(
    work: WorkContext<'_>,
    case: &Case,
    buffer: &mut TextBuffer,
) -> Result<Judgement, BoxError> {
    let WorkContext { shared, permit } = work;
    let delivery = &case.delivery;
    let _share;
    let text = match &case.text {
        Some(text) => Cow::Borrowed(text.as_str()),
        None if body::is_compressed(delivery) => {
            // On the heap, so that the futures of other deliveries stay small.
            match body::open_compressed(work, case).boxed().await {
                Some((opened, share)) => {
                    _share = share;
                    Cow::Owned(opened?)
                }
                None => return Ok(Judgement::of(Verdict::Release, case.copy_headers.attempts)),
            }
        }
        None => body::open(shared, delivery, buffer)?,
    };
    let mut deserialized = None;
    let fields = body::read(shared, &text, &mut deserialized)?;
    let origin = &case.copy_headers.origin;
    let on_unknown = shared.options.on_unknown_priority;
    let priority = match priority::find(&fields, &origin.routing_key, on_unknown) {
        Ok(priority) => priority,
        Err(none) => {
            let logged = LoggedNotification::of(&fields, 0);
            let verdict = without_priority(shared, case, &none, &logged);
            let attempts = case.copy_headers.attempts;
            return Ok(Judgement { logged, ..Judgement::of(verdict, attempts) });
        }
    };
    let calls = case.copy_headers.attempts.saturating_add(1);
    let notification = Notification::new(fields, priority, origin, &shared.states)
        .of_call(case.received_at, calls);
    let invocation = Invocation { shared, notification: &notification, case, permit };
    let InvocationResult { verdict, handled, uncalled } = invocation.invoke().await;
    let is_logged = verdict != Verdict::NoCopies || tracing::enabled!(tracing::Level::DEBUG);
    let logged = if is_logged {
        LoggedNotification::of(notification.fields(), handled)
    } else {
        LoggedNotification { handled, ..LoggedNotification::default() }
    };
    buffer.reuse(text);
    Ok(Judgement { verdict, logged, attempts: calls, uncalled })
}

/// The verdict on a delivery for which no method can be found.
fn without_priority(
    shared: &Shared,
    case: &Case,
    none: &NoPriority,
    logged: &LoggedNotification,
) -> Verdict {
    match shared.options.on_unknown_priority {
        OnUnknownPriority::DeadLetter => {
            policy::unknown_priority(none, case.copy_headers.pending.clone())
        }
        OnUnknownPriority::Acknowledge => {
            tracing::warn!(
                queue = %case.delivery.info.queue,
                message_id = logged.message_id,
                "acknowledged, and no method was called: {none}"
            );
            Verdict::NoCopies
        }
    }
}
