//! Behaviours that the tests of oslo.messaging verify and no other test here shows. The list of all of
//! them is `listener/src/guide/oslo.md`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use listener::{
    BoxError, Config, Context, EnvelopeVersion, Listener, Notifier, Priority, Serializer, State,
    Target, Transport, notification_endpoint,
};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::prepared::Prepared;
use crate::rig::{Log, Rig, finish};

/// Logs the payload of each notification, after a name.
struct Logs(&'static str);

#[notification_endpoint(register = false, name = "logs")]
impl Logs {
    #[on(audit, debug, info, warn, error, critical, sample)]
    async fn all(&self, priority: Priority, publisher_id: &str, payload: Value, log: State<Log>) {
        let _ = log.send(format!("{} {priority} {publisher_id} {payload}", self.0));
    }
}

async fn started(builder: listener::ListenerBuilder, name: &'static str) -> Listener {
    let listener = builder.endpoint(Logs(name)).build().unwrap();
    listener.start().await.unwrap();
    listener
}

fn to_topic(rig: &Rig, topic: &str) -> Notifier {
    let builder = Notifier::builder(rig.transport.clone()).publisher_id("p");
    builder.topic(topic).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_listener_of_two_topics_receives_both() {
    let mut rig = Rig::new();
    let builder = rig.builder().target(Target::topic("one")).target(Target::topic("two"));
    let listener = started(builder, "a").await;
    to_topic(&rig, "one").info(&Context::new(), "x", &1).await.unwrap();
    assert_eq!(rig.seen().await, "a info p 1");
    to_topic(&rig, "two").info(&Context::new(), "x", &2).await.unwrap();
    assert_eq!(rig.seen().await, "a info p 2");
    finish(&listener).await;
    assert_eq!(rig.seen_so_far(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn listeners_of_different_topics_receive_only_their_own() {
    let mut rig = Rig::new();
    let one = started(rig.builder().target(Target::topic("one")), "one").await;
    let two = started(rig.builder().target(Target::topic("two")), "two").await;
    for topic in ["one", "two"] {
        to_topic(&rig, topic).info(&Context::new(), "x", &topic).await.unwrap();
    }
    finish(&one).await;
    finish(&two).await;
    let mut seen = rig.seen_so_far();
    seen.sort();
    assert_eq!(seen, ["one info p \"one\"", "two info p \"two\""]);
}

#[tokio::test(start_paused = true)]
async fn a_control_exchange_is_that_of_targets_without_one() {
    let mut rig = Rig::new();
    let builder = rig.builder().control_exchange("nova").pool("pool");
    let listener = started(builder, "a").await;
    for exchange in ["openstack", "nova"] {
        let builder = Notifier::builder(rig.transport.clone()).publisher_id("p");
        let notifier = builder.control_exchange(exchange).build().unwrap();
        notifier.info(&Context::new(), "x", &exchange).await.unwrap();
    }
    finish(&listener).await;
    assert_eq!(rig.seen_so_far(), ["a info p \"nova\""]);
}

#[tokio::test(start_paused = true)]
async fn notifications_of_every_priority_arrive() {
    let mut rig = Rig::new();
    let listener = started(rig.builder(), "a").await;
    for priority in Priority::ALL {
        rig.notifier().notify(priority, &Context::new(), "x", &1).await.unwrap();
        assert_eq!(rig.seen().await, format!("a {priority} compute.host1 1"));
    }
    finish(&listener).await;
}

#[tokio::test(start_paused = true)]
async fn a_payload_that_is_a_string_arrives() {
    let mut rig = Rig::new();
    let listener = started(rig.builder(), "a").await;
    let notifier = rig.notifier().with_publisher_id("abc");
    notifier.info(&Context::new(), "test", "Hello World!").await.unwrap();
    assert_eq!(rig.seen().await, "a info abc \"Hello World!\"");
    finish(&listener).await;
}

struct ReturnsNothing;

#[notification_endpoint(register = false, order = -1)]
impl ReturnsNothing {
    async fn info(&self, log: State<Log>) {
        let _ = log.send("nothing".to_owned());
    }
}

struct OnlyErrors;

#[notification_endpoint(register = false, order = -1)]
impl OnlyErrors {
    async fn error(&self, log: State<Log>) {
        let _ = log.send("error".to_owned());
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_after_one_that_returns_nothing_is_called() {
    let mut rig = Rig::new();
    let listener = started(rig.builder().endpoint(ReturnsNothing), "second").await;
    rig.notifier().info(&Context::new(), "x", &1).await.unwrap();
    finish(&listener).await;
    assert_eq!(rig.seen_so_far(), ["nothing", "second info compute.host1 1"]);
}

#[tokio::test(start_paused = true)]
async fn only_endpoints_with_a_method_for_the_priority_are_called() {
    let mut rig = Rig::new();
    let builder = rig.builder().endpoint(ReturnsNothing).endpoint(OnlyErrors);
    let listener = started(builder, "both").await;
    rig.notifier().error(&Context::new(), "x", &1).await.unwrap();
    finish(&listener).await;
    assert_eq!(rig.seen_so_far(), ["error", "both error compute.host1 1"]);
}

async fn in_pool(rig: &Rig, pool: &str, name: &'static str) -> Listener {
    let builder = rig.builder().pool(pool).executor(listener::options::Executor::Sequential);
    started(builder, name).await
}

/// The payloads that the listeners of this name have logged, in order.
fn payloads(seen: &[String], name: &str) -> Vec<u32> {
    let of_name = seen.iter().filter(|line| line.starts_with(name));
    of_name.map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn two_pools_each_receive_all_notifications_in_order() {
    let mut rig = Rig::new();
    let listeners = [in_pool(&rig, "pool1", "one").await, in_pool(&rig, "pool2", "two").await];
    let notifier = rig.notifier();
    for number in 0..20 {
        notifier.info(&Context::new(), "x", &number).await.unwrap();
    }
    for listener in &listeners {
        finish(listener).await;
    }
    let seen = rig.seen_so_far();
    for name in ["one", "two"] {
        assert_eq!(payloads(&seen, name), (0..20).collect::<Vec<_>>(), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pool_loses_nothing_while_its_members_start_and_stop() {
    let mut rig = Rig::new();
    let alone = in_pool(&rig, "pool1", "alone").await;
    let (first, second) =
        (in_pool(&rig, "pool2", "member").await, in_pool(&rig, "pool2", "member").await);
    let notifier = rig.notifier();
    let send = async |numbers: std::ops::Range<u32>| {
        for number in numbers {
            notifier.info(&Context::new(), "x", &number).await.unwrap();
        }
    };
    send(0..25).await;
    first.stop().await;
    send(25..50).await;
    first.wait().await.unwrap();
    first.start().await.unwrap();
    second.stop().await;
    send(50..75).await;
    second.wait().await.unwrap();
    second.start().await.unwrap();
    send(75..100).await;
    for listener in [&alone, &first, &second] {
        finish(listener).await;
    }
    let seen = rig.seen_so_far();
    let all: Vec<u32> = (0..100).collect();
    assert_eq!(payloads(&seen, "alone"), all);
    let mut shared = payloads(&seen, "member");
    shared.sort_unstable();
    assert_eq!(shared, all);
}

#[tokio::test(start_paused = true)]
async fn starting_a_running_listener_does_nothing() {
    let mut rig = Rig::new();
    let listener = started(rig.builder(), "a").await;
    listener.start().await.unwrap();
    rig.notifier().info(&Context::new(), "x", &1).await.unwrap();
    finish(&listener).await;
    assert_eq!(rig.seen_so_far(), ["a info compute.host1 1"]);
    rig.notifier().info(&Context::new(), "x", &2).await.unwrap();
    assert!(!rig.is_empty("notifications.info").await);
}

/// The driver allows only one subscription.
#[tokio::test(start_paused = true)]
async fn of_two_concurrent_starts_one_runs_and_the_other_waits() {
    let rig = Rig::new();
    let (sender, deliveries) = mpsc::unbounded_channel();
    let transport = Transport::new(Prepared::new(deliveries), "prepared");
    let listener = rig.builder_on(transport).endpoint(Logs("a")).build().unwrap();
    let (one, other) = tokio::join!(listener.start(), listener.start());
    one.unwrap();
    other.unwrap();
    assert!(listener.is_ready());
    drop(sender);
    finish(&listener).await;
}

#[tokio::test(start_paused = true)]
async fn an_event_type_that_is_a_list_matches_no_name() {
    struct Named;

    #[notification_endpoint(register = false, event_type = "instance|a")]
    impl Named {
        async fn info(&self, event_type: &str, log: State<Log>) {
            let _ = log.send(event_type.to_owned());
        }
    }

    let mut rig = Rig::new();
    let listener = rig.builder().endpoint(Named).build().unwrap();
    listener.start().await.unwrap();
    for event_type in [json!(["instance", "a"]), json!("instance.create")] {
        let body = json!({"event_type": event_type, "priority": "INFO", "payload": {}});
        rig.send_raw(body.to_string()).await;
    }
    finish(&listener).await;
    assert_eq!(rig.seen_so_far(), ["instance.create"]);
    rig.assert_empty("notifications.info.dead").await;
}

#[tokio::test(start_paused = true)]
async fn a_payload_without_keys_does_not_match_a_filter_for_one() {
    struct Active;

    #[notification_endpoint(register = false, payload(state = "active"))]
    impl Active {
        async fn info(&self, payload: Value, log: State<Log>) {
            let _ = log.send(payload.to_string());
        }
    }

    let mut rig = Rig::new();
    let listener = rig.builder().endpoint(Active).build().unwrap();
    listener.start().await.unwrap();
    let payloads = [
        json!(null),
        json!("state: active"),
        json!(["state", "active"]),
        json!({"other": "active"}),
        json!({"state": "active"}),
    ];
    for payload in payloads {
        rig.notifier().info(&Context::new(), "x", &payload).await.unwrap();
    }
    finish(&listener).await;
    assert_eq!(rig.seen_so_far(), [r#"{"state":"active"}"#]);
    rig.assert_empty("notifications.info.dead").await;
}

#[tokio::test(start_paused = true)]
async fn an_expression_ends_at_the_end_of_the_text() {
    struct Ends;

    #[notification_endpoint(register = false, event_type = "create$")]
    impl Ends {
        async fn info(&self, event_type: String, log: State<Log>) {
            let _ = log.send(event_type);
        }
    }

    let mut rig = Rig::new();
    let listener = rig.builder().endpoint(Ends).build().unwrap();
    listener.start().await.unwrap();
    for event_type in ["create\n", "create"] {
        rig.notifier().info(&Context::new(), event_type, &()).await.unwrap();
    }
    finish(&listener).await;
    assert_eq!(rig.seen_so_far(), ["create"]);
}

/// A body of either version as the notification in it.
fn inner(body: &[u8]) -> (EnvelopeVersion, Value) {
    let outer: Value = serde_json::from_slice(body).unwrap();
    match outer["oslo.message"].as_str() {
        Some(text) => (EnvelopeVersion::V2, serde_json::from_str(text).unwrap()),
        None => (EnvelopeVersion::V1, outer),
    }
}

#[tokio::test(start_paused = true)]
async fn each_combination_of_version_publisher_topics_and_priority_is_sent_once_to_each_topic() {
    let rig = Rig::new();
    for version in [EnvelopeVersion::V1, EnvelopeVersion::V2] {
        for (built, changed) in
            [(None, None), (Some("a"), None), (None, Some("b")), (Some("a"), Some("b"))]
        {
            for topics in [&["notifications"][..], &["one"], &["one", "two"]] {
                let builder = Notifier::builder(rig.transport.clone()).version(version);
                let builder = topics.iter().fold(builder, |builder, topic| builder.topic(*topic));
                let builder = match built {
                    Some(id) => builder.publisher_id(id),
                    None => builder,
                };
                let notifier = builder.build().unwrap();
                let notifier = match changed {
                    Some(id) => notifier.with_publisher_id(id),
                    None => notifier,
                };
                for priority in Priority::ALL {
                    let context = Context::new().with("user", "u");
                    notifier.notify(priority, &context, "x", &json!({"n": 1})).await.unwrap();
                    let mut ids = Vec::new();
                    for topic in topics {
                        let queue = format!("{topic}.{priority}");
                        let (found, sent) = inner(&rig.take(&queue).await.body);
                        assert_eq!(found, version);
                        assert_eq!(sent["priority"], priority.wire());
                        assert_eq!(sent["publisher_id"], json!(changed.or(built)));
                        assert_eq!(sent["_context_user"], "u");
                        ids.push(sent["message_id"].clone());
                        rig.assert_empty(&queue).await;
                    }
                    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
                }
            }
        }
    }
}

/// Counts its calls, and records the context that each payload is serialized with.
#[derive(Clone, Default)]
struct Counting {
    contexts: Arc<AtomicUsize>,
    payloads: Arc<AtomicUsize>,
}

impl Serializer for Counting {
    fn serialize_payload(&self, context: &Context, payload: Value) -> Result<Value, BoxError> {
        self.payloads.fetch_add(1, Ordering::SeqCst);
        Ok(json!({"serialized": payload, "by": context.get_str("user")}))
    }

    fn serialize_context(&self, context: Context) -> Result<Context, BoxError> {
        self.contexts.fetch_add(1, Ordering::SeqCst);
        let user = context.get_str("user").unwrap_or_default().to_uppercase();
        Ok(context.with("user", user))
    }
}

#[tokio::test(start_paused = true)]
async fn a_serializer_converts_payload_and_context_once_for_each_notification() {
    let rig = Rig::new();
    let counting = Counting::default();
    let builder = Notifier::builder(rig.transport.clone()).topic("one").topic("two");
    let notifier = builder.serializer(counting.clone()).build().unwrap();
    notifier.info(&Context::new().with("user", "u"), "x", &1).await.unwrap();
    for queue in ["one.info", "two.info"] {
        let (_, sent) = inner(&rig.take(queue).await.body);
        assert_eq!(sent["payload"], json!({"serialized": 1, "by": "u"}));
        assert_eq!(sent["_context_user"], "U");
    }
    let counts = [counting.contexts, counting.payloads].map(|count| count.load(Ordering::SeqCst));
    assert_eq!(counts, [1, 1]);
}

#[test]
fn a_kafka_url_is_refused_with_the_known_schemes() {
    let error = Transport::open("kafka://host:9092").unwrap_err().to_string();
    assert!(error.contains("kafka") && error.contains("expected one of: rabbit"), "{error}");
}

#[test]
fn an_unknown_executor_is_an_error_that_lists_the_known_ones() {
    let variables = [("LISTENER_EXECUTOR".to_owned(), "foo".to_owned())];
    let error = Config::from_variables(variables).unwrap_err().to_string();
    assert!(error.contains("foo") && error.contains("sequential"), "{error}");
}
