//! The layers of `tracing`: which notifications they make from events, that sending causes no further ones, and
//! that whoever logs never waits.

use std::time::Duration;

use listener::layers::{BackgroundNotifier, LogRecordLayer, PublishErrorsLayer};
use listener::output::{NotifierOutput, OutputNotification, TestOutput};
use listener::{BoxError, BoxFuture, Notifier, Priority, Transport};
use serde_json::{Value, json};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry;

const TIME: Duration = Duration::from_secs(10);

fn notifier(output: impl Into<listener::output::Output>) -> Notifier {
    let transport = Transport::open("memory://log-records").unwrap();
    Notifier::builder(transport).publisher_id("p").output(output).build().unwrap()
}

fn background(output: impl Into<listener::output::Output>) -> BackgroundNotifier {
    BackgroundNotifier::start(notifier(output), 100).unwrap()
}

#[tokio::test]
async fn an_error_is_sent_as_an_error_notification() {
    let list = TestOutput::new();
    let background = background(list.clone());
    let subscriber = registry().with(PublishErrorsLayer::new(background.clone()));
    tracing::subscriber::with_default(subscriber, || {
        tracing::warn!("not an error");
        tracing::error!(disk = 1, "the disk {} is full", "a");
    });
    assert!(background.flush(TIME).await);
    let [sent] = &list.notifications()[..] else { panic!("{:?}", list.notifications()) };
    assert_eq!(sent.publisher_id.as_deref(), Some("error.publisher"));
    assert_eq!((sent.priority, &*sent.event_type), (Priority::Error, "error_notification"));
    assert_eq!(sent.payload, json!({"error": "the disk a is full"}));
}

#[tokio::test]
async fn an_event_without_a_message_is_described_by_its_error_or_its_fields() {
    let list = TestOutput::new();
    let background = background(list.clone());
    let subscriber = registry().with(PublishErrorsLayer::new(background.clone()));
    tracing::subscriber::with_default(subscriber, || {
        let cause = std::io::Error::other("no space");
        let error: &dyn std::error::Error = &cause;
        tracing::error!(error);
        tracing::error!(disk = "a", free = 0);
    });
    assert!(background.flush(TIME).await);
    let sent: Vec<_> = list.notifications().iter().map(|sent| sent.payload.clone()).collect();
    assert_eq!(sent, [json!({"error": "no space"}), json!({"error": "disk=a free=0"})]);
}

#[tokio::test]
async fn a_log_record_has_the_fields_of_oslo_messaging() {
    let list = TestOutput::new();
    let background = background(list.clone());
    let subscriber = registry().with(LogRecordLayer::new(background.clone()));
    tracing::subscriber::with_default(subscriber, || {
        let cause = std::io::Error::other("no space");
        let error: &dyn std::error::Error = &cause;
        let _span = tracing::info_span!("store").entered();
        tracing::error!(target: "app", error, "not stored");
        tracing::warn!("w");
        tracing::info!("i");
        tracing::debug!("d");
        tracing::trace!("Python has no such level");
    });
    assert!(background.flush(TIME).await);
    let sent = list.notifications();
    let levels: Vec<_> = sent.iter().map(|n| (n.priority, n.payload["levelno"].clone())).collect();
    let expected =
        [(Priority::Error, 40), (Priority::Warn, 30), (Priority::Info, 20), (Priority::Debug, 10)];
    assert_eq!(levels, expected.map(|(priority, number)| (priority, json!(number))));
    assert_eq!(&*sent[0].event_type, "logrecord");
    let mut payload = sent[0].payload.clone();
    for key in ["lineno", "thread", "process"] {
        assert!(payload[key].take().is_u64(), "{key}");
    }
    assert!(payload["processName"].take().is_string());
    let expected = json!({
        "name": "app", "levelno": 40, "levelname": "ERROR", "exc_info": ["no space"],
        "pathname": file!(), "lineno": null, "msg": "not stored", "funcName": "store",
        "thread": null, "processName": null, "process": null, "extra": {"error": "no space"},
    });
    assert_eq!(payload, expected);
    assert_eq!(sent[1].payload["extra"], Value::Null);
}

/// Logs an error for each notification, and fails.
struct LogsErrors;

impl NotifierOutput for LogsErrors {
    fn name(&self) -> &str {
        "logs_errors"
    }

    fn notify<'a>(&'a self, _: &'a OutputNotification) -> BoxFuture<'a, Result<(), BoxError>> {
        Box::pin(async {
            tracing::error!(target: "program", "sending failed");
            tokio::task::yield_now().await;
            tracing::error!(target: "program", "sending failed again");
            Err("refused".into())
        })
    }
}

#[tokio::test(flavor = "current_thread")]
async fn an_output_that_logs_errors_causes_no_further_notifications() {
    let background = background(LogsErrors);
    let layers = registry()
        .with(PublishErrorsLayer::new(background.clone()))
        .with(LogRecordLayer::new(background.clone()));
    // The task that sends runs on this thread, with this subscriber.
    let _guard = tracing::subscriber::set_default(layers);
    tracing::error!(target: "program", "the first");
    assert!(background.flush(TIME).await);
    assert!(background.flush(TIME).await);
    let counts = background.counts();
    assert_eq!((counts.sent, counts.failed, counts.dropped), (0, 2, 0), "one of each layer");
    tracing::error!(target: "program", "the mark is removed after each poll");
    assert!(background.flush(TIME).await);
    assert_eq!(background.counts().failed, 4);
}

#[tokio::test(flavor = "current_thread")]
async fn a_full_queue_drops_and_counts_without_waiting() {
    let list = TestOutput::new();
    let background = BackgroundNotifier::start(notifier(list.clone()), 2).unwrap();
    let subscriber = registry().with(PublishErrorsLayer::new(background.clone()));
    // The task does not run until this thread awaits.
    tracing::subscriber::with_default(subscriber, || {
        for number in 0..5 {
            tracing::error!("{number}");
        }
    });
    assert_eq!(background.counts().dropped, 3);
    assert!(background.flush(TIME).await);
    assert_eq!((background.counts().sent, list.notifications().len()), (2, 2));
}

#[test]
fn events_of_threads_without_a_runtime_are_sent_and_those_after_its_end_are_counted() {
    let list = TestOutput::new();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let background = runtime.block_on(async { background(list.clone()) });
    let layer = PublishErrorsLayer::new(background.clone());
    let log = move || {
        let subscriber = registry().with(layer.clone());
        tracing::subscriber::with_default(subscriber, || tracing::error!("from a thread"));
    };
    std::thread::spawn(log.clone()).join().unwrap();
    assert!(runtime.block_on(background.flush(TIME)));
    assert_eq!(list.notifications().len(), 1);
    drop(runtime);
    std::thread::spawn(log).join().unwrap();
    assert_eq!((background.counts().sent, background.counts().dropped), (1, 1));
}
