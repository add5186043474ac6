//! Any body with any headers, through a whole listener: it is settled, no stage panics, and no dead
//! letter contains the secret. The headers include those that the runtime reads.

use std::cell::RefCell;
use std::time::Duration;

use bytes::Bytes;
use listener::driver::{Binding, Outgoing, Route, Subscribed, Subscription};
use listener::driver::{Delivery, Headers, Properties, Settle};
use listener::options::Executor;
use listener::queues::headers;
use listener::{Context, Listener, Metadata, State, Transport, notification_endpoint};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use super::SECRET;
use super::source::Source;

/// On the paused clock: after that time a listener is stuck.
const LONG: Duration = Duration::from_secs(24 * 3600);

/// Twice the sum of all delays of a method that always fails.
const RETRIES: Duration = Duration::from_secs(60);

const QUEUE: &str = "notifications.info";

/// Is sent after the delivery under test; deliveries are handled in sequence.
const LAST: &[u8] = br#"{"priority": "INFO", "event_type": "last", "payload": {}}"#;

/// Without `listener-remaining`, which delays a delivery past the one that is sent after it.
const NAMES: [&str; 13] = [
    "compression",
    headers::METHODS,
    headers::ATTEMPTS,
    headers::QUEUE,
    headers::EXCHANGE,
    headers::ROUTING_KEY,
    headers::FIRST_TIME,
    headers::DEAD_LETTER_TIME,
    headers::TIME,
    headers::ERROR,
    headers::REASON,
    headers::HEADERS_OMITTED,
    "x-delivery-count",
];

struct Endpoint;

type Seen = mpsc::UnboundedSender<()>;

#[notification_endpoint(register = false)]
impl Endpoint {
    async fn info(
        &self,
        ctxt: &Context,
        event_type: &str,
        payload: Value,
        metadata: &Metadata,
        seen: State<Seen>,
    ) -> Result<(), &'static str> {
        let shown = format!("{ctxt:?} {metadata:?} {}", payload.is_null());
        assert!(!shown.is_empty());
        if event_type == "last" {
            let _ = seen.send(());
        }
        if event_type == "fails" { Err("it fails") } else { Ok(()) }
    }
}

/// A listener that lives as long as its thread.
struct Running {
    runtime: Runtime,
    transport: Transport,
    dead: Subscribed,
    seen: mpsc::UnboundedReceiver<()>,
    _listener: Listener,
}

/// The first byte is the number of headers, each with a known name or its own; the body follows.
pub fn delivery(data: &[u8]) {
    thread_local!(static RUNNING: RefCell<Running> = RefCell::new(Running::start()));
    let mut source = Source::new(data);
    let mut headers = Headers::default();
    for _ in 0..source.byte() % 8 {
        let name = NAMES.get(usize::from(source.byte() % 16)).map(|name| (*name).to_owned());
        headers.insert(name.unwrap_or_else(|| source.text()), source.header(3));
    }
    let content_type = Some("application/json".into());
    let properties = Properties::default().content_type(content_type).headers(headers);
    let body = Bytes::copy_from_slice(source.rest());
    RUNNING.with_borrow_mut(|running| running.take(&body, properties));
}

impl Running {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let (sender, seen) = mpsc::unbounded_channel();
        let bus = format!("memory://fuzz-{}", fastrand::u64(..));
        let transport = Transport::open(&bus).unwrap();
        let listener = Listener::builder()
            .transport(transport.clone())
            .executor(Executor::Sequential)
            .state::<Seen>(sender)
            .endpoint(Endpoint)
            .build()
            .unwrap();
        let dead = runtime.block_on(async {
            listener.start().await.unwrap();
            transport.subscribe(dead_letters()).await.unwrap()
        });
        Self { runtime, transport, dead, seen, _listener: listener }
    }

    fn take(&mut self, body: &Bytes, properties: Properties) {
        let is_last = body == LAST;
        self.runtime.block_on(async {
            send(&self.transport, body.clone(), properties).await;
            send(&self.transport, Bytes::from_static(LAST), Properties::default()).await;
            for _ in 0..=usize::from(is_last) {
                tokio::time::timeout(LONG, self.seen.recv()).await.expect("stuck").unwrap();
            }
            // Retries are over by then.
            tokio::time::sleep(RETRIES).await;
            while let Ok(dead_letter) = self.dead.deliveries.try_recv() {
                check(&dead_letter, body);
                dead_letter.settle(Settle::Ack).unwrap();
            }
        });
        // Retries that the body itself asked for.
        while self.seen.try_recv().is_ok() {}
    }
}

fn check(dead_letter: &Delivery, body: &Bytes) {
    assert_eq!(dead_letter.body, body, "a dead letter has the original body");
    let header = |name| dead_letter.properties.headers.get_str(name).unwrap_or("missing");
    let (reason, error) = (header("listener-reason"), header("listener-error"));
    assert_ne!(reason, "panic", "{error}");
    assert!(!error.contains(SECRET), "{error}");
    assert!(!format!("{dead_letter:?}").contains(SECRET), "{dead_letter:?}");
}

async fn send(transport: &Transport, body: Bytes, properties: Properties) {
    let route = Route::Queue(QUEUE.to_owned());
    transport.send(Outgoing::new(route, body, LONG).properties(properties)).await.unwrap();
}

fn dead_letters() -> Subscription {
    Subscription::new(vec![Binding::unbound(format!("{QUEUE}.dead"))], 100, LONG)
}
