//! What waits for a thread of the blocking pool, and can be taken back until it has one: the call of
//! a plain `fn` (`mod.rs`), and work of the runtime that takes long.

use std::sync::{Arc, Mutex, PoisonError};

/// Gone once a thread has taken it, or when this is dropped before.
pub(crate) struct Waiting<T>(Arc<Mutex<Option<T>>>);

impl<T> Waiting<T> {
    pub(crate) fn new(what: T) -> Self {
        Self(Arc::new(Mutex::new(Some(what))))
    }

    /// Takes it back, unless a thread has taken it.
    pub(crate) fn take(&self) -> Option<T> {
        take(&self.0)
    }

    /// What a thread takes it with.
    pub(crate) fn for_thread(&self) -> impl FnOnce() -> Option<T> + use<T> {
        let shared = Arc::clone(&self.0);
        move || take(&shared)
    }
}

impl<T> Drop for Waiting<T> {
    fn drop(&mut self) {
        self.take();
    }
}

fn take<T>(shared: &Mutex<Option<T>>) -> Option<T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner).take()
}
