//! The seven priorities of a notification and their two spellings: lower case in queue names and
//! endpoints, upper case on the wire. `runtime/open/priority.rs` decides about deliveries with a missing
//! or unknown priority.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The priority of a notification. `warning` is not one: on the wire it is `WARN`.
///
/// `Ord` is the order of [`ALL`](Self::ALL), for use in sorted maps. It is not severity.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Priority {
    /// An event that is recorded for an audit.
    Audit,
    /// An event that is useful for debugging.
    Debug,
    /// A normal event; most notifications have this priority.
    Info,
    /// Something unexpected that was handled.
    Warn,
    /// Something failed.
    Error,
    /// Something failed and an operator has to act.
    Critical,
    /// A measurement, as sent by telemetry services.
    Sample,
}

impl Priority {
    /// All seven priorities.
    pub const ALL: [Self; 7] = [
        Self::Audit,
        Self::Debug,
        Self::Info,
        Self::Warn,
        Self::Error,
        Self::Critical,
        Self::Sample,
    ];

    /// The lower-case name, as in queue names: `info`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Audit => "audit",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Critical => "critical",
            Self::Sample => "sample",
        }
    }

    /// The upper-case name, as on the wire: `INFO`.
    #[must_use]
    pub const fn wire(self) -> &'static str {
        match self {
            Self::Audit => "AUDIT",
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
            Self::Critical => "CRITICAL",
            Self::Sample => "SAMPLE",
        }
    }

    /// The index in [`ALL`](Self::ALL), for tables with an entry per priority.
    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The lower-case name.
impl AsRef<str> for Priority {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

/// Serialized as its lower-case name, and deserialized case-insensitively.
///
/// ```
/// use listener::Priority;
///
/// assert_eq!(serde_json::to_string(&Priority::Info)?, r#""info""#);
/// assert_eq!(serde_json::from_str::<Priority>(r#""ERROR""#)?, Priority::Error);
/// # Ok::<(), serde_json::Error>(())
/// ```
impl Serialize for Priority {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Priority {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Case-insensitive, because the Python listener converts priorities to lower case.
///
/// ```
/// use listener::Priority;
///
/// assert_eq!("INFO".parse(), Ok(Priority::Info));
/// assert!("warning".parse::<Priority>().is_err());
/// ```
impl FromStr for Priority {
    type Err = UnknownPriority;

    fn from_str(text: &str) -> Result<Self, UnknownPriority> {
        Self::ALL
            .into_iter()
            .find(|priority| priority.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| UnknownPriority { found: text.to_owned() })
    }
}

/// A text that names none of the seven priorities.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown priority {found:?} (expected audit, debug, info, warn, error, critical or sample)"
)]
pub struct UnknownPriority {
    /// The text.
    pub found: String,
}

debug_is_the_message!(UnknownPriority);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_priority_is_at_its_index() {
        assert_eq!(Priority::ALL.map(Priority::index), [0, 1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn every_priority_has_a_lower_case_name() {
        assert_eq!(
            Priority::ALL.map(Priority::as_str),
            ["audit", "debug", "info", "warn", "error", "critical", "sample"]
        );
    }

    #[test]
    fn every_priority_is_upper_case_on_the_wire() {
        assert_eq!(
            Priority::ALL.map(|priority| priority.wire().to_owned()),
            Priority::ALL.map(|priority| priority.as_str().to_uppercase())
        );
    }

    #[test]
    fn a_priority_shows_its_lower_case_name() {
        assert_eq!(Priority::Critical.to_string(), "critical");
    }

    #[test]
    fn a_priority_is_read_in_any_case() {
        for priority in Priority::ALL {
            assert_eq!(priority.as_str().parse(), Ok(priority));
            assert_eq!(priority.wire().parse(), Ok(priority));
        }
        assert_eq!("eRRor".parse(), Ok(Priority::Error));
    }

    #[test]
    fn warning_is_not_a_priority() {
        assert_eq!(
            "warning".parse::<Priority>(),
            Err(UnknownPriority { found: "warning".to_owned() })
        );
    }

    #[test]
    fn the_error_of_an_unknown_priority_lists_the_seven() {
        assert_eq!(
            UnknownPriority { found: "warning".to_owned() }.to_string(),
            "unknown priority \"warning\" \
             (expected audit, debug, info, warn, error, critical or sample)"
        );
    }
}
