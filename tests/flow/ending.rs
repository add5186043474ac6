//! A stop at every point of a delivery's way: what is done is settled, what is not goes back, and
//! nothing waits for what need not be waited for.

use std::time::Duration;

use listener::driver::Route;
use listener::driver::SendError;
use listener::options::{RetryOptions, RetryPlace};
use listener::{Context, Listener, State, Transport, notification_endpoint};
use tokio::time::Instant;

use crate::rig::{Log, Rig, once};
use crate::sending::sending;

/// Fails, always.
struct Fails;

#[notification_endpoint(register = false, name = "fails")]
impl Fails {
    #[on(info, warn)]
    async fn fails(&self, event_type: &str, log: State<Log>) -> Result<(), &'static str> {
        let _ = log.send(event_type.to_owned());
        Err("no")
    }
}

/// A transport whose sends of copies take so long, or never come to an end.
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
    let builder = rig.builder().transport(slow(&rig.transport, takes, refuses)).retry(retry);
    builder.shutdown_timeout(Duration::from_secs(20)).endpoint(Fails).build().unwrap()
}

/// Starts, sends one notification, and stops once the method was called and this time is over;
/// how long the stop took.
async fn stop_after(rig: &mut Rig, listener: &Listener, pause: Duration) -> Duration {
    listener.start().await.unwrap();
    rig.notifier().info(&Context::new(), "first", &()).await.unwrap();
    assert_eq!(rig.seen().await, "first");
    tokio::time::sleep(pause).await;
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
async fn a_copy_that_is_on_its_way_is_waited_for_and_its_original_is_gone() {
    let mut rig = Rig::new();
    let listener = listener(&rig, once(), 10 * SECOND, false);
    assert_eq!(stop_after(&mut rig, &listener, SECOND).await, 9 * SECOND);
    assert_eq!(rig.dead_letter().await.reason, "error");
    rig.assert_empty("notifications.info").await;
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_does_not_come_to_its_end_leaves_its_original_to_the_broker() {
    let mut rig = Rig::new();
    let listener = listener(&rig, once(), 3600 * SECOND, false);
    let took = stop_after(&mut rig, &listener, SECOND).await;
    assert!(took >= 20 * SECOND && took < 21 * SECOND, "{took:?}");
    rig.assert_empty("notifications.info.dead").await;
    let _ = rig.take("notifications.info").await;
    rig.assert_empty("notifications.info").await;
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_is_refused_is_not_tried_again_after_a_stop() {
    let mut rig = Rig::new();
    let listener = listener(&rig, once(), Duration::ZERO, true);
    // In the pause before the next attempt.
    assert_eq!(stop_after(&mut rig, &listener, 100 * SECOND).await, Duration::ZERO);
    let _ = rig.take("notifications.info").await;
    rig.assert_empty("notifications.info.dead").await;
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_waits_for_the_pause_of_its_method_goes_back_at_once() {
    let mut rig = Rig::new();
    let listener = listener(&rig, once(), Duration::ZERO, true);
    listener.start().await.unwrap();
    let notifier = rig.notifier();
    notifier.info(&Context::new(), "first", &()).await.unwrap();
    assert_eq!(rig.seen().await, "first");
    notifier.warn(&Context::new(), "second", &()).await.unwrap();
    tokio::time::sleep(100 * SECOND).await;
    assert_eq!(stop(&listener).await, Duration::ZERO);
    assert_eq!(rig.seen_so_far(), [""; 0], "the second was called all the same");
    let _ = rig.take("notifications.info").await;
    let _ = rig.take("notifications.warn").await;
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_is_held_in_the_process_goes_back_at_once() {
    let mut rig = Rig::new();
    let retry = RetryOptions::default()
        .pause(60 * SECOND)
        .max_pause(60 * SECOND)
        .place(RetryPlace::Process);
    let listener = listener(&rig, retry, Duration::ZERO, false);
    assert_eq!(stop_after(&mut rig, &listener, SECOND).await, Duration::ZERO);
    let _ = rig.take("notifications.info").await;
    rig.assert_empty("notifications.info").await;
    rig.assert_empty("notifications.info.dead").await;
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_waits_with_the_broker_outlives_the_listener() {
    let mut rig = Rig::new();
    let retry = RetryOptions::default().pause(60 * SECOND);
    let listener = listener(&rig, retry, Duration::ZERO, false);
    assert_eq!(stop_after(&mut rig, &listener, SECOND).await, Duration::ZERO);
    rig.assert_empty("notifications.info").await;
    listener.start().await.unwrap();
    assert_eq!(rig.seen().await, "first");
    stop(&listener).await;
}
