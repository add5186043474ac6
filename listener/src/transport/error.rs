//! What may go wrong between a program and a broker, one type for each thing that is asked
//! of a driver. Each message says what was expected, what was found, where, and the fix;
//! none holds a password.

use std::time::Duration;

use crate::transport::executor::NoRuntime;
use crate::transport::url::UrlError;

/// A transport could not be opened: its URL is wrong. Nothing was connected.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The text is no transport URL.
    #[error("the transport URL is wrong: {0}")]
    Url(#[from] UrlError),
    /// No driver goes by this name.
    #[error("no driver is named {found:?} in the transport URL; expected one of: {known}")]
    UnknownDriver {
        /// The scheme of the URL.
        found: String,
        /// The schemes that exist in this build.
        known: &'static str,
    },
    /// The URL asks for TLS, which is not built in.
    #[error(
        "{found:?} in the transport URL asks for TLS, which this build does not have yet; use `amqp://` or `rabbit://` and a port of the broker without TLS (5672 unless configured otherwise)"
    )]
    NoTls {
        /// The scheme of the URL.
        found: String,
    },
    /// An option that oslo.messaging had once, and that has no meaning of its own any more.
    #[error("option {option:?} of the transport URL is not used any more; {successor}")]
    RetiredOption {
        /// The name that was found.
        option: String,
        /// What stands in its place.
        successor: &'static str,
    },
    /// No option goes by this name.
    #[error("unknown option {option:?} in the query of the transport URL{}", hint(.near.as_deref()))]
    UnknownOption {
        /// The name that was found.
        option: String,
        /// The known name that is nearest to it.
        near: Option<String>,
    },
    /// An option was given under its name and under an older one, with values that differ.
    #[error(
        "options {option:?} and {retired:?} of the transport URL are one option with two values; take {retired:?} out"
    )]
    Contradiction {
        /// Its name.
        option: &'static str,
        /// The name that it had in older releases of oslo.messaging.
        retired: String,
    },
    /// An option has a value that it cannot have.
    #[error("option {option:?} of the transport URL: expected {expected}, found {found:?}")]
    InvalidOption {
        /// Its name.
        option: String,
        /// What it takes.
        expected: String,
        /// What it was given.
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

fn hint(near: Option<&str>) -> String {
    near.map_or_else(
        || "; take it out, or see `RabbitOptions` for those that exist".to_owned(),
        |near| format!("; did you mean {near:?}?"),
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
        /// How long was tried.
        after: Duration,
        /// The hosts, each with what it answered last.
        attempts: String,
    },
    /// A broker answered, and the queues could not be consumed in time, as while another consumer has
    /// one of them exclusively.
    #[error("the queues could not be consumed within {after:?}: {attempts}")]
    NotAttached {
        /// How long was tried.
        after: Duration,
        /// The hosts, each with what went wrong there last.
        attempts: String,
    },
    /// Something answered that is no AMQP broker.
    #[error(
        "{host} is no AMQP broker: it answered with {answer}; check the port in the transport URL: a broker takes AMQP without TLS at 5672 unless configured otherwise"
    )]
    NoBroker {
        /// The host.
        host: String,
        /// What it speaks, such as `TLS` or `HTTP`.
        answer: String,
    },
    /// User or password is wrong.
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
        /// What the broker said.
        reason: String,
    },
    /// The user may not do this.
    #[error(
        "user {user:?} may not {action}; {} ({reason})",
        permission(.reason)
    )]
    Forbidden {
        /// The user.
        user: String,
        /// What was tried, such as `declare queue "notifications.info"`.
        action: String,
        /// What the broker said.
        reason: String,
    },
    /// The user may not publish to the default exchange, which leads to each queue by its name: all
    /// copies are sent to it.
    #[error(
        "user {user:?} may not publish to the default exchange; grant it write on \"amq\\.default\" ({reason})"
    )]
    DefaultExchange {
        /// The user.
        user: String,
        /// What the broker said.
        reason: String,
    },
    /// An exchange does not exist yet, and the user may not declare it. It is waited for, as its
    /// owner may declare it later.
    #[error(
        "exchange {exchange:?} does not exist, and user {user:?} may not declare it; start the program that it belongs to, declare it by hand, or grant the permission ({reason})"
    )]
    NoExchange {
        /// The exchange.
        exchange: String,
        /// The user.
        user: String,
        /// What the broker said.
        reason: String,
    },
    /// A queue is missing that the deployment's other programs declare, too, and the user may not see
    /// with which options they do.
    #[error(
        "queue {queue:?} is missing, and user {user:?} may not see whether the deployment's queues are durable; set amqp_durable_queues (true or false) in the transport URL as the deployment's other services have it, or grant the permission to configure exchange {exchange:?}"
    )]
    HiddenExchange {
        /// The exchange, which would show it.
        exchange: String,
        /// The queue.
        queue: String,
        /// The user.
        user: String,
    },
    /// A queue or exchange exists with other arguments than those asked for.
    #[error(
        "{what} exists with other arguments: {difference}; take the option out of the transport URL to use it as it is, or delete it and let it be declared again"
    )]
    Mismatch {
        /// Which queue or exchange.
        what: String,
        /// What was asked for, and what is there.
        difference: String,
    },
    /// A quorum queue gives up what was given out too few times to tell why.
    #[error(
        "queue {queue:?} has a delivery limit of {limit}: RabbitMQ drops what is given out more often, which is all that was in flight when a process died again and again; expected {least} or more: declare the queue with a higher `x-delivery-limit`, or accept the loss with allow_low_delivery_limit=true in the transport URL"
    )]
    LowDeliveryLimit {
        /// The queue.
        queue: String,
        /// Its limit. Before RabbitMQ 4.0 a negative one drops what comes back for the first time.
        limit: i64,
        /// The least that is safe.
        least: i64,
    },
    /// A stream in place of a queue: what was published before a start would not come, and nothing is
    /// taken out of it.
    #[error(
        "queue {queue:?} is a stream; expected a classic or quorum queue: declare it as one, or choose another topic or pool"
    )]
    Stream {
        /// The queue.
        queue: String,
    },
    /// The broker refused for another reason that will not pass by itself.
    #[error("the broker refused to {action}: {reason}")]
    Refused {
        /// What was tried.
        action: String,
        /// What the broker said.
        reason: String,
    },
    /// A name is longer than the protocol takes. No broker was asked.
    #[error(
        "{what} has {length} bytes, and AMQP takes {limit} at most; it is made of a topic, a pool or an exchange: give that a shorter name"
    )]
    NameTooLong {
        /// Which name, such as `the queue's name`.
        what: String,
        /// Its length, in bytes.
        length: usize,
        /// The most that the protocol takes, in bytes.
        limit: usize,
    },
    /// There is no tokio runtime to work in.
    #[error(transparent)]
    Runtime(#[from] NoRuntime),
    /// Something failed in this process. No broker was asked, and none refused.
    #[error("this process could not {action}: {reason}")]
    Local {
        /// What was tried, such as `start the driver's thread`.
        action: String,
        /// What was in the way.
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

fn permission(reason: &str) -> &'static str {
    if reason.contains("access to topic") {
        "the exchange has topic permissions: grant this one with `rabbitmqctl set_topic_permissions`"
    } else {
        "grant the permission, or let somebody who may create it first"
    }
}

impl ConnectError {
    /// Whether the same may succeed later, with nothing fixed: the broker is away, or this
    /// process was short of something.
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
            | Self::LoginRefused { .. }
            | Self::VirtualHost { .. }
            | Self::Forbidden { .. }
            | Self::DefaultExchange { .. }
            | Self::HiddenExchange { .. }
            | Self::Mismatch { .. }
            | Self::LowDeliveryLimit { .. }
            | Self::Stream { .. }
            | Self::Refused { .. } => Blame::Setup,
            Self::NameTooLong { .. } => Blame::Message,
        }
    }
}

/// Who has to do something before the same can succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blame {
    /// Nobody: it passes by itself.
    Nobody,
    /// Whoever runs the broker, gave the account and the options, or made the runtime: most
    /// messages fare alike.
    Setup,
    /// Whoever chose where the message goes: others may be taken.
    Route,
    /// Whoever wrote the message: it is never taken, and others are.
    Message,
}

/// A message was not sent, or it is not known whether it was.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The broker has no queue for it.
    #[error("the broker has no queue for {route} ({reason})")]
    Unroutable {
        /// Where it was to go.
        route: String,
        /// What the broker said.
        reason: String,
    },
    /// The broker took it and could not keep it, as when a queue is full.
    #[error(
        "the broker refused the message for {route}: it could not be stored, as when a queue is full"
    )]
    Refused {
        /// Where it was to go.
        route: String,
    },
    /// No confirmation came in time: it may have been sent.
    #[error("no confirmation for {route} within {after:?}{}", last.as_deref().map(|last| format!(" ({last})")).unwrap_or_default())]
    TimedOut {
        /// Where it was to go.
        route: String,
        /// How long was waited.
        after: Duration,
        /// The last thing that went wrong.
        last: Option<String>,
    },
    /// It could not be tried within its time, as when no broker is reached: nothing was sent.
    #[error("nothing was sent to {route} within {after:?}{}", last.as_deref().map(|last| format!(" ({last})")).unwrap_or_default())]
    NotSent {
        /// Where it was to go.
        route: String,
        /// How long was waited.
        after: Duration,
        /// The last thing that went wrong.
        last: Option<String>,
    },
    /// The message is larger than the broker takes; nothing was sent.
    #[error("the message for {route} has {size} bytes, and the broker takes {limit} at most")]
    TooLarge {
        /// Where it was to go.
        route: String,
        /// Its size, in bytes.
        size: usize,
        /// The most that the broker takes, in bytes.
        limit: usize,
    },
    /// The headers are larger than the broker takes; nothing was sent.
    #[error("the headers of the message for {route} do not fit a frame of {limit} bytes")]
    HeadersTooLarge {
        /// Where it was to go.
        route: String,
        /// The longest frame of the connection, in bytes.
        limit: usize,
    },
    /// The message cannot be written as the broker's protocol wants it, or the broker ends the
    /// channel or connection that brings it, whenever it comes.
    #[error("the message for {route} cannot be sent: {reason}")]
    Invalid {
        /// Where it was to go.
        route: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The driver cannot hold a message back, or may not declare what it needs for that.
    #[error("the broker cannot hold back the message for {route}: {reason}")]
    NoDelay {
        /// Where it was to go.
        route: String,
        /// What is missing.
        reason: String,
    },
    /// The driver's task ended while it sent the message: it may have been sent.
    #[error("the driver's task ended before {route} had the message ({reason})")]
    Interrupted {
        /// Where it was to go.
        route: String,
        /// Why it ended.
        reason: String,
    },
    /// The broker cannot be used as it is.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

impl SendError {
    /// Whether a queue may have the message all the same: no answer came. Any other error is
    /// the broker's answer to the last try, or nothing was sent; of an earlier try, whose
    /// connection was lost, nothing can be known.
    #[must_use]
    pub const fn may_have_been_sent(&self) -> bool {
        matches!(self, Self::TimedOut { .. } | Self::Interrupted { .. })
    }

    /// Whether the same message may be taken later, with nothing fixed: the broker is away
    /// or has no room, or this process was short of something.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self.blame(), Blame::Nobody)
    }

    /// Whether it is the message that the broker does not take, and not the state that the broker
    /// is in or what the user may do: the same message is never taken, and others are.
    pub(crate) const fn is_of_the_message(&self) -> bool {
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
/// gives it out again.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the session that delivered it is over; the broker will deliver it again")]
pub struct SettleError;

/// Why a journal could not be used.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// There is none, and waiting does not help: the driver or the broker cannot keep one, or the
    /// user has no permission.
    #[error("no journal can be kept: {0}")]
    Unsupported(String),
    /// The broker has its name and nothing else: another process is declaring it, or the broker has lost
    /// it, and nothing is appended until somebody deletes it.
    #[error("the journal is lost: {0}")]
    Lost(String),
    /// The broker is away, or did not answer in time.
    #[error("the journal cannot be reached: {0}")]
    Unreachable(String),
}

debug_is_the_message!(OpenError, ConnectError, SendError, SettleError, JournalError);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_in_this_process_is_transient_and_not_said_of_the_broker() {
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
    fn a_missing_runtime_does_not_pass_by_itself() {
        let error = SendError::from(ConnectError::from(NoRuntime::Missing));
        assert!(!error.is_transient() && !error.is_of_the_message());
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
    fn a_name_that_the_protocol_cannot_have_is_of_the_message() {
        let what = "the queue's name".to_owned();
        let error = SendError::from(ConnectError::NameTooLong { what, length: 256, limit: 255 });
        assert!(error.is_of_the_message() && !error.is_transient());
    }
}
