//! When a batch method is called, as its attribute says. `runtime/batches.rs` completes it with the options of
//! the listener.

use std::time::Duration;

/// When a batch method is called, as its attribute or that of its block says; `None`: as the listener's options
/// say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchRule {
    /// The most notifications of one call.
    pub size: Option<u16>,
    /// How long the first notification waits for others, at most.
    pub timeout: Option<Duration>,
    /// The bytes of bodies at which it is called without further ones.
    pub bytes: Option<usize>,
}

impl BatchRule {
    /// As the listener's options say.
    pub const DEFAULT: Self = Self { size: None, timeout: None, bytes: None };
}
