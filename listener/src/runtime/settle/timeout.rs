//! The timeout of an attempt to make a copy, which grows while the broker confirms slowly. Used by
//! `send_attempts.rs` for each attempt.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// An attempt that was not confirmed in time is sent again, and the broker may have both. The next one
/// may take this many times as long, up to `LARGEST_FACTOR` times the usual.
const FACTOR: u32 = 4;
const LARGEST_FACTOR: u32 = 64;

/// How long attempts may take longer than usual after the last one that did.
const EXTENDED_FOR: Duration = Duration::from_secs(60 * 60);

/// How long an attempt to make a copy may take: longer after the broker has confirmed slowly, so that few
/// copies are sent twice.
#[derive(Debug)]
pub(crate) struct CopyTimeout {
    usual: Duration,
    /// A longer timeout, and when it was last needed.
    extended: Mutex<Option<(Duration, Instant)>>,
}

impl CopyTimeout {
    pub(crate) const fn new(usual: Duration) -> Self {
        Self { usual, extended: Mutex::new(None) }
    }

    pub(crate) fn get(&self) -> Duration {
        let extended = *self.lock();
        let extended = extended.filter(|(_, needed)| needed.elapsed() < EXTENDED_FOR);
        extended.map_or(self.usual, |(timeout, _)| timeout)
    }

    /// An attempt was not confirmed within `after`. Concurrent ones count once.
    pub(crate) fn timed_out(&self, after: Duration) {
        let longer = after.saturating_mul(FACTOR);
        let longer = longer.min(self.usual.saturating_mul(LARGEST_FACTOR)).max(self.get());
        *self.lock() = Some((longer, Instant::now()));
    }

    /// A confirmation took longer than usual.
    pub(crate) fn still_needed(&self) {
        if let Some((_, needed)) = &mut *self.lock() {
            *needed = Instant::now();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<(Duration, Instant)>> {
        self.extended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_timeout_grows_after_timeouts_until_an_hour_has_not_needed_it() {
        let seconds = Duration::from_secs;
        let timeout = CopyTimeout::new(seconds(30));
        assert_eq!(timeout.get(), seconds(30));
        // Two concurrent ones count once.
        for (timed_out, expected) in
            [(30, 120), (30, 120), (120, 480), (480, 1920), (1920, 1920), (30, 1920)]
        {
            timeout.timed_out(seconds(timed_out));
            assert_eq!(timeout.get(), seconds(expected), "{timed_out}");
        }
        tokio::time::sleep(EXTENDED_FOR - seconds(1)).await;
        timeout.still_needed();
        tokio::time::sleep(EXTENDED_FOR - seconds(1)).await;
        assert_eq!(timeout.get(), seconds(1920));
        tokio::time::sleep(seconds(1)).await;
        assert_eq!(timeout.get(), seconds(30));
    }
}
