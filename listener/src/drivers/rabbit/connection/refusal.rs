//! What the broker's refusals mean: a transient failure, which passes, or a mistake, which a person must
//! fix. lapin's errors become ours here; who acts on them is `supervisor.rs` and
//! `publish.rs`.

use std::fmt;

use super::hosts::Address;
use crate::drivers::rabbit::options::Dialect;
use crate::transport::error::ConnectError;

/// What went wrong with one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The broker refused, with one of AMQP's reply codes.
    Broker { code: u16, text: String },
    /// Nothing that the broker said: the network, a deadline.
    Other(String),
}

impl Fault {
    pub(crate) fn code(&self) -> Option<u16> {
        match self {
            Self::Broker { code, .. } => Some(*code),
            Self::Other(_) => None,
        }
    }

    /// Whether it closed a channel and left the connection alone.
    pub(crate) fn is_of_a_channel(&self) -> bool {
        matches!(self.code(), Some(311 | 312 | 313 | 403 | 404 | 405 | 406))
    }

    /// Whether what we sent was no AMQP in the broker's eyes.
    pub(crate) fn is_of_the_protocol(&self) -> bool {
        matches!(self.code(), Some(501 | 502 | 503 | 505))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broker { code, text } => {
                write!(f, "{code} {text}")?;
                // Its own words do not say what to do about it.
                if text.contains("delivery acknowledgement on channel") {
                    f.write_str(
                        "; a delivery was unsettled for longer than the broker's consumer_timeout: set a shorter handler_timeout, and where a method is slow only at times, or with `ordered_by` many deliveries have one key, a smaller prefetch",
                    )?;
                }
                Ok(())
            }
            Self::Other(text) => f.write_str(text),
        }
    }
}

impl From<&lapin::Error> for Fault {
    fn from(error: &lapin::Error) -> Self {
        match error.kind() {
            lapin::ErrorKind::ProtocolError(error) => {
                Self::Broker { code: error.get_id(), text: error.get_message().to_string() }
            }
            lapin::ErrorKind::IOError(error) => Self::Other(error.to_string()),
            _ => Self::Other(error.to_string()),
        }
    }
}

/// What it means for whoever wanted a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It passes by itself: try again.
    Transient {
        reason: String,
        /// Whether a broker has answered, which takes no connection for now.
        has_answered: bool,
    },
    /// It does not pass by itself, or not with the broker: something failed in this process.
    Mistake(ConnectError),
}

impl Failure {
    pub(crate) fn transient(reason: impl Into<String>) -> Self {
        Self::Transient { reason: reason.into(), has_answered: false }
    }

    /// What it means where several hosts or addresses are tried: one where something other than a
    /// broker answers says nothing of the others.
    pub(crate) fn among(self, tried: usize) -> Self {
        match self {
            Self::Mistake(error @ ConnectError::NoBroker { .. }) if tried > 1 => {
                Self::transient(error.to_string())
            }
            failure => failure,
        }
    }

    /// Whether it passes by itself.
    pub(crate) const fn passes(&self) -> bool {
        match self {
            Self::Transient { .. } => true,
            Self::Mistake(error) => error.is_transient(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transient { reason, .. } => f.write_str(reason),
            Self::Mistake(error) => write!(f, "{error}"),
        }
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::transient(fault.to_string())
    }
}

/// What a refused connection means.
pub(crate) fn connecting(fault: Fault, address: &Address, vhost: &str) -> Failure {
    let Fault::Broker { code, text } = fault else {
        return fault.into();
    };
    if passes_by_itself(&text) {
        return Failure::Transient { reason: format!("{code} {text}"), has_answered: true };
    }
    match code {
        403 => Failure::Mistake(ConnectError::LoginRefused {
            host: address.to_string(),
            user: address.user.clone(),
        }),
        530 if text.contains(" - negotiated ") => Failure::Mistake(ConnectError::Refused {
            action: "connect with the limits of the transport URL (frame_max, channel_max)"
                .to_owned(),
            reason: format!("{code} {text}"),
        }),
        530 => Failure::Mistake(ConnectError::VirtualHost {
            host: address.to_string(),
            user: address.user.clone(),
            vhost: vhost.to_owned(),
            reason: text,
        }),
        _ => Failure::transient(format!("{code} {text}")),
    }
}

/// Whether a limit of connections is full now, or the virtual host is down and comes up again. Names
/// of users and virtual hosts, which occur in the text, may be any words.
fn passes_by_itself(text: &str) -> bool {
    let is_missing = text.contains("vhost ") && text.ends_with(" not found");
    let is_full = text.contains("connection limit (") && text.ends_with("is reached");
    !is_missing && (is_full || text.ends_with("is down"))
}

/// What it means that something else answered.
pub(crate) fn no_broker(address: &Address, answer: String) -> Failure {
    Failure::Mistake(ConnectError::NoBroker { host: address.to_string(), answer })
}

/// What it means that nothing was said on a connection that had been made.
pub(crate) fn silent(fault: &Fault) -> Failure {
    Failure::transient(format!(
        "{fault}; no AMQP came: a port for TLS or HTTP, or a proxy without a broker behind it, does so"
    ))
}

/// What a refused declaration, binding, consumer or message means. `action` is such as
/// `declare queue "notifications.info"`.
pub(crate) fn doing(fault: Fault, action: &str, user: &str) -> Failure {
    let Fault::Broker { code, text } = fault else {
        return Failure::transient(format!("cannot {action}: {fault}"));
    };
    let refused = |reason: String| {
        Failure::Mistake(ConnectError::Refused { action: action.to_owned(), reason })
    };
    match code {
        // Not a permission that is missing: it passes when the other consumer ends.
        403 if text.contains("exclusive use") => Failure::transient(format!(
            "cannot {action}: another consumer has the queue exclusively; stop it, or let it consume without `exclusive` ({text})"
        )),
        // No permission helps.
        403 if text.contains("reserved prefix") => refused(format!("{code} {text}")),
        403 => Failure::Mistake(ConnectError::Forbidden {
            user: user.to_owned(),
            action: action.to_owned(),
            reason: text,
        }),
        541 if is_about_transience(&text) || is_about_a_feature_flag(&text) => {
            refused(format!("{code} {text}"))
        }
        // Another connection has declared the queue as its own: it goes with that connection.
        405 => Failure::transient(format!(
            "cannot {action}: another connection has the queue exclusively; stop it, or let it declare the queue without `exclusive` ({text})"
        )),
        406 | 501 | 502 | 503 | 505 | 530 | 540 => refused(format!("{code} {text}")),
        // 404: deleted in between, or on a node that is down. The others end a connection.
        _ => Failure::transient(format!("cannot {action}: {code} {text}")),
    }
}

/// What it means that the user may not publish to the default exchange; none if the fault is about
/// something else.
pub(crate) fn no_default_exchange(fault: &Fault, user: &str) -> Option<ConnectError> {
    match fault {
        Fault::Broker { code: 403, text } if text.contains("exchange 'amq.default' in vhost") => {
            let (user, reason) = (user.to_owned(), text.clone());
            Some(ConnectError::DefaultExchange { user, reason })
        }
        _ => None,
    }
}

/// What it means that a broker takes durable queues only, as RabbitMQ 4 can be told to; none if the
/// fault is about something else.
pub(crate) fn no_transient_queue(fault: &Fault, queue: &str, dialect: Dialect) -> Option<Failure> {
    let Fault::Broker { code: 541, text } = fault else {
        return None;
    };
    let fix = match dialect {
        Dialect::Oslo => {
            "set amqp_durable_queues=true in the transport URL (and rabbit_quorum_queue=true where the queues are quorum queues), as in the configuration of the deployment's other services"
        }
        Dialect::Amqp => {
            "leave amqp_durable_queues=false out of the transport URL, and queues are durable"
        }
    };
    is_about_transience(text).then(|| {
        Failure::Mistake(ConnectError::Refused {
            action: format!("declare queue {queue:?}"),
            reason: format!("it takes no transient queues; {fix} ({text})"),
        })
    })
}

/// 541 is also what passes by itself.
fn is_about_transience(text: &str) -> bool {
    text.contains("transient_nonexcl_queues")
}

/// Whether a feature flag is off, as an upgrade may have left it: what needs it is refused until
/// somebody enables it.
pub(crate) fn is_about_a_feature_flag(text: &str) -> bool {
    text.contains("feature flag")
}

/// The most bytes that the broker takes, from its `message size 9 is larger than configured max
/// size 5`; none if the fault is about something else.
pub(crate) fn max_size(fault: &Fault) -> Option<usize> {
    let Fault::Broker { code: 406, text } = fault else {
        return None;
    };
    let (said, limit) = text.split_once("max size ")?;
    let digits = limit.find(|c: char| !c.is_ascii_digit()).unwrap_or(limit.len());
    if said.contains("message size ") { limit[..digits].parse().ok() } else { None }
}

/// The difference, from the broker's `inequivalent arg 'x' for queue 'q' in vhost '/':
/// received .. but current is ..`.
pub(crate) fn difference(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("inequivalent arg '")?;
    let (argument, rest) = rest.split_once('\'')?;
    let (_, rest) = rest.split_once("received ")?;
    let (asked, found) = rest.split_once(" but current is ").unwrap_or((rest, "…"));
    Some(format!("{argument} was asked to be {}, and is {}", value(asked), value(found)))
}

/// `the value 'quorum' of type 'longstr'` and `'true'` alike become `quorum` and `true`.
fn value(text: &str) -> &str {
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

    fn broker(code: u16, text: &str) -> Fault {
        Fault::Broker { code, text: text.to_owned() }
    }

    fn address() -> Address {
        Address {
            host: "h".to_owned(),
            port: 5672,
            user: "u".to_owned(),
            password: "secret".to_owned(),
        }
    }

    #[test]
    fn a_reserved_name_is_no_missing_permission() {
        let text = "ACCESS_REFUSED - queue name 'amq.x' contains reserved prefix 'amq.*'";
        let Failure::Mistake(mistake) = doing(broker(403, text), "declare queue \"amq.x\"", "u")
        else {
            panic!("it is a mistake");
        };
        assert!(matches!(mistake, ConnectError::Refused { .. }), "{mistake}");
        let text = "ACCESS_REFUSED - access to queue 'x' in vhost '/' refused for user 'u'";
        let Failure::Mistake(mistake) = doing(broker(403, text), "declare queue \"x\"", "u") else {
            panic!("it is a mistake");
        };
        assert!(matches!(mistake, ConnectError::Forbidden { .. }), "{mistake}");
    }

    #[test]
    fn refused_connections_are_told_apart_from_transient_failures() {
        let check = |fault, expected: Result<&str, &str>| {
            let found = match connecting(fault, &address(), "nova") {
                Failure::Transient { reason, .. } => Ok(reason),
                Failure::Mistake(error) => Err(error.to_string()),
            };
            assert_eq!(found, expected.map(str::to_owned).map_err(str::to_owned));
        };
        check(Fault::Other("connection refused".to_owned()), Ok("connection refused"));
        check(
            broker(403, "ACCESS_REFUSED - Login was refused"),
            Err(
                "h:5672 refused to log in user \"u\"; check user and password in the transport URL, and that the user may log in",
            ),
        );
        check(
            broker(530, "NOT_ALLOWED - vhost nova not found"),
            Err(
                "h:5672 has no virtual host \"nova\" that user \"u\" may use; check the path of the transport URL, or create it and set its permissions (NOT_ALLOWED - vhost nova not found)",
            ),
        );
        check(
            broker(530, "NOT_ALLOWED - negotiated frame_max = 4096 is lower than the minimum"),
            Err(
                "the broker refused to connect with the limits of the transport URL (frame_max, channel_max): 530 NOT_ALLOWED - negotiated frame_max = 4096 is lower than the minimum",
            ),
        );
        check(
            broker(
                530,
                "NOT_ALLOWED - access to vhost 'nova' refused for user 'u': connection limit (0) is reached",
            ),
            Ok(
                "530 NOT_ALLOWED - access to vhost 'nova' refused for user 'u': connection limit (0) is reached",
            ),
        );
        check(
            broker(
                541,
                "INTERNAL_ERROR - access to vhost 'nova' refused for user 'u': vhost 'nova' is down",
            ),
            Ok(
                "541 INTERNAL_ERROR - access to vhost 'nova' refused for user 'u': vhost 'nova' is down",
            ),
        );
        for name in ["rate-limits", "connection limit (1) is reached", "what is down"] {
            let text = format!("NOT_ALLOWED - vhost {name} not found");
            let found = connecting(broker(530, &text), &address(), name);
            assert!(!found.passes(), "{name}");
            let text = format!("NOT_ALLOWED - access to vhost '{name}' refused for user '{name}'");
            assert!(!connecting(broker(530, &text), &address(), name).passes(), "{name}");
        }
        for limit in ["user connection limit (1)", "node connection limit (9)"] {
            let text = format!("NOT_ALLOWED - connection refused: {limit} is reached");
            assert!(connecting(broker(530, &text), &address(), "nova").passes(), "{limit}");
        }
        check(
            broker(320, "CONNECTION_FORCED - broker forced connection closure"),
            Ok("320 CONNECTION_FORCED - broker forced connection closure"),
        );
    }

    #[test]
    fn refused_declarations_are_told_apart_from_transient_failures() {
        let is_mistake = |code, text| {
            matches!(doing(broker(code, text), "declare queue \"q\"", "u"), Failure::Mistake(_))
        };
        let found: Vec<u16> = [320, 403, 404, 405, 406, 530, 540, 541]
            .into_iter()
            .filter(|code| is_mistake(*code, "text"))
            .collect();
        assert_eq!(found, [403, 406, 530, 540]);
        assert!(is_mistake(541, "INTERNAL_ERROR - the corresponding feature flag is disabled"));
        assert!(!is_mistake(403, "ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use"));
        assert!(is_mistake(
            541,
            "INTERNAL_ERROR - Feature `transient_nonexcl_queues` is deprecated."
        ));
    }

    #[test]
    fn a_refusal_of_transient_queues_names_the_option_that_each_kind_of_url_takes() {
        let text = "INTERNAL_ERROR - Feature `transient_nonexcl_queues` is deprecated.";
        let check = |dialect, words: &str| {
            let found = no_transient_queue(&broker(541, text), "q", dialect);
            let Some(Failure::Mistake(error)) = found else { panic!("{found:?}") };
            assert!(error.to_string().contains(words), "{error}");
        };
        check(Dialect::Oslo, "set amqp_durable_queues=true in the transport URL");
        check(Dialect::Amqp, "leave amqp_durable_queues=false out of the transport URL");
        let timed_out = broker(541, "INTERNAL_ERROR - timed out");
        assert_eq!(no_transient_queue(&timed_out, "q", Dialect::Oslo), None);
    }

    #[test]
    fn the_largest_size_is_read_from_the_text() {
        let check = |text, expected| assert_eq!(max_size(&broker(406, text)), expected);
        check(
            "PRECONDITION_FAILED - message size 150000 is larger than configured max size 100000",
            Some(100_000),
        );
        check("PRECONDITION_FAILED - message size 9 larger than max size 5.", Some(5));
        check("PRECONDITION_FAILED - unknown delivery tag 7", None);
        check("PRECONDITION_FAILED - message size 9 larger than max size", None);
        assert_eq!(max_size(&broker(404, "message size 9 larger than max size 5")), None);
    }

    #[test]
    fn a_consumer_timeout_says_what_to_do_about_it() {
        let text = "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used: 60000 ms";
        let said = broker(406, text).to_string();
        assert!(said.contains("set a shorter handler_timeout, and"), "{said}");
        assert!(!broker(406, "PRECONDITION_FAILED - other").to_string().contains("timeout"));
    }

    #[test]
    fn a_mismatch_is_read_from_the_text() {
        let check = |text, expected: Option<&str>| {
            assert_eq!(difference(text), expected.map(str::to_owned));
        };
        check(
            "PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'q' in vhost '/': received 'false' but current is 'true'",
            Some("durable was asked to be false, and is true"),
        );
        check(
            "PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'q' in vhost '/': received the value 'quorum' of type 'longstr' but current is none",
            Some("x-queue-type was asked to be quorum, and is not set"),
        );
        check(
            "PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue 'q' in vhost '/': received none but current is the value '5' of type 'signedint'",
            Some("x-message-ttl was asked to be not set, and is 5"),
        );
        check("PRECONDITION_FAILED - unknown delivery tag 7", None);
    }
}
