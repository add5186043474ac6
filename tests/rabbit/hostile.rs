//! Messages with hostile properties. Those that lapin cannot read end neither the process nor the
//! session, and are delivered once without the properties. Headers that only a broker writes are
//! ignored.

use super::*;
use std::sync::{Arc, Mutex};

use lapin::types::AMQPValue;
use listener::driver::{HeaderValue, Headers};
use listener::{Listener, Transport, notification_endpoint};
use support::amqp::oslo_properties;
use support::raw::{long, publish_raw};

/// The third flag of the properties stands for headers.
const HEADERS: [u8; 2] = [0x20, 0];

/// A table with one header.
fn table(value: &[u8]) -> Vec<u8> {
    [&HEADERS[..], &long(&[b"\x01k", value].concat())].concat()
}

/// Nested lists or tables; `kind` is the type, with the bytes that precede each. Written from the inside
/// out, because each length depends on the content.
fn nested(kind: &[u8], levels: usize) -> Vec<u8> {
    let mut backwards: Vec<u8> = Vec::new();
    for _ in 0..levels {
        let size = u32::try_from(backwards.len()).unwrap();
        backwards.extend(size.to_le_bytes());
        backwards.extend(kind.iter().rev());
    }
    backwards.reverse();
    backwards
}

async fn check(name: &str, properties: &[u8], expected: Headers) {
    check_with("", name, properties, expected).await;
}

/// `query` is the query of the listener's URL.
async fn check_with(query: &str, name: &str, properties: &[u8], expected: Headers) {
    let node = support::shared().await;
    let url = node.vhost(name).await;
    let rabbit = rabbit(&format!("{url}{query}"));
    let mut subscribed = subscribe(&rabbit).await;
    publish_raw(node.port(), name, QUEUE, properties, b"hostile").await;
    send(&rabbit, "usual").await;
    for (body, expected) in [("hostile", expected), ("usual", Headers::default())] {
        let delivery = next(&mut subscribed).await;
        let headers = &delivery.properties.headers;
        assert_eq!((&delivery.body[..], delivery.info.redelivered), (body.as_bytes(), false));
        assert!(*headers == expected, "{headers:?}: {:?}", headers.get_str("listener-headers"));
        delivery.settle(Settle::Ack).unwrap();
    }
    subscribed.consumer.close().await;
    assert_eq!(depth(node, name).await, Some(0));
    rabbit.close().await;
}

fn unreadable() -> Headers {
    [("listener-headers".to_owned(), HeaderValue::from("not readable"))].into_iter().collect()
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn headers_with_twenty_thousand_nested_lists_do_no_harm() {
    check("lists", &table(&nested(b"A", 20_000)), unreadable()).await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn headers_with_twenty_thousand_nested_tables_do_no_harm() {
    // Each table but the outermost is preceded by an empty name, which belongs to the enclosing table.
    let tables = nested(b"\x00F", 20_000);
    check("tables", &table(&tables[1..]), unreadable()).await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn strings_that_are_not_utf_8_do_not_end_the_session() {
    check("type", b"\x80\x00\x01\xff", unreadable()).await;
    check("name", &[&HEADERS[..], &long(b"\x01\xffV")].concat(), unreadable()).await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn headers_of_a_hundred_kilobytes_are_kept() {
    let text = "x".repeat(100_000);
    let expected = [("k".to_owned(), HeaderValue::Text(text.clone()))].into_iter().collect();
    check("large", &table(&[b"S", &long(text.as_bytes())[..]].concat()), expected).await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn headers_larger_than_the_negotiated_frame_do_not_end_the_session() {
    let large = table(&[b"S", &long(&[b'x'; 100_000])[..]].concat());
    check_with("?frame_max=65536", "frames", &large, unreadable()).await;
    let text = "x".repeat(60_000);
    let kept = [("k".to_owned(), HeaderValue::Text(text.clone()))].into_iter().collect();
    let smaller = table(&[b"S", &long(text.as_bytes())[..]].concat());
    check_with("?frame_max=65536", "fitting", &smaller, kept).await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_thousand_headers_are_kept() {
    let one = |n: usize| (format!("{n:03}"), HeaderValue::Null);
    let bytes: Vec<u8> = (0..1000).flat_map(|n| format!("\x03{n:03}V").into_bytes()).collect();
    let properties = [&HEADERS[..], &long(&bytes)].concat();
    check("many", &properties, (0..1000).map(one).collect()).await;
}

/// Handles numbers below 100.
#[derive(Clone, Default)]
struct Numbers(Arc<Mutex<Vec<u32>>>);

#[notification_endpoint(register = false, name = "numbers")]
impl Numbers {
    async fn info(&self, payload: u32) -> Result<(), listener::BoxError> {
        self.0.lock().unwrap().push(payload);
        if payload < 100 { Ok(()) } else { Err(listener::permanent("too large"))? }
    }
}

/// The names fill a frame of 128 KiB.
async fn check_pending(vhost: &str, endpoints: AMQPValue) {
    let (_, amqp, listener, numbers) = listening(vhost, "classic").await;
    let hostile = oslo_properties(&[("listener-methods", endpoints)]);
    amqp.publish("", QUEUE, notification(100), hostile).await;
    for number in 0..10 {
        amqp.publish("", QUEUE, notification(number), oslo_properties(&[])).await;
    }
    let node = support::shared().await;
    let dead = async || node.queue_depth(vhost, "notifications.info.dead").await == Some(1);
    wait_until("the dead letter", SOON, dead).await;
    let all =
        async || numbers.0.lock().unwrap().iter().filter(|number| **number < 10).count() == 10;
    wait_until("all others are handled", SOON, all).await;
    assert!(listener.is_ready(), "{:?}", listener.health());
    listener.stop().await;
    listener.wait().await.unwrap();
    assert_eq!(depth(node, vhost).await, Some(0));
    let dead_letter = amqp.drain("notifications.info.dead").await.pop().unwrap();
    assert_eq!(dead_letter.delivery.data, notification(100).into_bytes());
    let headers = dead_letter.delivery.properties.headers().clone().unwrap();
    let Some(AMQPValue::FieldArray(pending)) = headers.inner().get("listener-methods") else {
        panic!("it names no pending method")
    };
    assert!(pending.as_slice().len() <= 65, "{} names", pending.as_slice().len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs rabbitmq"]
async fn a_copy_that_names_sixty_thousand_methods_delays_nothing() {
    let names = format!("numbers::info,{}", "x,y,".repeat(32_000));
    check_pending("pending-text", AMQPValue::LongString(names.into())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs rabbitmq"]
async fn a_copy_that_names_unknown_methods_of_any_length_delays_nothing() {
    let name = |n: usize| AMQPValue::LongString(format!("{n}{}", "x".repeat(1000)).into());
    let names: Vec<_> = (0..120).map(name).collect();
    check_pending("pending-list", AMQPValue::FieldArray(names.into())).await;
}

fn notification(payload: u32) -> String {
    format!(r#"{{"message_id": "{payload}", "priority": "INFO", "payload": {payload}}}"#)
}

/// A queue of this type, and a listener on it.
async fn listening(vhost: &str, kind: &'static str) -> (String, Amqp, Listener, Numbers) {
    let url = support::shared().await.vhost(vhost).await;
    let amqp = Amqp::connect(&url).await;
    let kind = AMQPValue::LongString(kind.into());
    amqp.declare_queue(QUEUE, true, &[("x-queue-type", kind)]).await;
    let numbers = Numbers::default();
    let builder = Listener::builder().transport(Transport::open(&url).unwrap());
    let listener = builder.endpoint(numbers.clone()).build().unwrap();
    listener.start().await.unwrap();
    (url, amqp, listener, numbers)
}

/// Counts and crashes of other queues, as a shovel keeps them or a publisher writes them.
fn headers_of_other_queues() -> lapin::BasicProperties {
    let number = AMQPValue::LongLongInt(7);
    let text = || AMQPValue::LongString("elsewhere".into());
    oslo_properties(&[
        ("x-delivery-count", number.clone()),
        ("x-acquired-count", number.clone()),
        ("x-stream-offset", number),
        ("x-first-death-queue", text()),
        ("x-last-death-reason", text()),
        ("tenant", text()),
    ])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs rabbitmq"]
async fn a_delivery_count_written_by_a_publisher_is_ignored_and_not_copied() {
    for kind in ["classic", "quorum"] {
        let vhost = format!("stale-{kind}");
        let (_, amqp, listener, numbers) = listening(&vhost, kind).await;
        amqp.publish("", QUEUE, notification(1), headers_of_other_queues()).await;
        amqp.publish("", QUEUE, notification(100), headers_of_other_queues()).await;
        let dead = async || {
            let node = support::shared().await;
            node.queue_depth(&vhost, "notifications.info.dead").await == Some(1)
        };
        wait_until("the dead letter", SOON, dead).await;
        wait_until("both are called", SOON, async || numbers.0.lock().unwrap().len() == 2).await;
        listener.stop().await;
        listener.wait().await.unwrap();
        let dead_letter = amqp.drain("notifications.info.dead").await.pop().unwrap();
        let headers = dead_letter.delivery.properties.headers().clone().unwrap();
        let names = headers.inner().keys().map(lapin::types::ShortString::as_str);
        let names: Vec<_> = names.filter(|name| !name.starts_with("listener-")).collect();
        assert_eq!(names, ["tenant"], "{kind}");
        // Moved back unchanged, with a count that the dead-letter queue could have added.
        let mut headers = headers;
        headers.insert("x-delivery-count".into(), AMQPValue::LongLongInt(3));
        let again = dead_letter.delivery.properties.clone().with_headers(headers);
        listener.start().await.unwrap();
        amqp.publish("", QUEUE, notification(2), again).await;
        wait_until("it starts over", SOON, async || numbers.0.lock().unwrap().len() == 3).await;
        listener.stop().await;
        listener.wait().await.unwrap();
        let mut called = numbers.0.lock().unwrap().clone();
        called.sort_unstable();
        assert_eq!(called, [1, 2, 100], "each is called once");
        assert_eq!(depth(support::shared().await, &vhost).await, Some(0));
    }
}

/// RabbitMQ 4.3 does not count an orderly stop, and keeps the header.
#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_delivery_count_written_by_a_publisher_is_ignored_after_an_orderly_stop() {
    let node = support::shared().await;
    let url = node.vhost("stale-stop").await;
    let amqp = Amqp::connect(&url).await;
    let quorum = AMQPValue::LongString("quorum".into());
    amqp.declare_queue(QUEUE, true, &[("x-queue-type", quorum)]).await;
    let count = || ("x-delivery-count", AMQPValue::LongLongInt(12));
    let acquired = |number| ("x-acquired-count", AMQPValue::LongLongInt(number));
    amqp.publish("", QUEUE, "one", oslo_properties(&[count()])).await;
    amqp.publish("", QUEUE, "two", oslo_properties(&[count(), acquired(100)])).await;
    amqp.publish("", QUEUE, "three", oslo_properties(&[acquired(0)])).await;
    let rabbit = rabbit(&url);
    let of_the_stop = (node.version().await < (4, 3)).then_some(1);
    for expected in [(false, None), (true, of_the_stop)] {
        let mut subscribed = subscribe(&rabbit).await;
        for body in ["one", "two", "three"] {
            let delivery = next(&mut subscribed).await;
            let info = &delivery.info;
            assert_eq!((info.redelivered, info.delivery_count), expected, "{body}");
        }
        subscribed.consumer.close().await;
    }
    amqp.close().await;
}
