//! What exchanges and queues of others were like when they were first met: transient ones
//! vanish with the broker, and whoever comes first declares them again. If that is us, they
//! must be as they were, for their owners would be refused otherwise. Kept by the driver,
//! asked by `topology.rs`.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// What can be declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Exchange,
    Queue,
}

/// Which exchanges and queues are durable, as far as was seen.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<HashMap<(Kind, String), bool>>);

impl Known {
    /// Whether it is durable; `None` for one that was never met.
    pub(super) fn durable(&self, kind: Kind, name: &str) -> Option<bool> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&(kind, name.to_owned())).copied()
    }

    pub(super) fn learn(&self, kind: Kind, name: &str, durable: bool) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert((kind, name.to_owned()), durable);
    }
}
