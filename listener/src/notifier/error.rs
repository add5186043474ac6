//! The errors of a notifier, and what a caller can do about them. The error of each stage is a variant
//! here; the failed topics are listed individually.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::envelope::EncodeError;
use crate::notifier::outputs::name::UnknownOutput;
use crate::outcome::BoxError;
use crate::transport::error::SendError;
use crate::transport::executor::NoRuntime;

/// A notifier cannot be built.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotifierBuildError {
    /// A topic with an empty name.
    #[error("a topic of the notifier is empty; expected a name such as \"notifications\"")]
    EmptyTopic,
    /// The name of a topic or an exchange is invalid.
    #[error("{0}")]
    Name(String),
    /// An option has an invalid value.
    #[error("{option} is {found}; expected {expected}")]
    Option {
        /// Its name; those of a spool after `spool.`.
        option: String,
        /// Its value.
        found: String,
        /// The values that it may have.
        expected: String,
    },
    /// An output has an unknown name.
    #[error(transparent)]
    Output(#[from] UnknownOutput),
    /// The spool cannot be used.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// Several mistakes: all that are found without I/O.
    #[error("the notifier cannot be built, for {} reasons:{}", .0.len(), listed(.0))]
    Several(Vec<Self>),
}

impl NotifierBuildError {
    /// One error for all of these; `None` if there are none.
    pub(super) fn of(mut mistakes: Vec<Self>) -> Option<Self> {
        let last = mistakes.pop()?;
        if mistakes.is_empty() {
            return Some(last);
        }
        mistakes.push(last);
        Some(Self::Several(mistakes))
    }
}

fn listed(mistakes: &[NotifierBuildError]) -> String {
    mistakes.iter().map(|mistake| format!("\n- {mistake}")).collect()
}

/// A notification was neither confirmed nor spooled, or not for all topics.
///
/// Two questions decide what to do. [`is_transient`](Self::is_transient): the same call may succeed
/// later; otherwise something has to be fixed first. [`may_have_been_sent`](Self::may_have_been_sent):
/// calling again may send it twice.
///
/// `Display` shows the message without its causes, which are the sources of the error; `Debug` shows both.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum NotifyError {
    /// It was called outside a tokio runtime, or in one without timers; nothing was sent.
    #[error("the notifier cannot send")]
    Runtime(#[from] NoRuntime),
    /// It cannot be written; nothing was sent. Fix the payload's type.
    #[error("the notification cannot be written")]
    Encode(#[from] EncodeError),
    /// The serializer refused it; nothing was sent.
    #[error("the serializer refused the notification")]
    Serializer(#[source] BoxError),
    /// It is larger than `max_body`; nothing was sent. Send less, compress, or, if the broker accepts more,
    /// raise the limit.
    #[error(
        "the notification has {size} bytes, and the notifier accepts {limit} at most; send less, compress it, or raise `max_body` if the broker accepts more"
    )]
    #[non_exhaustive]
    TooLarge {
        /// The size of its body after compression, in bytes.
        size: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The window stayed full, with notifications in flight to the broker or to the spool; nothing was
    /// sent. Send more slowly, or call again.
    #[error(
        "the window (`window`: {window} notifications, or `window_bytes`) was full for {after:?}: the broker confirms more slowly than this program sends"
    )]
    #[non_exhaustive]
    WindowFull {
        /// How many notifications may be in flight at once.
        window: usize,
        /// How long the call waited.
        after: Duration,
    },
    /// It was not confirmed for some topics; with a spool, these are the ones with permanent errors. For
    /// the others it is confirmed or in the spool.
    #[error("the notification was not confirmed: {0}")]
    Send(Unsent),
    /// The broker did not confirm it in time, or the spool was not empty; and it could not be spooled.
    #[error("the notification could not be spooled: {error}{}", tried.as_ref().map(|tried| format!(" ({tried})")).unwrap_or_default())]
    #[non_exhaustive]
    Spool {
        /// The error of the spool.
        error: SpoolError,
        /// The errors of the topics, if it was sent to them.
        tried: Option<Unsent>,
    },
    /// The runtime ended while it was sent, or its result was read before.
    #[error("the runtime ended before the notification was sent, or its result was read before")]
    Interrupted,
    /// Some of several outputs did not take it; the others did.
    #[error("{0}")]
    Outputs(OutputErrors),
}

impl NotifyError {
    /// Whether the same call may succeed later, without a fix.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Runtime(_) | Self::Encode(_) | Self::Serializer(_) | Self::TooLarge { .. } => {
                false
            }
            Self::WindowFull { .. } | Self::Interrupted => true,
            Self::Send(unsent) => unsent.iter().all(|(_, error)| error.is_transient()),
            Self::Spool { error, .. } => {
                matches!(error, SpoolError::Full { .. } | SpoolError::TimedOut)
            }
            Self::Outputs(errors) => errors.iter().all(|(_, error)| match error {
                OutputError::Notify(error) => error.is_transient(),
                OutputError::TimedOut { .. } => true,
                OutputError::Failed(_) | OutputError::Panicked => false,
            }),
        }
    }

    /// Whether some queue may have it nevertheless: there was no confirmation in time, or only for some of
    /// the topics. If not, no queue has it, with the reservation of [`SendError::may_have_been_sent`].
    #[must_use]
    pub fn may_have_been_sent(&self) -> bool {
        match self {
            Self::Runtime(_)
            | Self::Encode(_)
            | Self::Serializer(_)
            | Self::TooLarge { .. }
            | Self::WindowFull { .. } => false,
            Self::Interrupted => true,
            Self::Send(unsent) => unsent.may_have_been_sent(),
            Self::Outputs(errors) => {
                !errors.succeeded.is_empty()
                    || errors.iter().any(|(_, error)| match error {
                        OutputError::Notify(error) => error.may_have_been_sent(),
                        _ => true,
                    })
            }
            Self::Spool { error, tried } => {
                !matches!(error, SpoolError::Full { .. })
                    || tried.as_ref().is_some_and(Unsent::may_have_been_sent)
            }
        }
    }
}

/// The topics for which a notification was not confirmed, each with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsent {
    pub(super) topics: Vec<(String, SendError)>,
    /// For how many topics it is confirmed or spooled.
    pub(super) confirmed: usize,
}

impl Unsent {
    /// Each topic with the reason.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &SendError)> {
        self.topics.iter().map(|(topic, error)| (topic.as_str(), error))
    }

    fn may_have_been_sent(&self) -> bool {
        self.confirmed > 0 || self.iter().any(|(_, error)| error.may_have_been_sent())
    }
}

impl fmt::Display for Unsent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (topic, error)) in self.iter().enumerate() {
            let divider = if index == 0 { "" } else { "; " };
            write!(f, "{divider}topic {topic:?}: {error}")?;
        }
        Ok(())
    }
}

/// The outputs that did not take a notification, each with the reason.
///
/// `messaging` and `messagingv2` have a [`NotifyError`], which lists their failed topics.
pub struct OutputErrors {
    pub(super) failed: Vec<(String, OutputError)>,
    pub(super) succeeded: Vec<String>,
}

impl OutputErrors {
    /// The name of each output that failed, with the reason.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &OutputError)> {
        self.failed.iter().map(|(name, error)| (name.as_str(), error))
    }

    /// The names of the outputs that took it.
    pub fn succeeded(&self) -> impl Iterator<Item = &str> {
        self.succeeded.iter().map(String::as_str)
    }
}

impl fmt::Display for OutputErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.failed.len() + self.succeeded.len();
        write!(f, "{} of {all} outputs did not take the notification: ", self.failed.len())?;
        for (index, (name, error)) in self.iter().enumerate() {
            let divider = if index == 0 { "" } else { "; " };
            write!(f, "{divider}output {name:?}: {error}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for OutputErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why an output did not take a notification.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// The broker did not confirm it, or it could not be sent.
    #[error("{0}")]
    Notify(Box<NotifyError>),
    /// An output of the program returned this error.
    #[error("{0}")]
    Failed(BoxError),
    /// An output of the program panicked.
    #[error("it panicked")]
    Panicked,
    /// An output of the program took longer than the notifier's timeout.
    #[error("it took longer than {after:?}")]
    #[non_exhaustive]
    TimedOut {
        /// The timeout.
        after: Duration,
    },
}

impl From<NotifyError> for OutputError {
    fn from(error: NotifyError) -> Self {
        Self::Notify(Box::new(error))
    }
}

/// An error of a spool.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpoolError {
    /// Another notifier, of this process or another, uses the directory.
    #[error("the spool {} is in use by another notifier; use another directory for each notifier", .directory.display())]
    InUse {
        /// The directory.
        directory: PathBuf,
    },
    /// The spool has no space for it; nothing was written.
    #[error(
        "the spool {} is full: {size} bytes and the {waiting} that are queued exceed the limit of {limit}; make the broker reachable, or raise `max_bytes`",
        .directory.display()
    )]
    Full {
        /// The directory.
        directory: PathBuf,
        /// The size of the notification, in bytes.
        size: u64,
        /// The size of the queued notifications, in bytes.
        waiting: u64,
        /// `SpoolOptions::max_bytes`.
        limit: u64,
    },
    /// The disk did not answer within the timeout of the call. The notification may still be written and
    /// sent.
    #[error("the disk did not answer in time")]
    TimedOut,
    /// A file could not be read or written.
    #[error("cannot {action} {}: {reason}", .path.display())]
    Io {
        /// The operation.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The kind of the error.
        kind: std::io::ErrorKind,
        /// The error of the operating system.
        reason: String,
    },
    /// The spool needs a task in the program's runtime, and there is no runtime, or it has ended.
    #[error(
        "the spool has no tokio runtime with timers; build the notifier in one that has `enable_all` and lives as long as the notifier"
    )]
    NoRuntime,
}

debug_is_the_message!(NotifierBuildError, NotifyError, OutputError, SpoolError);

#[cfg(test)]
mod tests {
    use super::*;

    fn route() -> String {
        "queue \"q\"".to_owned()
    }

    fn timed_out() -> SendError {
        SendError::TimedOut { route: route(), after: Duration::from_secs(1), last: None }
    }

    fn full() -> SpoolError {
        SpoolError::Full { directory: PathBuf::from("/d"), size: 3, waiting: 2, limit: 4 }
    }

    fn unsent(error: SendError, confirmed: usize) -> Unsent {
        Unsent { topics: vec![("one".to_owned(), error)], confirmed }
    }

    fn check(error: &NotifyError, is_transient: bool, may_have_been_sent: bool) {
        assert_eq!(
            (error.is_transient(), error.may_have_been_sent()),
            (is_transient, may_have_been_sent),
            "{error}"
        );
    }

    #[test]
    fn an_error_says_whether_to_call_again_and_whether_that_may_send_it_twice() {
        let refused = || SendError::Refused { route: route() };
        let unroutable = SendError::Unroutable { route: route(), reason: String::new() };
        check(&NotifyError::TooLarge { size: 2, limit: 1 }, false, false);
        check(&NotifyError::WindowFull { window: 1, after: Duration::ZERO }, true, false);
        check(&NotifyError::Send(unsent(timed_out(), 0)), true, true);
        check(&NotifyError::Send(unsent(refused(), 0)), true, false);
        check(&NotifyError::Send(unsent(refused(), 1)), true, true);
        check(&NotifyError::Send(unsent(unroutable, 0)), false, false);
        check(&NotifyError::Spool { error: full(), tried: None }, true, false);
        let tried = Some(unsent(timed_out(), 0));
        check(&NotifyError::Spool { error: full(), tried }, true, true);
        check(&NotifyError::Spool { error: SpoolError::NoRuntime, tried: None }, false, true);
    }

    #[test]
    fn the_errors_of_the_spool_and_of_the_broker_are_in_one_line() {
        let error = NotifyError::Spool { error: full(), tried: Some(unsent(timed_out(), 0)) };
        assert_eq!(
            error.to_string(),
            "the notification could not be spooled: the spool /d is full: 3 bytes and \
             the 2 that are queued exceed the limit of 4; make the broker reachable, or raise \
             `max_bytes` (topic \"one\": no confirmation for queue \"q\" within 1s)"
        );
    }
}
