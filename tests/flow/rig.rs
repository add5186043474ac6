//! Fixtures of every flow: a bus of its own, a log that endpoints write to, access to the queues and
//! dead letters, and raw bodies.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use listener::ListenerBuilder;
use listener::driver::{Binding, Outgoing, Route, Subscription};
use listener::driver::{HeaderValue, Properties, Settle};
use listener::options::RetryOptions;
use listener::{Context, Listener, Notifier, Transport};
use tokio::sync::mpsc;

/// How long a flow may take on the paused clock before it counts as stuck.
const LONG: Duration = Duration::from_secs(3600);

/// A state that endpoints write to.
pub(crate) type Log = mpsc::UnboundedSender<String>;

pub(crate) struct Rig {
    pub(crate) transport: Transport,
    log: Log,
    seen: mpsc::UnboundedReceiver<String>,
}

impl Rig {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let bus = NEXT.fetch_add(1, Ordering::Relaxed);
        Self::on(Transport::open(&format!("memory://flow-{bus}")).unwrap())
    }

    /// A rig on an existing bus, with its own log.
    pub(crate) fn on(transport: Transport) -> Self {
        let (log, seen) = mpsc::unbounded_channel();
        Self { transport, log, seen }
    }

    /// The receiving end of the log, without the rig.
    pub(crate) fn into_seen(self) -> mpsc::UnboundedReceiver<String> {
        self.seen
    }

    pub(crate) fn log(&self) -> Log {
        self.log.clone()
    }

    /// A builder on the bus, with the log as state.
    pub(crate) fn builder(&self) -> ListenerBuilder {
        self.builder_on(self.transport.clone())
    }

    /// A builder on another transport, such as one that changes what reaches the bus.
    pub(crate) fn builder_on(&self, transport: Transport) -> ListenerBuilder {
        Listener::builder().transport(transport).state(self.log())
    }

    pub(crate) fn notifier(&self) -> Notifier {
        Notifier::builder(self.transport.clone()).publisher_id("compute.host1").build().unwrap()
    }

    /// The next line that an endpoint logs.
    pub(crate) async fn seen(&mut self) -> String {
        tokio::time::timeout(LONG, self.seen.recv()).await.expect("nothing was logged").unwrap()
    }

    /// The next line that an endpoint logs, without a time limit.
    pub(crate) async fn next_line(&mut self) -> String {
        self.seen.recv().await.unwrap()
    }

    /// The lines that endpoints have logged until now.
    pub(crate) fn seen_so_far(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.seen.try_recv().ok()).collect()
    }

    /// Publishes a body unchanged to the topic `notifications`, priority `info`.
    pub(crate) async fn send_raw(&self, body: impl Into<Bytes>) {
        let properties =
            Properties::default().content_type(Some(Cow::Borrowed("application/json")));
        self.send_with(body, properties).await;
    }

    pub(crate) async fn send_with(&self, body: impl Into<Bytes>, properties: Properties) {
        self.send("notifications.info", body.into(), properties).await;
    }

    /// Publishes a body without properties to the exchange, with this routing key.
    pub(crate) async fn send_by(&self, routing_key: &str, body: impl Into<Bytes>) {
        self.send(routing_key, body.into(), Properties::default()).await;
    }

    async fn send(&self, routing_key: &str, body: Bytes, properties: Properties) {
        let route =
            Route::Topic { exchange: "openstack".to_owned(), routing_key: routing_key.to_owned() };
        let outgoing = Outgoing::new(route, body, LONG).properties(properties);
        self.transport.send(outgoing).await.unwrap();
    }

    /// Takes the next message of a queue.
    pub(crate) async fn take(&self, queue: &str) -> Taken {
        let mut subscribed = self.transport.subscribe(one_of(queue)).await.unwrap();
        let delivery = tokio::time::timeout(LONG, subscribed.deliveries.recv()).await;
        let delivery = delivery.expect("the queue stayed empty").unwrap();
        let taken = Taken { body: delivery.body.clone(), properties: delivery.properties.clone() };
        delivery.settle(Settle::Ack).unwrap();
        taken
    }

    /// Takes the next dead letter of `notifications.info`.
    pub(crate) async fn dead_letter(&self) -> DeadLetter {
        let delivery = self.take("notifications.info.dead").await;
        let header =
            |name| delivery.properties.headers.get_str(name).unwrap_or("missing").to_owned();
        let methods = match delivery.properties.headers.get("listener-methods") {
            Some(HeaderValue::Array(names)) => names
                .iter()
                .map(|name| match name {
                    HeaderValue::Text(name) => name.as_str(),
                    other => panic!("{other:?} is not a name"),
                })
                .collect::<Vec<_>>()
                .join(", "),
            None => String::new(),
            other => panic!("{other:?} is not a list"),
        };
        DeadLetter {
            reason: header("listener-reason"),
            error: header("listener-error"),
            methods,
            body: delivery.body.clone(),
        }
    }

    /// Puts a body directly into a queue.
    pub(crate) async fn put(&self, queue: &str, body: &'static str) {
        self.put_with(queue, Bytes::from_static(body.as_bytes()), Properties::default()).await;
    }

    /// Puts a message directly into a queue.
    pub(crate) async fn put_with(&self, queue: &str, body: Bytes, properties: Properties) {
        let route = Route::Queue(queue.to_owned());
        let outgoing = Outgoing::new(route, body, LONG).properties(properties);
        self.transport.send(outgoing).await.unwrap();
    }

    /// Whether a queue is empty: a marker that is put into it comes out first.
    pub(crate) async fn is_empty(&self, queue: &str) -> bool {
        self.put(queue, "marker").await;
        self.take(queue).await.body == "marker"
    }

    /// Asserts that a queue is empty.
    pub(crate) async fn assert_empty(&self, queue: &str) {
        assert!(self.is_empty(queue).await, "{queue} is not empty");
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DeadLetter {
    pub(crate) reason: String,
    pub(crate) error: String,
    pub(crate) methods: String,
    pub(crate) body: Bytes,
}

/// A subscription to a queue with a prefetch of one.
pub(crate) fn one_of(queue: &str) -> Subscription {
    let binding = Binding::unbound(queue);
    Subscription::new(vec![binding], 1, LONG)
}

/// A message that was taken from a queue.
pub(crate) struct Taken {
    pub(crate) body: Bytes,
    pub(crate) properties: Properties,
}

/// Options without retries.
pub(crate) fn once() -> RetryOptions {
    RetryOptions::default().attempts(1)
}

/// Starts a listener, sends one notification, and stops the listener once that is settled.
pub(crate) async fn run_once(listener: &Listener, notifier: &Notifier) {
    listener.start().await.unwrap();
    notifier.info(&Context::new(), "instance.create.end", &"payload").await.unwrap();
    finish(listener).await;
}

/// Stops a listener once its queues are drained: everything sent before is settled then.
pub(crate) async fn finish(listener: &Listener) {
    // A paused clock advances only when every task waits.
    tokio::time::sleep(Duration::from_millis(1)).await;
    listener.stop().await;
    listener.wait().await.unwrap();
}
