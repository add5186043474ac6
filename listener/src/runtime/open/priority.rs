//! The priority of a delivery: the one in its body, otherwise the one that its routing key ends in. Pure;
//! what follows if it has none is decided in `judge/`.

use std::fmt;

use serde_json::value::RawValue;

use crate::envelope::NOT_A_NOTIFICATION;
use crate::notification::fields::Fields;
use crate::notification::priority::Priority;
use crate::options::listener::OnUnknownPriority;
use crate::redact::redacted;
use crate::target::priority_of;

/// Why a delivery has no priority, so that no method can be found for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoPriority {
    /// The body has none of the fields of a notification.
    NotANotification,
    /// Neither the body of the notification nor its routing key has a known priority.
    Unknown {
        /// The unknown priority in the body, if there is one.
        found: Option<String>,
        routing_key: String,
    },
}

/// The priority of a notification that was delivered by this routing key. A lenient listener ignores the
/// routing key, as oslo.messaging does.
pub(crate) fn find(
    fields: &Fields<'_>,
    routing_key: &str,
    on_unknown: OnUnknownPriority,
) -> Result<Priority, NoPriority> {
    if let Some(priority) = fields.priority.as_deref().and_then(|text| text.parse().ok()) {
        return Ok(priority);
    }
    if fields.event_type.is_none() && fields.payload.get() == RawValue::NULL.get() {
        return Err(NoPriority::NotANotification);
    }
    let by_key = match on_unknown {
        OnUnknownPriority::DeadLetter => priority_of(routing_key),
        OnUnknownPriority::Acknowledge => None,
    };
    by_key.ok_or_else(|| NoPriority::Unknown {
        found: fields.priority.as_deref().map(redacted),
        routing_key: redacted(routing_key),
    })
}

impl fmt::Display for NoPriority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (found, routing_key) = match self {
            Self::NotANotification => return f.write_str(NOT_A_NOTIFICATION),
            Self::Unknown { found, routing_key } => (found, routing_key),
        };
        match found {
            Some(found) => write!(f, "unknown priority \"{found}\" in the body")?,
            None => f.write_str("the body has no `priority`")?,
        }
        write!(
            f,
            ", and the routing key \"{routing_key}\" does not end in one \
             (expected audit, debug, info, warn, error, critical or sample)"
        )
    }
}
