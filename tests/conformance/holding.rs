//! Delayed messages, quarantine queues, journals, and the limit of unsettled bytes.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use listener::DeliveryInfo;
use listener::driver::{Binding, JournalAppend, Route};
use listener::driver::{HeaderValue, Headers, Properties, Settle};
use tokio::time::Instant;

use crate::broker::{Broker, EXCHANGE, KEY, Listening, Received, default_queue, texts, topic};

claims! {
    a_delayed_message_arrives_unchanged_after_its_delay,
    a_delayed_message_does_not_delay_others,
    a_quarantine_queue_does_not_wait_for_the_others,
    a_journal_is_read_in_the_same_order_by_all,
    a_journal_is_read_from_a_given_position,
    unsettled_bytes_are_bounded,
    a_delivery_larger_than_the_byte_limit_is_delivered,
    one_delivery_of_each_queue_is_let_through_at_the_byte_limit;
    // With RabbitMQ 4 a side queue has no delivery limit, although the URL asks for one for work queues.
    not quorum:
    a_quarantine_queue_has_one_unsettled_delivery,
    a_missing_quarantine_queue_is_found_later,
}

const SECOND: Duration = Duration::from_secs(1);
const QUARANTINE: &str = "notifications.info.quarantine";

async fn delay(broker: &Broker, delay: Duration, body: &Bytes, properties: Properties) {
    let route = Route::Delayed { queue: KEY.to_owned(), delay };
    broker.send_message(route, body.clone(), properties).await;
}

async fn a_delayed_message_arrives_unchanged_after_its_delay(broker: &Broker) {
    let mut listening = broker.listen(10).await;
    let header = ("listener-attempts".to_owned(), HeaderValue::Int64(2));
    let properties = Properties::default()
        .content_type(Some("application/json".into()))
        .content_encoding(Some("utf-8".into()))
        .headers(Headers::from_iter([header]));
    let body = Bytes::from_static(b"held back \0");
    let started = Instant::now();
    delay(broker, 2 * SECOND, &body, properties.clone()).await;
    let mut received = listening.handle().await;
    assert!(started.elapsed() >= 2 * SECOND, "after {:?}", started.elapsed());
    // A broker may add headers.
    let own = received.properties.headers.iter().filter(|(name, _)| !name.starts_with("x-"));
    received.properties.headers =
        own.map(|(name, value)| (name.to_owned(), value.clone())).collect();
    assert_eq!(received, Received { body, properties, info: DeliveryInfo::new(KEY, "", KEY) });
}

async fn a_delayed_message_does_not_delay_others(broker: &Broker) {
    let mut listening = broker.listen(10).await;
    delay(broker, SECOND, &Bytes::from_static(b"late"), Properties::default()).await;
    broker.send(EXCHANGE, KEY, "now").await;
    assert_eq!(listening.handle_texts(2).await, ["now", "late"]);
}

/// A subscription that includes the quarantine queue, with a prefetch of 10 for the other queue.
async fn listen_quarantined(broker: &Broker) -> Listening {
    broker.attach(default_queue(10).quarantine(vec![QUARANTINE.to_owned()])).await
}

async fn a_quarantine_queue_has_one_unsettled_delivery(broker: &Broker) {
    for body in ["a", "b", "c"] {
        broker.put(QUARANTINE, body).await;
    }
    let mut listening = listen_quarantined(broker).await;
    let held = listening.next().await;
    assert_eq!(Received::from(&held), quarantined("a"));
    // Another consumer gets all the others, so this one has received no more.
    let mut other = broker.subscribe(&[("", QUARANTINE, QUARANTINE)], 10).await;
    assert_eq!(other.handle_texts(2).await, ["b", "c"]);
    assert!(!listening.has_more());
    other.close().await;
    held.settle(Settle::Ack).unwrap();
    broker.put(QUARANTINE, "d").await;
    assert_eq!(listening.handle().await, quarantined("d"));
}

async fn a_missing_quarantine_queue_is_found_later(broker: &Broker) {
    let mut listening = listen_quarantined(broker).await;
    listening.recheck_quarantine_queues();
    broker.put(QUARANTINE, "a").await;
    // It is not consumed before `recheck_quarantine_queues`: another consumer takes its message.
    let mut other = broker.subscribe(&[("", QUARANTINE, QUARANTINE)], 1).await;
    assert_eq!(other.handle_texts(1).await, ["a"]);
    other.close().await;
    broker.put(QUARANTINE, "b").await;
    listening.recheck_quarantine_queues();
    assert_eq!(listening.handle().await, quarantined("b"));
}

async fn a_quarantine_queue_does_not_wait_for_the_others(broker: &Broker) {
    broker.put(QUARANTINE, "one").await;
    let mut listening = listen_quarantined(broker).await;
    broker.send(EXCHANGE, KEY, "other").await;
    let mut texts = texts(&listening.take(2).await);
    texts.sort();
    assert_eq!(texts, ["one", "other"]);
}

fn append(entry: &str, read_from: Option<u64>) -> JournalAppend {
    JournalAppend::new("notifications.quarantine.journal", entry.to_owned(), 30 * SECOND)
        .read_from(read_from)
}

async fn a_journal_is_read_in_the_same_order_by_all(broker: &Broker) {
    let (one, other) = (broker.transport(), broker.transport());
    let tasks = (0..20).map(|n| {
        let transport = if n % 2 == 0 { one.clone() } else { other.clone() };
        tokio::spawn(async move { transport.journal(append(&format!("{n}"), Some(0))).await })
    });
    let mut longest = Vec::new();
    let mut all = Vec::new();
    for (n, task) in tasks.enumerate().collect::<Vec<_>>() {
        let entries = task.await.unwrap().unwrap().entries;
        assert_eq!(
            entries.last().unwrap(),
            n.to_string().as_bytes(),
            "the reader's own entry is the last"
        );
        if entries.len() > longest.len() {
            longest.clone_from(&entries);
        }
        all.push(entries);
    }
    for entries in &all {
        assert_eq!(entries[..], longest[..entries.len()]);
    }
    let read = one.journal(append("end", Some(0))).await.unwrap();
    assert_eq!(read.entries.len(), 21);
    one.close().await;
    other.close().await;
}

async fn a_journal_is_read_from_a_given_position(broker: &Broker) {
    let transport = broker.transport();
    let first = transport.journal(append("a", Some(0))).await.unwrap();
    assert_eq!(first.entries, ["a"]);
    assert_eq!(transport.journal(append("b", None)).await.unwrap().entries, [""; 0]);
    let second = transport.journal(append("c", Some(first.next))).await.unwrap();
    assert_eq!(second.entries, ["b", "c"]);
    let third = transport.journal(append("d", Some(second.next))).await.unwrap();
    assert_eq!(third.entries, ["d"]);
    transport.close().await;
}

const KIB: usize = 1024;

async fn send_sized(broker: &Broker, count: usize, size: usize) {
    send_sized_by(broker, KEY, count, size).await;
}

async fn send_sized_by(broker: &Broker, key: &str, count: usize, size: usize) {
    let body = Bytes::from(vec![b'x'; size]);
    for _ in 0..count {
        broker.send_message(topic(EXCHANGE, key), body.clone(), Properties::default()).await;
    }
}

async fn unsettled_bytes_are_bounded(broker: &Broker) {
    send_sized(broker, 30, 256 * KIB).await;
    let bounded = default_queue(10).bytes(1024 * KIB);
    let mut listening = broker.attach(bounded).await;
    let (mut held, mut seen) = (VecDeque::new(), Vec::new());
    while seen.len() < 30 {
        match listening.next_soon().await {
            Some(delivery) => held.push_back(delivery),
            None => {
                seen.push(held.len());
                held.pop_front().expect("all come").settle(Settle::Ack).unwrap();
            }
        }
    }
    // Four fit, and one more is let through at the limit.
    assert!(seen.iter().all(|count| *count <= 5), "{seen:?}");
    assert!(seen[10..20].iter().all(|count| *count >= 2), "too few at once: {seen:?}");
}

async fn a_delivery_larger_than_the_byte_limit_is_delivered(broker: &Broker) {
    send_sized(broker, 5, 256 * KIB).await;
    let bounded = default_queue(1).bytes(100 * KIB);
    let mut listening = broker.attach(bounded).await;
    for _ in 0..5 {
        assert_eq!(listening.handle().await.body.len(), 256 * KIB);
    }
}

async fn one_delivery_of_each_queue_is_let_through_at_the_byte_limit(broker: &Broker) {
    let other = "notifications.error";
    for key in [KEY, other] {
        send_sized_by(broker, key, 2, 256 * KIB).await;
    }
    let mut bounded = default_queue(10).bytes(100 * KIB);
    let binding = &bounded.bindings[0];
    let binding = Binding::new(binding.exchange.as_str(), other, other);
    bounded.bindings.push(binding);
    let mut listening = broker.attach(bounded).await;
    for _ in 0..2 {
        let both = listening.take(2).await;
        let mut queues: Vec<_> = both.iter().map(|delivery| &*delivery.info.queue).collect();
        queues.sort_unstable();
        assert_eq!(queues, [other, KEY]);
        assert!(listening.next_soon().await.is_none(), "one of each");
        for delivery in both {
            delivery.settle(Settle::Ack).unwrap();
        }
    }
}

/// A text without properties that was put directly into the quarantine queue.
fn quarantined(body: &str) -> Received {
    Received {
        body: Bytes::from(body.to_owned()),
        properties: Properties::default(),
        info: DeliveryInfo::new(QUARANTINE, "", QUARANTINE),
    }
}
