//! Headers written by a publisher that imitate those of the listener.

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

/// Asserts that the dead letter of a delivery that claims to come from `queue` goes to that of its real
/// queue.
async fn check(name: &str, queue: &str, body: &'static str) {
    let transport = Transport::open(&format!("memory://copies-{name}")).unwrap();
    let listener =
        Listener::builder().transport(transport.clone()).endpoint(Fails).build().unwrap();
    listener.start().await.unwrap();
    let mut properties = Properties::default();
    properties.headers.insert("listener-queue", queue.into());
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
    let dead_letter = tokio::time::timeout(LONG, dead.deliveries.recv()).await.unwrap().unwrap();
    assert_eq!(dead_letter.body, body);
    assert_eq!(
        dead_letter.properties.headers.get_str("listener-queue"),
        Some("notifications.info")
    );
    dead_letter.settle(Settle::Ack).unwrap();
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
async fn an_origin_queue_with_an_invalid_name_delays_nothing() {
    let name = "q".repeat(300);
    check("long", &name, "no json").await;
}
