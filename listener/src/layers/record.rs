//! Reads an event of `tracing`: its message, its other fields, and whether its target is one that
//! logs while notifications are sent. `log.rs` calls it.

use std::error::Error;
use std::fmt;

use serde_json::{Map, Value};
use tracing::Event;
use tracing::field::{Field, Visit};

/// Crates that log while a notification is sent, in tasks and threads of their own; and the target of a notifier's
/// output `log`.
const SENDING_TARGETS: [&str; 8] = [
    "listener",
    "lapin",
    "async_rs",
    "amq_protocol",
    "futures_rustls",
    "rustls",
    "rustls_native_certs",
    "oslo.messaging.notification",
];

/// The fields of an event.
#[derive(Default)]
pub(super) struct Fields {
    pub(super) message: String,
    pub(super) extra: Map<String, Value>,
    /// The first error among the fields, and its sources.
    pub(super) errors: Vec<String>,
}

impl Fields {
    pub(super) fn of(event: &Event<'_>) -> Self {
        let mut fields = Self::default();
        event.record(&mut fields);
        if fields.message.is_empty() {
            fields.message = fields.instead_of_message();
        }
        fields
    }

    /// The text of an event without a message: its error and the sources of that, or its other fields.
    fn instead_of_message(&self) -> String {
        if !self.errors.is_empty() {
            return self.errors.join(": ");
        }
        let fields = self.extra.iter().filter(|(name, _)| !name.starts_with("log."));
        let shown = fields.map(|(name, value)| match value {
            Value::String(text) => format!("{name}={text}"),
            value => format!("{name}={value}"),
        });
        shown.collect::<Vec<_>>().join(" ")
    }

    /// The target of an event: that of the record, if it comes from the crate `log`.
    pub(super) fn target<'e>(&'e self, event: &'e Event<'_>) -> &'e str {
        let of_log = self.extra.get("log.target").and_then(Value::as_str);
        of_log.unwrap_or_else(|| event.metadata().target())
    }

    fn put(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            ("message", value) => self.message = value.to_string(),
            (name, value) => drop(self.extra.insert(name.to_owned(), value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, Value::String(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        if self.errors.is_empty() {
            let chain = std::iter::successors(Some(value), |error| (*error).source());
            self.errors = chain.map(ToString::to_string).collect();
        }
        self.put(field, value.to_string().into());
    }
}

/// Whether a target belongs to a crate that logs while a notification is sent.
pub(super) fn is_of_sending(target: &str) -> bool {
    let name = target.split("::").next().unwrap_or_default();
    SENDING_TARGETS.contains(&name)
}
