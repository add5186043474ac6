//! Parses RabbitMQ's refusals, and nothing else does: from a reply code and its English text to a value. What a
//! refusal means for a session is decided in `failure.rs`, for a queue in `topology/`.

use lapin::types::{AMQPValue, LongString};

/// Why the broker refused a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectRefusal {
    /// A limit on connections is reached, or the virtual host is down and will come up again.
    Unavailable,
    /// User or password.
    Login,
    /// The negotiated limits, such as `frame_max`.
    Limits,
    /// The virtual host does not exist, or this user may not use it.
    VirtualHost,
    Other,
}

impl ConnectRefusal {
    pub(crate) fn parse(code: u16, text: &str) -> Self {
        match code {
            _ if is_unavailable(text) => Self::Unavailable,
            403 => Self::Login,
            530 if text.contains(" - negotiated ") => Self::Limits,
            530 => Self::VirtualHost,
            _ => Self::Other,
        }
    }
}

/// The text contains names of users and virtual hosts, which may be any words.
fn is_unavailable(text: &str) -> bool {
    let is_missing = text.contains("vhost ") && text.ends_with(" not found");
    let is_full = text.contains("connection limit (") && text.ends_with("is reached");
    !is_missing && (is_full || text.ends_with("is down"))
}

/// What the broker refused on an open connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A permission is missing.
    AccessRefused,
    /// A topic permission of the exchange is missing.
    TopicAccessRefused,
    /// As `AccessRefused`, to publish to the default exchange.
    DefaultExchange,
    /// The name begins with `amq.`.
    ReservedName,
    /// Another consumer consumes the queue exclusively.
    ExclusiveConsumer,
    /// The queue is exclusive to another connection.
    ExclusiveQueue,
    /// A queue or exchange exists with another value of an argument.
    Inequivalent(Inequivalent),
    /// No new queue or exchange may have this argument, or this value of it.
    InvalidArgument(String),
    /// The body is larger than `max_message_size`.
    MessageTooLarge {
        limit: usize,
    },
    /// A delivery was unsettled for longer than `consumer_timeout`.
    ConsumerTimeout,
    /// Any other failed precondition.
    PreconditionFailed,
    /// The queue of a stream exists and the stream does not.
    StreamNotFound,
    /// Transient queues are disabled.
    TransientQueues,
    /// A feature flag is disabled.
    FeatureFlag,
    /// Invalid, not allowed, or not implemented.
    NotAllowed,
    Other,
}

impl Refusal {
    pub(crate) fn parse(code: u16, text: &str) -> Self {
        match code {
            403 if text.contains("exclusive use") => Self::ExclusiveConsumer,
            403 if text.contains("reserved prefix") => Self::ReservedName,
            403 if text.contains("exchange 'amq.default' in vhost") => Self::DefaultExchange,
            403 if text.contains("access to topic") => Self::TopicAccessRefused,
            403 => Self::AccessRefused,
            405 => Self::ExclusiveQueue,
            406 => precondition(text),
            506 if text.contains("Stream not found") => Self::StreamNotFound,
            541 if text.contains("transient_nonexcl_queues") => Self::TransientQueues,
            541 if text.contains("feature flag") => Self::FeatureFlag,
            501 | 502 | 503 | 505 | 530 | 540 => Self::NotAllowed,
            _ => Self::Other,
        }
    }

    /// The argument that the refusal is about.
    pub(crate) fn argument(&self) -> Option<&str> {
        match self {
            Self::Inequivalent(Inequivalent { argument, .. }) | Self::InvalidArgument(argument) => {
                Some(argument)
            }
            _ => None,
        }
    }
}

fn precondition(text: &str) -> Refusal {
    if let Some(inequivalent) = Inequivalent::parse(text) {
        return Refusal::Inequivalent(inequivalent);
    }
    if let Some(argument) = invalid_argument(text) {
        return Refusal::InvalidArgument(argument.to_owned());
    }
    if let Some(limit) = max_size(text) {
        return Refusal::MessageTooLarge { limit };
    }
    if text.contains("delivery acknowledgement on channel") {
        return Refusal::ConsumerTimeout;
    }
    if text.contains("feature flag") {
        return Refusal::FeatureFlag;
    }
    Refusal::PreconditionFailed
}

/// From `invalid arg 'x' for queue ..` or `invalid type 'y' for arg 'x' in exchange ..`.
fn invalid_argument(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("invalid ")?;
    let argument = match rest.strip_prefix("arg '") {
        Some(argument) => argument,
        None => rest.strip_prefix("type '")?.split_once("' for arg '")?.1,
    };
    Some(argument.split_once('\'')?.0)
}

/// The most bytes of a body, from `message size 9 is larger than configured max size 5`.
fn max_size(text: &str) -> Option<usize> {
    let (before, limit) = text.split_once("max size ")?;
    let digits = limit.find(|c: char| !c.is_ascii_digit()).unwrap_or(limit.len());
    if before.contains("message size ") { limit[..digits].parse().ok() } else { None }
}

/// A difference between a declaration and what exists, from the text `inequivalent arg 'x' for queue 'q'
/// in vhost '/': received .. but current is ..`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Inequivalent {
    pub(crate) argument: String,
    /// As the text has it.
    received: Option<String>,
    current: Option<String>,
}

/// The value of an argument of what exists.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Current {
    NotSet,
    Value(AMQPValue),
    /// The text does not show it, or it is of a type that no argument of ours has.
    Unknown,
}

impl Inequivalent {
    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.split_once("inequivalent arg '")?;
        let (argument, rest) = rest.split_once('\'')?;
        let received = rest.split_once("received ").map(|(_, received)| received);
        let received =
            received.map(|text| text.split_once(" but current is ").map_or(text, |(text, _)| text));
        let current = rest.rsplit_once(" but current is ").map(|(_, current)| current);
        Some(Self {
            argument: argument.to_owned(),
            received: received.map(str::to_owned),
            current: current.map(str::to_owned),
        })
    }

    /// The value that the existing queue or exchange has: the text says `the value '1' of type
    /// 'signedint'`, `none`, `'true'` of what is not an argument, or `'stream'` of the type of a queue.
    pub(crate) fn current(&self) -> Current {
        match self.current.as_deref() {
            Some(text) if text.starts_with("none") => Current::NotSet,
            Some(text) => typed_value(text).map_or(Current::Unknown, Current::Value),
            None => Current::Unknown,
        }
    }

    /// For errors.
    pub(crate) fn difference(&self) -> Option<String> {
        let current = self.current.as_deref().unwrap_or("…");
        let (argument, received) = (&self.argument, untyped(self.received.as_deref()?));
        Some(format!("{argument} was requested to be {received}, and is {}", untyped(current)))
    }
}

fn typed_value(text: &str) -> Option<AMQPValue> {
    let long_string = |text: &str| AMQPValue::LongString(LongString::from(text));
    if let Some(quoted) = text.strip_prefix('\'') {
        let (quoted, _) = quoted.split_once('\'')?;
        return Some(quoted.parse().map_or_else(|_| long_string(quoted), AMQPValue::Boolean));
    }
    let (value, rest) = text.strip_prefix("the value '")?.rsplit_once("' of type '")?;
    Some(match rest.split_once('\'')?.0 {
        "longstr" => long_string(value),
        "bool" => AMQPValue::Boolean(value.parse().ok()?),
        // RabbitMQ compares the values of integers, not their widths.
        "signedint" | "unsignedint" | "long" | "short" | "unsignedshort" | "byte"
        | "unsignedbyte" => AMQPValue::LongLongInt(value.parse().ok()?),
        _ => return None,
    })
}

/// Both `the value 'quorum' of type 'longstr'` and `'quorum'` become `quorum`.
fn untyped(text: &str) -> &str {
    let mut quoted = text.split('\'');
    match (quoted.next(), quoted.next()) {
        (Some(_), Some(value)) => value,
        _ => match text {
            "none" => "not set",
            other => other,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_maximum_size_is_read_from_the_text() {
        let check = |text, limit| {
            let expected = match limit {
                Some(limit) => Refusal::MessageTooLarge { limit },
                None => Refusal::PreconditionFailed,
            };
            assert_eq!(Refusal::parse(406, text), expected, "{text}");
        };
        check(
            "PRECONDITION_FAILED - message size 150000 is larger than configured max size 100000",
            Some(100_000),
        );
        check("PRECONDITION_FAILED - message size 9 larger than max size 5.", Some(5));
        check("PRECONDITION_FAILED - unknown delivery tag 7", None);
        check("PRECONDITION_FAILED - message size 9 larger than max size", None);
        let of_another_code = Refusal::parse(404, "message size 9 larger than max size 5");
        assert_eq!(of_another_code, Refusal::Other);
    }

    #[test]
    fn a_difference_is_read_from_the_text() {
        let check = |text: &str, expected: Option<&str>| {
            let found = Inequivalent::parse(text).and_then(|found| found.difference());
            assert_eq!(found, expected.map(str::to_owned));
        };
        check(
            "PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'q' in vhost '/': received 'false' but current is 'true'",
            Some("durable was requested to be false, and is true"),
        );
        check(
            "PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'q' in vhost '/': received the value 'quorum' of type 'longstr' but current is none",
            Some("x-queue-type was requested to be quorum, and is not set"),
        );
        check(
            "PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue 'q' in vhost '/': received none but current is the value '5' of type 'signedint'",
            Some("x-message-ttl was requested to be not set, and is 5"),
        );
        check("PRECONDITION_FAILED - unknown delivery tag 7", None);
    }

    #[test]
    fn the_current_value_is_read_with_its_type() {
        let text = |text: &str| Current::Value(AMQPValue::LongString(LongString::from(text)));
        let table = [
            ("none", Current::NotSet),
            ("'true'", Current::Value(AMQPValue::Boolean(true))),
            ("'stream'", text("stream")),
            ("the value 'it's ' of type 'longstr'", text("it's ")),
            ("the value 'false' of type 'bool'", Current::Value(AMQPValue::Boolean(false))),
            ("the value '-1' of type 'signedint'", Current::Value(AMQPValue::LongLongInt(-1))),
            ("the value '1' of type 'table'", Current::Unknown),
            ("something else", Current::Unknown),
        ];
        for (current, expected) in table {
            let text = format!(
                "PRECONDITION_FAILED - inequivalent arg 'x' for queue 'q' in vhost '/': received 'y' but current is {current}"
            );
            let found = Inequivalent::parse(&text).map(|found| found.current());
            assert_eq!(found, Some(expected), "{current}");
        }
    }

    #[test]
    fn an_invalid_argument_is_named() {
        for (text, argument) in [
            ("invalid arg 'x-queue-type' for queue 'q' in vhost '/': ..", "x-queue-type"),
            (
                "invalid type 'signedint' for arg 'alternate-exchange' in exchange 'nova' in vhost '/'",
                "alternate-exchange",
            ),
        ] {
            let refusal = Refusal::parse(406, &format!("PRECONDITION_FAILED - {text}"));
            assert_eq!(refusal, Refusal::InvalidArgument(argument.to_owned()));
            assert_eq!(refusal.argument(), Some(argument));
        }
    }

    #[test]
    fn other_refusals_are_distinguished_by_code_and_text() {
        let table = [
            (403, "ACCESS_REFUSED - access to queue 'x' refused", Refusal::AccessRefused),
            (
                403,
                "ACCESS_REFUSED - access to topic 'notifications.info' in exchange 'nova' refused",
                Refusal::TopicAccessRefused,
            ),
            (403, "access to exchange 'amq.default' in vhost '/'", Refusal::DefaultExchange),
            (403, "queue name 'amq.x' contains reserved prefix", Refusal::ReservedName),
            (403, "queue 'q' in vhost '/' in exclusive use", Refusal::ExclusiveConsumer),
            (404, "NOT_FOUND - no queue 'q'", Refusal::Other),
            (405, "RESOURCE_LOCKED - cannot obtain exclusive access", Refusal::ExclusiveQueue),
            (406, "unknown delivery tag 7", Refusal::PreconditionFailed),
            (406, "delivery acknowledgement on channel 1 timed out", Refusal::ConsumerTimeout),
            (506, "RESOURCE_ERROR - Stream not found", Refusal::StreamNotFound),
            (506, "RESOURCE_ERROR", Refusal::Other),
            (530, "NOT_ALLOWED", Refusal::NotAllowed),
            (541, "the corresponding feature flag is disabled", Refusal::FeatureFlag),
            (541, "Feature `transient_nonexcl_queues` is deprecated.", Refusal::TransientQueues),
            (541, "INTERNAL_ERROR - timed out", Refusal::Other),
        ];
        for (code, text, expected) in table {
            assert_eq!(Refusal::parse(code, text), expected, "{code} {text}");
        }
    }
}
