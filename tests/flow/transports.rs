//! One listener on several transports: they share endpoints and states, and one that fails affects neither the
//! start nor the work of the others. `tests/rabbit/transports.rs` has the same with two RabbitMQ nodes.

use std::time::Duration;

use listener::driver::ConnectionState;
use listener::notification_endpoint;
use listener::testing::Model;
use listener::{Context, Error, Listener, Notifier, Outcome, State, Transport};
use tokio::time::Instant;

use crate::rig::{Log, Rig, finish};

struct Cells;

#[notification_endpoint(register = false)]
impl Cells {
    async fn info(&self, publisher_id: &str, log: State<Log>) {
        let _ = log.send(publisher_id.to_owned());
    }

    async fn error(&self, publisher_id: &str) -> Outcome {
        Outcome::dead_letter(format!("from {publisher_id}"))
    }
}

struct Cell {
    model: Model,
    rig: Rig,
    name: &'static str,
}

impl Cell {
    fn new(name: &'static str) -> Self {
        let model = Model::new(1);
        let rig = Rig::on(Transport::new(model.process(), name));
        Self { model, rig, name }
    }

    fn down(self) -> Self {
        self.set_down(true);
        self
    }

    fn set_down(&self, down: bool) {
        self.model.change(|conditions| conditions.down = down);
        if down {
            self.model.lose_connections("the node is killed");
        }
    }

    fn notifier(&self) -> Notifier {
        let transport = self.rig.transport.clone();
        Notifier::builder(transport).publisher_id(self.name).build().unwrap()
    }

    async fn info(&self) {
        self.notifier().info(&Context::new(), "x", &()).await.unwrap();
    }
}

/// A listener on both cells; the endpoints log to the rig of the first one.
fn listener(one: &Cell, two: &Cell) -> Listener {
    one.rig.builder().transport(two.rig.transport.clone()).endpoint(Cells).build().unwrap()
}

fn states(listener: &Listener) -> Vec<(String, bool)> {
    let transports = listener.health().transports;
    let is_attached = |state| state == Some(ConnectionState::Attached);
    transports.into_iter().map(|one| (one.transport, is_attached(one.connection))).collect()
}

/// Waits for a condition on the paused clock.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(600);
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_notifications_of_all_transports_are_handled_and_copies_stay_on_theirs() {
    let (mut one, two) = (Cell::new("one"), Cell::new("two"));
    let listener = listener(&one, &two);
    listener.start().await.unwrap();
    assert!(listener.is_ready());
    one.info().await;
    two.info().await;
    let mut seen = [one.rig.seen().await, one.rig.seen().await];
    seen.sort();
    assert_eq!(seen, ["one", "two"]);
    two.notifier().error(&Context::new(), "x", &()).await.unwrap();
    finish(&listener).await;
    let queue = "notifications.error.dead";
    assert_eq!(one.model.depths().get(queue), None);
    assert_eq!(two.model.depths().get(queue), Some(&1));
    let connection = listener.health().connection;
    assert_eq!(connection, Some(ConnectionState::Closed));
}

#[tokio::test(start_paused = true)]
async fn a_transport_that_is_down_at_the_start_neither_delays_nor_fails_the_others() {
    let (mut one, two) = (Cell::new("one"), Cell::new("two").down());
    let listener = listener(&one, &two);
    let starting = tokio::spawn({
        let listener = listener.clone();
        async move { listener.start().await }
    });
    // Long before the start has ended.
    let began = Instant::now();
    one.info().await;
    assert_eq!(one.rig.seen().await, "one");
    assert!(began.elapsed() < Duration::from_secs(1) && !starting.is_finished());
    starting.await.unwrap().unwrap();
    assert!(began.elapsed() >= Duration::from_secs(30), "{:?}", began.elapsed());
    assert!(!listener.is_ready() && !listener.health().is_ready());
    assert_eq!(states(&listener), [("one".to_owned(), true), ("two".to_owned(), false)]);
    let Some(ConnectionState::Lost { reason }) = listener.health().connection else {
        panic!("{:?}", listener.health());
    };
    assert!(reason.contains("it is down"), "{reason}");
    two.set_down(false);
    until("the second transport is attached", || listener.is_ready()).await;
    two.info().await;
    assert_eq!(one.rig.seen().await, "two");
    finish(&listener).await;
}

#[tokio::test(start_paused = true)]
async fn without_any_transport_the_start_fails_and_can_be_repeated() {
    let (mut one, two) = (Cell::new("one").down(), Cell::new("two").down());
    let listener = listener(&one, &two);
    let Err(Error::Connect { transport, .. }) = listener.start().await else {
        panic!("it started");
    };
    assert_eq!(transport, "one");
    assert_eq!(listener.connection_state(), None);
    one.set_down(false);
    two.set_down(false);
    listener.start().await.unwrap();
    two.info().await;
    assert_eq!(one.rig.seen().await, "two");
    finish(&listener).await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_a_transport_that_is_down() {
    let (mut one, two) = (Cell::new("one"), Cell::new("two").down());
    let listener = listener(&one, &two);
    listener.start().await.unwrap();
    one.info().await;
    assert_eq!(one.rig.seen().await, "one");
    let began = Instant::now();
    listener.shutdown().await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    // A new run attaches to both.
    two.set_down(false);
    listener.start().await.unwrap();
    assert!(listener.is_ready());
    listener.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_start_that_is_given_up_leaves_no_consumer() {
    let (mut one, two) = (Cell::new("one"), Cell::new("two").down());
    let listener = listener(&one, &two);
    let start = tokio::time::timeout(Duration::from_secs(5), listener.start()).await;
    assert!(start.is_err());
    tokio::time::sleep(Duration::from_secs(5)).await;
    one.info().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(one.rig.seen_so_far(), Vec::<String>::new());
    assert_eq!(one.model.depths().get("notifications.info"), Some(&1));
}
