//! Limits how many notifications of a notifier, and how many bytes of them, may be in flight at once.
//! Further calls wait for a permit, first in, first out.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

#[derive(Debug)]
pub(super) struct Window {
    /// Notifications; never 0.
    pub(super) notifications: usize,
    /// Bytes of bodies; never 0.
    bytes: u32,
    free_notifications: Arc<Semaphore>,
    free_bytes: Arc<Semaphore>,
}

/// The right of one notification to be in flight, until it is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    _permit: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

impl Window {
    pub(super) fn new(notifications: usize, bytes: u32) -> Self {
        let (notifications, bytes) = (notifications.clamp(1, Semaphore::MAX_PERMITS), bytes.max(1));
        Self {
            notifications,
            bytes,
            free_notifications: Arc::new(Semaphore::new(notifications)),
            free_bytes: Arc::new(Semaphore::new(usize::try_from(bytes).unwrap_or(usize::MAX))),
        }
    }

    /// A permit for a notification with this many bytes, and the rest of the time; `None` if there was none
    /// in time. A notification that is larger than the whole window is sent alone.
    pub(super) async fn enter(&self, bytes: usize, time: Duration) -> Option<(Permit, Duration)> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(self.bytes);
        let (free_notifications, free_bytes) = (&self.free_notifications, &self.free_bytes);
        if let (Ok(permit), Ok(bytes)) = (
            Arc::clone(free_notifications).try_acquire_owned(),
            Arc::clone(free_bytes).try_acquire_many_owned(bytes),
        ) {
            return Some((Permit { _permit: permit, _bytes: bytes }, time));
        }
        let begun = Instant::now();
        let permit = async {
            let permit = Arc::clone(free_notifications).acquire_owned().await.ok()?;
            let bytes = Arc::clone(free_bytes).acquire_many_owned(bytes).await.ok()?;
            Some(Permit { _permit: permit, _bytes: bytes })
        };
        let permit = timeout(time, permit).await.ok().flatten()?;
        let left = time.saturating_sub(begun.elapsed());
        // Without time left a permit is useless.
        (!left.is_zero()).then_some((permit, left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_call_waits_for_a_permit_until_one_is_free_or_the_time_is_over() {
        let window = Window::new(2, 100);
        let (one, left) = window.enter(1, TIME).await.unwrap();
        let two = window.enter(1, TIME).await.unwrap();
        assert_eq!(left, TIME);
        assert!(window.enter(1, TIME).await.is_none());
        let leaving = async {
            tokio::time::sleep(TIME / 2).await;
            drop(one);
        };
        let (third, ()) = tokio::join!(window.enter(1, TIME), leaving);
        assert_eq!(third.map(|(_, left)| left), Some(TIME / 2));
        drop(two);
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_are_limited_and_a_larger_notification_is_sent_alone() {
        let window = Window::new(10, 100);
        let small = window.enter(60, TIME).await.unwrap();
        assert!(window.enter(60, TIME).await.is_none());
        assert!(window.enter(1_000_000, TIME).await.is_none());
        drop(small);
        let large = window.enter(1_000_000, TIME).await.unwrap();
        assert!(window.enter(1, TIME).await.is_none());
        drop(large);
        assert!(window.enter(60, TIME).await.is_some());
    }
}
