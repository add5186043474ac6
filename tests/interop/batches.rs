//! Batches: of the same notifications in a queue, a batch method is called with the same groups as the
//! Python batch endpoint, in the same order within each.

use std::time::Duration;

use listener::notification_endpoint;
use listener::options::Executor;
use listener::{Batch, Context, Listener, Notifier, Priority, State, Transport};
use serde_json::Value;
use support::Amqp;
use support::python_peer::{ListenerOptions, PythonListener};
use support::rabbit_node::{oslo_url, shared};
use tokio::sync::mpsc;

use crate::collect::SOON;

/// The payloads of a call, after its priority.
type Call = (String, Vec<u64>);

struct Batches;

#[notification_endpoint(register = false)]
impl Batches {
    #[on(error, info, sample)]
    async fn all(
        &self,
        batch: Batch<'_, u64>,
        priority: Priority,
        calls: State<mpsc::UnboundedSender<Call>>,
    ) {
        let _ = calls.send((priority.to_string(), batch.into_payloads()));
    }
}

/// Calls both listeners for notifications that already wait in their queues, and returns the calls of
/// Python and ours, sorted by priority.
async fn calls(vhost: &str, priorities: &[Priority], size: u16) -> (Vec<Call>, Vec<Call>) {
    let amqp_url = shared().await.vhost(vhost).await;
    let amqp = Amqp::connect(&amqp_url).await;
    amqp.declare_exchange("openstack", false).await;
    for pool in ["python", "rust"] {
        amqp.declare_queue(pool, false, &[]).await;
        for priority in Priority::ALL {
            amqp.bind(pool, "openstack", &format!("notifications.{priority}")).await;
        }
    }
    amqp.close().await;
    let url = oslo_url(&amqp_url);
    let notifier = Notifier::builder(Transport::open(&url).unwrap()).build().unwrap();
    for (n, priority) in priorities.iter().enumerate() {
        notifier.notify(*priority, &Context::new(), "x", &n).await.unwrap();
    }
    notifier.close().await;

    let options = ListenerOptions {
        pool: Some("python".to_owned()),
        batch: Some((size.into(), 3.0)),
        ..ListenerOptions::default()
    };
    let mut python = PythonListener::start(&url, &options).await;
    let mut by_python = Vec::new();
    while total(&by_python) < priorities.len() {
        let batch: Vec<Value> = serde_json::from_str(&python.next(SOON).await).unwrap();
        let priority = batch[0]["priority"].as_str().unwrap().to_owned();
        by_python
            .push((priority, batch.iter().map(|seen| seen["payload"].as_u64().unwrap()).collect()));
    }
    python.stop().await;

    let (log, mut called) = mpsc::unbounded_channel();
    let listener = Listener::builder()
        .transport(Transport::open(&url).unwrap())
        .pool("rust")
        .executor(Executor::Sequential)
        .batch_size(size)
        .batch_timeout(Duration::from_secs(3))
        .state(log)
        .endpoint(Batches)
        .build()
        .unwrap();
    listener.start().await.unwrap();
    let mut by_us = Vec::new();
    while total(&by_us) < priorities.len() {
        by_us.push(tokio::time::timeout(SOON, called.recv()).await.expect("a call").unwrap());
    }
    listener.stop().await;
    listener.wait().await.unwrap();
    by_us.sort();
    by_python.sort();
    (by_python, by_us)
}

fn total(calls: &[Call]) -> usize {
    calls.iter().map(|(_, payloads)| payloads.len()).sum()
}

#[tokio::test]
#[ignore = "needs rabbitmq and oslo.messaging"]
async fn a_batch_method_is_called_with_the_groups_of_python() {
    use Priority::{Error, Info, Sample};
    let mixed = [Info, Error, Info, Sample, Error, Info, Sample, Info, Info, Error];
    let (by_python, by_us) = calls("batch-mixed", &mixed, 10).await;
    let groups: [(_, &[u64]); 3] =
        [("error", &[1, 4, 9]), ("info", &[0, 2, 5, 7, 8]), ("sample", &[3, 6])];
    let groups = groups.map(|(priority, payloads)| (priority.to_owned(), payloads.to_vec()));
    assert_eq!(by_python, groups);
    assert_eq!(by_us, by_python);
}

#[tokio::test]
#[ignore = "needs rabbitmq and oslo.messaging"]
async fn batches_are_complete_at_the_size_of_python() {
    let (by_python, by_us) = calls("batch-size", &[Priority::Info; 12], 5).await;
    let lengths: Vec<_> = by_python.iter().map(|(_, payloads)| payloads.len()).collect();
    assert_eq!(lengths, [5, 5, 2]);
    assert_eq!(by_us, by_python);
}
