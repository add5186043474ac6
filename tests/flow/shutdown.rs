//! A stop at every stage of a delivery: handled deliveries are settled, the others are released, and a
//! stop waits only for what it must wait for.

use std::time::Duration;

use listener::driver::Route;
use listener::driver::SendError;
use listener::options::{RetryOptions, RetryStorage};
use listener::{Context, Listener, State, Transport, notification_endpoint};
use tokio::time::Instant;

use crate::rig::{Log, Rig, once};
use crate::sending::sending;

/// Always fails.
struct Fails;

#[notification_endpoint(register = false, name = "fails")]
impl Fails {
    #[on(info, warn)]
    async fn fails(&self, event_type: &str, log: State<Log>) -> Result<(), &'static str> {
        let _ = log.send(event_type.to_owned());
        Err("no")
    }
}

/// A transport whose copies take this long to send, and may be refused then.
fn slow(below: &Transport, takes: Duration, refuses: bool) -> Transport {
    sending(below, move |below, outgoing| async move {
        if matches!(outgoing.route, Route::Topic { .. }) {
            return below.send(outgoing).await;
        }
        tokio::time::sleep(takes).await;
        if refuses {
            return Err(SendError::Refused { route: outgoing.route.to_string() });
        }
        below.send(outgoing).await
    })
}

fn listener(rig: &Rig, retry: RetryOptions, takes: Duration, refuses: bool) -> Listener {
    let builder = rig.builder_on(slow(&rig.transport, takes, refuses)).retry(retry);
    builder.shutdown_timeout(Duration::from_secs(20)).endpoint(Fails).build().unwrap()
}

/// Starts, sends one notification, and stops after the method was called and this time is over. Returns
/// how long the stop took.
async fn stop_after(rig: &mut Rig, listener: &Listener, delay: Duration) -> Duration {
    listener.start().await.unwrap();
    rig.notifier().info(&Context::new(), "first", &()).await.unwrap();
    assert_eq!(rig.seen().await, "first");
    tokio::time::sleep(delay).await;
    stop(listener).await
}

async fn stop(listener: &Listener) -> Duration {
    let began = Instant::now();
    listener.stop().await;
    listener.wait().await.unwrap();
    began.elapsed()
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_an_unconfirmed_copy_and_acknowledges_its_original() {
    let mut rig = Rig::new();
    let listener = listener(&rig, once(), 10 * SECOND, false);
    assert_eq!(stop_after(&mut rig, &listener, SECOND).await, 9 * SECOND);
    assert_eq!(rig.dead_letter().await.reason, "error");
    rig.assert_empty("notifications.info").await;
}

#[tokio::test(start_paused = true)]
async fn a_copy_unconfirmed_at_the_shutdown_timeout_leaves_its_original_queued() {
    let mut rig = Rig::new();
    let listener = listener(&rig, once(), 3600 * SECOND, false);
    let took = stop_after(&mut rig, &listener, SECOND).await;
    assert!(took >= 20 * SECOND && took < 21 * SECOND, "{took:?}");
    rig.assert_empty("notifications.info.dead").await;
    let _ = rig.take("notifications.info").await;
    rig.assert_empty("notifications.info").await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_copy_is_not_sent_again_after_a_stop() {
    let mut rig = Rig::new();
    let listener = listener(&rig, once(), Duration::ZERO, true);
    // The stop comes in the delay before the next attempt.
    assert_eq!(stop_after(&mut rig, &listener, 100 * SECOND).await, Duration::ZERO);
    let _ = rig.take("notifications.info").await;
    rig.assert_empty("notifications.info.dead").await;
}

#[tokio::test(start_paused = true)]
async fn a_delivery_waiting_for_a_paused_method_is_released_at_once() {
    let mut rig = Rig::new();
    let listener = listener(&rig, once(), Duration::ZERO, true);
    listener.start().await.unwrap();
    let notifier = rig.notifier();
    notifier.info(&Context::new(), "first", &()).await.unwrap();
    assert_eq!(rig.seen().await, "first");
    notifier.warn(&Context::new(), "second", &()).await.unwrap();
    tokio::time::sleep(100 * SECOND).await;
    assert_eq!(stop(&listener).await, Duration::ZERO);
    assert_eq!(rig.seen_so_far(), [""; 0], "the paused method was called");
    let _ = rig.take("notifications.info").await;
    let _ = rig.take("notifications.warn").await;
}

#[tokio::test(start_paused = true)]
async fn a_retry_held_in_the_process_is_released_at_once() {
    let mut rig = Rig::new();
    let retry = RetryOptions::default()
        .delay(60 * SECOND)
        .max_delay(60 * SECOND)
        .storage(RetryStorage::Process);
    let listener = listener(&rig, retry, Duration::ZERO, false);
    assert_eq!(stop_after(&mut rig, &listener, SECOND).await, Duration::ZERO);
    let _ = rig.take("notifications.info").await;
    rig.assert_empty("notifications.info").await;
    rig.assert_empty("notifications.info.dead").await;
}

#[tokio::test(start_paused = true)]
async fn a_retry_delayed_by_the_broker_outlives_the_listener() {
    let mut rig = Rig::new();
    let retry = RetryOptions::default().delay(60 * SECOND);
    let listener = listener(&rig, retry, Duration::ZERO, false);
    assert_eq!(stop_after(&mut rig, &listener, SECOND).await, Duration::ZERO);
    rig.assert_empty("notifications.info").await;
    listener.start().await.unwrap();
    assert_eq!(rig.seen().await, "first");
    stop(&listener).await;
}

#[tokio::test(start_paused = true)]
async fn a_copy_unconfirmed_at_the_shutdown_timeout_is_not_logged_as_a_running_method() {
    let buffer = crate::logging::Buffer::default();
    let guard = buffer.set();
    let mut rig = Rig::new();
    let listener = listener(&rig, once(), 3600 * SECOND, false);
    stop_after(&mut rig, &listener, SECOND).await;
    drop(guard);
    let text = buffer.text();
    let line = text.lines().find(|line| line.contains("at the deadline")).expect("a line");
    assert!(line.contains("deliveries=1") && line.contains("methods=0"), "{line}");
    assert!(!text.contains("methods still run"), "{text}");
}
