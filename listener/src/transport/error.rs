//! The errors of drivers, one type for each operation. Each message says what was expected, what was
//! found, where, and how to fix it; none contains a password.

use std::time::Duration;

use crate::transport::executor::NoRuntime;
use crate::transport::url::UrlError;

/// A transport could not be opened: its URL is wrong. Nothing was connected.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The text is not a transport URL.
    #[error("invalid transport URL")]
    Url(#[from] UrlError),
    /// There is no driver of this name.
    #[error("no driver is named {found:?} in the transport URL; expected one of: {known}")]
    UnknownDriver {
        /// The scheme of the URL.
        found: String,
        /// The schemes that exist in this build.
        known: &'static str,
    },
    /// The scheme of the URL asks for TLS, and is not known.
    #[error(
        "{found:?} in the transport URL asks for TLS in a way that is not known; use `amqps://`, or `rabbit://` with the option `ssl=true`"
    )]
    NoTls {
        /// The scheme of the URL.
        found: String,
    },
    /// An option of earlier releases of oslo.messaging that no longer has a meaning.
    #[error("option {option:?} of the transport URL is no longer used; {successor}")]
    RetiredOption {
        /// The name that was found.
        option: String,
        /// What replaces it.
        successor: &'static str,
    },
    /// There is no option of this name.
    #[error("unknown option {option:?} in the query of the transport URL{}", hint(.near.as_deref()))]
    UnknownOption {
        /// The name that was found.
        option: String,
        /// The known name that is most similar to it.
        near: Option<String>,
    },
    /// An option was given under its name and under its former one, with different values.
    #[error(
        "options {option:?} and {retired:?} of the transport URL are the same option with two values; remove {retired:?}"
    )]
    Contradiction {
        /// Its name.
        option: &'static str,
        /// Its name in earlier releases of oslo.messaging.
        retired: String,
    },
    /// An option has an invalid value.
    #[error("option {option:?} of the transport URL: expected {expected}, found {found:?}")]
    InvalidOption {
        /// Its name.
        option: String,
        /// The values that it may have.
        expected: String,
        /// The value that was given.
        found: String,
    },
    /// A setter of a driver's builder was given a value that it does not accept.
    #[error("`{setter}` of the RabbitMQ transport: expected {expected}, found {found}")]
    InvalidSetting {
        /// The setter.
        setter: &'static str,
        /// What it takes.
        expected: String,
        /// What it was given.
        found: String,
    },
}

fn hint(similar: Option<&str>) -> String {
    similar.map_or_else(
        || "; remove it, or see `RabbitOptions` for the options that exist".to_owned(),
        |similar| format!("; did you mean {similar:?}?"),
    )
}

/// A listener could not be attached to its queues, or a notifier to its exchange.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// No host answered in time.
    #[error(
        "no broker could be reached within {after:?}; tried {attempts}; check host and port in the transport URL, and that the broker runs"
    )]
    Unreachable {
        /// How long it was tried.
        after: Duration,
        /// The hosts, each with its last answer.
        attempts: String,
    },
    /// A broker answered, but the queues could not be consumed in time, for example because another
    /// consumer is exclusive.
    #[error("the queues could not be consumed within {after:?}: {attempts}")]
    NotAttached {
        /// How long it was tried.
        after: Duration,
        /// The hosts, each with its last failure.
        attempts: String,
    },
    /// The host answered in another protocol.
    #[error(
        "{host} is not an AMQP broker: it answered with {answer}; check the port in the transport URL: without TLS it is 5672 unless the broker is configured otherwise"
    )]
    NoBroker {
        /// The host.
        host: String,
        /// The protocol that it speaks, such as `TLS` or `HTTP`.
        answer: String,
    },
    /// TLS with a host failed: the certificate of one side is not accepted by the other, or the host does not
    /// use TLS.
    #[error("TLS with {host} failed: {reason}; {fix}")]
    Tls {
        /// The host.
        host: String,
        /// What is wrong.
        reason: String,
        /// What to do about it.
        fix: Box<str>,
    },
    /// A certificate or a key of this side cannot be used. It is read again at the next attempt.
    #[error("TLS cannot be used: {reason}; {fix}")]
    TlsSetup {
        /// What is wrong, with the option and the file.
        reason: String,
        /// What to do about it.
        fix: Box<str>,
    },
    /// The user name or the password is wrong.
    #[error(
        "{host} refused to log in user {user:?}; check user and password in the transport URL, and that the user may log in"
    )]
    LoginRefused {
        /// The host.
        host: String,
        /// The user.
        user: String,
    },
    /// The virtual host does not exist, or the user may not use it.
    #[error(
        "{host} has no virtual host {vhost:?} that user {user:?} may use; {} ({reason})",
        no_virtual_host(.vhost)
    )]
    VirtualHost {
        /// The host.
        host: String,
        /// The user.
        user: String,
        /// The virtual host.
        vhost: String,
        /// The broker's text.
        reason: String,
    },
    /// The user may not do this.
    #[error("user {user:?} may not {action}; {fix} ({reason})")]
    Forbidden {
        /// The user.
        user: String,
        /// The operation, such as `declare queue "notifications.info"`.
        action: String,
        /// The broker's text.
        reason: String,
        /// Which permission to grant, and how.
        fix: Box<str>,
    },
    /// An exchange does not exist yet, and the user may not declare it. The driver waits for it, as its
    /// owner may declare it later.
    #[error(
        "exchange {exchange:?} does not exist, and user {user:?} may not declare it; start the program that declares it, declare it manually, or grant the permission ({reason})"
    )]
    NoExchange {
        /// The exchange.
        exchange: String,
        /// The user.
        user: String,
        /// The broker's text.
        reason: String,
    },
    /// A queue or an exchange exists with other arguments than the requested ones.
    #[error(
        "{what} exists with other arguments: {difference}; remove the option from the transport URL to use it unchanged, or delete it so that it is declared again"
    )]
    Mismatch {
        /// Which queue or exchange.
        what: String,
        /// The requested arguments, and the existing ones.
        difference: String,
    },
    /// A queue exists that would lose messages, or is of a kind that cannot be consumed.
    #[error("queue {queue:?} {problem}; {fix}")]
    UnsuitableQueue {
        /// The queue.
        queue: String,
        /// What is wrong with it, such as `is a stream`.
        problem: String,
        /// What the user should do.
        fix: String,
    },
    /// The broker refused for another reason, which is permanent.
    #[error("the broker refused to {action}: {reason}")]
    Refused {
        /// The operation.
        action: String,
        /// The broker's text.
        reason: String,
    },
    /// A name is longer than the protocol allows. The broker was not asked.
    #[error(
        "{what} has {length} bytes, and AMQP allows {limit}; it is made from a topic, a pool or an exchange: choose a shorter name for that"
    )]
    NameTooLong {
        /// Which name, such as `the queue's name`.
        what: String,
        /// Its length, in bytes.
        length: usize,
        /// The longest name that the protocol allows, in bytes.
        limit: usize,
    },
    /// The call was made outside a suitable tokio runtime.
    #[error(transparent)]
    Runtime(#[from] NoRuntime),
    /// An operation of this process failed. The broker did not refuse anything.
    #[error("this process could not {action}: {reason}")]
    Local {
        /// The operation, such as `start the driver's thread`.
        action: String,
        /// Why it failed.
        reason: String,
    },
}

fn no_virtual_host(vhost: &str) -> &'static str {
    if vhost.is_empty() {
        "for the virtual host \"/\" end the transport URL without a `/`, or with `/%2F`"
    } else {
        "check the path of the transport URL, or create it and set its permissions"
    }
}

impl ConnectError {
    /// Whether the same call may succeed later, without a fix: the broker is unreachable, or this
    /// process lacked a resource.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self.blame(), Blame::Nobody)
    }

    const fn blame(&self) -> Blame {
        match self {
            Self::Unreachable { .. }
            | Self::NotAttached { .. }
            | Self::NoExchange { .. }
            | Self::Local { .. } => Blame::Nobody,
            Self::Runtime(_)
            | Self::NoBroker { .. }
            | Self::Tls { .. }
            | Self::TlsSetup { .. }
            | Self::LoginRefused { .. }
            | Self::VirtualHost { .. }
            | Self::Forbidden { .. }
            | Self::Mismatch { .. }
            | Self::UnsuitableQueue { .. }
            | Self::Refused { .. } => Blame::Setup,
            Self::NameTooLong { .. } => Blame::Message,
        }
    }
}

/// Who has to fix something before the same call can succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blame {
    /// Nobody: the failure is transient.
    Nobody,
    /// Whoever operates the broker, chose the user and the options, or built the runtime: most
    /// messages are affected.
    Setup,
    /// Whoever chose the route of the message: other routes may work.
    Route,
    /// Whoever wrote the message: the broker never accepts it, but accepts others.
    Message,
}

/// A message was not sent, or it is not known whether it was.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The broker has no queue for it.
    #[error("the broker has no queue for {route} ({reason})")]
    Unroutable {
        /// The route of the message.
        route: String,
        /// The broker's text.
        reason: String,
    },
    /// The broker received it and could not store it, for example because a queue is full.
    #[error(
        "the broker refused the message for {route}: it could not be stored, for example because a queue is full"
    )]
    Refused {
        /// The route of the message.
        route: String,
    },
    /// No confirmation came in time: it may have been sent.
    #[error("no confirmation for {route} within {after:?}{}", last.as_deref().map(|last| format!(" ({last})")).unwrap_or_default())]
    TimedOut {
        /// The route of the message.
        route: String,
        /// How long the call waited.
        after: Duration,
        /// The last failure.
        last: Option<String>,
    },
    /// It could not be sent in time, for example because no broker was reached: nothing was sent.
    #[error("nothing was sent to {route} within {after:?}{}", last.as_deref().map(|last| format!(" ({last})")).unwrap_or_default())]
    NotSent {
        /// The route of the message.
        route: String,
        /// How long the call waited.
        after: Duration,
        /// The last failure.
        last: Option<String>,
    },
    /// The message is larger than the broker accepts; nothing was sent.
    #[error("the message for {route} has {size} bytes, and the broker accepts {limit} at most")]
    TooLarge {
        /// The route of the message.
        route: String,
        /// Its size, in bytes.
        size: usize,
        /// The largest message that the broker accepts, in bytes.
        limit: usize,
    },
    /// The headers are larger than the broker accepts; nothing was sent.
    #[error("the headers of the message for {route} do not fit into {limit} bytes")]
    HeadersTooLarge {
        /// The route of the message.
        route: String,
        /// The size of a frame, in bytes: headers and other properties have to fit into one, with some room for
        /// what the broker adds.
        limit: usize,
    },
    /// The message cannot be written in the broker's protocol, or the broker closes the channel or the
    /// connection whenever it is sent.
    #[error("the message for {route} cannot be sent: {reason}")]
    Invalid {
        /// The route of the message.
        route: String,
        /// What is wrong with the message.
        reason: String,
    },
    /// The driver cannot delay a message, or may not declare what it needs for that.
    #[error("the broker cannot delay the message for {route}: {reason}")]
    NoDelay {
        /// The route of the message.
        route: String,
        /// What is missing.
        reason: String,
    },
    /// The driver's task ended while it sent the message: it may have been sent.
    #[error("the driver's task ended before the message for {route} was confirmed ({reason})")]
    Interrupted {
        /// The route of the message.
        route: String,
        /// Why it ended.
        reason: String,
    },
    /// No connection to the broker, or its setup is wrong.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

impl SendError {
    /// Whether a queue may have the message nevertheless: there was no answer. Any other error is
    /// the broker's answer to the last attempt, or nothing was sent. The result of an earlier attempt whose
    /// connection was lost is unknown.
    #[must_use]
    pub const fn may_have_been_sent(&self) -> bool {
        matches!(self, Self::TimedOut { .. } | Self::Interrupted { .. })
    }

    /// Whether the same message may be accepted later, without a fix: the broker is unreachable or
    /// full, or this process lacked a resource.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self.blame(), Blame::Nobody)
    }

    /// Whether the message itself is the reason, and not the state of the broker or the permissions of
    /// the user: the broker never accepts this message, but accepts others.
    pub(crate) const fn is_message_rejected(&self) -> bool {
        matches!(self.blame(), Blame::Message)
    }

    pub(crate) const fn blame(&self) -> Blame {
        match self {
            Self::TimedOut { .. }
            | Self::NotSent { .. }
            | Self::Refused { .. }
            | Self::Interrupted { .. } => Blame::Nobody,
            Self::NoDelay { .. } => Blame::Setup,
            Self::Unroutable { .. } => Blame::Route,
            Self::TooLarge { .. } | Self::HeadersTooLarge { .. } | Self::Invalid { .. } => {
                Blame::Message
            }
            Self::Connect(error) => error.blame(),
        }
    }
}

/// A delivery could not be settled, because the session that delivered it is over. The broker
/// redelivers it.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the session that delivered it is over; the broker will deliver it again")]
pub struct SettleError;

/// A journal could not be used.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// There is no journal, and waiting does not help: the driver or the broker does not support journals, or
    /// the user lacks a permission.
    #[error("a journal cannot be used here: {0}")]
    Unsupported(String),
    /// The broker knows only the name of the journal: another process is declaring it, or the broker lost
    /// its content, and nothing can be appended until an operator deletes it.
    #[error("the journal is lost: {0}")]
    Lost(String),
    /// The broker is unreachable, or did not answer in time.
    #[error("the journal cannot be reached: {0}")]
    Unreachable(String),
}

debug_is_the_message!(OpenError, ConnectError, SendError, SettleError, JournalError);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_in_this_process_is_transient_and_not_attributed_to_the_broker() {
        let (action, reason) = ("start the driver's thread".to_owned(), "no memory".to_owned());
        let error = SendError::from(ConnectError::Local { action, reason });
        assert_eq!(error.blame(), Blame::Nobody);
        assert!(error.is_transient() && !error.may_have_been_sent());
        assert_eq!(
            error.to_string(),
            "this process could not start the driver's thread: no memory"
        );
        let (route, reason) = ("queue \"q\"".to_owned(), "panic".to_owned());
        let error = SendError::Interrupted { route, reason };
        assert!(error.is_transient() && error.may_have_been_sent());
    }

    #[test]
    fn a_missing_runtime_is_not_transient() {
        let error = SendError::from(ConnectError::from(NoRuntime::Missing));
        assert!(!error.is_transient() && !error.is_message_rejected());
    }

    #[test]
    fn the_virtual_host_without_a_name_says_how_the_default_one_is_written() {
        let error = |vhost: &str| {
            let (host, user) = ("h:5672".to_owned(), "u".to_owned());
            let (vhost, reason) = (vhost.to_owned(), "not found".to_owned());
            ConnectError::VirtualHost { host, user, vhost, reason }.to_string()
        };
        assert!(error("").contains("end the transport URL without a `/`"), "{}", error(""));
        assert!(error("nova").contains("check the path of the transport URL"), "{}", error("nova"));
    }

    #[test]
    fn a_name_that_is_too_long_for_the_protocol_is_of_the_message() {
        let what = "the queue's name".to_owned();
        let error = SendError::from(ConnectError::NameTooLong { what, length: 256, limit: 255 });
        assert!(error.is_message_rejected() && !error.is_transient());
    }
}
