//! What keeps a notification from being sent, and what a caller can do about it. Each stage's
//! own error is a variant or a source here; which topics failed is told one by one.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::envelope::EncodeError;
use crate::outcome::BoxError;
use crate::transport::error::SendError;
use crate::transport::executor::NoRuntime;

/// A notifier cannot be built.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotifierBuildError {
    /// A topic without a name.
    #[error("a topic of the notifier is empty; expected a name such as \"notifications\"")]
    EmptyTopic,
    /// A topic or an exchange has a name that no broker takes, or that means nothing.
    #[error("{0}")]
    Name(String),
    /// An option has a value that it cannot have.
    #[error("{option} is {found}; expected {expected}")]
    Option {
        /// Its name.
        option: &'static str,
        /// What it was set to.
        found: String,
        /// What it takes.
        expected: String,
    },
    /// The spool cannot be used.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// Several mistakes: all that can be found without I/O.
    #[error("the notifier cannot be built, for {} reasons:{}", .0.len(), listed(.0))]
    Several(Vec<Self>),
}

impl NotifierBuildError {
    /// All of these as one error; none if there are none.
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

/// A notification is not known to be safe.
///
/// What to do is told by two questions. [`is_transient`](Self::is_transient): the same call
/// may succeed later; if not, somebody has to fix something first.
/// [`may_have_been_sent`](Self::may_have_been_sent): calling again may send it twice.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum NotifyError {
    /// It was not called within a tokio runtime, or in one without timers; nothing was sent.
    #[error("the notifier cannot send: {0}")]
    Runtime(#[from] NoRuntime),
    /// It cannot be written; nothing was sent. Fix the payload's type.
    #[error("the notification cannot be written: {0}")]
    Encode(#[from] EncodeError),
    /// The serializer refused it; nothing was sent.
    #[error("the serializer refused the notification: {0}")]
    Serializer(#[source] BoxError),
    /// It is larger than `max_body`; nothing was sent. Send less, compress, or, if the
    /// broker takes more, raise the limit.
    #[error(
        "the notification has {size} bytes, and the notifier takes {limit} at most; send less, compress it, or raise `max_body` if the broker takes more"
    )]
    TooLarge {
        /// The size of its body as it would be sent, in bytes.
        size: usize,
        /// The most that the notifier takes, in bytes.
        limit: usize,
    },
    /// So many were on their way, to the broker or to the spool's disk, for so long that it did not
    /// get its turn; nothing was sent.
    /// Send slower, or call again.
    #[error(
        "no place in the window of {window} notifications within {after:?}: the broker confirms slower than this program sends"
    )]
    WindowFull {
        /// How many may be on their way at once.
        window: usize,
        /// How long was waited.
        after: Duration,
    },
    /// Some topics did not confirm it; those that are not named have it safe.
    #[error("the notification was not confirmed: {0}")]
    Send(Unsent),
    /// The broker did not confirm it in time, or others wait in the spool before it; and the
    /// spool did not take it.
    #[error("the notification could not be spooled: {error}{}", tried.as_ref().map(|tried| format!(" ({tried})")).unwrap_or_default())]
    Spool {
        /// What the spool said.
        error: SpoolError,
        /// What the topics said, if they were tried.
        tried: Option<Unsent>,
    },
}

impl NotifyError {
    /// Whether the same call may succeed later, with nothing fixed.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Runtime(_) | Self::Encode(_) | Self::Serializer(_) | Self::TooLarge { .. } => {
                false
            }
            Self::WindowFull { .. } => true,
            Self::Send(unsent) => unsent.iter().all(|(_, error)| error.is_transient()),
            Self::Spool { error, .. } => {
                matches!(error, SpoolError::Full { .. } | SpoolError::TimedOut)
            }
        }
    }

    /// Whether some queue may have it all the same: a topic did not answer in time, or others
    /// of its topics have confirmed it. If not, no topic has it as far as can be known;
    /// [`SendError::may_have_been_sent`] says how far.
    #[must_use]
    pub fn may_have_been_sent(&self) -> bool {
        match self {
            Self::Runtime(_)
            | Self::Encode(_)
            | Self::Serializer(_)
            | Self::TooLarge { .. }
            | Self::WindowFull { .. } => false,
            Self::Send(unsent) => unsent.may_have_been_sent(),
            Self::Spool { error, tried } => {
                !matches!(error, SpoolError::Full { .. })
                    || tried.as_ref().is_some_and(Unsent::may_have_been_sent)
            }
        }
    }
}

/// The topics that did not confirm a notification, each with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsent {
    pub(super) topics: Vec<(String, SendError)>,
    /// How many others have it.
    pub(super) confirmed: usize,
}

impl Unsent {
    /// Each topic with its reason.
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

/// What a spool cannot do.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpoolError {
    /// Another notifier, of this process or another, has the directory.
    #[error("the spool {} is in use by another notifier; give each a directory of its own", .directory.display())]
    InUse {
        /// The directory.
        directory: PathBuf,
    },
    /// There is no room for it; nothing was written.
    #[error(
        "the spool {} is full: {size} bytes do not fit beside the {waiting} that wait, for it takes {limit}; let the broker be reached, or raise `max_bytes`",
        .directory.display()
    )]
    Full {
        /// The directory.
        directory: PathBuf,
        /// What was to be written, in bytes.
        size: u64,
        /// What waits, in bytes.
        waiting: u64,
        /// `SpoolOptions::max_bytes`.
        limit: u64,
    },
    /// The disk did not answer within the time of the call; it may be written yet, and then
    /// it is sent.
    #[error("the disk did not answer in time")]
    TimedOut,
    /// A file could not be read or written.
    #[error("cannot {action} {}: {reason}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The spool works in a task of the program's runtime, and there is none, or no more.
    #[error(
        "no tokio runtime with timers runs the spool; build the notifier in one that has `enable_all` and lives as long as it"
    )]
    NoRuntime,
}

debug_is_the_message!(NotifierBuildError, NotifyError, SpoolError);

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
    fn what_the_spool_and_the_broker_said_stands_in_one_line() {
        let error = NotifyError::Spool { error: full(), tried: Some(unsent(timed_out(), 0)) };
        assert_eq!(
            error.to_string(),
            "the notification could not be spooled: the spool /d is full: 3 bytes do not fit \
             beside the 2 that wait, for it takes 4; let the broker be reached, or raise \
             `max_bytes` (topic \"one\": no confirmation for queue \"q\" within 1s)"
        );
    }
}
