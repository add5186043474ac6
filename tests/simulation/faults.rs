//! The faults of the model, one by one: each behaves like RabbitMQ in `tests/rabbit` and `tests/fault`.
//! That the model keeps the contract without faults is tested in `tests/conformance`.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use listener::driver::{
    Binding, ConnectionState, Driver, Outgoing, Route, Subscribed, Subscription,
};
use listener::driver::{ConnectError, SendError, SettleError};
use listener::driver::{Delivery, Properties, Settle};
use listener::testing::{Conditions, DeliveryLimit, FaultCounts, Model, Process};
use tokio::time::{sleep, timeout};

const QUEUE: &str = "notifications.info";
const MINUTE: Duration = Duration::from_secs(60);

async fn send(process: &Process, body: &'static str) -> Result<(), SendError> {
    let body = Bytes::from_static(body.as_bytes());
    let route = Route::Queue(QUEUE.to_owned());
    let properties = Properties::default();
    process.send(Outgoing::new(route, body, MINUTE).properties(properties)).await
}

async fn subscribe(process: &Process) -> Result<Subscribed, ConnectError> {
    let (exchange, routing_key) = (String::new(), String::new());
    let subscription =
        Subscription::new(vec![Binding::new(exchange, routing_key, QUEUE)], 1, MINUTE);
    process.subscribe(subscription).await
}

async fn next(subscribed: &mut Subscribed) -> Delivery {
    timeout(MINUTE, subscribed.deliveries.recv()).await.unwrap().unwrap()
}

/// How many messages are in the queue.
fn depth(model: &Model) -> usize {
    model.depths().get(QUEUE).copied().unwrap_or_default()
}

fn fault_counts(unconfirmed: u64, released: u64) -> BTreeMap<Bytes, FaultCounts> {
    BTreeMap::from([(Bytes::from_static(b"a"), FaultCounts { unconfirmed, released })])
}

#[tokio::test(start_paused = true)]
async fn unsettled_deliveries_are_redelivered_and_counted_when_connections_end() {
    let model = Model::new(0);
    let process = model.process();
    send(&process, "a").await.unwrap();
    let mut subscribed = subscribe(&process).await.unwrap();
    let held = next(&mut subscribed).await;
    let mut state = subscribed.consumer.state();
    model.lose_connections("closed by hand");
    let lost = ConnectionState::Lost { reason: "closed by hand".into() };
    assert_eq!(*state.borrow_and_update(), lost);
    let again = next(&mut subscribed).await;
    assert_eq!(*state.borrow(), ConnectionState::Attached);
    assert_eq!((again.info.redelivered, again.info.delivery_count), (true, Some(1)));
    assert!(held.is_over() && !again.is_over());
    assert_eq!(held.settle(Settle::Ack), Err(SettleError));
    again.settle(Settle::Ack).unwrap();
    assert_eq!((depth(&model), model.fault_counts()), (0, fault_counts(0, 1)));
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_consumer_loses_only_its_session() {
    let model = Model::new(0);
    let (one, other) = (model.process(), model.process());
    let subscribed = (subscribe(&one).await.unwrap(), subscribe(&other).await.unwrap());
    model.cancel(1);
    let attached = |subscribed: &Subscribed| {
        *subscribed.consumer.state().borrow() == ConnectionState::Attached
    };
    assert_eq!((attached(&subscribed.0), attached(&subscribed.1)), (true, false));
    sleep(MINUTE).await;
    assert!(attached(&subscribed.1));
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_down_accepts_nothing_and_keeps_confirmed_messages() {
    let model = Model::new(0);
    let process = model.process();
    send(&process, "a").await.unwrap();
    model.change(|conditions| conditions.down = true);
    assert!(matches!(subscribe(&process).await, Err(ConnectError::Unreachable { .. })));
    assert_eq!(
        send(&process, "b").await,
        Err(SendError::TimedOut {
            route: format!("queue {QUEUE:?}"),
            after: MINUTE,
            last: Some("the broker is down".to_owned()),
        })
    );
    model.change(|conditions| conditions.down = false);
    let mut subscribed = subscribe(&process).await.unwrap();
    assert_eq!((next(&mut subscribed).await.body, depth(&model)), (Bytes::from_static(b"a"), 1));
}

#[tokio::test(start_paused = true)]
async fn a_broker_low_on_memory_blocks_senders_and_reports_the_obstacle() {
    let model = Model::new(0);
    let process = model.process();
    model.change(|conditions| conditions.blocked = true);
    let sender = process.clone();
    let sent = tokio::spawn(async move { send(&sender, "a").await });
    sleep(MINUTE / 2).await;
    assert_eq!(process.blocked().as_deref(), Some("the broker lacks memory"));
    assert_eq!(depth(&model), 0);
    model.change(|conditions| conditions.blocked = false);
    assert_eq!((sent.await.unwrap(), process.blocked(), depth(&model)), (Ok(()), None, 1));
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_messages() {
    let model = Model::new(0);
    model.change(|conditions| conditions.full = true);
    let refused = SendError::Refused { route: format!("queue {QUEUE:?}") };
    assert_eq!(send(&model.process(), "a").await, Err(refused));
    assert_eq!(depth(&model), 0);
}

#[tokio::test(start_paused = true)]
async fn a_lost_confirm_causes_a_duplicate_or_an_uncertain_send() {
    let (mut twice, mut doubt) = (0, 0);
    for seed in 0..50 {
        let model = Model::new(seed);
        model.change(|conditions| conditions.lost_confirms = 50);
        let sent = send(&model.process(), "a").await;
        let stored = depth(&model);
        // Each stored message is confirmed or counted.
        let unconfirmed = u64::try_from(stored - usize::from(sent.is_ok())).unwrap();
        assert_eq!(model.fault_counts(), fault_counts(unconfirmed, 0), "seed {seed}");
        twice += usize::from(sent.is_ok() && stored > 1);
        doubt += usize::from(sent.is_err());
    }
    assert!(twice > 5 && doubt > 5, "{twice} {doubt}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_before_a_message_arrives_is_reestablished() {
    for seed in 0..50 {
        let model = Model::new(seed);
        model.change(|conditions| {
            *conditions = Conditions::default().lost_sends(50).latency(MINUTE / 60);
        });
        assert_eq!((send(&model.process(), "a").await, depth(&model)), (Ok(()), 1), "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn actions_of_a_dead_process_have_no_effect() {
    let model = Model::new(0);
    let (dead, alive) = (model.process(), model.process());
    send(&alive, "a").await.unwrap();
    let mut subscribed = subscribe(&dead).await.unwrap();
    let held = next(&mut subscribed).await;
    dead.kill();
    assert_eq!(held.settle(Settle::Ack), Err(SettleError));
    assert!(timeout(10 * MINUTE, send(&dead, "b")).await.is_err());
    let mut subscribed = subscribe(&alive).await.unwrap();
    let again = next(&mut subscribed).await;
    assert_eq!((again.body.as_ref(), again.info.delivery_count), (&b"a"[..], Some(1)));
    assert_eq!((depth(&model), model.fault_counts()), (1, fault_counts(0, 1)));
}

#[tokio::test(start_paused = true)]
async fn beyond_its_delivery_limit_a_message_is_dead_lettered_or_dropped() {
    for dead_letters in [Some("limited.dead".to_owned()), None] {
        let model = Model::new(0);
        let process = model.process();
        model.limit(QUEUE, DeliveryLimit { deliveries: 1, dead_letters: dead_letters.clone() });
        send(&process, "a").await.unwrap();
        let mut subscribed = subscribe(&process).await.unwrap();
        for _ in 0..2 {
            next(&mut subscribed).await.settle(Settle::Requeue).unwrap();
        }
        let kept = dead_letters.map(|queue| (queue, 1));
        let queues = [(QUEUE.to_owned(), 0)].into_iter().chain(kept);
        assert_eq!(model.depths(), queues.collect());
    }
}
