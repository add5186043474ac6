//! Waiting for a condition, with an end. Tests call it where no signal can be awaited, instead of
//! sleeping for a time that is hoped to be enough.

use std::time::Duration;

use tokio::time::Instant;

/// Asks `condition` again and again until it holds, with a pause as long as asking takes: what
/// starts a process for it leaves half of the processor to what is waited for.
/// Panics with `what` once `deadline` has passed, also when the condition itself hangs.
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
