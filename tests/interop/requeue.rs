//! Requeues: for the same script of outcomes, a listener with `allow_requeue` calls its endpoint as often as
//! the Python listener does, and leaves the same behind.

use std::collections::BTreeMap;
use std::sync::Mutex;

use listener::options::{Executor, OnFailure};
use listener::{BoxError, Listener, Notifier, Outcome, State, Transport, notification_endpoint};
use serde::Deserialize;
use serde_json::{Value, json};
use support::python_peer::{ListenerOptions, PythonListener};
use support::rabbit_node::{oslo_url, shared};
use tokio::sync::mpsc;

use crate::collect::{SOON, from_python};

/// What the endpoint does with each notification in turn; after that it handles it.
const SCRIPTS: [&[&str]; 6] = [
    &[],
    &["requeue"],
    &["error"],
    &["requeue", "requeue", "error", "requeue"],
    &["handled"],
    &["error", "error"],
];

#[derive(Deserialize)]
struct Script {
    id: usize,
    outcomes: Vec<String>,
}

/// Follows the script in the payload.
#[derive(Default)]
struct Scripted(Mutex<BTreeMap<usize, usize>>);

#[notification_endpoint(register = false)]
impl Scripted {
    async fn info(
        &self,
        payload: Script,
        log: State<mpsc::UnboundedSender<usize>>,
    ) -> Result<Outcome, BoxError> {
        let call = {
            let mut calls = self.0.lock().unwrap();
            let calls = calls.entry(payload.id).or_default();
            *calls += 1;
            *calls - 1
        };
        let _ = log.send(payload.id);
        match payload.outcomes.get(call).map(String::as_str) {
            Some("requeue") => Ok(Outcome::Requeue),
            Some("error") => Err("chosen by the payload".into()),
            _ => Ok(Outcome::Handled),
        }
    }
}

/// How often each notification is handed to an endpoint.
fn expected() -> BTreeMap<usize, usize> {
    let calls = |script: &&[&str]| {
        script.iter().position(|outcome| *outcome == "handled").unwrap_or(script.len()) + 1
    };
    SCRIPTS.iter().map(calls).enumerate().collect()
}

async fn send(url: &str) {
    let notifier = Notifier::builder(Transport::open(url).unwrap()).build().unwrap();
    for (id, outcomes) in SCRIPTS.iter().enumerate() {
        let payload = json!({"id": id, "outcomes": outcomes});
        notifier.info(&listener::Context::new(), "x", &payload).await.unwrap();
    }
    notifier.close().await;
}

#[tokio::test]
#[ignore = "needs rabbitmq and oslo.messaging"]
async fn an_endpoint_is_called_as_often_as_by_python_for_the_same_outcomes() {
    let node = shared().await;
    let url = oslo_url(&node.vhost("requeue").await);
    let options = ListenerOptions {
        pool: Some("python".to_owned()),
        allow_requeue: true,
        ..ListenerOptions::default()
    };
    let mut python = PythonListener::start(&url, &options).await;
    let (log, mut called) = mpsc::unbounded_channel();
    let listener = Listener::builder()
        .transport(Transport::open(&url).unwrap())
        .pool("rust")
        .allow_requeue(true)
        .on_failure(OnFailure::Requeue)
        .executor(Executor::Sequential)
        .state(log)
        .endpoint(Scripted::default())
        .build()
        .unwrap();
    listener.start().await.unwrap();
    send(&url).await;

    let total: usize = expected().values().sum();
    let (mut by_python, mut by_us) = (BTreeMap::new(), BTreeMap::new());
    for _ in 0..total {
        let seen: Value = from_python(&python.next(SOON).await);
        let id = usize::try_from(seen["payload"]["id"].as_u64().unwrap()).unwrap();
        *by_python.entry(id).or_insert(0) += 1;
        let id = tokio::time::timeout(SOON, called.recv()).await.expect("a call").unwrap();
        *by_us.entry(id).or_insert(0) += 1;
    }
    assert_eq!(by_python, expected());
    assert_eq!(by_us, by_python);

    listener.stop().await;
    listener.wait().await.unwrap();
    python.stop().await;
    for pool in ["python", "rust"] {
        assert_eq!(node.queue_depth("requeue", pool).await, Some(0), "{pool}");
    }
}
