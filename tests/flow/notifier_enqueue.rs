//! Enqueued notifications: their order, their results, and what becomes of a result that nobody reads.

use std::time::Duration;

use listener::output::{NotifierOutput, Output, OutputNotification};
use listener::{
    BoxError, BoxFuture, Context, Notifier, NotifierBuilder, NotifyError, PendingNotification,
    Priority, Receipt,
};
use serde_json::Value;
use tokio::time::Instant;

use crate::logging::Buffer;
use crate::rig::Rig;

#[tokio::test(start_paused = true)]
async fn enqueued_notifications_arrive_in_order_and_each_has_a_result() {
    for outputs in [vec![], vec![Output::Messaging, Output::Log]] {
        let rig = Rig::new();
        let builder = Notifier::builder(rig.transport.clone()).window(7);
        let builder = builder.version(listener::EnvelopeVersion::V1);
        let notifier = outputs.into_iter().fold(builder, NotifierBuilder::output).build().unwrap();
        let mut pending = Vec::new();
        for number in 0..50 {
            let enqueued = notifier.enqueue(Priority::Info, &Context::new(), "x", &number).await;
            pending.push(enqueued.unwrap());
        }
        for sent in pending {
            assert_eq!(sent.await.unwrap(), Receipt::Confirmed);
        }
        for number in 0..50 {
            let body = rig.take("notifications.info").await.body;
            assert_eq!(serde_json::from_slice::<Value>(&body).unwrap()["payload"], number);
        }
    }
}

/// An output that fails, at once or later.
struct Broken(Duration);

impl NotifierOutput for Broken {
    fn name(&self) -> &str {
        "broken"
    }

    fn notify<'a>(&'a self, _: &'a OutputNotification) -> BoxFuture<'a, Result<(), BoxError>> {
        Box::pin(async {
            if !self.0.is_zero() {
                tokio::time::sleep(self.0).await;
            }
            Err("broken".into())
        })
    }
}

async fn enqueued(delay: Duration) -> PendingNotification {
    let builder = Notifier::builder(Rig::new().transport).output(Broken(delay));
    let notifier = builder.build().unwrap();
    notifier.enqueue(Priority::Info, &Context::new(), "lost", &1).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn to_enqueue_waits_while_the_window_is_full() {
    let delay = Duration::from_secs(10);
    let builder = Notifier::builder(Rig::new().transport).output(Broken(delay)).window(2);
    let notifier = builder.build().unwrap();
    let began = Instant::now();
    let mut pending = Vec::new();
    for expected in [Duration::ZERO, Duration::ZERO, delay] {
        let enqueued = notifier.enqueue(Priority::Info, &Context::new(), "x", &1).await;
        pending.push(enqueued.unwrap());
        let elapsed = began.elapsed();
        assert!(elapsed >= expected && elapsed < expected + delay / 10, "{elapsed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_error_of_a_result_that_nobody_reads_is_logged() {
    for (delay, until_drop) in [(0, 0), (1, 0), (1, 2)]
        .map(|(delay, until_drop)| (Duration::from_secs(delay), Duration::from_secs(until_drop)))
    {
        let log = Buffer::default();
        let _guard = log.set();
        let pending = enqueued(delay).await;
        tokio::time::sleep(until_drop).await;
        drop(pending);
        tokio::time::sleep(Duration::from_secs(5)).await;
        let text = log.text();
        assert_eq!(text.matches("a notification was not sent").count(), 1, "{delay:?} {text}");
        assert!(text.contains("\"lost\""), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_result_that_is_read_has_the_error() {
    for delay in [Duration::ZERO, Duration::from_secs(1)] {
        assert!(matches!(enqueued(delay).await.await, Err(NotifyError::Outputs(_))));
    }
}
