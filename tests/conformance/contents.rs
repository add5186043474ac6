//! Messages are delivered as they were sent: bodies, properties, headers, order. Which consumer receives
//! them is in `routing.rs` and `sharing.rs`.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use listener::DeliveryInfo;
use listener::driver::Route;
use listener::driver::{HeaderValue, Headers, Properties};

use crate::broker::{Broker, EXCHANGE, KEY, Received, topic};

claims! {
    messages_are_delivered_in_order,
    a_delivery_names_its_queue_exchange_and_routing_key,
    properties_and_headers_of_every_type_are_unchanged_on_every_route,
    missing_properties_stay_missing,
    any_body_is_delivered_unchanged,
    a_body_of_a_megabyte_is_delivered_whole,
    many_concurrent_sends_all_arrive,
}

async fn messages_are_delivered_in_order(broker: &Broker) {
    let mut listening = broker.listen(3).await;
    let sent: Vec<String> = (0..20).map(|number| format!("n{number}")).collect();
    for body in &sent {
        broker.send(EXCHANGE, KEY, body).await;
    }
    assert_eq!(listening.handle_texts(20).await, sent);
}

async fn a_delivery_names_its_queue_exchange_and_routing_key(broker: &Broker) {
    let mut listening = broker.subscribe(&[("nova", "compute.error", "workers")], 10).await;
    broker.send("nova", "compute.error", "a").await;
    assert_eq!(
        listening.handle().await,
        Received {
            body: Bytes::from_static(b"a"),
            properties: Properties::default(),
            info: DeliveryInfo::new("workers", "nova", "compute.error"),
        }
    );
}

async fn properties_and_headers_of_every_type_are_unchanged_on_every_route(broker: &Broker) {
    let mut listening = broker.listen(10).await;
    let queue = KEY.to_owned();
    let delayed = Route::Delayed { queue: queue.clone(), delay: Duration::from_secs(1) };
    let put = DeliveryInfo::new(KEY, "", KEY);
    for (route, info) in [
        (topic(EXCHANGE, KEY), DeliveryInfo::new(KEY, EXCHANGE, KEY)),
        (Route::Queue(queue), put.clone()),
        (delayed, put),
    ] {
        let body = Bytes::from_static(&[0, 159, 255]);
        broker.send_message(route, body.clone(), every_property()).await;
        let mut received = listening.handle().await;
        // A broker may add headers.
        received.properties.headers.remove_broker_owned();
        assert_eq!(received, Received { body, properties: every_property(), info });
    }
}

fn every_property() -> Properties {
    Properties::default()
        .content_type(Some(Cow::Borrowed("application/x-msgpack")))
        .content_encoding(Some(Cow::Borrowed("binary")))
        .headers(every_kind())
        .priority(Some(5))
        .correlation_id(Some("req-1".into()))
        .reply_to(Some("replies".into()))
        .message_id(Some("8f4c".into()))
        .timestamp(Some(1_778_311_773))
        .kind(Some("event".into()))
        .app_id(Some("nova".into()))
}

/// Sorted by name: a driver may send a table in the order of its names.
fn every_kind() -> Headers {
    let named = |values: Vec<(&str, HeaderValue)>| -> Headers {
        values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    };
    named(vec![
        ("bool", HeaderValue::Bool(true)),
        ("bytes", HeaderValue::Bytes(vec![0, 159, 255])),
        ("decimal", HeaderValue::Decimal { scale: 2, value: 1234 }),
        ("float", HeaderValue::Float64(-0.5)),
        ("float32", HeaderValue::Float32(1.5)),
        ("int", HeaderValue::Int64(i64::MIN)),
        ("int16", HeaderValue::Int16(-2)),
        ("int32", HeaderValue::Int32(-3)),
        ("int8", HeaderValue::Int8(-1)),
        ("list", HeaderValue::Array(vec!["a".into(), HeaderValue::UInt16(2), HeaderValue::Null])),
        ("null", HeaderValue::Null),
        ("raw", HeaderValue::RawText(vec![0xe9])),
        (
            "table",
            HeaderValue::Table(named(vec![
                ("empty", HeaderValue::Table(Headers::default())),
                ("false", HeaderValue::Bool(false)),
                ("int32", HeaderValue::Int32(7)),
            ])),
        ),
        ("text", "Grüße, 世界".into()),
        ("timestamp", HeaderValue::Timestamp(1_778_311_773)),
        ("uint16", HeaderValue::UInt16(u16::MAX)),
        ("uint32", HeaderValue::UInt32(u32::MAX)),
        ("uint8", HeaderValue::UInt8(u8::MAX)),
        ("x-none", "".into()),
    ])
}

async fn missing_properties_stay_missing(broker: &Broker) {
    let mut listening = broker.listen(10).await;
    broker.send(EXCHANGE, KEY, "bare").await;
    assert_eq!(listening.handle().await, Received::text("bare", KEY));
}

async fn any_body_is_delivered_unchanged(broker: &Broker) {
    let mut listening = broker.listen(10).await;
    for body in ["", "Grüße, 世界 🌍", "\0\n"] {
        broker.send(EXCHANGE, KEY, body).await;
        assert_eq!(listening.handle().await, Received::text(body, KEY));
    }
}

async fn a_body_of_a_megabyte_is_delivered_whole(broker: &Broker) {
    let mut listening = broker.listen(10).await;
    // Without a period, so that a shift by a frame would be visible.
    let body: Vec<u8> = (0_u32..1 << 18).flat_map(u32::to_be_bytes).collect();
    let body = Bytes::from(body);
    broker.send_message(topic(EXCHANGE, KEY), body.clone(), Properties::default()).await;
    let received = listening.handle().await;
    // Not `assert_eq!`, which would print both.
    assert!(received.body == body, "{} bytes arrived", received.body.len());
}

async fn many_concurrent_sends_all_arrive(broker: &Broker) {
    let mut listening = broker.listen(50).await;
    let sent: BTreeSet<String> = (0..500).map(|number| format!("n{number}")).collect();
    join_all(sent.iter().map(|body| broker.send(EXCHANGE, KEY, body))).await;
    let received = listening.handle_texts(sent.len()).await;
    assert_eq!(received.into_iter().collect::<BTreeSet<_>>(), sent);
}
