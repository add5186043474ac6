//! Checks for a tokio runtime with timers, and with I/O where signals are used. Done before anything is
//! spawned, so that a missing runtime is an error and not a panic.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tokio::runtime::Handle;

/// The call was made outside of a tokio runtime, or in one that lacks something.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoRuntime {
    /// There is no tokio runtime; another executor may poll the future.
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

/// Checks that tasks can be spawned and timers created.
pub(crate) fn check() -> Result<(), NoRuntime> {
    Handle::try_current().map_err(|_| NoRuntime::Missing)?;
    // Tokio has no other way to find out.
    let timer = catch_unwind(|| drop(tokio::time::sleep(Duration::ZERO)));
    timer.map_err(|_| NoRuntime::WithoutTime)
}

/// Returns the result of `make`, which needs the I/O of the runtime.
pub(crate) fn with_io<T>(make: impl FnOnce() -> T) -> Result<T, NoRuntime> {
    catch_unwind(AssertUnwindSafe(make)).map_err(|_| NoRuntime::WithoutIo)
}
