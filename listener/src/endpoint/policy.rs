//! The options of an endpoint's attribute about calls, which override those of the listener: how often, how
//! long, in which order. `runtime/judge/policy.rs` applies them.

use std::time::Duration;

/// Retries, timeout and order of an endpoint; the listener's options apply where it is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndpointPolicy {
    /// The calls of a method for one notification, including the first.
    pub attempts: Option<u32>,
    /// The longest delay before the second call; it doubles before each further one.
    pub delay: Option<Duration>,
    /// The longest of these delays.
    pub max_delay: Option<Duration>,
    /// How long one call may take.
    pub timeout: Option<Duration>,
    /// The part of notifications in which those are equal that are handled in sequence: a path such as
    /// `payload.instance_id`, `context.request_id`, `publisher_id` or `event_type`.
    pub ordered_by: Option<&'static str>,
}

impl EndpointPolicy {
    /// No options, for generated code.
    #[doc(hidden)]
    pub const NONE: Self =
        Self { attempts: None, delay: None, max_delay: None, timeout: None, ordered_by: None };
}
