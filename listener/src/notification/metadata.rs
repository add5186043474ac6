//! Message id and timestamp: the `metadata` argument of an endpoint method. Event type and publisher are in
//! `mod.rs`, the context in `context.rs`.

use serde::Serialize;

/// What identifies one message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Metadata {
    message_id: Option<String>,
    timestamp: Option<String>,
}

impl Metadata {
    /// Metadata with this message id and timestamp, to test a method by calling it directly.
    ///
    /// ```
    /// let metadata = listener::Metadata::new("7c5f2f4e", "2026-05-09 07:29:33.123456");
    /// assert_eq!(metadata.message_id(), "7c5f2f4e");
    /// ```
    pub fn new(message_id: impl Into<String>, timestamp: impl Into<String>) -> Self {
        Self { message_id: Some(message_id.into()), timestamp: Some(timestamp.into()) }
    }

    /// The metadata of fields, which may be missing.
    pub(crate) fn of(message_id: Option<&str>, timestamp: Option<&str>) -> Self {
        Self { message_id: message_id.map(str::to_owned), timestamp: timestamp.map(str::to_owned) }
    }

    /// The id that the sender chose, which in oslo.messaging is a UUID with hyphens; empty if it is null or
    /// missing.
    #[must_use]
    pub fn message_id(&self) -> &str {
        self.message_id.as_deref().unwrap_or_default()
    }

    /// The time of sending: UTC without a zone, `2026-05-09 07:29:33.123456`, without the fraction if that
    /// is zero; empty if it is null or missing.
    #[must_use]
    pub fn timestamp(&self) -> &str {
        self.timestamp.as_deref().unwrap_or_default()
    }

    /// The value of a key by its name on the wire, for metadata filters.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        match key {
            "message_id" => self.message_id.as_deref(),
            "timestamp" => self.timestamp.as_deref(),
            _ => None,
        }
    }
}
