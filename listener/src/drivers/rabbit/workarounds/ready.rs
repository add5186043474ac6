//! What a stream holds ready at one moment. Asked by `confirms.rs` and `session.rs`, where what
//! came before an event must be told from what comes after it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::Stream;

/// All that is ready now, for certain: the stream may pause in between, and then wakes.
pub(crate) fn ready<S: Stream + Unpin>(stream: &mut S) -> Vec<S::Item> {
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
