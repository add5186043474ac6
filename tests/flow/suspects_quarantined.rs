//! Which suspects are quarantined: messages that are not the same do not count against each other, and
//! each attempt to quarantine one has its full timeout.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use listener::driver::{HeaderValue, Headers, Properties, Route, SendError};
use listener::observe::{Event, Observer};
use listener::options::RetryOptions;
use listener::{Context, State, Transport, notification_endpoint};

use crate::rig::{Log, finish};
use crate::sending::sending;
use crate::suspects::{CountsCalls, JournalAway, MINUTE, SECOND, kill_two, model};

/// Counts quarantined deliveries.
#[derive(Clone, Default)]
struct Quarantined(Arc<AtomicU32>);

impl Observer for Quarantined {
    fn observe(&self, event: &Event<'_>) {
        if let Event::Quarantined { .. } = event {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Takes half a minute for each call, like `CountsCalls`.
struct Other;

#[notification_endpoint(register = false, name = "other")]
impl Other {
    async fn info(&self, log: State<Log>) {
        tokio::time::sleep(30 * SECOND).await;
        let _ = log.send("other".to_owned());
    }
}

/// How many of two messages with the same body are quarantined when two processes work on them at once,
/// after a third process has stopped. No process crashes.
async fn quarantined(properties: [Properties; 2], calls: usize) -> u32 {
    let (model, mut rig) = model();
    let body = Bytes::from_static(br#"{"priority": "info", "event_type": "x", "payload": 1}"#);
    for properties in properties {
        rig.send_with(body.clone(), properties).await;
    }
    let quarantined = Quarantined::default();
    let start = async |name: &str, prefetch| {
        let builder = rig.builder_on(Transport::new(model.process(), name));
        let builder = builder.prefetch(prefetch).observer(quarantined.clone());
        let builder = builder.shutdown_timeout(Duration::ZERO);
        let builder = builder.endpoint(CountsCalls::default()).endpoint(Other);
        let listener = builder.build().unwrap();
        listener.start().await.unwrap();
        listener
    };
    let stops = start("stops", 2).await;
    tokio::time::sleep(SECOND).await;
    finish(&stops).await;
    let listeners = [start("one", 1).await, start("two", 1).await];
    tokio::time::sleep(5 * MINUTE).await;
    assert_eq!(rig.seen_so_far().len(), calls);
    for listener in listeners {
        finish(&listener).await;
    }
    quarantined.0.load(Ordering::SeqCst)
}

#[tokio::test(start_paused = true)]
async fn copies_for_different_methods_do_not_count_against_each_other() {
    let pending = |name: &str| {
        let mut headers = Headers::default();
        headers
            .insert("listener-methods", HeaderValue::Array(vec![HeaderValue::Text(name.into())]));
        Properties::default().headers(headers)
    };
    assert_eq!(quarantined([pending("at-once::info"), pending("other::info")], 2).await, 0);
}

#[tokio::test(start_paused = true)]
async fn messages_with_different_ids_do_not_count_against_each_other() {
    let named = |id: &str| Properties::default().message_id(Some(id.into()));
    assert_eq!(quarantined([named("a"), named("b")], 4).await, 0);
    // Two messages with the same id and body count as one.
    assert_eq!(quarantined([named("a"), named("a")], 4).await, 1);
}

/// A broker that refuses the first copy for a quarantine queue after the first time, and accepts the
/// second one after the second.
fn at_second_attempt(below: &Transport, [first, second]: [Duration; 2]) -> Transport {
    let tries = AtomicU32::new(0);
    sending(below, move |below, outgoing| {
        let is_quarantine = matches!(outgoing.route, Route::Quarantine(_));
        let number = if is_quarantine { tries.fetch_add(1, Ordering::SeqCst) } else { u32::MAX };
        async move {
            match number {
                0 => {
                    tokio::time::sleep(first).await;
                    return Err(SendError::Refused { route: outgoing.route.to_string() });
                }
                1 => tokio::time::sleep(second).await,
                _ => {}
            }
            below.send(outgoing).await
        }
    })
}

/// How many of `count` deliveries are quarantined within a minute after the journal is back, by a
/// listener with this `hold`.
async fn quarantined_at_second_attempt(
    (count, away): (u32, Duration),
    hold: Duration,
    times: [Duration; 2],
) -> u32 {
    let (model, rig) = model();
    for number in 0..count {
        rig.notifier().info(&Context::new(), "x", &number).await.unwrap();
    }
    kill_two(&model, &rig, usize::try_from(count).unwrap()).await;
    let is_away = Arc::new(AtomicBool::new(!away.is_zero()));
    let below = Transport::new(JournalAway(model.process(), Arc::clone(&is_away)), "away");
    let retry = RetryOptions::default().hold(hold);
    let quarantined = Quarantined::default();
    let builder = rig.builder_on(at_second_attempt(&below, times)).retry(retry);
    let builder = builder.observer(quarantined.clone()).endpoint(CountsCalls::default());
    let listener = builder.build().unwrap();
    listener.start().await.unwrap();
    tokio::time::sleep(away).await;
    is_away.store(false, Ordering::SeqCst);
    tokio::time::sleep(MINUTE).await;
    finish(&listener).await;
    quarantined.0.load(Ordering::SeqCst)
}

#[tokio::test(start_paused = true)]
async fn the_last_attempt_to_quarantine_a_suspect_has_its_full_timeout() {
    let times = [10 * SECOND, 5 * SECOND];
    assert_eq!(quarantined_at_second_attempt((1, Duration::ZERO), 16 * SECOND, times).await, 1);
}

/// The first one is handled for half a minute, as the journal is unavailable.
#[tokio::test(start_paused = true)]
async fn a_suspect_that_waited_for_another_has_time_to_be_quarantined() {
    let times = [5 * SECOND, SECOND];
    assert_eq!(quarantined_at_second_attempt((2, 20 * SECOND), 33 * SECOND, times).await, 1);
}
