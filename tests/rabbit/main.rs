//! The RabbitMQ driver on a private node: its promises, and its behaviour under each fault. The tests
//! are in the modules, their fixtures here. They run on a runtime with one thread, because the driver
//! must not depend on the threads of the program.
#![allow(clippy::unwrap_used, reason = "tests")]

mod batches;
mod concurrent_sends;
mod consume;
mod copies;
mod declared;
mod declared_with_few_permissions;
mod delay;
mod faults;
mod hostile;
mod hosts;
mod journals;
mod mistakes;
mod new_queues;
mod order;
mod permissions;
mod quarantine;
mod retry;
mod send;
mod sharing;
mod sizes;
mod spool;
mod tls;
mod transports;
mod workarounds;

use std::time::Duration;

use bytes::Bytes;
use listener::driver::Rabbit;
use listener::driver::{
    Binding, ConnectionState, Driver, Outgoing, Route, Subscribed, Subscription,
};
use listener::driver::{ConnectError, SendError};
use listener::driver::{Delivery, Properties, Settle};
use support::{Amqp, RabbitNode, wait_until};
use tokio::time::timeout;

const QUEUE: &str = "notifications.info";
const SOON: Duration = Duration::from_secs(90);

fn rabbit(url: &str) -> Rabbit {
    Rabbit::new(&url.parse().unwrap()).unwrap()
}

fn subscription(queue: &str) -> Subscription {
    Subscription::new(vec![Binding::new("nova", queue, queue)], 10, Duration::from_secs(20))
}

async fn subscribe(rabbit: &Rabbit) -> Subscribed {
    rabbit.subscribe(subscription(QUEUE)).await.unwrap()
}

async fn refused(url: &str, subscription: Subscription) -> ConnectError {
    let subscribed = timeout(SOON, rabbit(url).subscribe(subscription)).await;
    subscribed.expect("an immediate answer").expect_err("a refusal")
}

/// The transient error with which a subscription times out. A busy broker may not answer within the
/// first timeout: later attempts have longer ones.
async fn times_out(url: &str, subscription: Subscription, reason: &str) -> String {
    for seconds in [3, 6, 12, 24] {
        let waiting = subscription.clone().timeout(Duration::from_secs(seconds));
        let error = refused(url, waiting).await;
        let text = error.to_string();
        assert!(error.is_transient(), "{text}");
        if text.contains(reason) {
            return text;
        }
        // Until the broker answers, only these errors are possible.
        let unanswered = ["no queue could be consumed yet", "no answer yet"];
        assert!(unanswered.iter().any(|unanswered| text.contains(unanswered)), "{text}");
    }
    panic!("not reported within 45 s: {reason}");
}

fn topic(body: &str) -> Outgoing {
    to(Route::Topic { exchange: "nova".to_owned(), routing_key: QUEUE.to_owned() }, body)
}

fn to(route: Route, body: &str) -> Outgoing {
    let properties = Properties::default()
        .content_type(Some("application/json".into()))
        .content_encoding(Some("utf-8".into()));
    let body = Bytes::copy_from_slice(body.as_bytes());
    Outgoing::new(route, body, Duration::from_secs(60)).properties(properties)
}

fn delayed(body: &str, delay: Duration) -> Outgoing {
    to(Route::Delayed { queue: QUEUE.to_owned(), delay }, body)
}

async fn send(rabbit: &Rabbit, body: &str) {
    rabbit.send(topic(body)).await.unwrap();
}

async fn next(subscribed: &mut Subscribed) -> Delivery {
    let delivery = timeout(SOON, subscribed.deliveries.recv()).await;
    delivery.expect("a delivery in time").expect("the consumer is not closed")
}

/// The next delivery with this body. Deliveries before it are acknowledged, if their session still
/// exists.
async fn ack_until(subscribed: &mut Subscribed, body: &str) -> Delivery {
    loop {
        let delivery = next(subscribed).await;
        if delivery.body == body {
            return delivery;
        }
        let _ = delivery.settle(Settle::Ack);
    }
}

/// Waits until the session is lost, or attached again.
async fn state(subscribed: &Subscribed, attached: bool) {
    let mut state = subscribed.consumer.state();
    let is = |state: &ConnectionState| matches!(state, ConnectionState::Attached) == attached;
    let changed = timeout(SOON, state.wait_for(is)).await;
    changed.expect("a change of state in time").unwrap();
}

async fn depth(node: &RabbitNode, vhost: &str) -> Option<u64> {
    node.queue_depth(vhost, QUEUE).await
}

/// An Erlang expression that does this with each connection `C` of a role in a virtual host.
fn with_connections(vhost: &str, role: &str, what: &str) -> String {
    format!(
        r#"[{what} || C <- rabbit_networking:connections(),
           [{{vhost, <<"{vhost}">>}}, {{client_properties, Properties}}]
               <- [try rabbit_reader:info(C, [vhost, client_properties]) catch _:_ -> gone end],
           {{_, _, Name}} <- [lists:keyfind(<<"connection_name">>, 1, Properties)],
           binary:match(Name, <<":{role}">>) =/= nomatch]"#
    )
}

/// One that closes them.
fn close_connections(vhost: &str, role: &str) -> String {
    with_connections(vhost, role, r#"rabbit_networking:close_connection(C, "test")"#)
}
