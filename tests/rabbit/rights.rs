//! An account that may do little: what it lacks is told at the start, with patterns that suffice
//! for all that a listener does, and nothing is lost before they are granted.

use std::io::Write;
use std::sync::{Arc, Mutex};

use listener::runtime::options::RetryOptions;
use listener::transport::driver::JournalAppend;
use listener::{Attempt, Context, Listener, Notifier, Target, Transport, notification_endpoint};
use serde_json::json;

use super::mistakes::user;
use super::*;

const VHOST: &str = "least";

/// 1 fails once, 2 for good.
#[derive(Clone, Default)]
struct Tap(Arc<Mutex<Vec<(u32, u32)>>>);

#[notification_endpoint(register = false, name = "tap")]
impl Tap {
    async fn info(&self, payload: u32, attempt: Attempt) -> Result<(), listener::BoxError> {
        self.0.lock().unwrap().push((payload, attempt.0));
        match (payload, attempt.0) {
            (1, 1) => Err("not yet".into()),
            (2, _) => Err(listener::permanent("never").into()),
            _ => Ok(()),
        }
    }
}

impl Tap {
    fn calls(&self) -> Vec<(u32, u32)> {
        self.0.lock().unwrap().clone()
    }
}

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Starts a listener of the pool, and gives what was told of permissions.
async fn start(url: &str, tap: &Tap) -> (Listener, Vec<String>) {
    let buffer = Buffer::default();
    let writer = buffer.clone();
    let subscriber =
        tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let listener = Listener::builder()
        .transport_url(url)
        .target(Target::topic("notifications").exchange("nova"))
        .pool("tap")
        .retry(RetryOptions { pause: Duration::from_secs(1), ..RetryOptions::default() })
        .endpoint(tap.clone())
        .build()
        .unwrap();
    listener.start().await.unwrap();
    drop(guard);
    let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
    let told = text.lines().filter(|line| line.contains("grant")).map(str::to_owned);
    (listener, told.collect())
}

async fn end(listener: Listener) {
    listener.stop().await;
    listener.wait().await.unwrap();
}

async fn grant(node: &RabbitNode, configure: &str, write: &str, read: &str) {
    let may = json!({"configure": configure, "write": write, "read": read});
    node.api("PUT", &format!("/api/permissions/{VHOST}/user_{VHOST}"), Some(may)).await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn what_an_account_lacks_is_told_at_the_start_with_patterns_that_suffice() {
    let node = support::shared().await;
    let url = user(node, VHOST, "^tap$", "^tap$", "^(tap|nova)$").await;
    let notifier = Notifier::builder(Transport::open(&node.vhost(VHOST).await).unwrap())
        .target(Target::topic("notifications").exchange("nova"))
        .build()
        .unwrap();
    let notify = async |number: u32| notifier.info(&Context::new(), "x", &number).await.unwrap();
    notify(0).await;

    let tap = Tap::default();
    let (listener, told) = start(&url, &tap).await;
    assert_eq!(told.len(), 1, "{told:?}");
    let patterns = [r"^(tap(\..*)?)$", r"^(tap(\..*)?|amq\.default)$", r"^(tap(\..*)?|nova)$"];
    let [configure, write, read] = patterns;
    for expected in [
        format!("configure={configure:?} write={write:?} read={read:?}"),
        r#"queues=["tap.dead", "tap.retry.1s", "tap.quarantine", "tap.quarantine.journal"]"#
            .to_owned(),
    ] {
        assert!(told[0].contains(&expected), "{told:?}: {expected}");
    }
    notify(2).await;
    wait_until("the failure", SOON, async || tap.calls().contains(&(2, 1))).await;
    end(listener).await;
    wait_until("it is back", SOON, async || node.queue_depth(VHOST, "tap").await == Some(1)).await;

    grant(node, configure, write, read).await;
    let (listener, told) = start(&url, &tap).await;
    assert_eq!(told, [""; 0]);
    notify(1).await;
    notify(3).await;
    wait_until("all is handled", SOON, async || {
        [(1, 2), (3, 1)].iter().all(|call| tap.calls().contains(call))
    })
    .await;
    wait_until("the dead letter", SOON, async || {
        node.queue_depth(VHOST, "tap.dead").await == Some(1)
    })
    .await;
    assert!(node.queue_depth(VHOST, "tap.retry.1s").await.is_some());
    end(listener).await;

    // What a death leads to: a journal, and a quarantine queue that is consumed.
    let rabbit = rabbit(&url);
    let append = JournalAppend {
        journal: "tap.quarantine.journal".to_owned(),
        entry: Bytes::from_static(b"{}"),
        read_from: Some(0),
        timeout: SOON,
    };
    rabbit.journal(append).await.unwrap();
    rabbit.send(to(Route::Quarantine("tap.quarantine".to_owned()), "{}")).await.unwrap();
    let mut subscription = subscription("tap");
    subscription.quarantine = vec!["tap.quarantine".to_owned()];
    let mut subscribed = rabbit.subscribe(subscription).await.unwrap();
    let delivery = next(&mut subscribed).await;
    assert_eq!(&*delivery.info.queue, "tap.quarantine");
    delivery.settle(Settle::Ack).unwrap();
    subscribed.consumer.close().await;
}
