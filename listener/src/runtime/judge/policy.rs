//! The failure policy: what follows when a method did not handle a notification. Pure: from the failures
//! of the methods to one verdict on the delivery. `settle/` carries it out.

use std::error::Error;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::endpoint::policy::EndpointPolicy;
use crate::options::listener::{OnFailure, RetryOptions};
use crate::outcome::Failure;
use crate::outcome::kind::{Classifiers, ErrorKind};
use crate::redact::{Chain, LONGEST_ERROR, error_text, panic_message, shortened};
use crate::runtime::open::priority::NoPriority;
use crate::runtime::program_code;
use crate::runtime::settle::pending::Pending;

/// Why a method did not handle a notification.
#[derive(Debug)]
pub(crate) enum NotHandled {
    /// An error, a panic, a timeout, or an argument that could not be made.
    Failure(Failure),
    /// The inbox could not be queried, for this reason, and the method was not called. It is retried
    /// regardless of `on_failure`, because the method did not fail.
    InboxUnavailable(String),
    /// It returned `Outcome::DeadLetter` with this reason.
    GivenUp(String),
    /// It returned `Outcome::Retry`, with this delay or that of the listener.
    Retry(Option<Duration>),
    /// It returned `Outcome::Requeue`, which the listener does not allow.
    RequeueNotAllowed,
    /// There is no method with the name in the copy.
    Unknown,
}

/// What follows for a method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A copy is for it: a retry, or a dead letter.
    Copy(CopyKind),
    /// The whole delivery is requeued immediately, as in oslo.messaging: no other method is called.
    Requeue,
    /// It counts as handled, as in oslo.messaging.
    Discard,
}

/// What a step depends on apart from the failure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PolicyContext<'p> {
    pub(crate) retry: &'p RetryOptions,
    pub(crate) on_failure: OnFailure,
    pub(crate) classifiers: &'p Classifiers,
    /// The number of this attempt, from 1. An attempt at which the inbox could not be queried counts,
    /// though the method was not called.
    pub(crate) calls: u32,
    /// From 0 to 1: the position of a delay in its range.
    pub(crate) jitter: f64,
}

/// What follows from the failure of a method whose endpoint has this policy.
pub(crate) fn step(
    failed: &NotHandled,
    policy: &EndpointPolicy,
    context: PolicyContext<'_>,
) -> Step {
    match failed {
        NotHandled::GivenUp(_) => dead_letter("given-up"),
        NotHandled::RequeueNotAllowed => dead_letter("requeue-not-allowed"),
        NotHandled::Unknown => dead_letter(UNKNOWN_METHOD),
        NotHandled::Retry(after) => retry(*after, "retries", policy, context),
        NotHandled::InboxUnavailable(_) => retry(None, "error", policy, context),
        NotHandled::Failure(failure) => step_of_failure(failure, policy, context),
    }
}

/// As `step`, for a method that was called.
pub(crate) fn step_of_failure(
    failure: &Failure,
    policy: &EndpointPolicy,
    context: PolicyContext<'_>,
) -> Step {
    match context.on_failure {
        OnFailure::Retry => {}
        OnFailure::Requeue => return Step::Requeue,
        OnFailure::Discard => return Step::Discard,
    }
    match kind(failure, context.classifiers) {
        ErrorKind::Permanent => dead_letter(failure.reason()),
        ErrorKind::Transient => retry(None, failure.reason(), policy, context),
        ErrorKind::RetryAfter(after) => retry(Some(after), failure.reason(), policy, context),
    }
}

/// A retry after this delay or that of the options, or a dead letter if no attempt is left.
fn retry(
    after: Option<Duration>,
    exhausted: &'static str,
    policy: &EndpointPolicy,
    context: PolicyContext<'_>,
) -> Step {
    let retry = context.retry.with(policy);
    if context.calls >= retry.attempts {
        return dead_letter(exhausted);
    }
    let delay = after.unwrap_or_else(|| retry.delay_after(context.calls, context.jitter));
    Step::Copy(CopyKind::Retry { after: delay })
}

const fn dead_letter(reason: &'static str) -> Step {
    Step::Copy(CopyKind::DeadLetter(reason))
}

/// The kind of a failure; transient if the classifier panics.
fn kind(failure: &Failure, classifiers: &Classifiers) -> ErrorKind {
    catch_unwind(AssertUnwindSafe(|| classifiers.kind(failure))).unwrap_or_else(|panic| {
        // Taken first, also if nothing is logged.
        let panic = panic_message(panic);
        tracing::error!(panic, "a classifier panicked");
        ErrorKind::Transient
    })
}

/// What becomes of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// No copy is needed: each method that was called has handled it (or its failure is discarded), or
    /// none wants it. Acknowledged only if no method is left uncalled as well (`Judgement::uncalled`) and
    /// no copy is due.
    NoCopies,
    /// A method or `on_failure` requeued it.
    Requeue,
    /// The listener stopped before the first method was called, or the session is over.
    Release,
    /// It is still pending for some methods: copies replace it.
    Copies(Vec<MessageCopy>),
}

/// A copy that replaces a delivery for the methods that it is pending for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MessageCopy {
    pub(crate) kind: CopyKind,
    /// The methods that it is for.
    pub(crate) pending: Pending,
    /// What went wrong, in full.
    pub(crate) error: String,
}

/// What a copy is, and where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CopyKind {
    /// Back to the queue, after a delay.
    Retry { after: Duration },
    /// To the dead-letter queue. The reason is one word: `undecodable`, `unknown-priority`,
    /// `error`, `argument`, `version`, `panic`, `timeout`, `given-up`, `retries`, `requeue-not-allowed`,
    /// `unknown-method`, `poison`.
    DeadLetter(&'static str),
}

/// What was decided for one method.
#[derive(Debug)]
pub(crate) struct Decided {
    pub(crate) method: String,
    pub(crate) failed: NotHandled,
    pub(crate) kind: CopyKind,
}

/// The verdict on a delivery, from the decisions for the methods that did not handle it. There is one
/// copy for all methods that are given up, with the reason of the first, and one for each delay.
pub(crate) fn verdict(decided: Vec<Decided>) -> Verdict {
    let mut copies: Vec<(CopyKind, Vec<String>, String)> = Vec::new();
    for Decided { method, failed, kind } in decided {
        let text = format!("{method}: {}", failed.text());
        match copies.iter_mut().find(|(other, ..)| other.shares_copy_with(kind)) {
            Some((_, methods, error)) => {
                methods.push(method);
                // Writing to a String cannot fail.
                let _ = write!(error, "; {text}");
            }
            None => copies.push((kind, vec![method], text)),
        }
    }
    if copies.is_empty() {
        return Verdict::NoCopies;
    }
    let copy = |(kind, methods, error)| MessageCopy { kind, pending: Pending::of(methods), error };
    Verdict::Copies(copies.into_iter().map(copy).collect())
}

impl MessageCopy {
    /// The names of its methods, for the log.
    pub(crate) fn method_names(&self) -> String {
        let mut names = String::new();
        for name in self.pending.names() {
            if names.len() > LONGEST_ERROR {
                break;
            }
            names.push_str(if names.is_empty() { "" } else { ", " });
            names.push_str(name);
        }
        error_text(&names)
    }

    /// What went wrong, for the log.
    pub(crate) fn error_text(&self) -> &str {
        shortened(&self.error, LONGEST_ERROR)
    }

    /// Makes it a dead letter, because its next delay would hold the delivery for longer than `hold`.
    pub(crate) fn give_up_beyond(&mut self, hold: Duration) {
        // Writing to a String cannot fail.
        let _ =
            write!(self.error, "; the next delay would hold the delivery for more than {hold:?}");
        self.kind = CopyKind::DeadLetter("retries");
    }
}

impl CopyKind {
    /// Whether one copy may be for methods with either kind.
    fn shares_copy_with(self, other: Self) -> bool {
        match (self, other) {
            (Self::DeadLetter(_), Self::DeadLetter(_)) => true,
            _ => self == other,
        }
    }
}

/// The verdict on a delivery for which the program's code panicked outside of a method, such as a
/// serializer, for all pending methods: as for a method that panics.
pub(crate) fn panicked(message: &str, pending: Pending, context: PolicyContext<'_>) -> Verdict {
    let failed = NotHandled::Failure(Failure::Panic(message.to_owned()));
    let kind = match step(&failed, &EndpointPolicy::NONE, context) {
        Step::Copy(kind @ CopyKind::Retry { .. }) => kind,
        Step::Requeue => return Verdict::Requeue,
        Step::Copy(CopyKind::DeadLetter(_)) | Step::Discard => CopyKind::DeadLetter("panic"),
    };
    Verdict::Copies(vec![MessageCopy { kind, pending, error: format!("panicked: {message}") }])
}

/// The copy of a delivery whose methods are not called yet, because the rest of a delay remains.
pub(crate) fn deferred(remaining: Duration, pending: Pending) -> MessageCopy {
    let error = "its retry delay is not over".to_owned();
    MessageCopy { kind: CopyKind::Retry { after: remaining }, pending, error }
}

/// The verdict on a body that cannot be read, for all pending methods.
pub(crate) fn undecodable(error: &(dyn Error + 'static), pending: Pending) -> Verdict {
    Verdict::Copies(vec![dead("undecodable", program_code::error_text(&Chain(error)), pending)])
}

/// The verdict on a notification without a priority, for all pending methods.
pub(crate) fn unknown_priority(none: &NoPriority, pending: Pending) -> Verdict {
    Verdict::Copies(vec![dead("unknown-priority", none.to_string(), pending)])
}

/// The reason of a dead letter for a method that does not exist.
pub(crate) const UNKNOWN_METHOD: &str = "unknown-method";

/// The reason of a dead letter that crashed processes.
pub(crate) const POISON: &str = "poison";

/// The copy of a delivery that crashed this number of processes.
pub(crate) fn poison(crashes: u64, pending: Pending) -> MessageCopy {
    let error = format!("{crashes} processes crashed while handling it");
    dead(POISON, error, pending)
}

fn dead(reason: &'static str, error: String, pending: Pending) -> MessageCopy {
    MessageCopy { kind: CopyKind::DeadLetter(reason), pending, error }
}

impl NotHandled {
    pub(crate) fn text(&self) -> String {
        match self {
            Self::InboxUnavailable(why) => error_text(&format!("the inbox could not be queried: {why}")),
            Self::Failure(failure) => program_code::error_text(&Chain(failure)),
            Self::GivenUp(reason) => error_text(reason),
            Self::Retry(_) => "requested a retry".to_owned(),
            Self::RequeueNotAllowed => "requested a requeue, which is not allowed; set `allow_requeue(true)` on the listener, or return `Outcome::Retry`".to_owned(),
            Self::Unknown => "no method has this name; if it was renamed, give the endpoint its old `name`".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::kind::{permanent, retry_after};

    const SECOND: Duration = Duration::from_secs(1);

    fn error(error: impl Into<crate::outcome::BoxError>) -> NotHandled {
        NotHandled::Failure(Failure::Error(error.into()))
    }

    fn again(delay: Duration) -> Step {
        Step::Copy(CopyKind::Retry { after: delay })
    }

    fn give_up(reason: &'static str) -> Step {
        Step::Copy(CopyKind::DeadLetter(reason))
    }

    fn decide(
        failed: &NotHandled,
        policy: &EndpointPolicy,
        calls: u32,
        on_failure: OnFailure,
    ) -> Step {
        let classifiers = Classifiers::default();
        let retry = RetryOptions {
            attempts: 3,
            delay: 2 * SECOND,
            max_delay: 10 * SECOND,
            ..RetryOptions::default()
        };
        step(
            failed,
            policy,
            PolicyContext {
                retry: &retry,
                on_failure,
                classifiers: &classifiers,
                calls,
                jitter: 1.0,
            },
        )
    }

    #[test]
    fn each_failure_has_its_step() {
        let check = |failed: NotHandled, calls, expected| {
            assert_eq!(
                decide(&failed, &EndpointPolicy::NONE, calls, OnFailure::Retry),
                expected,
                "{failed:?}"
            );
        };
        check(error("no price"), 1, again(2 * SECOND));
        check(error("no price"), 2, again(4 * SECOND));
        check(error("no price"), 3, give_up("error"));
        check(error(permanent("no tenant")), 1, give_up("error"));
        check(error(retry_after("busy", 60 * SECOND)), 1, again(60 * SECOND));
        check(error(retry_after("busy", 60 * SECOND)), 3, give_up("error"));
        check(NotHandled::Failure(Failure::Panic("no".to_owned())), 1, again(2 * SECOND));
        check(NotHandled::Failure(Failure::Panic("no".to_owned())), 3, give_up("panic"));
        check(NotHandled::Failure(Failure::Timeout(SECOND)), 1, again(2 * SECOND));
        check(NotHandled::Failure(Failure::Timeout(SECOND)), 3, give_up("timeout"));
        let argument = Failure::Argument { argument: "payload", source: "no number".into() };
        check(NotHandled::Failure(argument), 1, give_up("argument"));
        check(NotHandled::Retry(None), 1, again(2 * SECOND));
        check(NotHandled::Retry(Some(SECOND)), 2, again(SECOND));
        check(NotHandled::Retry(None), 3, give_up("retries"));
        check(NotHandled::GivenUp("no".to_owned()), 1, give_up("given-up"));
        check(NotHandled::RequeueNotAllowed, 1, give_up("requeue-not-allowed"));
        check(NotHandled::Unknown, 1, give_up("unknown-method"));
    }

    #[test]
    fn the_policy_of_an_endpoint_overrides_that_of_the_listener() {
        let policy =
            EndpointPolicy { attempts: Some(2), delay: Some(8 * SECOND), ..EndpointPolicy::NONE };
        let decide = |calls| decide(&error("no"), &policy, calls, OnFailure::Retry);
        assert_eq!([decide(1), decide(2)], [again(8 * SECOND), give_up("error")]);
    }

    #[test]
    fn the_behaviour_of_oslo_messaging_can_be_chosen() {
        let decide = |failed, on_failure| decide(&failed, &EndpointPolicy::NONE, 1, on_failure);
        assert_eq!(decide(error("no"), OnFailure::Requeue), Step::Requeue);
        assert_eq!(decide(error("no"), OnFailure::Discard), Step::Discard);
        let not_asked = || NotHandled::InboxUnavailable("no".to_owned());
        assert_eq!(decide(not_asked(), OnFailure::Discard), again(2 * SECOND));
        assert_eq!(decide(not_asked(), OnFailure::Requeue), again(2 * SECOND));
        let given_up = NotHandled::GivenUp("no".to_owned());
        assert_eq!(decide(given_up, OnFailure::Discard), give_up("given-up"));
    }

    #[test]
    fn delays_double_up_to_the_longest_and_lie_in_the_upper_half_of_their_range() {
        let retry =
            RetryOptions { delay: SECOND, max_delay: 5 * SECOND, ..RetryOptions::default() };
        let delays =
            |jitter| [1, 2, 3, 4, 200].map(|calls| retry.delay_after(calls, jitter).as_millis());
        assert_eq!(delays(1.0), [1000, 2000, 4000, 5000, 5000]);
        assert_eq!(delays(0.0), [500, 1000, 2000, 2500, 2500]);
        assert_eq!(delays(0.5), [750, 1500, 3000, 3750, 3750]);
    }

    fn decided(method: &str, kind: CopyKind) -> Decided {
        Decided { method: method.to_owned(), failed: NotHandled::GivenUp("why".to_owned()), kind }
    }

    fn copy(kind: CopyKind, methods: &[&str]) -> MessageCopy {
        let error = methods.iter().map(|method| format!("{method}: why")).collect::<Vec<_>>();
        let methods = methods.iter().map(|method| (*method).to_owned()).collect();
        MessageCopy { kind, pending: Pending::of(methods), error: error.join("; ") }
    }

    #[test]
    fn a_delivery_without_failures_is_acknowledged() {
        assert_eq!(verdict(Vec::new()), Verdict::NoCopies);
    }

    #[test]
    fn there_is_one_copy_for_each_delay_and_one_for_all_methods_given_up() {
        let verdict = verdict(vec![
            decided("a", CopyKind::Retry { after: SECOND }),
            decided("b", CopyKind::DeadLetter("error")),
            decided("c", CopyKind::Retry { after: 2 * SECOND }),
            decided("d", CopyKind::Retry { after: SECOND }),
            decided("e", CopyKind::DeadLetter("panic")),
        ]);
        assert_eq!(
            verdict,
            Verdict::Copies(vec![
                copy(CopyKind::Retry { after: SECOND }, &["a", "d"]),
                copy(CopyKind::DeadLetter("error"), &["b", "e"]),
                copy(CopyKind::Retry { after: 2 * SECOND }, &["c"]),
            ])
        );
    }
}
