//! lapin 4.12 resolves each confirmation and each consumer's delivery on its own, without their common
//! order on the channel. So what has happened before an event is determined by draining everything that
//! is ready at that moment. Without lapin's streams there is nothing to test it against; the test of
//! `publishing/pending/` has a model of them.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::Stream;

/// All items that are ready now. A stream may yield `Pending` in between and wake itself: it is polled
/// again then.
pub(crate) fn drain_ready<S: Stream + Unpin>(stream: &mut S) -> Vec<S::Item> {
    struct Woken(AtomicBool);
    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let woken = Arc::new(Woken(AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&woken));
    let mut context = Context::from_waker(&waker);
    let mut done = Vec::new();
    loop {
        woken.0.store(false, Ordering::SeqCst);
        match Pin::new(&mut *stream).poll_next(&mut context) {
            Poll::Ready(Some(item)) => done.push(item),
            Poll::Ready(None) => return done,
            Poll::Pending if woken.0.load(Ordering::SeqCst) => {}
            Poll::Pending => return done,
        }
    }
}
