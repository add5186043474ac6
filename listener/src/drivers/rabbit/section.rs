//! The section `[oslo_messaging_rabbit]` of oslo.config's files: its options become those of the query of the
//! transport URL, so that both are read by `query.rs` in the same way. The query takes precedence.

use std::collections::BTreeMap;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

#[cfg(feature = "oslo-config")]
use crate::transport::error::OpenError;
use crate::transport::url::TransportUrl;

/// The schemes of RabbitMQ.
const SCHEMES: &[&str] = &["rabbit", "kombu", "amqp", "amqps"];

/// The name that a transport URL has for this option of the section; none if it has no effect.
#[cfg(feature = "oslo-config")]
pub(crate) fn option_of_section(name: &str, value: &str) -> Result<Option<String>, OpenError> {
    use super::options::{RabbitOptions, WITHOUT_EFFECT};
    use super::query::{Retired, retired};
    let current = match retired(name) {
        Some(Retired::Renamed(new)) => new,
        Some(Retired::Ignored(_)) => return Ok(None),
        Some(Retired::Gone(successor)) => {
            return Err(OpenError::RetiredOption { option: name.to_owned(), successor });
        }
        None => name,
    };
    RabbitOptions::check(current, value)?;
    Ok((!WITHOUT_EFFECT.contains(&current)).then(|| current.to_owned()))
}

/// Adds the options of the section to the query of a URL for RabbitMQ, except those that the query has.
pub(crate) fn add_section(url: &mut String, section: &BTreeMap<String, String>) {
    // What is wrong with the URL is reported when it is opened.
    let Ok(parsed) = url.parse::<TransportUrl>() else { return };
    let scheme = parsed.scheme().split('+').next().unwrap_or_default();
    if !SCHEMES.contains(&scheme) {
        return;
    }
    let mut in_query: Vec<&str> =
        parsed.query().iter().map(|(name, _)| super::query::current(name)).collect();
    if scheme == "amqps" {
        // The scheme has decided it.
        in_query.push("ssl");
    }
    url.truncate(url.trim_end().len());
    let mut separator = if url.contains('?') { '&' } else { '?' };
    for (name, value) in section.iter().filter(|(name, _)| !in_query.contains(&name.as_str())) {
        let [name, value] = [name, value].map(|text| utf8_percent_encode(text, NON_ALPHANUMERIC));
        url.push_str(&format!("{separator}{name}={value}"));
        separator = '&';
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, expected: &str) {
        let section =
            [("heartbeat_timeout_threshold", "30"), ("rabbit_quorum_queue", "true"), ("ssl", "0")];
        let section = section.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut merged = url.to_owned();
        add_section(&mut merged, &BTreeMap::from(section));
        assert_eq!(merged.replace("%5F", "_"), expected);
    }

    #[test]
    fn the_query_takes_precedence_over_the_section() {
        check(
            "rabbit://h/v",
            "rabbit://h/v?heartbeat_timeout_threshold=30&rabbit_quorum_queue=true&ssl=0",
        );
        check(
            "rabbit://h/?rabbit_use_ssl=0&heartbeat_timeout_threshold=5",
            "rabbit://h/?rabbit_use_ssl=0&heartbeat_timeout_threshold=5&rabbit_quorum_queue=true",
        );
        check("amqps://h", "amqps://h?heartbeat_timeout_threshold=30&rabbit_quorum_queue=true");
        check("amqp://h?heartbeat=5", "amqp://h?heartbeat=5&rabbit_quorum_queue=true&ssl=0");
    }

    #[test]
    fn other_transports_have_no_section() {
        check("memory://x", "memory://x");
        check("no URL", "no URL");
    }
}
