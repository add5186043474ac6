//! The kinds of errors of a method: transient or permanent. An error is classified where it is returned
//! (`permanent`, `retry_after`), or by type (`classify`). `runtime/judge/policy.rs` decides what follows.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::outcome::{BoxError, Failure};
use crate::redact::LONGEST_CHAIN;

/// What another call after an error can be expected to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// It may succeed: the method is called again, according to the retry options. The default.
    Transient,
    /// It will fail again: the notification is dead-lettered without another call.
    Permanent,
    /// It may succeed, but not before this time is over: the method is called again after it, within the
    /// `attempts` of the retry options; afterwards the notification is dead-lettered. More than a year counts
    /// as a year.
    RetryAfter(Duration),
}

/// An error with its kind. It displays as the wrapped error, and has the causes of that error.
///
/// ```
/// use listener::{notification_endpoint, permanent, retry_after};
/// use std::time::Duration;
///
/// struct Billing;
///
/// #[notification_endpoint(register = false)]
/// impl Billing {
///     async fn info(&self, payload: u32) -> Result<(), listener::BoxError> {
///         match payload {
///             0 => Err(permanent("no such tenant"))?,
///             429 => Err(retry_after("too many requests", Duration::from_secs(60)))?,
///             _ => Ok(()),
///         }
///     }
/// }
/// ```
pub struct Classified {
    kind: ErrorKind,
    source: BoxError,
}

impl Classified {
    /// An error of this kind.
    pub fn new(kind: ErrorKind, error: impl Into<BoxError>) -> Self {
        Self { kind, source: error.into() }
    }

    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The wrapped error.
    #[must_use]
    pub fn get_ref(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.source
    }

    /// The wrapped error, without its kind.
    #[must_use]
    pub fn into_inner(self) -> BoxError {
        self.source
    }
}

impl fmt::Display for Classified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

debug_is_the_message!(Classified);

impl Error for Classified {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.source()
    }
}

/// A permanent error: the notification is dead-lettered without another call.
pub fn permanent(error: impl Into<BoxError>) -> Classified {
    Classified::new(ErrorKind::Permanent, error)
}

/// A transient error: the method is called again, according to the retry options, whatever the
/// listener's classifiers return for the wrapped error.
pub fn transient(error: impl Into<BoxError>) -> Classified {
    Classified::new(ErrorKind::Transient, error)
}

/// A transient error that will not pass before `after` is over: the method is called again after it, within
/// the `attempts` of the retry options; afterwards the notification is dead-lettered.
pub fn retry_after(error: impl Into<BoxError>, after: Duration) -> Classified {
    Classified::new(ErrorKind::RetryAfter(after), error)
}

/// The program's classification of its error types.
#[derive(Clone, Default)]
pub(crate) struct Classifiers(Vec<Classifier>);

type Classifier = Arc<dyn Fn(&(dyn Error + 'static)) -> Option<ErrorKind> + Send + Sync>;

impl Classifiers {
    /// Errors of type `E`, and those with such an error among their causes, have the kind that `classify`
    /// returns. The first classifier that applies wins.
    pub(crate) fn add<E: Error + 'static>(
        &mut self,
        classify: impl Fn(&E) -> ErrorKind + Send + Sync + 'static,
    ) {
        self.0.push(Arc::new(move |error| error.downcast_ref::<E>().map(&classify)));
    }

    /// The kind of a failure. An argument that does not fit is permanent; a panic and a timeout are
    /// transient.
    #[must_use]
    pub(crate) fn kind(&self, failure: &Failure) -> ErrorKind {
        match failure {
            Failure::Error(error) => self.of_error(error.as_ref()),
            Failure::Argument { .. } => ErrorKind::Permanent,
            Failure::Panic(_) | Failure::Timeout(_) => ErrorKind::Transient,
            Failure::Batch(failure) => self.kind(failure),
        }
    }

    fn of_error(&self, error: &(dyn Error + 'static)) -> ErrorKind {
        let kind = causes(error).find_map(|error| match error.downcast_ref::<Classified>() {
            Some(classified) => Some(classified.kind),
            None => self.0.iter().find_map(|classify| classify(error)),
        });
        kind.unwrap_or(ErrorKind::Transient)
    }
}

impl fmt::Debug for Classifiers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Classifiers({})", self.0.len())
    }
}

/// An error and its causes. After a `Classified` comes the error that it wraps.
fn causes<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| {
        let error: &'e (dyn Error + 'static) = *error;
        match error.downcast_ref::<Classified>() {
            Some(classified) => Some(&*classified.source as &(dyn Error + 'static)),
            None => error.source(),
        }
    })
    .take(LONGEST_CHAIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("http {0}")]
    struct Http(u16);

    #[derive(Debug, thiserror::Error)]
    #[error("billing failed")]
    struct Billing(#[source] Http);

    fn check(error: impl Into<BoxError>, expected: ErrorKind) {
        let mut classifiers = Classifiers::default();
        classifiers.add(|error: &Http| match error.0 {
            429 => ErrorKind::RetryAfter(Duration::from_secs(60)),
            400..500 => ErrorKind::Permanent,
            _ => ErrorKind::Transient,
        });
        assert_eq!(classifiers.kind(&Failure::Error(error.into())), expected);
    }

    #[test]
    fn an_error_is_transient_by_default() {
        check("no price", ErrorKind::Transient);
        check(permanent("no price"), ErrorKind::Permanent);
        let minute = Duration::from_secs(60);
        check(retry_after("no price", minute), ErrorKind::RetryAfter(minute));
    }

    #[test]
    fn a_type_is_classified_wherever_it_is_among_the_causes() {
        check(Http(404), ErrorKind::Permanent);
        check(Billing(Http(429)), ErrorKind::RetryAfter(Duration::from_secs(60)));
        check(Billing(Http(503)), ErrorKind::Transient);
    }

    #[test]
    fn an_error_that_is_its_own_cause_has_a_kind() {
        struct OfItself;

        impl fmt::Display for OfItself {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("of itself")
            }
        }

        debug_is_the_message!(OfItself);

        impl Error for OfItself {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                Some(self)
            }
        }

        check(OfItself, ErrorKind::Transient);
    }

    #[test]
    fn the_kind_of_a_classified_error_wins() {
        check(transient(Http(404)), ErrorKind::Transient);
        check(permanent(Billing(Http(503))), ErrorKind::Permanent);
    }

    #[test]
    fn a_classified_error_displays_as_the_wrapped_error() {
        let error = permanent(Billing(Http(404)));
        assert_eq!(
            (error.to_string().as_str(), format!("{error:?}").as_str()),
            ("billing failed", "billing failed: http 404")
        );
    }
}
