//! Key order: notifications of one key are handled in sequence, also across retries, and those of
//! different keys concurrently. And fairness between priorities.

use std::time::Duration;

use listener::options::Executor;
use listener::{Attempt, Context, OrderKey, Outcome, State, notification_endpoint};
use serde::{Deserialize, Serialize};

use crate::rig::{Log, Rig, finish};

#[derive(Serialize, Deserialize)]
struct Step {
    instance: String,
    number: u32,
    /// How long the call takes, in seconds.
    takes: u64,
    fails: bool,
}

/// Logs when each call begins and ends.
struct Steps;

#[notification_endpoint(register = false, ordered_by = "payload.instance")]
impl Steps {
    #[on(info, error)]
    async fn step(&self, payload: Step, attempt: Attempt, log: State<Log>) -> Result<(), String> {
        let Step { instance, number, takes, fails } = payload;
        let _ = log.send(format!("{instance}{number} begins"));
        tokio::time::sleep(Duration::from_secs(takes)).await;
        if fails && attempt.0 == 1 {
            return Err("not yet".to_owned());
        }
        let _ = log.send(format!("{instance}{number} ends"));
        Ok(())
    }
}

async fn send(rig: &Rig, instance: &str, number: u32, takes: u64, fails: bool) {
    let payload = Step { instance: instance.to_owned(), number, takes, fails };
    rig.notifier().info(&Context::new(), "step", &payload).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn notifications_of_one_key_are_sequential_and_others_concurrent() {
    let mut rig = Rig::new();
    let listener = rig.builder().endpoint(Steps).build().unwrap();
    listener.start().await.unwrap();
    send(&rig, "a", 1, 10, false).await;
    send(&rig, "a", 2, 10, false).await;
    send(&rig, "b", 1, 1, false).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(
        rig.seen_so_far(),
        ["a1 begins", "b1 begins", "b1 ends", "a1 ends", "a2 begins", "a2 ends"]
    );
    finish(&listener).await;
}

#[tokio::test(start_paused = true)]
async fn a_retry_delays_only_notifications_of_its_key() {
    let mut rig = Rig::new();
    let listener = rig.builder().endpoint(Steps).build().unwrap();
    listener.start().await.unwrap();
    send(&rig, "a", 1, 0, true).await;
    send(&rig, "a", 2, 0, false).await;
    send(&rig, "b", 1, 0, false).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(
        rig.seen_so_far(),
        ["a1 begins", "b1 begins", "b1 ends", "a1 begins", "a1 ends", "a2 begins", "a2 ends"]
    );
    finish(&listener).await;
}

#[tokio::test(start_paused = true)]
async fn notifications_waiting_for_their_key_take_no_slot() {
    let mut rig = Rig::new();
    let builder = rig.builder().executor(Executor::Concurrent(2)).endpoint(Steps);
    let listener = builder.build().unwrap();
    listener.start().await.unwrap();
    for number in 1..=5 {
        send(&rig, "a", number, 10, false).await;
    }
    send(&rig, "b", 1, 1, false).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(rig.seen_so_far(), ["a1 begins", "b1 begins", "b1 ends"]);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let ends: Vec<String> =
        rig.seen_so_far().into_iter().filter(|line| line.ends_with("ends")).collect();
    assert_eq!(ends, ["a1 ends", "a2 ends", "a3 ends", "a4 ends", "a5 ends"]);
    finish(&listener).await;
}

#[tokio::test(start_paused = true)]
async fn notifications_waiting_for_their_key_are_released_at_a_stop() {
    let mut rig = Rig::new();
    let listener = rig.builder().endpoint(Steps).build().unwrap();
    listener.start().await.unwrap();
    send(&rig, "a", 1, 10, false).await;
    send(&rig, "a", 2, 10, false).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    listener.stop().await;
    listener.wait().await.unwrap();
    assert_eq!(rig.seen_so_far(), ["a1 begins", "a1 ends"]);
    let body = rig.take("notifications.info").await.body;
    assert!(String::from_utf8_lossy(&body).contains(r#"\"number\": 2"#));
    rig.assert_empty("notifications.info").await;
}

#[tokio::test(start_paused = true)]
async fn an_order_key_of_the_listener_applies_to_all_endpoints() {
    struct Plain;

    #[notification_endpoint(register = false)]
    impl Plain {
        async fn info(&self, event_type: &str, log: State<Log>) {
            let _ = log.send(format!("{event_type} begins"));
            tokio::time::sleep(Duration::from_secs(10)).await;
            let _ = log.send(format!("{event_type} ends"));
        }
    }

    let mut rig = Rig::new();
    let builder = rig.builder().ordered_by(OrderKey::PublisherId).endpoint(Plain);
    let listener = builder.build().unwrap();
    listener.start().await.unwrap();
    let notifier = rig.notifier();
    for event_type in ["one", "two"] {
        notifier.info(&Context::new(), event_type, &()).await.unwrap();
    }
    let other = notifier.with_publisher_id("compute.host2");
    other.info(&Context::new(), "other", &()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(
        rig.seen_so_far(),
        ["one begins", "other begins", "one ends", "other ends", "two begins", "two ends"]
    );
    finish(&listener).await;
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_info_does_not_delay_errors() {
    struct Any;

    #[notification_endpoint(register = false)]
    impl Any {
        #[on(info, error)]
        async fn any(&self, event_type: &str, log: State<Log>) {
            let _ = log.send(event_type.to_owned());
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
    }

    let mut rig = Rig::new();
    let builder = rig.builder().executor(Executor::Concurrent(8)).endpoint(Any);
    let listener = builder.build().unwrap();
    listener.start().await.unwrap();
    let notifier = rig.notifier();
    for _ in 0..500 {
        notifier.info(&Context::new(), "info", &()).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.seen_so_far(), ["info"; 7], "one of eight slots is left to other priorities");
    notifier.error(&Context::new(), "error", &()).await.unwrap();
    assert_eq!(rig.seen().await, "error");
    finish(&listener).await;
}

#[tokio::test(start_paused = true)]
async fn a_sequential_listener_handles_in_order_of_arrival_whatever_the_priority() {
    struct Slowly;

    #[notification_endpoint(register = false)]
    impl Slowly {
        #[on(debug, info, error)]
        async fn any(&self, payload: u32, log: State<Log>) {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let _ = log.send(payload.to_string());
        }
    }

    let mut rig = Rig::new();
    let builder = rig.builder().pool("one").executor(Executor::Sequential);
    let listener = builder.endpoint(Slowly).build().unwrap();
    listener.start().await.unwrap();
    let notifier = rig.notifier();
    let context = Context::new();
    for round in 0..5 {
        notifier.debug(&context, "x", &(3 * round)).await.unwrap();
        notifier.info(&context, "x", &(3 * round + 1)).await.unwrap();
        notifier.error(&context, "x", &(3 * round + 2)).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    let expected: Vec<String> = (0..15).map(|number| number.to_string()).collect();
    assert_eq!(rig.seen_so_far(), expected);
    finish(&listener).await;
}

#[tokio::test(start_paused = true)]
async fn keys_are_compared_by_value_and_not_by_spelling() {
    struct Keyed;

    #[notification_endpoint(register = false, ordered_by = "payload.name")]
    impl Keyed {
        async fn info(&self, event_type: &str, log: State<Log>) {
            let _ = log.send(format!("{event_type} begins"));
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
    }

    for [first, second] in [
        [r#""é""#, r#""\u00e9""#],
        [
            r#"{"id": 1, "of": ["a", {"b": 2, "c": null}]}"#,
            r#"{"of":["a",{"c":null,"b":2}],"id":1}"#,
        ],
        [r#"["a", 1]"#, "[\n\"a\",1]"],
        ["1.50", "1.5"],
    ] {
        let mut rig = Rig::new();
        let listener = rig.builder().endpoint(Keyed).build().unwrap();
        listener.start().await.unwrap();
        for (event_type, name) in [("first", first), ("second", second)] {
            rig.send_raw(format!(
                r#"{{"priority": "INFO", "event_type": "{event_type}", "payload": {{"name": {name}}}}}"#
            ))
            .await;
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(rig.seen_so_far(), ["first begins"], "{first} {second}");
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(rig.seen_so_far(), ["second begins"]);
        finish(&listener).await;
    }
}

/// Asks twice for a retry after ten minutes.
struct AsksTwice;

#[notification_endpoint(register = false, ordered_by = "payload.instance")]
impl AsksTwice {
    async fn info(&self, attempt: Attempt, log: State<Log>) -> Outcome {
        let _ = log.send(format!("call {}", attempt.0));
        if attempt.0 < 3 {
            Outcome::retry_after(Duration::from_secs(600))
        } else {
            Outcome::Handled
        }
    }
}

/// The process would hold it, and for no longer than 15 minutes altogether.
#[tokio::test(start_paused = true)]
async fn a_notification_without_an_order_key_is_retried_as_if_no_order_were_kept() {
    for is_of_the_listener in [false, true] {
        let mut rig = Rig::new();
        let builder = match is_of_the_listener {
            true => rig.builder().ordered_by(OrderKey::Context("user".to_owned())),
            false => rig.builder(),
        };
        let listener = builder.endpoint(AsksTwice).build().unwrap();
        listener.start().await.unwrap();
        rig.notifier().info(&Context::new(), "x", &()).await.unwrap();
        assert_eq!(rig.seen().await, "call 1");
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(listener.health().queues[0].in_flight, 0, "the broker delays the retry");
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert_eq!(rig.seen_so_far(), ["call 2", "call 3"]);
        finish(&listener).await;
        rig.assert_empty("notifications.info.dead").await;
    }
}
