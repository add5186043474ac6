//! One listener on two nodes, of which one is down at the start, comes up, is killed and comes back: the other
//! one is served throughout, and no notification of either is lost. `tests/flow/transports.rs` has the rules.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use listener::{Context, Listener, Notifier, Transport, notification_endpoint};

use super::*;

/// Keeps the payloads.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<BTreeSet<u32>>>);

#[notification_endpoint(register = false, name = "seen-of-two-nodes")]
impl Seen {
    async fn info(&self, payload: u32) {
        self.0.lock().unwrap().insert(payload);
    }
}

impl Seen {
    async fn has(&self, payload: u32) {
        let seen = async || self.0.lock().unwrap().contains(&payload);
        wait_until(&format!("{payload} is handled"), SOON, seen).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs rabbitmq"]
async fn a_node_that_is_away_does_not_affect_the_other_one() {
    let steady = support::shared().await;
    let mut failing = support::rabbit_node::harmed().await;
    let urls = [steady.vhost("two_nodes").await, failing.vhost("two_nodes").await];
    let notifiers = urls.clone().map(|url| {
        Notifier::builder(Transport::open(&url).unwrap()).timeout(SOON).build().unwrap()
    });
    let send = async |node: usize, payload: u32| {
        notifiers[node].info(&Context::new(), "x", &payload).await.unwrap();
    };
    let seen = Seen::default();
    let listener = Listener::builder()
        .transport_url(&urls[0])
        .transport_url(&urls[1])
        .start_timeout(Duration::from_secs(2))
        .endpoint(seen.clone())
        .build()
        .unwrap();
    let is_ready = async |expected: bool| {
        let what = format!("ready is {expected}");
        wait_until(&what, SOON, async || listener.is_ready() == expected).await;
    };

    failing.kill().await;
    listener.start().await.unwrap();
    assert!(!listener.is_ready());
    send(0, 1).await;
    seen.has(1).await;
    failing.restart().await;
    is_ready(true).await;
    send(1, 2).await;
    seen.has(2).await;

    failing.kill().await;
    is_ready(false).await;
    send(0, 3).await;
    seen.has(3).await;
    failing.restart().await;
    is_ready(true).await;
    send(1, 4).await;
    seen.has(4).await;

    // A notification whose acknowledgement was lost with the node is redelivered.
    let is_settled = async || {
        let depths = [depth(steady, "two_nodes").await, depth(&failing, "two_nodes").await];
        depths == [Some(0); 2]
    };
    wait_until("everything is settled", SOON, is_settled).await;
    listener.shutdown().await.unwrap();
}
