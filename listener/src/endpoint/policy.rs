//! What an endpoint's attribute says of the calls of its methods, over what the listener says:
//! how often, how long, in which order. What follows from it is decided in `runtime/judge/policy.rs`.

use std::time::Duration;

/// What an endpoint says of the calls of its methods; what is `None` is the listener's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// How often a method is called for one notification, the first call included.
    pub attempts: Option<u32>,
    /// The pause before the second call; it doubles before each further one.
    pub pause: Option<Duration>,
    /// The longest of these pauses.
    pub max_pause: Option<Duration>,
    /// How long one call may take.
    pub timeout: Option<Duration>,
    /// What notifications have in common that are worked on one after the other: a path such
    /// as `payload.instance_id`, `context.request_id`, `publisher_id` or `event_type`.
    pub ordered_by: Option<&'static str>,
}

impl Policy {
    /// All is the listener's.
    pub const NONE: Self =
        Self { attempts: None, pause: None, max_pause: None, timeout: None, ordered_by: None };
}
