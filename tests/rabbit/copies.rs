//! What copies keep of a message, as read by another client: its properties, and the type of each
//! header.

use lapin::BasicProperties;
use lapin::message::BasicGetMessage;
use lapin::types::{AMQPValue, ByteArray, DecimalValue, FieldArray, FieldTable, LongString};
use listener::options::{ListenerOptions, RetryOptions};
use listener::{Listener, Transport, notification_endpoint};

use super::*;

struct Fails;

#[notification_endpoint(register = false)]
impl Fails {
    async fn info(&self, payload: &str) -> Result<(), listener::BoxError> {
        if payload == "permanent" { Err(listener::permanent("no"))? } else { Err("not yet")? }
    }
}

fn headers() -> Vec<(&'static str, AMQPValue)> {
    let mut table = FieldTable::default();
    table.insert("nested".into(), AMQPValue::LongInt(7));
    vec![
        ("byte", AMQPValue::ShortShortInt(-1)),
        ("byte unsigned", AMQPValue::ShortShortUInt(255)),
        ("bytes", AMQPValue::ByteArray(ByteArray::from(&[0, 255][..]))),
        ("decimal", AMQPValue::DecimalValue(DecimalValue { scale: 2, value: 1234 })),
        ("double", AMQPValue::Double(0.1)),
        ("float", AMQPValue::Float(1.5)),
        ("int", AMQPValue::LongInt(-3)),
        ("int unsigned", AMQPValue::LongUInt(u32::MAX)),
        ("latin-1", AMQPValue::LongString(LongString::from(vec![b'h', 0xe9]))),
        ("list", AMQPValue::FieldArray(FieldArray::from(vec![AMQPValue::ShortInt(1)]))),
        ("long", AMQPValue::LongLongInt(i64::MIN)),
        ("short", AMQPValue::ShortInt(-2)),
        ("short unsigned", AMQPValue::ShortUInt(u16::MAX)),
        ("table", AMQPValue::FieldTable(table)),
        ("text", AMQPValue::LongString("é".into())),
        ("time", AMQPValue::Timestamp(1_778_311_773)),
        ("true", AMQPValue::Boolean(true)),
        ("void", AMQPValue::Void),
    ]
}

fn sent() -> BasicProperties {
    support::amqp::oslo_properties(&headers())
        .with_priority(5)
        .with_correlation_id("req-1".into())
        .with_reply_to("replies".into())
        .with_expiration("60000".into())
        .with_message_id("8f4c".into())
        .with_timestamp(1_778_311_773)
        .with_type("event".into())
        .with_user_id("guest".into())
        .with_app_id("nova".into())
}

/// The copy of a message with this payload, once it is in its final queue.
async fn copy(vhost: &str, payload: &str, to: &str) -> BasicGetMessage {
    let node = support::shared().await;
    let url = node.vhost(vhost).await;
    let amqp = Amqp::connect(&url).await;
    amqp.declare_queue(QUEUE, true, &[("x-max-priority", AMQPValue::ShortShortUInt(10))]).await;
    // Long enough for the listener to stop before the retry is delivered.
    let (delay, attempts) = (Duration::from_secs(60), 2);
    let retry = RetryOptions::default().attempts(attempts).delay(delay);
    let builder = Listener::builder().transport(Transport::open(&url).unwrap()).retry(retry);
    let listener = builder.endpoint(Fails).build().unwrap();
    listener.start().await.unwrap();
    let body = format!(r#"{{"priority": "INFO", "payload": "{payload}"}}"#);
    amqp.publish("", QUEUE, body, sent()).await;
    // Its queue is declared before the copy is sent.
    let made = async || {
        let copies = ["retry.32s", "retry.64s", "dead"].map(|end| format!("{QUEUE}.{end}"));
        let mut depths = 0;
        for queue in copies {
            depths += node.queue_depth(vhost, &queue).await.unwrap_or(0);
        }
        depths == 1
    };
    wait_until("the copy", SOON, made).await;
    listener.stop().await;
    listener.wait().await.unwrap();
    wait_until("the copy in its final queue", SOON, async || {
        node.queue_depth(vhost, to).await == Some(1)
    })
    .await;
    amqp.drain(to).await.pop().unwrap()
}

#[track_caller]
fn assert_keeps_all(copy: &BasicGetMessage) {
    let properties = &copy.delivery.properties;
    let found = properties.headers().clone().unwrap();
    let own = |name: &&str| !name.starts_with("listener-") && !name.starts_with("x-");
    let names: Vec<_> =
        found.inner().keys().map(lapin::types::ShortString::as_str).filter(own).collect();
    assert_eq!(names, headers().iter().map(|(name, _)| *name).collect::<Vec<_>>());
    for (name, value) in headers() {
        assert_eq!(found.inner()[name], value, "{name}");
    }
    // The copy does not expire, and another user sends it.
    let bare = |properties: BasicProperties| properties.with_headers(FieldTable::default());
    let mut expected = support::amqp::oslo_properties(&[]);
    expected = expected
        .with_priority(5)
        .with_correlation_id("req-1".into())
        .with_reply_to("replies".into())
        .with_message_id("8f4c".into())
        .with_timestamp(1_778_311_773)
        .with_type("event".into())
        .with_app_id("nova".into());
    assert_eq!(bare(properties.clone()), bare(expected));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs rabbitmq"]
async fn a_dead_letter_keeps_every_property_and_the_type_of_every_header() {
    assert_keeps_all(&copy("kept-dead", "permanent", "notifications.info.dead").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs rabbitmq"]
async fn a_retry_keeps_every_property_and_the_type_of_every_header() {
    assert_keeps_all(&copy("kept-retry", "transient", QUEUE).await);
}

/// Attempts of 2 s, and confirms that take longer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs rabbitmq"]
async fn a_dead_letter_that_is_confirmed_late_is_sent_at_most_twice() {
    let node = support::shared().await;
    let vhost = "confirmed-late";
    let url = node.vhost(vhost).await;
    let proxy = support::Proxy::start(node.port()).await;
    let through = url.replace(&format!(":{}", node.port()), &format!(":{}", proxy.port()));
    let options = ListenerOptions::default().send_timeout(Duration::from_secs(2));
    let builder = Listener::builder().transport(Transport::open(&through).unwrap());
    let listener = builder.options(options).endpoint(Fails).build().unwrap();
    listener.start().await.unwrap();
    let amqp = Amqp::connect(&url).await;
    let fail = async || {
        let body = r#"{"priority": "INFO", "payload": "permanent"}"#.to_owned();
        amqp.publish("", QUEUE, body, BasicProperties::default()).await;
    };
    let dead_letters =
        async || node.queue_depth(vhost, "notifications.info.dead").await.unwrap_or(0);
    // Its queue exists now; from here on each direction takes 2 s.
    fail().await;
    wait_until("the first dead letter", SOON, async || dead_letters().await == 1).await;
    proxy.toxics(support::Toxics { latency: Duration::from_secs(2), ..Default::default() });
    fail().await;
    wait_until("the confirmation", SOON, async || {
        node.queue_depth(vhost, QUEUE).await == Some(0) && dead_letters().await > 1
    })
    .await;
    assert!(listener.is_ready());
    proxy.toxics(support::Toxics::default());
    listener.stop().await;
    listener.wait().await.unwrap();
    assert!(dead_letters().await <= 3, "{} dead letters of 2 notifications", dead_letters().await);
}
