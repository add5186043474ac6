//! What the thread has to have that calls into this crate: a tokio runtime with timers, and with
//! I/O where signals are waited for. Asked before anything is spawned, so that what is missing is
//! an error and no panic.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tokio::runtime::Handle;

/// The call was made outside of a tokio runtime, or in one that lacks something.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoRuntime {
    /// Another executor polls it, or none that tokio knows.
    #[error(
        "there is no tokio runtime here; run it within one, as in `#[tokio::main]`, or in `block_on` of a runtime that `tokio::runtime::Builder` made with `enable_all`"
    )]
    Missing,
    /// The runtime was built without timers.
    #[error("the tokio runtime has no timers; call `enable_all` on its `tokio::runtime::Builder`")]
    WithoutTime,
    /// The runtime was built without I/O.
    #[error("the tokio runtime has no I/O; call `enable_all` on its `tokio::runtime::Builder`")]
    WithoutIo,
}

debug_is_the_message!(NoRuntime);

/// Whether tasks and timers can be made here.
pub(crate) fn check() -> Result<(), NoRuntime> {
    Handle::try_current().map_err(|_| NoRuntime::Missing)?;
    // Tokio has no other way to ask.
    let timer = catch_unwind(|| drop(tokio::time::sleep(Duration::ZERO)));
    timer.map_err(|_| NoRuntime::WithoutTime)
}

/// What `make` makes, which needs I/O of the runtime.
pub(crate) fn with_io<T>(make: impl FnOnce() -> T) -> Result<T, NoRuntime> {
    catch_unwind(AssertUnwindSafe(make)).map_err(|_| NoRuntime::WithoutIo)
}
