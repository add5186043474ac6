//! What every flow needs: a bus of its own, a log of what the endpoints saw, a look at the
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

/// How long a flow may take by the paused clock before it counts as stuck.
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

    /// A rig on a bus that is there already, with a log of its own.
    pub(crate) fn on(transport: Transport) -> Self {
        let (log, seen) = mpsc::unbounded_channel();
        Self { transport, log, seen }
    }

    /// What endpoints write to the log, without the rig.
    pub(crate) fn into_seen(self) -> mpsc::UnboundedReceiver<String> {
        self.seen
    }

    pub(crate) fn log(&self) -> Log {
        self.log.clone()
    }

    /// A builder on the bus, with the log as state.
    pub(crate) fn builder(&self) -> ListenerBuilder {
        Listener::builder().transport(self.transport.clone()).state(self.log())
    }

    pub(crate) fn notifier(&self) -> Notifier {
        Notifier::builder(self.transport.clone()).publisher_id("compute.host1").build().unwrap()
    }

    /// What an endpoint wrote next.
    pub(crate) async fn seen(&mut self) -> String {
        tokio::time::timeout(LONG, self.seen.recv()).await.expect("nothing was seen").unwrap()
    }

    /// What an endpoint writes next, however long that takes.
    pub(crate) async fn next_line(&mut self) -> String {
        self.seen.recv().await.unwrap()
    }

    /// What the endpoints wrote until now.
    pub(crate) fn seen_so_far(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.seen.try_recv().ok()).collect()
    }

    /// Puts a body on the topic `notifications`, priority `info`, as it is.
    pub(crate) async fn send_raw(&self, body: impl Into<Bytes>) {
        let properties = Properties {
            content_type: Some(Cow::Borrowed("application/json")),
            ..Properties::default()
        };
        self.send_with(body, properties).await;
    }

    pub(crate) async fn send_with(&self, body: impl Into<Bytes>, properties: Properties) {
        self.send("notifications.info", body.into(), properties).await;
    }

    /// Puts a body without any properties on the exchange, by this routing key.
    pub(crate) async fn send_by(&self, routing_key: &str, body: impl Into<Bytes>) {
        self.send(routing_key, body.into(), Properties::default()).await;
    }

    async fn send(&self, routing_key: &str, body: Bytes, properties: Properties) {
        let route =
            Route::Topic { exchange: "openstack".to_owned(), routing_key: routing_key.to_owned() };
        let outgoing = Outgoing::new(route, body, LONG).properties(properties);
        self.transport.send(outgoing).await.unwrap();
    }

    /// The next message of a queue, taken from it.
    pub(crate) async fn take(&self, queue: &str) -> Taken {
        let mut subscribed = self.transport.subscribe(one_of(queue)).await.unwrap();
        let delivery = tokio::time::timeout(LONG, subscribed.deliveries.recv()).await;
        let delivery = delivery.expect("the queue stayed empty").unwrap();
        let taken = Taken { body: delivery.body.clone(), properties: delivery.properties.clone() };
        delivery.settle(Settle::Ack).unwrap();
        taken
    }

    /// The reason, error and methods of the next dead letter of `notifications.info`, and its
    /// body.
    pub(crate) async fn dead_letter(&self) -> DeadLetter {
        let delivery = self.take("notifications.info.dead").await;
        let header = |name| delivery.properties.headers.text(name).unwrap_or("missing").to_owned();
        let endpoints = match delivery.properties.headers.get("listener-endpoints") {
            Some(HeaderValue::List(names)) => names
                .iter()
                .map(|name| match name {
                    HeaderValue::Text(name) => name.as_str(),
                    other => panic!("{other:?} is no name"),
                })
                .collect::<Vec<_>>()
                .join(", "),
            None => String::new(),
            other => panic!("{other:?} is no list"),
        };
        DeadLetter {
            reason: header("listener-reason"),
            error: header("listener-error"),
            endpoints,
            body: delivery.body.clone(),
        }
    }

    /// Puts a body straight into a queue.
    pub(crate) async fn put(&self, queue: &str, body: &'static str) {
        self.put_with(queue, Bytes::from_static(body.as_bytes()), Properties::default()).await;
    }

    /// Puts a message straight into a queue.
    pub(crate) async fn put_with(&self, queue: &str, body: Bytes, properties: Properties) {
        let route = Route::Queue(queue.to_owned());
        let outgoing = Outgoing::new(route, body, LONG).properties(properties);
        self.transport.send(outgoing).await.unwrap();
    }

    /// Whether a queue holds nothing: a marker put behind comes out first.
    pub(crate) async fn is_empty(&self, queue: &str) -> bool {
        self.put(queue, "marker").await;
        self.take(queue).await.body == "marker"
    }

    /// Asserts that a queue holds nothing.
    pub(crate) async fn assert_empty(&self, queue: &str) {
        assert!(self.is_empty(queue).await, "{queue} held something");
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DeadLetter {
    pub(crate) reason: String,
    pub(crate) error: String,
    pub(crate) endpoints: String,
    pub(crate) body: Bytes,
}

/// What a queue holds, one at a time.
pub(crate) fn one_of(queue: &str) -> Subscription {
    let binding = Binding::unbound(queue);
    Subscription::new(vec![binding], 1, LONG)
}

/// A message that was taken from a queue.
pub(crate) struct Taken {
    pub(crate) body: Bytes,
    pub(crate) properties: Properties,
}

/// No second call.
pub(crate) fn once() -> RetryOptions {
    RetryOptions::default().attempts(1)
}

/// Starts a listener, gives it one notification, and stops it once it is settled.
pub(crate) async fn run_once(listener: &Listener, notifier: &Notifier) {
    listener.start().await.unwrap();
    notifier.info(&Context::new(), "instance.create.end", &"payload").await.unwrap();
    finish(listener).await;
}

/// Stops a listener once its queues are drained: what is sent before is settled after.
pub(crate) async fn finish(listener: &Listener) {
    // On a paused clock the time passes only when everything else waits.
    tokio::time::sleep(Duration::from_millis(1)).await;
    listener.stop().await;
    listener.wait().await.unwrap();
}
