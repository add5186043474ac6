//! What is logged: the endpoints at the start, one event for each settled delivery, and nothing of
//! context or payload.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use listener::driver::{Outgoing, Route, SendError};
use listener::options::{OnFailure, RetryOptions};
use listener::{
    Config, Context, Listener, Notifier, Outcome, Target, Transport, notification_endpoint,
};

use crate::rig::{Rig, finish, once};
use crate::sending::sending;

/// Collects what is logged.
#[derive(Clone, Default)]
pub(crate) struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

struct Endpoint;

#[notification_endpoint(register = false)]
impl Endpoint {
    async fn info(&self, payload: u32) -> Result<(), String> {
        if payload == 0 { Err("it is zero".to_owned()) } else { Ok(()) }
    }
}

impl Buffer {
    /// Collects what this thread logs until the guard is dropped.
    pub(crate) fn set(&self) -> tracing::subscriber::DefaultGuard {
        let writer = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::DEBUG)
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .without_time()
            .finish();
        tracing::subscriber::set_default(subscriber)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    fn lines(&self) -> Vec<String> {
        self.text().lines().filter(|line| line.contains("listener::")).map(str::to_owned).collect()
    }
}

/// How many warnings contain this text.
fn warnings(about: &str, build: impl FnOnce()) -> usize {
    let buffer = Buffer::default();
    let guard = buffer.set();
    build();
    drop(guard);
    count(&buffer.lines(), &["WARN", about])
}

/// Builds a listener and a notifier of this topic, which both warn about it.
fn with_topic(topic: &str) {
    let rig = Rig::new();
    drop(rig.builder().target(Target::topic(topic)).endpoint(Endpoint).build().unwrap());
    Notifier::builder(rig.transport.clone()).topic(topic).build().unwrap();
}

/// Builds a listener with these topics in the environment.
fn with_topics(topics: &str) {
    let variables = [("LISTENER_TOPICS".to_owned(), topics.to_owned())];
    let config = Config::from_variables(variables).unwrap();
    let builder = Listener::builder().config(config).transport_url("memory://");
    drop(builder.endpoint(Endpoint).build().unwrap());
}

struct TopicWithPriority;

#[notification_endpoint(register = false, topic = "notifications.info")]
impl TopicWithPriority {
    async fn info(&self) {}
}

struct TopicWithSlash;

#[notification_endpoint(register = false, topic = "nova/notifications")]
impl TopicWithSlash {
    async fn info(&self) {}
}

#[test]
fn a_topic_that_ends_in_a_priority_is_warned_about() {
    let about = "ends in a priority";
    for (topic, expected) in [
        ("notifications.info", 2),
        ("notifications.INFO", 2),
        ("notifications", 0),
        ("notifications.informed", 0),
    ] {
        assert_eq!(warnings(about, || with_topic(topic)), expected, "{topic}");
    }
    assert_eq!(warnings(about, || with_topics("nova/notifications.info")), 1);
    assert_eq!(
        warnings(about, || drop(Rig::new().builder().endpoint(TopicWithPriority).build())),
        1
    );
}

#[test]
fn a_topic_that_contains_a_slash_is_warned_about() {
    let about = "the topic contains a `/`";
    assert_eq!(warnings(about, || with_topic("nova/notifications")), 2);
    assert_eq!(warnings(about, || with_topics("nova/notifications/versioned")), 1);
    assert_eq!(warnings(about, || with_topics("nova/notifications")), 0);
    assert_eq!(warnings(about, || drop(Rig::new().builder().endpoint(TopicWithSlash).build())), 1);
}

#[test]
fn a_topic_named_like_a_side_queue_is_warned_about() {
    let about = "ends like the name of a side queue";
    assert_eq!(warnings(about, || with_topics("notifications.info.dead,a.quarantine")), 2);
    assert_eq!(warnings(about, || with_topic("notifications.info.dead")), 2);
    assert_eq!(warnings(about, || with_topic("notifications.dead.x")), 0);
}

#[test]
fn retired_options_are_listed_in_one_warning_with_their_current_names() {
    let url = "rabbit://h/?rabbit_durable_queues=true&heartbeat_in_pthread=true&rabbit_use_ssl=0";
    let expected = "rabbit_durable_queues (now amqp_durable_queues), heartbeat_in_pthread (no \
                    effect: heartbeats never depend on the program's threads), rabbit_use_ssl (now ssl)";
    assert_eq!(warnings(expected, || drop(Transport::open(url).unwrap())), 1);
    assert_eq!(warnings("", || drop(Transport::open(url).unwrap())), 1);
    assert_eq!(warnings("", || drop(Transport::open("rabbit://h/").unwrap())), 0);
}

/// Runs one delivery and returns what was logged.
async fn log(payload: &str) -> Vec<String> {
    let buffer = Buffer::default();
    let guard = buffer.set();
    let rig = Rig::new();
    let listener = rig.builder().retry(once()).endpoint(Endpoint).build().unwrap();
    listener.start().await.unwrap();
    let context = Context::new().with("auth_token", "hunter2");
    let payload: serde_json::Value = serde_json::from_str(payload).unwrap();
    rig.notifier().info(&context, "instance.create.end", &payload).await.unwrap();
    finish(&listener).await;
    drop(guard);
    assert!(!buffer.text().contains("hunter2"), "{}", buffer.text());
    buffer.lines()
}

/// How many lines contain all of these texts.
fn count(lines: &[String], texts: &[&str]) -> usize {
    lines.iter().filter(|line| texts.iter().all(|text| line.contains(text))).count()
}

#[tokio::test(start_paused = true)]
async fn endpoints_are_logged_at_the_start_and_each_delivery_once() {
    let lines = log("1").await;
    assert_eq!(count(&lines, &["endpoint=\"flow::logging::Endpoint\"", "methods=\"info\""]), 1);
    assert_eq!(
        count(
            &lines,
            &[
                "settled",
                "outcome=\"handled\"",
                "queue=notifications.info",
                "event_type=\"instance.create.end\"",
                "message_id=\""
            ]
        ),
        1,
        "{lines:#?}"
    );
    assert_eq!(count(&lines, &["outcome="]), 1, "{lines:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_is_logged_once_as_an_error_with_its_reason() {
    let lines = log("0").await;
    assert_eq!(
        count(
            &lines,
            &[
                "ERROR",
                "outcome=\"dead-lettered\"",
                "reason=\"error\"",
                "it is zero",
                "notifications.info.dead"
            ]
        ),
        1,
        "{lines:#?}"
    );
    assert_eq!(count(&lines, &["ERROR"]), 1, "{lines:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_mismatched_payload_is_logged_without_its_value() {
    let lines = log("\"hunter2\"").await;
    assert_eq!(count(&lines, &["ERROR", "reason=\"argument\"", "invalid type: a string"]), 1);
}

#[tokio::test(start_paused = true)]
async fn a_discarded_failure_is_logged_once_as_an_error_with_its_method() {
    let buffer = Buffer::default();
    let guard = buffer.set();
    let rig = Rig::new();
    let builder = rig.builder().on_failure(OnFailure::Discard);
    let listener = builder.endpoint(Endpoint).build().unwrap();
    listener.start().await.unwrap();
    rig.notifier().info(&Context::new(), "instance.create.end", &0).await.unwrap();
    finish(&listener).await;
    drop(guard);
    let lines = buffer.lines();
    let texts =
        ["ERROR", "flow::logging::Endpoint::info", "it is zero", "queue=notifications.info"];
    assert_eq!(count(&lines, &texts), 1, "{lines:#?}");
    assert_eq!(count(&lines, &["ERROR"]), 1, "{lines:#?}");
}

/// Runs one delivery whose copies the broker never accepts, with a hold of ten seconds.
async fn log_of_refused(payload: u32, refusal: fn(&Outgoing) -> SendError) -> Vec<String> {
    let buffer = Buffer::default();
    let guard = buffer.set();
    let rig = Rig::new();
    let transport = sending(&rig.transport, move |below, outgoing| async move {
        match outgoing.route {
            Route::Topic { .. } => below.send(outgoing).await,
            _ => Err(refusal(&outgoing)),
        }
    });
    let retry = RetryOptions::default().attempts(2).hold(Duration::from_secs(10));
    let retry = retry.delay(Duration::from_secs(60)).max_delay(Duration::from_secs(60));
    let builder = rig.builder_on(transport).retry(retry);
    let listener = builder.endpoint(Gives).build().unwrap();
    listener.start().await.unwrap();
    rig.notifier().info(&Context::new(), "instance.create.end", &payload).await.unwrap();
    tokio::time::sleep(Duration::from_secs(70)).await;
    finish(&listener).await;
    drop(guard);
    buffer.lines()
}

/// Gives up on zero, and fails otherwise.
struct Gives;

#[notification_endpoint(register = false)]
impl Gives {
    async fn info(&self, payload: u32) -> Result<Outcome, &'static str> {
        if payload == 0 { Ok(Outcome::dead_letter("it is zero")) } else { Err("not yet") }
    }
}

fn too_large(outgoing: &Outgoing) -> SendError {
    SendError::TooLarge { route: outgoing.route.to_string(), size: 2, limit: 1 }
}

#[tokio::test(start_paused = true)]
async fn the_time_for_which_a_refused_dead_letter_is_held_is_logged_as_it_is() {
    let lines = log_of_refused(0, too_large).await;
    assert_ne!(count(&lines, &["held=60s"]), 0, "{lines:#?}");
    assert_eq!(count(&lines, &["held=10s"]), 0, "{lines:#?}");
}

#[tokio::test(start_paused = true)]
async fn no_log_line_promises_to_hold_a_retry_that_is_too_long() {
    let no_delay = |outgoing: &Outgoing| SendError::NoDelay {
        route: outgoing.route.to_string(),
        reason: "no permission".to_owned(),
    };
    for (refusal, expected) in
        [(too_large as fn(&Outgoing) -> _, "never accepts"), (no_delay, "delay")]
    {
        let lines = log_of_refused(1, refusal).await;
        let held: Vec<_> =
            lines.iter().filter(|line| line.contains("held in the process")).collect();
        assert!(!held.is_empty() && held.iter().all(|line| line.contains(expected)), "{lines:#?}");
        assert!(held.iter().all(|line| line.contains("or dead-lettered")), "{held:#?}");
    }
}
