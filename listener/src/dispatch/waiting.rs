//! The input of work that waits for a thread of the blocking pool, and can be withdrawn until a thread takes
//! it: the call of a plain `fn` (`mod.rs`), and long work of the runtime.

use std::sync::{Arc, Mutex, PoisonError};

/// Empty once a thread has taken the value. Dropping this withdraws it.
pub(crate) struct Waiting<T>(Arc<Mutex<Option<T>>>);

impl<T> Waiting<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Arc::new(Mutex::new(Some(value))))
    }

    /// Withdraws the value, unless a thread has taken it.
    pub(crate) fn take(&self) -> Option<T> {
        take(&self.0)
    }

    /// The function with which a thread takes the value.
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
