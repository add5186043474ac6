//! Calls code of the program other than its methods (an inbox, the `Display` of an error, `init`), so that
//! a panic does not end a task of the listener, and with a timeout if it is async. Methods are called by
//! `dispatch`.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::poll;

use crate::dispatch::contained::contained;
use crate::redact::{self, panic_message};

/// Why code of the program did not return a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CallError {
    Panicked(String),
    TimedOut(Duration),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked(message) => write!(f, "panicked: {message}"),
            Self::TimedOut(limit) => write!(f, "was not done within {limit:?}"),
        }
    }
}

impl std::error::Error for CallError {}

/// Calls async code of the program, and waits for it for at most `limit`.
pub(super) async fn within<'c, T>(
    limit: Duration,
    call: impl FnOnce() -> BoxFuture<'c, T>,
) -> Result<T, CallError> {
    let mut call = pin!(contained(call));
    // Needs no timer if it is ready immediately.
    let done = match poll!(call.as_mut()) {
        Poll::Ready(done) => done,
        Poll::Pending => {
            tokio::time::timeout(limit, call).await.map_err(|_| CallError::TimedOut(limit))?
        }
    };
    done.map_err(|panic| CallError::Panicked(panic_message(panic)))
}

/// The text of an error of the program, shortened.
pub(super) fn error_text(error: &dyn fmt::Display) -> String {
    catch_unwind(AssertUnwindSafe(|| redact::error_text(error))).unwrap_or_else(|panic| {
        format!("an error that cannot be printed: {}", panic_message(panic))
    })
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn panics_and_timeouts_are_errors() {
        let limit = Duration::from_secs(1);
        assert_eq!(within(limit, || async { 1 }.boxed()).await, Ok(1));
        let hangs = || pending::<()>().boxed();
        assert_eq!(within(limit, hangs).await, Err(CallError::TimedOut(limit)));
        let panics = || async { panic!("no luck") }.boxed();
        assert_eq!(
            within::<()>(limit, panics).await,
            Err(CallError::Panicked("no luck".to_owned()))
        );
        let late = || {
            async {
                tokio::task::yield_now().await;
                panic!("no luck")
            }
            .boxed()
        };
        assert_eq!(within::<()>(limit, late).await, Err(CallError::Panicked("no luck".to_owned())));
    }

    #[test]
    fn a_panicking_display_is_reported() {
        struct Unprintable;

        impl fmt::Display for Unprintable {
            fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
                panic!("no text")
            }
        }

        assert_eq!(error_text(&"plain"), "plain");
        assert_eq!(error_text(&Unprintable), "an error that cannot be printed: no text");
    }
}
