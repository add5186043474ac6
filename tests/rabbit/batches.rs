//! Batches of a whole listener on a real node: the prefetch allows full ones, and a lost connection loses no
//! notification. `tests/flow` has what a batch is.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use futures_util::future::join_all;
use listener::options::Executor;
use listener::{Batch, Context, Listener, Notifier, Transport, notification_endpoint};
use support::Proxy;

use super::*;

/// Keeps the payloads of each call.
#[derive(Clone, Default)]
struct Store(Arc<Mutex<Vec<Vec<u32>>>>);

#[notification_endpoint(register = false, name = "store")]
impl Store {
    #[on(info, batch(size = 300, timeout = "1h"))]
    async fn store(&self, batch: Batch<'_, u32>) {
        self.0.lock().unwrap().push(batch.into_payloads());
    }

    #[on(error, batch(size = 20, timeout = "100ms"))]
    async fn slow(&self, batch: Batch<'_, u32>) {
        tokio::time::sleep(Duration::from_millis(50)).await;
        self.0.lock().unwrap().push(batch.into_payloads());
    }
}

impl Store {
    fn sizes(&self) -> Vec<usize> {
        self.0.lock().unwrap().iter().map(Vec::len).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs rabbitmq"]
async fn batches_are_full_though_they_are_larger_than_the_concurrency() {
    let node = support::shared().await;
    let url = node.vhost("batches").await;
    for executor in [Executor::Concurrent(4), Executor::Sequential] {
        let store = Store::default();
        let builder = Listener::builder().transport_url(&url).executor(executor);
        let listener = builder.endpoint(store.clone()).build().unwrap();
        listener.start().await.unwrap();
        let notifier = Notifier::builder(Transport::open(&url).unwrap()).build().unwrap();
        let ctxt = Context::new();
        let sends = (0..900_u32).map(|number| notifier.info_of(&ctxt, number));
        join_all(sends).await;
        wait_until("three full batches", SOON, async || store.sizes() == [300; 3]).await;
        listener.shutdown().await.unwrap();
        assert_eq!(node.queue_depth("batches", QUEUE).await, Some(0), "{executor:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs rabbitmq"]
async fn notifications_in_batches_survive_lost_connections() {
    const COUNT: u32 = 2000;
    let node = support::shared().await;
    let url = node.vhost("batches-cut").await;
    let proxy = Proxy::start(node.port()).await;
    let store = Store::default();
    let through = url.replace(&node.port().to_string(), &proxy.port().to_string());
    let through = format!("{through}?rabbit_retry_interval=100ms&kombu_reconnect_delay=50ms");
    let builder = Listener::builder().transport_url(&through);
    let listener = builder.endpoint(store.clone()).build().unwrap();
    listener.start().await.unwrap();
    let notifier = Notifier::builder(Transport::open(&url).unwrap()).build().unwrap();
    let ctxt = Context::new();
    join_all((0..COUNT).map(|number| notifier.error_of(&ctxt, number))).await;
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        proxy.cut();
    }
    let handled = || store.0.lock().unwrap().iter().flatten().copied().collect::<BTreeSet<u32>>();
    wait_until("all are handled", SOON, async || handled().len() == COUNT as usize).await;
    wait_until("all are settled", SOON, async || {
        node.queue_depth("batches-cut", "notifications.error").await == Some(0)
    })
    .await;
    listener.shutdown().await.unwrap();
    for queue in node.queues("batches-cut").await {
        let depth = node.queue_depth("batches-cut", &queue).await;
        assert!(depth == Some(0) || queue.ends_with(".journal"), "{queue}: {depth:?}");
    }
}

/// Sends a number.
trait Numbers {
    async fn info_of(&self, ctxt: &Context, number: u32);
    async fn error_of(&self, ctxt: &Context, number: u32);
}

impl Numbers for Notifier {
    async fn info_of(&self, ctxt: &Context, number: u32) {
        self.info(ctxt, "number", &number).await.unwrap();
    }

    async fn error_of(&self, ctxt: &Context, number: u32) {
        self.error(ctxt, "number", &number).await.unwrap();
    }
}
