//! What each option of oslo.messaging is here: one of our options, one of the RabbitMQ driver, one of the
//! notifier, or without a meaning. Options of other sections belong to other parts of a service.

use super::parse::DEFAULT;
use crate::options::nearest::nearest;

/// The section of the RabbitMQ driver. Its options are in that driver's table.
pub(super) const RABBIT: &str = "oslo_messaging_rabbit";

pub(super) const NOTIFICATIONS: &str = "oslo_messaging_notifications";

/// What all sections of oslo.messaging begin with.
pub(super) const OURS: &str = "oslo_messaging_";

/// Section, option, and the option of this crate that it is. A later row wins over an earlier one with the
/// same option.
pub(super) const MAPPED: &[(&str, &str, &str)] = &[
    (DEFAULT, "transport_url", "transport_url"),
    (NOTIFICATIONS, "transport_url", "transport_url"),
    (NOTIFICATIONS, "topics", "topics"),
    (DEFAULT, "control_exchange", "control_exchange"),
    (DEFAULT, "rpc_thread_pool_size", "executor_thread_pool_size"),
    (DEFAULT, "executor_thread_pool_size", "executor_thread_pool_size"),
];

/// Options that are known and have no meaning for a listener: those of RPC, of notifiers, of other drivers.
const WITHOUT_MEANING: &[(&str, &[&str])] = &[
    (DEFAULT, &["rpc_response_timeout", "rpc_ping_enabled"]),
    (NOTIFICATIONS, &["driver", "retry", "routing_config"]),
    (
        "oslo_messaging_kafka",
        &[
            "kafka_max_fetch_bytes",
            "kafka_consumer_timeout",
            "consumer_group",
            "producer_batch_timeout",
            "producer_batch_size",
            "compression_codec",
            "enable_auto_commit",
            "max_poll_records",
            "security_protocol",
            "sasl_mechanism",
            "ssl_cafile",
            "ssl_client_cert_file",
            "ssl_client_key_file",
            "ssl_client_key_password",
        ],
    ),
    (
        "oslo_messaging_metrics",
        &[
            "metrics_enabled",
            "metrics_buffer_size",
            "metrics_socket_file",
            "metrics_process_name",
            "metrics_thread_stop_timeout",
        ],
    ),
];

/// Sections of drivers that oslo.messaging no longer has, and of tracing: none of their options has a meaning.
const SECTIONS_WITHOUT_MEANING: &[&str] =
    &["oslo_messaging_amqp", "oslo_messaging_zmq", "oslo_messaging_tracing"];

/// What an option is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// This option of ours.
    Ours(&'static str),
    /// An option of the RabbitMQ driver, or of none: its table says which.
    Rabbit,
    /// Known, and without a meaning.
    None,
    /// Of another part of the service.
    Foreign,
    /// Of no section and no option that oslo.messaging has.
    Unknown(Option<&'static str>),
}

pub(super) fn meaning(section: &str, key: &str) -> Meaning {
    if let Some((_, _, ours)) = MAPPED.iter().find(|(of, name, _)| *of == section && *name == key) {
        return Meaning::Ours(ours);
    }
    if section == RABBIT {
        return Meaning::Rabbit;
    }
    let known = WITHOUT_MEANING.iter().find(|(of, _)| *of == section);
    let is_known = known.is_some_and(|(_, keys)| keys.contains(&key));
    if is_known || SECTIONS_WITHOUT_MEANING.contains(&section) {
        return Meaning::None;
    }
    if !section.starts_with(OURS) {
        return Meaning::Foreign;
    }
    let Some((_, keys)) = known else {
        let sections = WITHOUT_MEANING.iter().map(|(of, _)| *of).filter(|of| *of != DEFAULT);
        return Meaning::Unknown(nearest(section, sections.chain([RABBIT])));
    };
    let mapped = MAPPED.iter().filter(|(of, _, _)| *of == section).map(|(_, name, _)| *name);
    Meaning::Unknown(nearest(key, keys.iter().copied().chain(mapped)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::error::is_option;

    #[test]
    fn each_mapped_option_is_declared() {
        for (_, name, ours) in MAPPED {
            assert!(is_option(ours), "{name}");
        }
    }

    #[test]
    fn the_guide_lists_each_option_with_its_section() {
        let page = include_str!("../../guide/configuration.md");
        let has = |section: &str, key: &str| {
            let (section, key) = (format!("`[{section}]`"), format!("`{key}`"));
            page.lines().any(|line| line.contains(&section) && line.contains(&key))
        };
        let without =
            WITHOUT_MEANING.iter().flat_map(|(of, keys)| keys.iter().map(|key| (*of, *key)));
        for (section, key) in MAPPED.iter().map(|(of, key, _)| (*of, *key)).chain(without) {
            assert!(has(section, key), "[{section}] {key}");
        }
        for section in SECTIONS_WITHOUT_MEANING {
            assert!(page.contains(&format!("`[{section}]`")), "{section}");
        }
    }

    #[test]
    fn every_option_of_their_sections_is_known_or_unknown_with_a_hint() {
        assert_eq!(meaning(DEFAULT, "debug"), Meaning::Foreign);
        assert_eq!(meaning("keystone_authtoken", "topics"), Meaning::Foreign);
        assert_eq!(meaning(NOTIFICATIONS, "driver"), Meaning::None);
        assert_eq!(meaning("oslo_messaging_tracing", "x"), Meaning::None);
        assert_eq!(meaning(RABBIT, "x"), Meaning::Rabbit);
        assert_eq!(meaning(NOTIFICATIONS, "topic"), Meaning::Unknown(Some("topics")));
        assert_eq!(meaning("oslo_messaging_rabit", "ssl"), Meaning::Unknown(Some(RABBIT)));
        assert_eq!(meaning("oslo_messaging_kafka", "x"), Meaning::Unknown(None));
    }
}
