//! Waits for a condition, with a deadline. Tests use it when no signal can be awaited, instead of
//! sleeping.

use std::time::Duration;

use tokio::time::Instant;

/// Polls `condition` until it holds, with pauses as long as a poll takes, so that polls that start
/// processes use at most half of the CPU. Panics with `what` once `deadline` has passed, also when the
/// condition itself hangs.
pub async fn wait_until(what: &str, deadline: Duration, mut condition: impl AsyncFnMut() -> bool) {
    const PAUSE: Duration = Duration::from_millis(20);
    let end = Instant::now() + deadline;
    loop {
        let asked = Instant::now();
        match tokio::time::timeout_at(end, condition()).await {
            Ok(true) => return,
            Ok(false) if Instant::now() < end => {
                tokio::time::sleep(PAUSE.max(asked.elapsed())).await;
            }
            _ => panic!("not within {deadline:?}: {what}"),
        }
    }
}
