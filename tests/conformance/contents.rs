//! What is sent is what comes: bodies, properties, headers, and how a delivery came. Who gets
//! which of them is in `routing.rs` and `sharing.rs`.

use std::borrow::Cow;
use std::collections::BTreeSet;

use bytes::Bytes;
use futures_util::future::join_all;
use listener::DeliveryInfo;
use listener::transport::delivery::{HeaderValue, Headers, Properties};

use crate::broker::{Broker, EXCHANGE, KEY, Received, topic};

claims! {
    what_is_sent_comes_in_order,
    a_delivery_says_how_it_came,
    properties_and_headers_of_every_kind_come_unchanged,
    missing_properties_stay_missing,
    any_body_comes_unchanged,
    a_body_of_a_megabyte_comes_whole,
    many_sends_at_once_all_arrive,
}

async fn what_is_sent_comes_in_order(broker: &Broker) {
    let mut listening = broker.listen(3).await;
    let sent: Vec<String> = (0..20).map(|number| format!("n{number}")).collect();
    for body in &sent {
        broker.send(EXCHANGE, KEY, body).await;
    }
    assert_eq!(listening.handle_texts(20).await, sent);
}

async fn a_delivery_says_how_it_came(broker: &Broker) {
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

async fn properties_and_headers_of_every_kind_come_unchanged(broker: &Broker) {
    let mut listening = broker.listen(10).await;
    let properties = Properties {
        content_type: Some(Cow::Borrowed("application/x-msgpack")),
        content_encoding: Some(Cow::Borrowed("binary")),
        headers: every_kind(),
    };
    let body = Bytes::from_static(&[0, 159, 255]);
    broker.send_message(topic(EXCHANGE, KEY), body.clone(), properties.clone()).await;
    assert_eq!(
        listening.handle().await,
        Received { body, properties, info: DeliveryInfo::new(KEY, EXCHANGE, KEY) }
    );
}

/// Sorted by name: a driver may send a table in the order of its names.
fn every_kind() -> Headers {
    let named = |values: Vec<(&str, HeaderValue)>| -> Headers {
        values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    };
    named(vec![
        ("bool", HeaderValue::Bool(true)),
        ("bytes", HeaderValue::Bytes(vec![0, 159, 255])),
        ("float", HeaderValue::Float(-0.5)),
        ("int", HeaderValue::Int(i64::MIN)),
        ("list", HeaderValue::List(vec!["a".into(), HeaderValue::Int(2), HeaderValue::Null])),
        ("null", HeaderValue::Null),
        (
            "table",
            HeaderValue::Table(named(vec![
                ("empty", HeaderValue::Table(Headers::default())),
                ("false", HeaderValue::Bool(false)),
            ])),
        ),
        ("text", "Grüße, 世界".into()),
        ("timestamp", HeaderValue::Timestamp(1_778_311_773)),
        ("x-none", "".into()),
    ])
}

async fn missing_properties_stay_missing(broker: &Broker) {
    let mut listening = broker.listen(10).await;
    broker.send(EXCHANGE, KEY, "bare").await;
    assert_eq!(listening.handle().await, Received::text("bare", KEY));
}

async fn any_body_comes_unchanged(broker: &Broker) {
    let mut listening = broker.listen(10).await;
    for body in ["", "Grüße, 世界 🌍", "\0\n"] {
        broker.send(EXCHANGE, KEY, body).await;
        assert_eq!(listening.handle().await, Received::text(body, KEY));
    }
}

async fn a_body_of_a_megabyte_comes_whole(broker: &Broker) {
    let mut listening = broker.listen(10).await;
    // No period that a frame could hide a shift in.
    let body: Vec<u8> = (0_u32..1 << 18).flat_map(u32::to_be_bytes).collect();
    let body = Bytes::from(body);
    broker.send_message(topic(EXCHANGE, KEY), body.clone(), Properties::default()).await;
    let received = listening.handle().await;
    // Not `assert_eq!`: it would print both.
    assert!(received.body == body, "{} bytes came", received.body.len());
}

async fn many_sends_at_once_all_arrive(broker: &Broker) {
    let mut listening = broker.listen(50).await;
    let sent: BTreeSet<String> = (0..500).map(|number| format!("n{number}")).collect();
    join_all(sent.iter().map(|body| broker.send(EXCHANGE, KEY, body))).await;
    let received = listening.handle_texts(sent.len()).await;
    assert_eq!(received.into_iter().collect::<BTreeSet<_>>(), sent);
}
