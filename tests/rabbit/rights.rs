//! An account that may do little: what it lacks is told at the start, with patterns that suffice
//! for all that a listener does, and nothing is lost before they are granted.

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

/// 1 fails once, 2 for good.
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
    /// What was logged so far.
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

/// Starts a listener of the pool, and gives what was told of permissions.
async fn start(url: &str, tap: &Tap) -> (Listener, Vec<String>) {
    let (buffer, guard) = logged();
    let listener = Listener::builder()
        .transport_url(url)
        .target(Target::topic("notifications").exchange("nova"))
        .pool("tap")
        .retry(RetryOptions::default().pause(Duration::from_secs(1)))
        .endpoint(tap.clone())
        .build()
        .unwrap();
    listener.start().await.unwrap();
    drop(guard);
    let text = buffer.text();
    let told = text.lines().filter(|line| line.contains("grant")).map(str::to_owned);
    (listener, told.collect())
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
async fn what_an_account_lacks_is_told_at_the_start_with_patterns_that_suffice() {
    let node = support::shared().await;
    let url = user(node, VHOST, "^tap$", "^tap$", "^(tap|nova)$").await;
    let notifier = Notifier::builder(Transport::open(&node.vhost(VHOST).await).unwrap())
        .target(Target::topic("notifications").exchange("nova"))
        .build()
        .unwrap();
    let notify = async |number: u32| notifier.info(&Context::new(), "x", &number).await.unwrap();
    notify(0).await;

    let tap = Tap::default();
    let (listener, told) = start(&url, &tap).await;
    assert_eq!(told.len(), 1, "{told:?}");
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
        assert!(told[0].contains(&expected), "{told:?}: {expected}");
    }
    notify(2).await;
    wait_until("the failure", SOON, async || tap.calls().contains(&(2, 1))).await;
    end(listener).await;
    wait_until("it is back", SOON, async || node.queue_depth(VHOST, "tap").await == Some(1)).await;

    grant(node, configure, write, read).await;
    let (listener, told) = start(&url, &tap).await;
    assert_eq!(told, [""; 0]);
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

    // What a death leads to: a journal, and a quarantine queue that is consumed.
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

/// The account has what a consumer of an existing queue needs, and a quarantine queue exists that
/// it may not consume.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_quarantine_queue_that_may_not_be_read_keeps_no_other_from_being_consumed() {
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
    // RabbitMQ 4.3 asks for a permission to look whether a queue exists: it counts as missing there.
    let each = if node.version().await >= (4, 3) { 0 } else { 1 };
    wait_until("the warning", SOON, async || warned(&buffer.text()) == each).await;
    let patterns = buffer.text().lines().any(|line| {
        line.contains("grant these patterns") && line.contains(&format!("{QUARANTINE:?}"))
    });
    assert!(patterns, "{}", buffer.text());
    publish("one").await;
    assert_eq!(next(&mut subscribed).await.body, "one");
    subscribed.consumer.close().await;

    // It is declared while the listener runs.
    amqp.delete_queue(QUARANTINE).await;
    let mut subscribed = rabbit.subscribe(restricted).await.unwrap();
    ack_until(&mut subscribed, "one").await.settle(Settle::Ack).unwrap();
    let mut changes = subscribed.consumer.state();
    changes.mark_unchanged();
    amqp.declare_queue(QUARANTINE, true, &[]).await;
    subscribed.consumer.look_again();
    wait_until("the second warning", SOON, async || warned(&buffer.text()) == 2 * each).await;
    publish("two").await;
    ack_until(&mut subscribed, "two").await.settle(Settle::Ack).unwrap();
    assert!(!changes.has_changed().unwrap(), "{:?}", *changes.borrow());
    // Looked for again, and not logged again.
    subscribed.consumer.look_again();
    publish("three").await;
    ack_until(&mut subscribed, "three").await.settle(Settle::Ack).unwrap();
    assert_eq!(warned(&buffer.text()), 2 * each, "{}", buffer.text());
    drop(guard);

    // Once it is granted it is consumed.
    let may = json!({"configure": "^$", "write": "^$", "read": "^notifications"});
    node.api("PUT", "/api/permissions/unread/user_unread", Some(may)).await;
    amqp.publish("", QUARANTINE, "four", lapin::BasicProperties::default()).await;
    subscribed.consumer.look_again();
    let delivery = next(&mut subscribed).await;
    assert_eq!((&*delivery.info.queue, &*delivery.body), (QUARANTINE, &b"four"[..]));
    delivery.settle(Settle::Ack).unwrap();
    subscribed.consumer.close().await;
    assert_eq!(node.queue_depth("unread", QUARANTINE).await, Some(0));
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_journal_that_may_not_be_read_is_none() {
    let node = support::shared().await;
    let rabbit = rabbit(&user(node, "appended", ".*", ".*", "^(tap|nova)$").await);
    let append = JournalAppend::new("tap.quarantine.journal", Bytes::from_static(b"{}"), SOON)
        .read_from(Some(0));
    let error = rabbit.journal(append).await.unwrap_err();
    assert!(matches!(error, JournalError::Unsupported(_)), "{error}");
    let text = error.to_string();
    assert!(text.contains("may not read journal \"tap.quarantine.journal\""), "{text}");
}

/// What is told of permissions when the pool `tap` is consumed with these, and what a dead letter
/// is refused with.
async fn told_without_default_exchange(
    url: &str,
    quarantine: Vec<String>,
    expires: Option<Duration>,
) -> (Vec<String>, String) {
    let binding = Binding::new("nova", QUEUE, "tap");
    let asked = subscription("tap").bindings(vec![binding]).quarantine(quarantine).expires(expires);
    let rabbit = rabbit(url);
    let (buffer, guard) = logged();
    let subscribed = rabbit.subscribe(asked).await.unwrap();
    let is_told = |line: &&str| line.contains("grant these patterns");
    let told = async || buffer.text().lines().any(|line| is_told(&line));
    wait_until("it is told", SOON, told).await;
    drop(guard);
    let refused = rabbit.send(to(Route::Queue("tap.dead".to_owned()), "{}")).await;
    subscribed.consumer.close().await;
    let text = buffer.text();
    let told = text.lines().filter(is_told).map(str::to_owned).collect();
    (told, refused.unwrap_err().to_string())
}

fn is_about_the_default_exchange(refused: &str, user: &str) {
    let expected = format!(
        "user \"{user}\" may not publish to the default exchange; grant it write on \"amq\\.default\""
    );
    assert!(refused.contains(&expected), "{refused}");
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_default_exchange_that_may_not_be_written_to_is_told_at_the_start() {
    let node = support::shared().await;
    let quarantine = vec!["tap.quarantine".to_owned()];
    for (vhost, quarantine, expires) in
        [("temporary", vec![], Some(SOON)), ("durable", quarantine, None)]
    {
        let url = user(node, vhost, "^tap", "^tap", "^(tap|nova)").await;
        Amqp::connect(&node.vhost(vhost).await).await.declare_exchange("nova", true).await;
        let (told, refused) = told_without_default_exchange(&url, quarantine, expires).await;
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains(r#"missing=["amq.default"]"#), "{told:?}");
        is_about_the_default_exchange(&refused, &format!("user_{vhost}"));
    }
}

/// Somebody else has declared all queues beside, so that nothing has to be but publishing.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_default_exchange_that_may_not_be_written_to_is_told_though_all_queues_exist() {
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
        let (told, refused) =
            told_without_default_exchange(&url, vec!["tap.quarantine".to_owned()], None).await;
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains(r#""amq.default"]"#), "{told:?}");
        is_about_the_default_exchange(&refused, &format!("user_{VHOST}"));
        // A journal is none, and is not waited for.
        let error = rabbit(&url).journal(append.clone()).await.unwrap_err();
        assert!(matches!(error, JournalError::Unsupported(_)), "{error}");
        is_about_the_default_exchange(&error.to_string(), &format!("user_{VHOST}"));
    }
    // Nothing is told once it is granted, and nothing was published for that.
    let url = user(node, VHOST, "^$", r"^amq\.default$", "^(tap|nova)").await;
    let depths = async || {
        let mut depths = node.queue_depths(VHOST).await;
        // The broker counts what is in a stream now and then.
        depths.remove("tap.quarantine.journal");
        depths
    };
    let before = depths().await;
    let (buffer, guard) = logged();
    let quarantine = vec!["tap.quarantine".to_owned()];
    let subscribed =
        rabbit(&url).subscribe(subscription("tap").quarantine(quarantine)).await.unwrap();
    drop(guard);
    let told = buffer.text();
    let told: Vec<_> = told.lines().filter(|line| line.contains("amq.default\"]")).collect();
    assert_eq!(told, [""; 0]);
    subscribed.consumer.close().await;
    assert_eq!(depths().await, before);
}
