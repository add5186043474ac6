//! The driver without a broker: buses of this process, one for each name. What a bus does
//! with messages is in `bus.rs`, `exchange.rs` and `queue.rs`; how a listener holds on to it in
//! `consumer.rs`. With the feature `testing`, `model.rs` has a bus that fails as a broker may.

mod bus;
mod consumer;
mod exchange;
#[cfg(feature = "testing")]
pub(crate) mod model;
mod queue;
mod session;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use futures_util::FutureExt;

use crate::drivers::memory::bus::Bus;
use crate::drivers::memory::consumer::MemoryConsumer;
use crate::future::BoxFuture;
use crate::redact::redacted;
use crate::transport::driver::{
    Driver, JournalAppend, JournalRead, Outgoing, Subscribed, Subscription,
};
use crate::transport::error::{ConnectError, JournalError, OpenError, SendError};
use crate::transport::url::TransportUrl;

/// The buses of this process. They live as long as the process: a message must not be lost because the
/// transport that sent it was dropped before a listener started.
static BUSES: LazyLock<Mutex<HashMap<String, Arc<Bus>>>> = LazyLock::new(Mutex::default);

/// The in-memory driver: exchanges, queues, pools, prefetch and redelivery as in a broker. Messages are
/// lost with the process.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    bus: Arc<Bus>,
}

impl Memory {
    /// The bus of the URL, and its name for logs.
    ///
    /// # Errors
    /// The URL has options; this driver has none.
    pub(super) fn open(url: &TransportUrl) -> Result<(Self, String), OpenError> {
        if let Some((option, _)) = url.query().first() {
            return Err(OpenError::UnknownOption { option: redacted(option), near: None });
        }
        let name = url.hosts().first().map_or("", |host| host.name.as_str());
        let mut buses = BUSES.lock().unwrap_or_else(PoisonError::into_inner);
        let bus = Arc::clone(buses.entry(name.to_owned()).or_default());
        Ok((Self { bus }, format!("memory://{name}")))
    }
}

impl Driver for Memory {
    fn subscribe(
        &self,
        subscription: Subscription,
    ) -> BoxFuture<'_, Result<Subscribed, ConnectError>> {
        async move {
            let (consumer, deliveries) = MemoryConsumer::attach(&self.bus, subscription);
            let consumer = Box::new(consumer);
            Ok(Subscribed { deliveries, consumer, demand: Arc::default() })
        }
        .boxed()
    }

    fn send(&self, outgoing: Outgoing) -> BoxFuture<'_, Result<(), SendError>> {
        async move {
            self.bus.send(outgoing);
            Ok(())
        }
        .boxed()
    }

    fn journal(&self, append: JournalAppend) -> BoxFuture<'_, Result<JournalRead, JournalError>> {
        std::future::ready(Ok(self.bus.journal(append))).boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        std::future::ready(()).boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use bytes::Bytes;
    use tokio::time::{Instant, timeout};

    use super::*;
    use crate::notification::delivery_info::DeliveryInfo;
    use crate::transport::delivery::{Delivery, Settle};
    use crate::transport::driver::{Binding, Route};

    const QUEUE: &str = "notifications.info";
    const QUARANTINE: &str = "notifications.info.quarantine";
    const LONG: Duration = Duration::from_secs(3600);

    /// A bus that no other test uses.
    fn memory() -> Memory {
        Memory { bus: Arc::default() }
    }

    async fn subscribe(memory: &Memory, change: impl FnOnce(&mut Subscription)) -> Subscribed {
        let binding = Binding {
            exchange: String::new(),
            routing_key: String::new(),
            queue: QUEUE.to_owned(),
        };
        let mut subscription = Subscription {
            bindings: vec![binding],
            prefetch: 10,
            timeout: LONG,
            expires: None,
            quarantine: vec![QUARANTINE.to_owned()],
            bytes: usize::MAX,
            slots: None,
        };
        change(&mut subscription);
        memory.subscribe(subscription).await.expect("a bus accepts everything")
    }

    async fn send(memory: &Memory, route: Route, body: &'static str) {
        let body = Bytes::from_static(body.as_bytes());
        let outgoing = Outgoing::new(route, body, LONG);
        memory.send(outgoing).await.expect("a bus accepts everything");
    }

    async fn put(memory: &Memory, queue: &str, body: &'static str) {
        send(memory, Route::Queue(queue.to_owned()), body).await;
    }

    async fn delay(memory: &Memory, seconds: u64, body: &'static str) {
        let delay = Duration::from_secs(seconds);
        send(memory, Route::Delayed { queue: QUEUE.to_owned(), delay }, body).await;
    }

    async fn next(subscribed: &mut Subscribed) -> Delivery {
        let delivery = timeout(LONG, subscribed.deliveries.recv()).await;
        delivery.expect("a delivery arrives").expect("the consumer is open")
    }

    /// The deliveries in the channel.
    fn received(subscribed: &mut Subscribed) -> Vec<Delivery> {
        std::iter::from_fn(|| subscribed.deliveries.try_recv().ok()).collect()
    }

    fn bodies(deliveries: &[Delivery]) -> Vec<&str> {
        deliveries
            .iter()
            .map(|delivery| std::str::from_utf8(&delivery.body).expect("the tests send text"))
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn delayed_messages_arrive_when_due_and_in_that_order() {
        let memory = memory();
        let mut subscribed = subscribe(&memory, |_| {}).await;
        let begin = Instant::now();
        delay(&memory, 8, "late").await;
        delay(&memory, 2, "early").await;
        delay(&memory, 2, "early too").await;
        put(&memory, QUEUE, "now").await;
        let mut came = Vec::new();
        for _ in 0..4 {
            let delivery = next(&mut subscribed).await;
            came.push((begin.elapsed().as_secs(), delivery.body, delivery.info));
        }
        let expected = |seconds, body: &'static str| {
            (seconds, Bytes::from_static(body.as_bytes()), DeliveryInfo::new(QUEUE, "", QUEUE))
        };
        assert_eq!(
            came,
            [
                expected(0, "now"),
                expected(2, "early"),
                expected(2, "early too"),
                expected(8, "late")
            ]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_delayed_message_outlives_its_sender_and_every_consumer() {
        let memory = memory();
        drop(subscribe(&memory, |_| {}).await);
        delay(&memory.clone(), 5, "a").await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        let mut subscribed = subscribe(&memory, |_| {}).await;
        assert_eq!(bodies(&[next(&mut subscribed).await]), ["a"]);
    }

    #[test]
    fn a_delayed_message_outlives_the_runtime_it_was_sent_in() {
        let runtime = || {
            tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .expect("a runtime")
        };
        let memory = memory();
        runtime().block_on(delay(&memory, 5, "a"));
        runtime().block_on(async {
            let mut subscribed = subscribe(&memory, |_| {}).await;
            assert_eq!(bodies(&[next(&mut subscribed).await]), ["a"]);
        });
    }

    #[tokio::test(start_paused = true)]
    async fn the_clock_is_read_only_when_a_message_is_due() {
        let memory = memory();
        let looks = Arc::new(AtomicUsize::new(0));
        let (count, mut time) =
            (Arc::clone(&looks), Box::pin(memory.bus.clone().deliver_delayed()));
        tokio::spawn(std::future::poll_fn(move |context| {
            count.fetch_add(1, Ordering::Relaxed);
            time.as_mut().poll(context)
        }));
        delay(&memory, 3600, "a").await;
        tokio::time::sleep(Duration::from_secs(3000)).await;
        assert_eq!(looks.load(Ordering::Relaxed), 1);
        tokio::time::sleep(Duration::from_secs(3000)).await;
        assert_eq!(looks.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn redeliveries_are_counted() {
        let memory = memory();
        let mut subscribed = subscribe(&memory, |_| {}).await;
        put(&memory, QUEUE, "a").await;
        let mut counts = Vec::new();
        for _ in 0..2 {
            let delivery = next(&mut subscribed).await;
            counts.push(delivery.info.delivery_count);
            delivery.settle(Settle::Requeue).expect("the session is open");
        }
        let held = next(&mut subscribed).await;
        drop(subscribed);
        let mut second = subscribe(&memory, |_| {}).await;
        let after_a_loss = next(&mut second).await;
        counts.extend([held.info.delivery_count, after_a_loss.info.delivery_count]);
        assert_eq!(counts, [None, Some(1), Some(2), Some(3)]);
    }

    #[tokio::test]
    async fn a_quarantine_queue_delivers_one_at_a_time_while_the_others_go_on() {
        let memory = memory();
        for (queue, body) in [(QUARANTINE, "a"), (QUARANTINE, "b"), (QUEUE, "x"), (QUEUE, "y")] {
            put(&memory, queue, body).await;
        }
        let mut subscribed = subscribe(&memory, |_| {}).await;
        let held = received(&mut subscribed);
        assert_eq!(bodies(&held), ["x", "y", "a"]);
        for delivery in held {
            delivery.settle(Settle::Ack).expect("the session is open");
        }
        assert_eq!(bodies(&received(&mut subscribed)), ["b"]);
    }

    #[tokio::test]
    async fn a_missing_quarantine_queue_is_not_declared_and_is_found_when_looking_again() {
        let memory = memory();
        let mut first = subscribe(&memory, |_| {}).await;
        first.consumer.recheck_quarantine_queues();
        assert!(!memory.bus.has_queue(QUARANTINE), "looking again declares nothing");
        put(&memory, QUARANTINE, "a").await;
        put(&memory, QUARANTINE, "b").await;
        assert_eq!(bodies(&received(&mut first)), [""; 0]);
        first.consumer.recheck_quarantine_queues();
        first.consumer.recheck_quarantine_queues();
        assert_eq!(bodies(&received(&mut first)), ["a"]);
    }

    #[tokio::test]
    async fn unsettled_bytes_are_limited_except_for_a_single_larger_message() {
        let memory = memory();
        for body in ["1234", "567", "890", "more than ten bytes", "x"] {
            put(&memory, QUEUE, body).await;
        }
        let mut subscribed = subscribe(&memory, |subscription| subscription.bytes = 10).await;
        let mut given = Vec::new();
        for expected in [3, 1, 1] {
            let held = received(&mut subscribed);
            assert_eq!(held.len(), expected, "{given:?}");
            for delivery in held {
                given.push(delivery.body.len());
                delivery.settle(Settle::Ack).expect("the session is open");
            }
        }
        assert_eq!(given, [4, 3, 3, 19, 1]);
    }

    #[tokio::test]
    async fn free_bytes_go_to_each_queue_in_turn() {
        let memory = memory();
        let queues = ["one", "two", "three"];
        for queue in queues {
            for _ in 0..6 {
                put(&memory, queue, "four").await;
            }
        }
        let bind = |subscription: &mut Subscription| {
            // One of each queue, and one more.
            subscription.bytes = 4 * 4;
            subscription.bindings = queues
                .map(|queue| Binding {
                    exchange: String::new(),
                    routing_key: String::new(),
                    queue: queue.to_owned(),
                })
                .into();
        };
        let mut subscribed = subscribe(&memory, bind).await;
        let mut held: Vec<_> = received(&mut subscribed)
            .into_iter()
            .map(|one| (one.info.queue.to_string(), one))
            .collect();
        held.sort_by(|(one, _), (other, _)| one.cmp(other));
        let names: Vec<_> = held.iter().map(|(queue, _)| queue.as_str()).collect();
        assert_eq!(names, ["one", "one", "one", "one", "three", "two"]);
        for (_, delivery) in held.drain(..3) {
            delivery.settle(Settle::Ack).expect("the session is open");
        }
        let mut given = Vec::new();
        for _ in 0..6 {
            let delivery = next(&mut subscribed).await;
            assert_eq!(bodies(&received(&mut subscribed)), [""; 0]);
            given.push(delivery.info.queue.to_string());
            delivery.settle(Settle::Ack).expect("the session is open");
        }
        assert_eq!(given, ["one", "two", "three", "one", "two", "three"]);
    }

    #[tokio::test]
    async fn one_of_each_queue_is_let_through_while_the_bytes_are_used_up() {
        let memory = memory();
        for body in ["first", "second"] {
            put(&memory, QUEUE, body).await;
            put(&memory, QUARANTINE, body).await;
        }
        let mut subscribed = subscribe(&memory, |subscription| subscription.bytes = 1).await;
        for body in ["first", "second"] {
            let held = received(&mut subscribed);
            assert_eq!(bodies(&held), [body; 2]);
            for delivery in held {
                delivery.settle(Settle::Ack).expect("the session is open");
            }
        }
    }
}
