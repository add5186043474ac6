//! The broker's version, and what follows from it. Nothing is asked of the broker here: the
//! decisions are tables, so that they hold for versions that no test can start. Where the
//! version comes from is `greeting.rs`; who asks is `delay.rs` and `publish.rs`.

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

    /// From what a broker says of itself; none of a broker that is no RabbitMQ.
    pub(crate) fn read(product: &str, version: &str) -> Option<Self> {
        let mut numbers = version.split('.').map(str::parse);
        match (product.contains("RabbitMQ"), numbers.next(), numbers.next()) {
            (true, Some(Ok(major)), Some(Ok(minor))) => Some(Self { major, minor }),
            _ => None,
        }
    }

    /// Whether quorum queues let messages expire, and confirm where those go before they
    /// forget them.
    pub(crate) fn dead_letters_at_least_once(self) -> bool {
        self >= Self { major: 3, minor: 10 }
    }

    /// Whether it has quorum queues.
    pub(crate) fn has_quorum_queues(self) -> bool {
        matches!(self, Self { major: 4.., .. } | Self { major: 3, minor: 8.. })
    }

    /// The limit on deliveries of a quorum queue that is declared without one.
    pub(crate) fn default_delivery_limit(self) -> Option<u64> {
        matches!(self, Self { major: 4.., .. }).then_some(20)
    }

    /// Whether a negative delivery limit means that there is none. Earlier versions take it, and drop
    /// a message the first time that it comes back.
    pub(crate) fn has_unlimited_deliveries(self) -> bool {
        matches!(self, Self { major: 4.., .. })
    }

    /// Whether what is nacked is not counted, where what a closed channel returns is.
    pub(crate) fn counts_closed_channels(self) -> bool {
        matches!(self, Self { major: 5.., .. } | Self { major: 4, minor: 3.. })
    }

    /// The most bytes of a body that it takes unless it is configured otherwise. Before 3.8 it
    /// could not be, and a body of 2 GiB was taken.
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
    fn a_version_is_read_from_what_the_broker_says() {
        let read = |product, version| Version::read(product, version).map(|v| v.to_string());
        assert_eq!(read("RabbitMQ", "3.10.8"), Some("3.10".to_owned()));
        assert_eq!(read("VMware RabbitMQ", "4.3.0-rc.1"), Some("4.3".to_owned()));
        assert_eq!(read("LavinMQ", "2.3.0"), None);
        assert_eq!(read("RabbitMQ", "unknown"), None);
        assert_eq!(read("RabbitMQ", ""), None);
    }

    #[test]
    fn what_follows_from_each_version() {
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
