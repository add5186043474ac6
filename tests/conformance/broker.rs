//! Fixtures of a claim: a bus or virtual host of its own, sends to it, and subscriptions. Every wait has
//! a deadline, which a working driver never reaches.

use std::time::Duration;

use bytes::Bytes;
use listener::DeliveryInfo;
use listener::Transport;
use listener::driver::{
    Binding, ConnectionState, Consumer, Outgoing, Route, Subscribed, Subscription,
};
use listener::driver::{Delivery, Properties, Settle};
use listener::testing::Model;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;

/// Longer than any answer takes, also on a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// The exchange of most claims.
pub(crate) const EXCHANGE: &str = "openstack";

/// The routing key of most claims, and so its default queue.
pub(crate) const KEY: &str = "notifications.info";

/// A bus or virtual host of one test.
pub(crate) struct Broker {
    open: Box<dyn Fn() -> Transport + Send + Sync>,
    sender: Transport,
}

impl Broker {
    pub(crate) fn memory(claim: &str) -> Self {
        let url = format!("memory://conformance-{claim}");
        Self::with(move || open(&url))
    }

    /// The model of a broker, without faults.
    pub(crate) fn model() -> Self {
        let model = Model::new(0);
        Self::with(move || Transport::new(model.process(), "model"))
    }

    pub(crate) async fn rabbit(claim: &str) -> Self {
        let url = support::shared().await.vhost(claim).await;
        Self::with(move || open(&url))
    }

    /// Like `rabbit`, with quorum queues.
    pub(crate) async fn quorum(claim: &str) -> Self {
        let url = support::shared().await.vhost(&format!("quorum {claim}")).await;
        let url = format!("{url}?amqp_durable_queues=true&rabbit_quorum_queue=true");
        Self::with(move || open(&url))
    }

    fn with(open: impl Fn() -> Transport + Send + Sync + 'static) -> Self {
        let sender = open();
        Self { open: Box::new(open), sender }
    }

    /// A transport that shares only the broker with others.
    pub(crate) fn transport(&self) -> Transport {
        (self.open)()
    }

    /// Publishes a text to the topic exchange, and waits for the confirm.
    pub(crate) async fn send(&self, exchange: &str, key: &str, body: &str) {
        self.send_message(
            topic(exchange, key),
            Bytes::from(body.to_owned()),
            Properties::default(),
        )
        .await;
    }

    /// Puts a text directly into a queue, and waits for the confirm.
    pub(crate) async fn put(&self, queue: &str, body: &str) {
        let route = Route::Queue(queue.to_owned());
        self.send_message(route, Bytes::from(body.to_owned()), Properties::default()).await;
    }

    pub(crate) async fn send_message(&self, route: Route, body: Bytes, properties: Properties) {
        let outgoing = Outgoing::new(route, body, DEADLINE).properties(properties);
        timeout(DEADLINE, self.sender.send(outgoing))
            .await
            .expect("a send ends in time")
            .expect("the message is routable");
    }

    /// Closes the sending transport.
    pub(crate) async fn close(&self) {
        timeout(DEADLINE, self.sender.close()).await.expect("closing ends in time");
    }

    /// A subscription to the default queue.
    pub(crate) async fn listen(&self, prefetch: u16) -> Listening {
        self.subscribe(&[(EXCHANGE, KEY, KEY)], prefetch).await
    }

    /// A subscription to a pool's queue, bound like the default queue.
    pub(crate) async fn listen_as(&self, pool: &str, prefetch: u16) -> Listening {
        self.subscribe(&[(EXCHANGE, KEY, pool)], prefetch).await
    }

    /// A subscription to (exchange, routing key, queue) bindings.
    pub(crate) async fn subscribe(
        &self,
        bindings: &[(&str, &str, &str)],
        prefetch: u16,
    ) -> Listening {
        let bindings =
            bindings.iter().map(|(exchange, key, queue)| Binding::new(*exchange, *key, *queue));
        self.attach(default_queue(prefetch).bindings(bindings.collect())).await
    }

    pub(crate) async fn attach(&self, subscription: Subscription) -> Listening {
        let Subscribed { deliveries, consumer, .. } =
            timeout(DEADLINE, self.transport().subscribe(subscription))
                .await
                .expect("a subscription ends in time")
                .expect("the broker runs");
        Listening { deliveries, consumer }
    }
}

fn open(url: &str) -> Transport {
    Transport::open(url).expect("a transport URL")
}

/// The subscription of most claims.
pub(crate) fn default_queue(prefetch: u16) -> Subscription {
    Subscription::new(vec![Binding::new(EXCHANGE, KEY, KEY)], prefetch, DEADLINE)
}

/// The route to a topic exchange.
pub(crate) fn topic(exchange: &str, key: &str) -> Route {
    Route::Topic { exchange: exchange.to_owned(), routing_key: key.to_owned() }
}

/// A subscription, with a deadline on each wait.
pub(crate) struct Listening {
    deliveries: UnboundedReceiver<Delivery>,
    consumer: Box<dyn Consumer>,
}

impl Listening {
    /// The next delivery.
    pub(crate) async fn next(&mut self) -> Delivery {
        self.next_or_end().await.expect("the channel is open")
    }

    /// The next delivery, or `None` at the end of the channel.
    pub(crate) async fn next_or_end(&mut self) -> Option<Delivery> {
        timeout(DEADLINE, self.deliveries.recv()).await.expect("a delivery or the end in time")
    }

    /// The next deliveries, unsettled.
    pub(crate) async fn take(&mut self, count: usize) -> Vec<Delivery> {
        let mut taken = Vec::new();
        while taken.len() < count {
            taken.push(self.next().await);
        }
        taken
    }

    /// The next delivery, acknowledged.
    pub(crate) async fn handle(&mut self) -> Received {
        let delivery = self.next().await;
        let received = Received::from(&delivery);
        delivery.settle(Settle::Ack).expect("the session exists");
        received
    }

    /// The texts of the next deliveries, acknowledged.
    pub(crate) async fn handle_texts(&mut self, count: usize) -> Vec<String> {
        let mut texts = Vec::new();
        while texts.len() < count {
            texts.push(text(&self.handle().await.body));
        }
        texts
    }

    /// Whether a delivery is in the channel.
    pub(crate) fn has_more(&self) -> bool {
        !self.deliveries.is_empty()
    }

    /// The next delivery, or `None` if none arrives for a while.
    pub(crate) async fn next_soon(&mut self) -> Option<Delivery> {
        timeout(Duration::from_millis(200), self.next()).await.ok()
    }

    /// Looks again for quarantine queues.
    pub(crate) fn recheck_quarantine_queues(&self) {
        self.consumer.recheck_quarantine_queues();
    }

    pub(crate) fn state(&self) -> tokio::sync::watch::Receiver<ConnectionState> {
        self.consumer.state()
    }

    /// Stops new deliveries.
    pub(crate) async fn cancel(&self) {
        timeout(DEADLINE, self.consumer.cancel()).await.expect("a cancellation ends in time");
    }

    /// Closes the consumer; deliveries in the channel are dropped.
    pub(crate) async fn close(self) {
        timeout(DEADLINE, self.consumer.close()).await.expect("closing ends in time");
    }
}

/// All that a listener sees of a delivery, except for the delivery count, which not every queue has.
#[derive(Debug, PartialEq)]
pub(crate) struct Received {
    pub(crate) body: Bytes,
    pub(crate) properties: Properties,
    pub(crate) info: DeliveryInfo,
}

impl Received {
    /// A text without properties, delivered to this queue over the exchange and key of most claims.
    pub(crate) fn text(body: &str, queue: &str) -> Self {
        Self {
            body: Bytes::from(body.to_owned()),
            properties: Properties::default(),
            info: DeliveryInfo::new(queue, EXCHANGE, KEY),
        }
    }

    /// The same, redelivered.
    pub(crate) fn again(self) -> Self {
        Self { info: self.info.redelivered(true), ..self }
    }
}

impl From<&Delivery> for Received {
    fn from(delivery: &Delivery) -> Self {
        let mut properties = delivery.properties.clone();
        // The delivery count of a quorum queue is a header.
        properties.headers.remove_broker_owned();
        Self {
            body: delivery.body.clone(),
            properties,
            info: delivery.info.clone().delivery_count(None),
        }
    }
}

/// The texts of deliveries.
pub(crate) fn texts(deliveries: &[Delivery]) -> Vec<String> {
    deliveries.iter().map(|delivery| text(&delivery.body)).collect()
}

fn text(body: &Bytes) -> String {
    String::from_utf8(body.to_vec()).expect("the tests send text")
}
