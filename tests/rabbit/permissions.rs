//! A user with few permissions: the missing ones are logged at the start, with patterns that suffice
//! for a listener, and nothing is lost before they are granted.

use std::io::Write;
use std::sync::{Arc, Mutex};

use listener::driver::JournalAppend;
use listener::driver::JournalError;
use listener::options::RetryOptions;
use listener::{Attempt, Context, Listener, Notifier, Target, Transport, notification_endpoint};
use serde_json::json;

use super::mistakes::user;
use super::*;

const VHOST: &str = "least";

/// The payload 1 fails once, 2 permanently.
#[derive(Clone, Default)]
struct Tap(Arc<Mutex<Vec<(u32, u32)>>>);

#[notification_endpoint(register = false, name = "tap")]
impl Tap {
    async fn info(&self, payload: u32, attempt: Attempt) -> Result<(), listener::BoxError> {
        self.0.lock().unwrap().push((payload, attempt.0));
        match (payload, attempt.0) {
            (1, 1) => Err("not yet".into()),
            (2, _) => Err(listener::permanent("never").into()),
            _ => Ok(()),
        }
    }
}

impl Tap {
    fn calls(&self) -> Vec<(u32, u32)> {
        self.0.lock().unwrap().clone()
    }
}

#[derive(Clone, Default)]
pub(super) struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Buffer {
    /// What was logged until now.
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// Collects what is logged in this thread, until the guard is dropped.
pub(super) fn logged() -> (Buffer, tracing::subscriber::DefaultGuard) {
    let buffer = Buffer::default();
    let writer = buffer.clone();
    let subscriber =
        tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
    (buffer, tracing::subscriber::set_default(subscriber))
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Starts a listener of the pool, and returns the log lines about permissions.
async fn start(url: &str, tap: &Tap) -> (Listener, Vec<String>) {
    let (buffer, guard) = logged();
    let listener = Listener::builder()
        .transport_url(url)
        .target(Target::topic("notifications").exchange("nova"))
        .pool("tap")
        .retry(RetryOptions::default().delay(Duration::from_secs(1)))
        .endpoint(tap.clone())
        .build()
        .unwrap();
    listener.start().await.unwrap();
    drop(guard);
    let text = buffer.text();
    let lines = text.lines().filter(|line| line.contains("grant")).map(str::to_owned);
    (listener, lines.collect())
}

async fn end(listener: Listener) {
    listener.stop().await;
    listener.wait().await.unwrap();
}

async fn grant(node: &RabbitNode, configure: &str, write: &str, read: &str) {
    let may = json!({"configure": configure, "write": write, "read": read});
    node.api("PUT", &format!("/api/permissions/{VHOST}/user_{VHOST}"), Some(may)).await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn missing_permissions_are_logged_at_the_start_with_sufficient_patterns() {
    let node = support::shared().await;
    let url = user(node, VHOST, "^tap$", "^tap$", "^(tap|nova)$").await;
    let notifier = Notifier::builder(Transport::open(&node.vhost(VHOST).await).unwrap())
        .target(Target::topic("notifications").exchange("nova"))
        .build()
        .unwrap();
    let notify = async |number: u32| notifier.info(&Context::new(), "x", &number).await.unwrap();
    notify(0).await;

    let tap = Tap::default();
    let (listener, lines) = start(&url, &tap).await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    let patterns = [r"^(tap(\..*)?)$", r"^(tap(\..*)?|amq\.default)$", r"^(tap(\..*)?|nova)$"];
    let [configure, write, read] = patterns;
    for expected in [
        format!("configure={configure:?} write={write:?} read={read:?}"),
        concat!(
            r#"missing=["tap.dead", "tap.retry.1s", "tap.quarantine", "tap.quarantine.journal", "#,
            r#""amq.default"]"#
        )
        .to_owned(),
    ] {
        assert!(lines[0].contains(&expected), "{lines:?}: {expected}");
    }
    notify(2).await;
    wait_until("the failure", SOON, async || tap.calls().contains(&(2, 1))).await;
    end(listener).await;
    wait_until("it is back", SOON, async || node.queue_depth(VHOST, "tap").await == Some(1)).await;

    grant(node, configure, write, read).await;
    let (listener, lines) = start(&url, &tap).await;
    assert_eq!(lines, [""; 0]);
    notify(1).await;
    notify(3).await;
    wait_until("all is handled", SOON, async || {
        [(1, 2), (3, 1)].iter().all(|call| tap.calls().contains(call))
    })
    .await;
    wait_until("the dead letter", SOON, async || {
        node.queue_depth(VHOST, "tap.dead").await == Some(1)
    })
    .await;
    assert!(node.queue_depth(VHOST, "tap.retry.1s").await.is_some());
    end(listener).await;

    // What a crash requires: a journal, and a quarantine queue that is consumed.
    let rabbit = rabbit(&url);
    let append = JournalAppend::new("tap.quarantine.journal", Bytes::from_static(b"{}"), SOON)
        .read_from(Some(0));
    rabbit.journal(append).await.unwrap();
    rabbit.send(to(Route::Quarantine("tap.quarantine".to_owned()), "{}")).await.unwrap();
    let mut subscription = subscription("tap");
    subscription.quarantine = vec!["tap.quarantine".to_owned()];
    let mut subscribed = rabbit.subscribe(subscription).await.unwrap();
    let delivery = next(&mut subscribed).await;
    assert_eq!(&*delivery.info.queue, "tap.quarantine");
    delivery.settle(Settle::Ack).unwrap();
    subscribed.consumer.close().await;
}

/// The user may consume an existing queue, but not an existing quarantine queue.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn an_unreadable_quarantine_queue_does_not_keep_others_from_being_consumed() {
    const QUARANTINE: &str = "notifications.info.quarantine";
    let node = support::shared().await;
    let url = user(node, "unread", "^$", "^$", "^notifications.info$").await;
    let amqp = Amqp::connect(&node.vhost("unread").await).await;
    amqp.declare_exchange("nova", true).await;
    amqp.declare_queue(QUEUE, true, &[]).await;
    amqp.declare_queue(QUARANTINE, true, &[]).await;
    let publish =
        async |body| amqp.publish("", QUEUE, body, lapin::BasicProperties::default()).await;
    let restricted = subscription(QUEUE).quarantine(vec![QUARANTINE.to_owned()]);
    let rabbit = rabbit(&url);

    let (buffer, guard) = logged();
    let mut subscribed = rabbit.subscribe(restricted.clone()).await.unwrap();
    let warned =
        |text: &str| text.lines().filter(|line| line.contains("cannot be consumed")).count();
    // RabbitMQ 4.3 requires a permission to check whether a queue exists: there it counts as missing.
    let each = if node.version().await >= (4, 3) { 0 } else { 1 };
    wait_until("the warning", SOON, async || warned(&buffer.text()) == each).await;
    let patterns = buffer.text().lines().any(|line| {
        line.contains("grant these patterns") && line.contains(&format!("{QUARANTINE:?}"))
    });
    assert!(patterns, "{}", buffer.text());
    publish("one").await;
    assert_eq!(next(&mut subscribed).await.body, "one");
    subscribed.consumer.close().await;

    // Now it is declared while the listener runs.
    amqp.delete_queue(QUARANTINE).await;
    let mut subscribed = rabbit.subscribe(restricted).await.unwrap();
    ack_until(&mut subscribed, "one").await.settle(Settle::Ack).unwrap();
    let mut changes = subscribed.consumer.state();
    changes.mark_unchanged();
    amqp.declare_queue(QUARANTINE, true, &[]).await;
    subscribed.consumer.recheck_quarantine_queues();
    wait_until("the second warning", SOON, async || warned(&buffer.text()) == 2 * each).await;
    publish("two").await;
    ack_until(&mut subscribed, "two").await.settle(Settle::Ack).unwrap();
    assert!(!changes.has_changed().unwrap(), "{:?}", *changes.borrow());
    // It is checked again, and not logged again.
    subscribed.consumer.recheck_quarantine_queues();
    publish("three").await;
    ack_until(&mut subscribed, "three").await.settle(Settle::Ack).unwrap();
    assert_eq!(warned(&buffer.text()), 2 * each, "{}", buffer.text());
    drop(guard);

    // Once it is granted it is consumed.
    let may = json!({"configure": "^$", "write": "^$", "read": "^notifications"});
    node.api("PUT", "/api/permissions/unread/user_unread", Some(may)).await;
    amqp.publish("", QUARANTINE, "four", lapin::BasicProperties::default()).await;
    subscribed.consumer.recheck_quarantine_queues();
    let delivery = next(&mut subscribed).await;
    assert_eq!((&*delivery.info.queue, &*delivery.body), (QUARANTINE, &b"four"[..]));
    delivery.settle(Settle::Ack).unwrap();
    subscribed.consumer.close().await;
    assert_eq!(node.queue_depth("unread", QUARANTINE).await, Some(0));
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn an_unreadable_journal_is_unsupported() {
    let node = support::shared().await;
    let rabbit = rabbit(&user(node, "appended", ".*", ".*", "^(tap|nova)$").await);
    let append = JournalAppend::new("tap.quarantine.journal", Bytes::from_static(b"{}"), SOON)
        .read_from(Some(0));
    let error = rabbit.journal(append).await.unwrap_err();
    assert!(matches!(error, JournalError::Unsupported(_)), "{error}");
    let text = error.to_string();
    assert!(text.contains("may not read journal \"tap.quarantine.journal\""), "{text}");
}

/// The log lines about permissions when the pool `tap` is consumed, and the error of a dead letter.
async fn logged_without_default_exchange(
    url: &str,
    quarantine: Vec<String>,
    expires: Option<Duration>,
) -> (Vec<String>, String) {
    let binding = Binding::new("nova", QUEUE, "tap");
    let asked = subscription("tap").bindings(vec![binding]).quarantine(quarantine).expires(expires);
    let rabbit = rabbit(url);
    let (buffer, guard) = logged();
    let subscribed = rabbit.subscribe(asked).await.unwrap();
    let is_logged = |line: &&str| line.contains("grant these patterns");
    let lines = async || buffer.text().lines().any(|line| is_logged(&line));
    wait_until("the permissions are logged", SOON, lines).await;
    drop(guard);
    let refused = rabbit.send(to(Route::Queue("tap.dead".to_owned()), "{}")).await;
    subscribed.consumer.close().await;
    let text = buffer.text();
    let lines = text.lines().filter(is_logged).map(str::to_owned).collect();
    (lines, refused.unwrap_err().to_string())
}

fn is_about_the_default_exchange(refused: &str, user: &str) {
    let expected = format!(
        "user \"{user}\" may not publish to the default exchange; grant it write on \"amq\\.default\""
    );
    assert!(refused.contains(&expected), "{refused}");
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_default_exchange_without_write_permission_is_logged_at_the_start() {
    let node = support::shared().await;
    let quarantine = vec!["tap.quarantine".to_owned()];
    for (vhost, quarantine, expires) in
        [("temporary", vec![], Some(SOON)), ("durable", quarantine, None)]
    {
        let url = user(node, vhost, "^tap", "^tap", "^(tap|nova)").await;
        Amqp::connect(&node.vhost(vhost).await).await.declare_exchange("nova", true).await;
        let (lines, refused) = logged_without_default_exchange(&url, quarantine, expires).await;
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains(r#"missing=["amq.default"]"#), "{lines:?}");
        is_about_the_default_exchange(&refused, &format!("user_{vhost}"));
    }
}

/// Another user has declared all side queues, so that only the permission to publish is missing.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_default_exchange_without_write_permission_is_logged_when_all_queues_exist() {
    const VHOST: &str = "all_exist";
    let node = support::shared().await;
    let all = node.vhost(VHOST).await;
    let admin = rabbit(&all);
    let amqp = Amqp::connect(&all).await;
    amqp.declare_exchange("nova", true).await;
    amqp.declare_queue("tap", true, &[]).await;
    for route in [
        Route::Queue("tap.dead".to_owned()),
        Route::Delayed { queue: "tap".to_owned(), delay: Duration::from_secs(1) },
        Route::Quarantine("tap.quarantine".to_owned()),
    ] {
        admin.send(to(route, "{}")).await.unwrap();
    }
    let append = JournalAppend::new("tap.quarantine.journal", Bytes::from_static(b"{}"), SOON);
    admin.journal(append.clone()).await.unwrap();
    for configure in ["^tap", "^$"] {
        let url = user(node, VHOST, configure, configure, "^(tap|nova)").await;
        let (lines, refused) =
            logged_without_default_exchange(&url, vec!["tap.quarantine".to_owned()], None).await;
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains(r#""amq.default"]"#), "{lines:?}");
        is_about_the_default_exchange(&refused, &format!("user_{VHOST}"));
        // The journal is unsupported, and not waited for.
        let error = rabbit(&url).journal(append.clone()).await.unwrap_err();
        assert!(matches!(error, JournalError::Unsupported(_)), "{error}");
        is_about_the_default_exchange(&error.to_string(), &format!("user_{VHOST}"));
    }
    // Nothing is logged once it is granted, and nothing was published to check it.
    let url = user(node, VHOST, "^$", r"^amq\.default$", "^(tap|nova)").await;
    let depths = async || {
        let mut depths = node.queue_depths(VHOST).await;
        // The broker updates the depth of a stream with a delay.
        depths.remove("tap.quarantine.journal");
        depths
    };
    let before = depths().await;
    let (buffer, guard) = logged();
    let quarantine = vec!["tap.quarantine".to_owned()];
    let subscribed =
        rabbit(&url).subscribe(subscription("tap").quarantine(quarantine)).await.unwrap();
    drop(guard);
    let lines = buffer.text();
    let lines: Vec<_> = lines.lines().filter(|line| line.contains("amq.default\"]")).collect();
    assert_eq!(lines, [""; 0]);
    subscribed.consumer.close().await;
    assert_eq!(depths().await, before);
}
