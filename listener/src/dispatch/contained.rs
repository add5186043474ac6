//! Catches the panics of a future of the program: when it is made, when it is polled, and when it is dropped
//! early, for example at a timeout. `dispatch` uses it for methods, and for other code of the program `runtime/program_code.rs`.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;

use crate::redact::panic_message;

/// The payload of a panic.
type Panic = Box<dyn Any + Send>;

struct Contained<'c, T>(Option<BoxFuture<'c, T>>);

/// Calls, and awaits the future.
///
/// # Errors
/// A panic.
pub(crate) async fn contained<'c, T>(call: impl FnOnce() -> BoxFuture<'c, T>) -> Result<T, Panic> {
    let future = catch_unwind(AssertUnwindSafe(call))?;
    Contained(Some(future)).await
}

impl<T> Future for Contained<'_, T> {
    type Output = Result<T, Panic>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(future) = &mut self.0 else { return Poll::Pending };
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context)));
        polled.map_or_else(|panic| Poll::Ready(Err(panic)), |polled| polled.map(Ok))
    }
}

impl<T> Drop for Contained<'_, T> {
    fn drop(&mut self) {
        let future = self.0.take();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(future))) {
            // Also if nothing is logged.
            let panic = panic_message(panic);
            tracing::error!(panic, "a call panicked when it was dropped");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;

    struct PanicsAtDrop;

    impl Drop for PanicsAtDrop {
        fn drop(&mut self) {
            panic!("dropped")
        }
    }

    fn panics() -> BoxFuture<'static, ()> {
        panic!("no future")
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_ends_only_the_call() {
        assert_eq!(contained(|| async { 1 }.boxed()).await.ok(), Some(1));
        let panic = contained(panics).await.expect_err("it panicked");
        assert_eq!(panic_message(panic), "no future");
        let panic = contained::<()>(|| async { panic!("no luck") }.boxed()).await;
        let panic = panic.expect_err("it panicked");
        assert_eq!(panic_message(panic), "no luck");
        let never = contained(|| {
            async {
                let _panics = PanicsAtDrop;
                pending::<()>().await;
            }
            .boxed()
        });
        assert!(tokio::time::timeout(Duration::from_secs(1), never).await.is_err());
    }
}
