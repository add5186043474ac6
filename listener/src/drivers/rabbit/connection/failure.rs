//! What went wrong, as the driver sees it: `Fault`, of one call, and `Failure`, of an attempt to make or
//! use a session. lapin's errors become faults here; the broker's refusals are parsed in `refusal.rs`.
//! `consuming/supervisor.rs`, `publishing/publisher.rs` and `publishing/publish.rs` act on failures.

use std::fmt;

use super::hosts::Address;
use super::refusal::{ConnectRefusal, Inequivalent, Refusal};
use super::tls_problem::TlsProblem;
use crate::drivers::rabbit::options::Dialect;
use crate::transport::driver::Route;
use crate::transport::error::ConnectError;

/// What went wrong with one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The broker refused it, with an AMQP reply code.
    Broker { code: u16, text: String },
    /// Anything else: the network, a deadline.
    Other(String),
}

impl Fault {
    pub(crate) fn code(&self) -> Option<u16> {
        match self {
            Self::Broker { code, .. } => Some(*code),
            Self::Other(_) => None,
        }
    }

    /// What the broker refused; none of a fault that is not the broker's.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Broker { code, text } => Some(Refusal::parse(*code, text)),
            Self::Other(_) => None,
        }
    }

    /// The argument that differs from that of an existing queue or exchange, if that is the fault.
    pub(crate) fn inequivalent(&self) -> Option<Inequivalent> {
        match self.refusal() {
            Some(Refusal::Inequivalent(inequivalent)) => Some(inequivalent),
            _ => None,
        }
    }

    /// Whether a queue or exchange exists with other properties than those declared.
    pub(crate) fn is_mismatch(&self) -> bool {
        self.inequivalent().is_some_and(|inequivalent| inequivalent.difference().is_some())
    }

    /// Whether a feature flag is disabled, as an upgrade may leave it. It stays so until an operator
    /// enables it.
    pub(crate) fn is_disabled_feature(&self) -> bool {
        self.refusal() == Some(Refusal::FeatureFlag)
    }

    /// Whether it closed the channel only, not the connection.
    pub(crate) fn closes_channel_only(&self) -> bool {
        matches!(self.code(), Some(311 | 312 | 313 | 403 | 404 | 405 | 406))
    }

    /// Whether the broker found what this client sent to be invalid AMQP.
    pub(crate) fn is_protocol_error(&self) -> bool {
        matches!(self.code(), Some(501 | 502 | 503 | 505))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broker { code, text } => {
                write!(f, "{code} {text}")?;
                // RabbitMQ's text does not say what to do about it.
                if self.refusal() == Some(Refusal::ConsumerTimeout) {
                    f.write_str(
                        "; a delivery was unsettled for longer than the broker's consumer_timeout: set a shorter handler_timeout; if methods are slow only occasionally, or many deliveries share an order key, also set a smaller prefetch",
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

/// Why an attempt to make or to use a session failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Another attempt may succeed.
    Transient {
        reason: String,
        /// Whether a broker answered, and accepts no connection at present.
        has_answered: bool,
    },
    /// Another attempt fails as well, unless an operator acts or, where
    /// [`is_transient`](ConnectError::is_transient) says so, this process has resources again.
    Permanent(ConnectError),
}

impl Failure {
    pub(crate) fn transient(reason: impl Into<String>) -> Self {
        Self::Transient { reason: reason.into(), has_answered: false }
    }

    /// The failure of one of `count` hosts or addresses: if something other than a broker answers at one of
    /// them, the others may still be brokers.
    pub(crate) fn for_one_of(self, count: usize) -> Self {
        match self {
            Self::Permanent(error @ (ConnectError::NoBroker { .. } | ConnectError::Tls { .. }))
                if count > 1 =>
            {
                Self::transient(error.to_string())
            }
            failure => failure,
        }
    }

    /// The failure after there was a session: a certificate or a key that is not valid may be one that is being
    /// replaced.
    pub(crate) fn while_certificates_change(self) -> Self {
        match self {
            Self::Permanent(error @ (ConnectError::Tls { .. } | ConnectError::TlsSetup { .. })) => {
                Self::transient(error.to_string())
            }
            failure => failure,
        }
    }

    /// Whether a later attempt may succeed although no operator acts.
    pub(crate) const fn is_transient(&self) -> bool {
        match self {
            Self::Transient { .. } => true,
            Self::Permanent(error) => error.is_transient(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transient { reason, .. } => f.write_str(reason),
            Self::Permanent(error) => write!(f, "{error}"),
        }
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::transient(fault.to_string())
    }
}

/// The failure of a connection that was refused.
pub(crate) fn connect_failed(fault: Fault, address: &Address, vhost: &str) -> Failure {
    let Fault::Broker { code, text } = fault else {
        return fault.into();
    };
    match ConnectRefusal::parse(code, &text) {
        ConnectRefusal::Unavailable => {
            Failure::Transient { reason: format!("{code} {text}"), has_answered: true }
        }
        ConnectRefusal::Login => Failure::Permanent(ConnectError::LoginRefused {
            host: address.to_string(),
            user: address.user.clone(),
        }),
        ConnectRefusal::Limits => Failure::Permanent(ConnectError::Refused {
            action: "connect with the limits of the transport URL (frame_max, channel_max)"
                .to_owned(),
            reason: format!("{code} {text}"),
        }),
        ConnectRefusal::VirtualHost => Failure::Permanent(ConnectError::VirtualHost {
            host: address.to_string(),
            user: address.user.clone(),
            vhost: vhost.to_owned(),
            reason: text,
        }),
        ConnectRefusal::Other => Failure::transient(format!("{code} {text}")),
    }
}

/// The failure where something other than a broker answered.
pub(crate) fn not_a_broker(address: &Address, answer: String) -> Failure {
    Failure::Permanent(ConnectError::NoBroker { host: address.to_string(), answer })
}

/// The failure of a connection that could not be encrypted.
pub(crate) fn tls_failed(problem: TlsProblem, address: &Address) -> Failure {
    let TlsProblem { reason, fix, is_of_host } = problem;
    Failure::Permanent(match is_of_host {
        true => ConnectError::Tls { host: address.to_string(), reason, fix: fix.into() },
        false => ConnectError::TlsSetup { reason, fix: fix.into() },
    })
}

/// The failure of a connection on which the peer sent nothing.
pub(crate) fn peer_silent(fault: &Fault) -> Failure {
    Failure::transient(format!(
        "{fault}; the peer sent no AMQP: it may be a port for TLS or HTTP, or a proxy without a broker behind it"
    ))
}

/// What the broker was asked to do, for errors, and what a user who may not do it needs.
#[derive(Debug)]
pub(crate) struct Operation {
    /// Such as `declare queue "notifications.info"`.
    action: String,
    fix: &'static str,
}

impl Operation {
    /// `what`: `queue` or `exchange`.
    pub(crate) fn declare(what: &str, name: &str) -> Self {
        let fix = "grant the permission, or let another user create it first";
        Self { action: format!("declare {what} {name:?}"), fix }
    }

    /// `what`: as in `declare`.
    pub(crate) fn look_for(what: &str, name: &str) -> Self {
        Self { action: format!("look for {what} {name:?}"), fix: "grant the permission" }
    }

    pub(crate) fn bind(queue: &str, exchange: &str) -> Self {
        let fix = "grant the permission, or let another user create it first";
        Self { action: format!("bind queue {queue:?} to exchange {exchange:?}"), fix }
    }

    pub(crate) fn set_prefetch() -> Self {
        Self { action: "set the prefetch".to_owned(), fix: "grant the permission" }
    }

    pub(crate) fn consume(queue: &str) -> Self {
        Self { action: format!("consume queue {queue:?}"), fix: "grant read on it" }
    }

    pub(crate) fn read_journal(journal: &str) -> Self {
        Self { action: format!("read journal {journal:?}"), fix: "grant read on it" }
    }

    /// The default exchange is reported by `no_default_exchange`.
    pub(crate) fn publish(route: &Route) -> Self {
        Self { action: format!("publish to {route}"), fix: "grant write on the exchange" }
    }
}

/// The failure of an operation that was refused.
pub(crate) fn operation_failed(fault: Fault, operation: Operation, user: &str) -> Failure {
    let Operation { action, fix } = operation;
    let Fault::Broker { code, text } = fault else {
        return Failure::transient(format!("cannot {action}: {fault}"));
    };
    let refusal = Refusal::parse(code, &text);
    match refusal {
        // Not a missing permission: it succeeds when the other consumer ends.
        Refusal::ExclusiveConsumer => Failure::transient(format!(
            "cannot {action}: another consumer has the queue exclusively; stop it, or let it consume without `exclusive` ({text})"
        )),
        // The queue is deleted when the connection that declared it ends.
        Refusal::ExclusiveQueue => Failure::transient(format!(
            "cannot {action}: another connection has the queue exclusively; stop it, or let it declare the queue without `exclusive` ({text})"
        )),
        Refusal::AccessRefused | Refusal::TopicAccessRefused | Refusal::DefaultExchange => {
            let fix = match refusal {
                Refusal::TopicAccessRefused => {
                    "the exchange has topic permissions: grant this one with `rabbitmqctl set_topic_permissions`"
                }
                _ => fix,
            };
            Failure::Permanent(ConnectError::Forbidden {
                user: user.to_owned(),
                action,
                fix: fix.into(),
                reason: text,
            })
        }
        Refusal::ReservedName
        | Refusal::Inequivalent(_)
        | Refusal::InvalidArgument(_)
        | Refusal::MessageTooLarge { .. }
        | Refusal::ConsumerTimeout
        | Refusal::PreconditionFailed
        | Refusal::TransientQueues
        | Refusal::FeatureFlag
        | Refusal::NotAllowed => {
            Failure::Permanent(ConnectError::Refused { action, reason: format!("{code} {text}") })
        }
        // 404: deleted meanwhile, or on a node that is down. The others end the connection.
        Refusal::StreamNotFound | Refusal::Other => {
            Failure::transient(format!("cannot {action}: {code} {text}"))
        }
    }
}

/// The error of a user who may not publish to the default exchange, if that is the fault. It routes to each
/// queue by its name: all copies are sent to it.
pub(crate) fn no_default_exchange(fault: &Fault, user: &str) -> Option<ConnectError> {
    match fault {
        Fault::Broker { text, .. } if fault.refusal() == Some(Refusal::DefaultExchange) => {
            Some(ConnectError::Forbidden {
                user: user.to_owned(),
                action: "publish to the default exchange".to_owned(),
                fix: r#"grant it write on "amq\.default""#.into(),
                reason: text.clone(),
            })
        }
        _ => None,
    }
}

/// The failure where a broker accepts durable queues only, as RabbitMQ 4 can be configured to, if that
/// is the fault.
pub(crate) fn no_transient_queue(fault: &Fault, queue: &str, dialect: Dialect) -> Option<Failure> {
    let Fault::Broker { text, .. } = fault else {
        return None;
    };
    let fix = match dialect {
        Dialect::Oslo => {
            "set amqp_durable_queues=true in the transport URL (and rabbit_quorum_queue=true where the queues are quorum queues), as in the configuration of the deployment's other services"
        }
        Dialect::Amqp => {
            "remove amqp_durable_queues=false from the transport URL, so that queues are durable"
        }
    };
    (fault.refusal() == Some(Refusal::TransientQueues)).then(|| {
        Failure::Permanent(ConnectError::Refused {
            action: format!("declare queue {queue:?}"),
            reason: format!("the broker does not allow transient queues; {fix} ({text})"),
        })
    })
}

/// The failure where a queue exists with other properties than those asked for, if that is the fault.
pub(crate) fn mismatch(fault: &Fault, queue: &str) -> Option<Failure> {
    Some(Failure::Permanent(ConnectError::Mismatch {
        what: format!("queue {queue:?}"),
        difference: fault.inequivalent()?.difference()?,
    }))
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
    fn a_reserved_name_is_not_a_missing_permission() {
        let text = "ACCESS_REFUSED - queue name 'amq.x' contains reserved prefix 'amq.*'";
        let declare = |text, queue| {
            operation_failed(broker(403, text), Operation::declare("queue", queue), "u")
        };
        let Failure::Permanent(error) = declare(text, "amq.x") else {
            panic!("it is permanent");
        };
        assert!(matches!(error, ConnectError::Refused { .. }), "{error}");
        let text = "ACCESS_REFUSED - access to queue 'x' in vhost '/' refused for user 'u'";
        let Failure::Permanent(error) = declare(text, "x") else {
            panic!("it is permanent");
        };
        assert!(matches!(error, ConnectError::Forbidden { .. }), "{error}");
    }

    #[test]
    fn a_missing_permission_is_explained_by_the_one_that_the_operation_needs() {
        let check = |operation, expected: &str| {
            let found = operation_failed(broker(403, "ACCESS_REFUSED"), operation, "u");
            assert_eq!(found.to_string(), expected);
        };
        let topic = Route::Topic { exchange: "nova".to_owned(), routing_key: "x".to_owned() };
        check(
            Operation::publish(&topic),
            "user \"u\" may not publish to exchange \"nova\" with routing key \"x\"; grant write on the exchange (ACCESS_REFUSED)",
        );
        check(
            Operation::consume("q"),
            "user \"u\" may not consume queue \"q\"; grant read on it (ACCESS_REFUSED)",
        );
        check(
            Operation::read_journal("j"),
            "user \"u\" may not read journal \"j\"; grant read on it (ACCESS_REFUSED)",
        );
        let create = "grant the permission, or let another user create it first (ACCESS_REFUSED)";
        check(
            Operation::declare("queue", "q"),
            &format!("user \"u\" may not declare queue \"q\"; {create}"),
        );
        check(
            Operation::bind("q", "nova"),
            &format!("user \"u\" may not bind queue \"q\" to exchange \"nova\"; {create}"),
        );
    }

    #[test]
    fn refused_connections_are_distinguished_from_transient_failures() {
        let check = |fault, expected: Result<&str, &str>| {
            let found = match connect_failed(fault, &address(), "nova") {
                Failure::Transient { reason, .. } => Ok(reason),
                Failure::Permanent(error) => Err(error.to_string()),
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
            let found = connect_failed(broker(530, &text), &address(), name);
            assert!(!found.is_transient(), "{name}");
            let text = format!("NOT_ALLOWED - access to vhost '{name}' refused for user '{name}'");
            assert!(!connect_failed(broker(530, &text), &address(), name).is_transient(), "{name}");
        }
        for limit in ["user connection limit (1)", "node connection limit (9)"] {
            let text = format!("NOT_ALLOWED - connection refused: {limit} is reached");
            assert!(
                connect_failed(broker(530, &text), &address(), "nova").is_transient(),
                "{limit}"
            );
        }
        check(
            broker(320, "CONNECTION_FORCED - broker forced connection closure"),
            Ok("320 CONNECTION_FORCED - broker forced connection closure"),
        );
    }

    #[test]
    fn refused_declarations_are_distinguished_from_transient_failures() {
        let is_permanent = |code, text| {
            let declare = Operation::declare("queue", "q");
            matches!(operation_failed(broker(code, text), declare, "u"), Failure::Permanent(_))
        };
        let found: Vec<u16> = [320, 403, 404, 405, 406, 530, 540, 541]
            .into_iter()
            .filter(|code| is_permanent(*code, "text"))
            .collect();
        assert_eq!(found, [403, 406, 530, 540]);
        assert!(is_permanent(541, "INTERNAL_ERROR - the corresponding feature flag is disabled"));
        assert!(!is_permanent(403, "ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use"));
        assert!(is_permanent(
            541,
            "INTERNAL_ERROR - Feature `transient_nonexcl_queues` is deprecated."
        ));
    }

    #[test]
    fn a_refusal_of_transient_queues_names_the_option_that_each_kind_of_url_takes() {
        let text = "INTERNAL_ERROR - Feature `transient_nonexcl_queues` is deprecated.";
        let check = |dialect, words: &str| {
            let found = no_transient_queue(&broker(541, text), "q", dialect);
            let Some(Failure::Permanent(error)) = found else { panic!("{found:?}") };
            assert!(error.to_string().contains(words), "{error}");
        };
        check(Dialect::Oslo, "set amqp_durable_queues=true in the transport URL");
        check(Dialect::Amqp, "remove amqp_durable_queues=false from the transport URL");
        let timed_out = broker(541, "INTERNAL_ERROR - timed out");
        assert_eq!(no_transient_queue(&timed_out, "q", Dialect::Oslo), None);
    }

    #[test]
    fn a_consumer_timeout_says_what_to_do_about_it() {
        let text = "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used: 60000 ms";
        let said = broker(406, text).to_string();
        assert!(
            said.contains("set a shorter handler_timeout; if methods are slow only occasionally"),
            "{said}"
        );
        assert!(!broker(406, "PRECONDITION_FAILED - other").to_string().contains("timeout"));
    }
}
