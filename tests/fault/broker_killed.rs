//! Twenty thousand notifications while the broker is killed, all connections are closed, and a queue is
//! deleted under its consumer: exactly the confirmed ones are handled.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use futures_util::StreamExt;
use listener::{Context, Listener, Notifier, Transport, notification_endpoint};
use support::rabbit_node::RabbitNode;
use support::wait::wait_until;

use crate::program::SOON;

const COUNT: u32 = 20_000;
/// How many notifications may be unconfirmed at once.
const WINDOW: usize = 200;
/// How many deliveries may be unsettled when the session ends: all are redelivered.
const PREFETCH: u16 = 100;

#[derive(Clone, Default)]
struct Counts(Arc<Mutex<HashMap<u32, u32>>>);

#[notification_endpoint(register = false)]
impl Counts {
    #[on(info, warn)]
    async fn count(&self, payload: u32) {
        *self.0.lock().unwrap().entry(payload).or_default() += 1;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs rabbitmq"]
async fn confirmed_notifications_are_handled_across_broker_faults() {
    let mut node = RabbitNode::start().await;
    let transport = Transport::open(&node.url()).unwrap();
    let counts = Counts::default();
    let listener = Listener::builder()
        .transport(transport.clone())
        .prefetch(PREFETCH)
        .endpoint(counts.clone())
        .build()
        .unwrap();
    listener.start().await.unwrap();
    let handled = || counts.0.lock().unwrap().len() as u32;

    let sending = tokio::spawn(async move {
        let notifier = Notifier::builder(transport).timeout(SOON).build().unwrap();
        let context = Context::new();
        futures_util::stream::iter(0..COUNT)
            .map(|number| {
                let (notifier, context) = (&notifier, &context);
                async move { (number, notifier.info(context, "x", &number).await) }
            })
            .buffer_unordered(WINDOW)
            .collect::<Vec<_>>()
            .await
    });
    let at = async |share: u32| {
        wait_until("the listener goes on", SOON, async || handled() >= share).await;
    };
    let attached = async || {
        wait_until("the listener is ready again", SOON, async || listener.is_ready()).await;
    };

    at(COUNT / 10).await;
    node.kill().await;
    wait_until("readiness is lost", SOON, async || !listener.is_ready()).await;
    node.restart().await;
    attached().await;

    at(COUNT / 2).await;
    node.ctl(&["close_all_connections", "a test"]).await;
    attached().await;

    at(COUNT / 10 * 6).await;
    // The listener consumes from it, and it is empty.
    node.ctl(&["delete_queue", "notifications.warn"]).await;

    let sent = tokio::time::timeout(SOON * 4, sending).await.unwrap().unwrap();
    let confirmed: BTreeSet<u32> =
        sent.iter().filter(|(_, result)| result.is_ok()).map(|(number, _)| *number).collect();
    wait_until("all that was confirmed is handled", SOON * 2, async || {
        let counts = counts.0.lock().unwrap();
        confirmed.iter().all(|number| counts.contains_key(number))
    })
    .await;
    attached().await;
    // The deleted queue exists again, with a consumer.
    wait_until("the deleted queue is consumed from again", SOON, async || {
        node.ctl(&["list_consumers"]).await.contains("notifications.warn")
    })
    .await;
    listener.stop().await;
    listener.wait().await.unwrap();

    let counts = counts.0.lock().unwrap().clone();
    let unexpected: Vec<_> = counts.keys().filter(|number| **number >= COUNT).collect();
    let twice: u32 = counts.values().map(|times| times - 1).sum();
    println!(
        "sent {COUNT}, confirmed {}, handled {}, handled again {twice}",
        confirmed.len(),
        counts.len()
    );
    assert_eq!(unexpected, [&0; 0]);
    assert_eq!(confirmed.len(), COUNT as usize, "every send outlived the restart");
    // At each of the three session ends, unsettled deliveries are redelivered, and the notifier sends
    // unconfirmed messages again.
    let bound = 3 * u32::from(PREFETCH) + 3 * WINDOW as u32;
    assert!(twice <= bound, "{twice} were handled twice, more than {bound}");
    assert_eq!(node.queue_depth("/", "notifications.info").await, Some(0));
}
