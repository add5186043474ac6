//! Headers of a publisher's own making that say what only the listener says.

use std::time::Duration;

use bytes::Bytes;
use listener::driver::{Binding, Outgoing, Route, Subscription};
use listener::driver::{Properties, Settle};
use listener::{Listener, Transport, notification_endpoint};

const LONG: Duration = Duration::from_secs(3600);

struct Fails;

#[notification_endpoint(register = false)]
impl Fails {
    async fn info(&self) -> Result<(), &'static str> {
        Err("it fails")
    }
}

/// Wants the dead letter of a delivery that says it came from `queue` where it did come from.
async fn check(name: &str, queue: &str, body: &'static str) {
    let transport = Transport::open(&format!("memory://copies-{name}")).unwrap();
    let listener =
        Listener::builder().transport(transport.clone()).endpoint(Fails).build().unwrap();
    listener.start().await.unwrap();
    let mut properties = Properties::default();
    properties.headers.set("listener-queue", queue.into());
    let outgoing = Outgoing::new(
        Route::Queue("notifications.info".to_owned()),
        Bytes::from_static(body.as_bytes()),
        LONG,
    )
    .properties(properties);
    transport.send(outgoing).await.unwrap();
    let binding = Binding::unbound("notifications.info.dead");
    let subscription = Subscription::new(vec![binding], 1, LONG);
    let mut dead = transport.subscribe(subscription).await.unwrap();
    let letter = tokio::time::timeout(LONG, dead.deliveries.recv()).await.unwrap().unwrap();
    assert_eq!(letter.body, body);
    assert_eq!(letter.properties.headers.text("listener-queue"), Some("notifications.info"));
    letter.settle(Settle::Ack).unwrap();
    listener.stop().await;
    listener.wait().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_publisher_does_not_choose_where_a_dead_letter_goes() {
    check("dead", "somebody.elses", "no json").await;
}

#[tokio::test(start_paused = true)]
async fn a_publisher_does_not_choose_where_a_retry_goes() {
    check("retry", "somebody.elses", r#"{"priority": "INFO"}"#).await;
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_no_broker_takes_holds_nothing_up() {
    let name = "q".repeat(300);
    check("long", &name, "no json").await;
}
