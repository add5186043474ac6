//! The broker's version, and what depends on it. The decisions are pure, so that they can be tested for
//! versions that no test can start. The version is read in `greeting.rs`; the folders above use it.

use std::fmt;

/// The version of a RabbitMQ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    major: u32,
    minor: u32,
}

const MIB: usize = 1024 * 1024;

impl Version {
    #[cfg(test)]
    pub(crate) const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }

    /// From the server properties of a broker; none if it is not RabbitMQ.
    pub(crate) fn read(product: &str, version: &str) -> Option<Self> {
        let mut numbers = version.split('.').map(str::parse);
        match (product.contains("RabbitMQ"), numbers.next(), numbers.next()) {
            (true, Some(Ok(major)), Some(Ok(minor))) => Some(Self { major, minor }),
            _ => None,
        }
    }

    /// Whether quorum queues expire messages, and keep them until their dead-lettering is confirmed.
    pub(crate) fn dead_letters_at_least_once(self) -> bool {
        self >= Self { major: 3, minor: 10 }
    }

    /// Whether it has quorum queues.
    pub(crate) fn has_quorum_queues(self) -> bool {
        matches!(self, Self { major: 4.., .. } | Self { major: 3, minor: 8.. })
    }

    /// The delivery limit of a quorum queue that is declared without one.
    pub(crate) fn default_delivery_limit(self) -> Option<u64> {
        matches!(self, Self { major: 4.., .. }).then_some(20)
    }

    /// Whether a negative delivery limit means none. Earlier versions accept it, and drop a message at
    /// its first redelivery.
    pub(crate) fn has_unlimited_deliveries(self) -> bool {
        matches!(self, Self { major: 4.., .. })
    }

    /// Whether deliveries that are requeued by the close of a channel count, and nacked ones do not.
    pub(crate) fn counts_closed_channels(self) -> bool {
        matches!(self, Self { major: 5.., .. } | Self { major: 4, minor: 3.. })
    }

    /// The default of the largest body, in bytes. Before 3.8 it could not be configured, and 2 GiB were
    /// accepted.
    pub(crate) fn max_message_size(self) -> Option<usize> {
        match self {
            Self { major: 4.., .. } => Some(16 * MIB),
            Self { major: 3, minor: 8.. } => Some(128 * MIB),
            _ => None,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_the_server_properties() {
        let read = |product, version| Version::read(product, version).map(|v| v.to_string());
        assert_eq!(read("RabbitMQ", "3.10.8"), Some("3.10".to_owned()));
        assert_eq!(read("VMware RabbitMQ", "4.3.0-rc.1"), Some("4.3".to_owned()));
        assert_eq!(read("LavinMQ", "2.3.0"), None);
        assert_eq!(read("RabbitMQ", "unknown"), None);
        assert_eq!(read("RabbitMQ", ""), None);
    }

    #[test]
    fn the_decisions_for_each_version() {
        let table = [
            (3, 7, false, None),
            (3, 8, false, Some(128)),
            (3, 9, false, Some(128)),
            (3, 10, true, Some(128)),
            (3, 11, true, Some(128)),
            (3, 12, true, Some(128)),
            (3, 13, true, Some(128)),
            (4, 0, true, Some(16)),
            (4, 1, true, Some(16)),
            (4, 2, true, Some(16)),
            (4, 3, true, Some(16)),
        ];
        for (major, minor, at_least_once, size) in table {
            let version = Version::new(major, minor);
            let found = (version.dead_letters_at_least_once(), version.max_message_size());
            assert_eq!(found, (at_least_once, size.map(|mib| mib * MIB)), "{version}");
        }
    }
}
