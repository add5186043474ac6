//! The output `log`: a notification as an event of `tracing`,
//! with passwords masked. `mask.rs` finds them.

use serde::Serialize;
use serde_json::Value;

use crate::notification::priority::Priority;
use crate::notifier::outputs::mask::{mask, mask_text};
use crate::notifier::outputs::notification::OutputNotification;

/// The fields of a notification in the order in which oslo.messaging logs them.
#[derive(Serialize)]
struct Logged {
    message_id: String,
    publisher_id: Option<String>,
    event_type: String,
    priority: &'static str,
    payload: Value,
    timestamp: String,
}

pub(super) fn write(notification: &OutputNotification) {
    /// Levels and targets of `tracing` are constants.
    macro_rules! event {
        ($level:ident) => {{
            const TARGET: &str = "oslo.messaging.notification";
            if tracing::enabled!(target: TARGET, tracing::Level::$level) {
                let logger = format!("{TARGET}.{}", notification.event_type);
                let text = text(notification);
                tracing::event!(target: TARGET, tracing::Level::$level, logger, "{text}");
            }
        }};
    }
    match notification.priority {
        Priority::Debug => event!(DEBUG),
        Priority::Audit | Priority::Info | Priority::Sample => event!(INFO),
        Priority::Warn => event!(WARN),
        Priority::Error | Priority::Critical => event!(ERROR),
    }
}

fn text(notification: &OutputNotification) -> String {
    let logged = Logged {
        message_id: notification.message_id.clone(),
        publisher_id: notification.publisher_id.as_deref().map(mask_text),
        event_type: mask_text(&notification.event_type),
        priority: notification.priority.wire(),
        payload: mask(&notification.payload),
        timestamp: notification.timestamp.clone(),
    };
    serde_json::to_string(&logged).unwrap_or_default()
}
