//! The outcome of an endpoint method, and the conversion of return values to outcomes.
//! `runtime/judge/policy.rs` derives one verdict from the outcomes of several methods;
//! `runtime/settle/settlement.rs` carries it out.

pub(crate) mod kind;

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::notification::PartError;

/// Any error of the program, boxed.
pub type BoxError = Box<dyn Error + Send + Sync + 'static>;

/// The result of an endpoint method for one notification. A method that returns `()` has handled it; one
/// that returns an error is retried.
///
/// ```
/// use listener::Outcome;
/// use std::time::Duration;
///
/// let later = Outcome::retry_after(Duration::from_secs(30));
/// assert_eq!(later, Outcome::Retry { after: Some(Duration::from_secs(30)) });
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// The method has handled the notification.
    Handled,
    /// Return the whole delivery to the broker, and call no further method. Methods that have handled it
    /// are called again.
    ///
    /// Needs [`allow_requeue`](crate::ListenerBuilder::allow_requeue) on the listener; without it the
    /// notification is dead-lettered with the reason `requeue-not-allowed`. The broker redelivers it
    /// immediately: use `Retry` for a delay.
    Requeue,
    /// Call this method again after a delay.
    ///
    /// Counts as an attempt: once the `attempts` of the
    /// [retry options](crate::options::RetryOptions::attempts) are used up, the notification is dead-lettered
    /// with the reason `retries`.
    Retry {
        /// The delay; `None`: that of the retry options.
        after: Option<Duration>,
    },
    /// Give up the notification: it is dead-lettered with the reason `given-up`; this message appears in the
    /// header `listener-error` and in the log.
    DeadLetter(Cow<'static, str>),
}

impl Outcome {
    /// Call the method again after the delay of the retry options; see [`Retry`](Self::Retry).
    #[must_use]
    pub const fn retry() -> Self {
        Self::Retry { after: None }
    }

    /// Call the method again after `after`, at most after a year; see [`Retry`](Self::Retry).
    #[must_use]
    pub const fn retry_after(after: Duration) -> Self {
        Self::Retry { after: Some(after) }
    }

    /// Give up the notification: it is dead-lettered with the reason `given-up`; `message` appears in the
    /// header `listener-error` and in the log.
    pub fn dead_letter(message: impl Into<Cow<'static, str>>) -> Self {
        Self::DeadLetter(message.into())
    }
}

/// For a log.
///
/// ```
/// use listener::Outcome;
///
/// assert_eq!(Outcome::Handled.to_string(), "handled");
/// assert_eq!(Outcome::dead_letter("no such tenant").to_string(), "dead letter: no such tenant");
/// ```
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handled => f.write_str("handled"),
            Self::Requeue => f.write_str("requeue"),
            Self::Retry { after: None } => f.write_str("retry"),
            Self::Retry { after: Some(after) } => write!(f, "retry after {after:?}"),
            Self::DeadLetter(message) => write!(f, "dead letter: {message}"),
        }
    }
}

/// Why a method has no outcome. It displays without the causes of the error, which are its sources.
#[non_exhaustive]
pub enum Failure {
    /// The method returned an error.
    Error(BoxError),
    /// An argument could not be made from the notification; the method was not called.
    Argument {
        /// The name of the argument, or its type if it has no name.
        argument: &'static str,
        /// Why it could not be made.
        source: BoxError,
    },
    /// The method panicked with this message.
    Panic(String),
    /// The method did not return within this time. An `async fn` was dropped at its await; a plain `fn`
    /// cannot be cancelled and continues to run.
    Timeout(Duration),
    /// The call for a batch had this failure. Each notification of the batch has it.
    Batch(Arc<Self>),
}

impl Failure {
    /// One word, for the reason header of a dead letter.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Error(_) => "error",
            Self::Argument { source, .. } if is_unsupported_version(&**source) => "version",
            Self::Argument { .. } => "argument",
            Self::Panic(_) => "panic",
            Self::Timeout(_) => "timeout",
            Self::Batch(failure) => failure.reason(),
        }
    }
}

/// Whether it is a versioned object that the type of the argument does not support.
fn is_unsupported_version(error: &(dyn Error + Send + Sync + 'static)) -> bool {
    error.downcast_ref::<PartError>().is_some_and(PartError::is_unsupported_version)
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(error) => error.fmt(f),
            Self::Argument { argument, source } => {
                write!(f, "argument `{argument}`")?;
                let part = source.downcast_ref::<PartError>();
                match part.and_then(|part| Some((inside(argument, part.path())?, part.message()))) {
                    Some(("", message)) => write!(f, ": {message}"),
                    Some((path, message)) => write!(f, ", at {path}: {message}"),
                    None => write!(f, ": {source}"),
                }
            }
            Self::Panic(message) => write!(f, "panicked: {message}"),
            Self::Timeout(limit) => write!(f, "was not done within {limit:?}"),
            Self::Batch(failure) => failure.fmt(f),
        }
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Error(source) | Self::Argument { source, .. } => source.source(),
            Self::Panic(_) | Self::Timeout(_) => None,
            Self::Batch(failure) => failure.source(),
        }
    }
}

debug_is_the_message!(Failure);

/// The path within the part that the argument is read from: the name of the part would repeat that of the
/// argument.
fn inside<'p>(argument: &str, path: &'p str) -> Option<&'p str> {
    let part = match argument {
        "ctxt" => "context",
        other => other,
    };
    let rest = path.strip_prefix(part)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('.') }
}

/// The result of a call of an endpoint method.
pub type MethodResult = Result<Outcome, Failure>;

/// The return types of an endpoint method: `()`, [`Outcome`], `Result<(), E>` and
/// `Result<Outcome, E>`, where `E` is any error, a `String`, or a boxed error.
#[diagnostic::on_unimplemented(
    message = "an endpoint method cannot return `{Self}`",
    label = "not an outcome",
    note = "return `()`, `Outcome`, `Result<(), E>` or `Result<Outcome, E>`, where `E` is a `String`, a `Box<dyn Error + Send + Sync>` (`listener::BoxError`), or a type that implements `std::error::Error + Send + Sync + 'static`"
)]
pub trait IntoOutcome {
    /// Converts the returned value.
    ///
    /// # Errors
    /// The method's own error, boxed.
    fn into_outcome(self) -> MethodResult;
}

impl IntoOutcome for () {
    fn into_outcome(self) -> MethodResult {
        Ok(Outcome::Handled)
    }
}

impl IntoOutcome for Outcome {
    fn into_outcome(self) -> MethodResult {
        Ok(self)
    }
}

// Not recommended, so that the compiler explains at the returned type that `E` is not an error.
#[diagnostic::do_not_recommend]
impl<E: Into<BoxError>> IntoOutcome for Result<(), E> {
    fn into_outcome(self) -> MethodResult {
        self.map(|()| Outcome::Handled).map_err(|error| Failure::Error(error.into()))
    }
}

#[diagnostic::do_not_recommend]
impl<E: Into<BoxError>> IntoOutcome for Result<Outcome, E> {
    fn into_outcome(self) -> MethodResult {
        self.map_err(|error| Failure::Error(error.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("no row")]
    struct NoRow;

    #[derive(Debug, thiserror::Error)]
    #[error("billing failed")]
    struct Billing(#[source] NoRow);

    #[test]
    fn every_return_type_becomes_an_outcome() {
        assert_eq!(().into_outcome().ok(), Some(Outcome::Handled));
        assert_eq!(Outcome::Requeue.into_outcome().ok(), Some(Outcome::Requeue));
        assert_eq!(Ok::<(), NoRow>(()).into_outcome().ok(), Some(Outcome::Handled));
        assert_eq!(Ok::<_, String>(Outcome::retry()).into_outcome().ok(), Some(Outcome::retry()));
    }

    #[test]
    fn a_failure_names_the_error_and_its_causes() {
        let failure = Err::<(), _>(Billing(NoRow)).into_outcome().expect_err("it was an error");
        assert_eq!(
            (failure.reason(), failure.to_string(), format!("{failure:?}")),
            ("error", "billing failed".to_owned(), "billing failed: no row".to_owned())
        );
    }

    #[test]
    fn an_argument_that_does_not_fit_is_named_only_once() {
        let text = |argument, path| {
            let source = PartError::new(path, "invalid type".to_owned()).into();
            Failure::Argument { argument, source }.to_string()
        };
        assert_eq!(text("payload", "payload"), "argument `payload`: invalid type");
        assert_eq!(
            text("payload", "payload.a[1].b"),
            "argument `payload`, at a[1].b: invalid type"
        );
        assert_eq!(text("ctxt", "context.user"), "argument `ctxt`, at user: invalid type");
        assert_eq!(text("body", "payload.user"), "argument `body`: payload.user: invalid type");
    }

    #[test]
    fn a_string_is_an_error_too() {
        let failure = Err::<(), _>("no tenant").into_outcome().expect_err("it was an error");
        assert_eq!(failure.to_string(), "no tenant");
    }
}
