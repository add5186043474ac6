//! Many compressed bodies that a listener has at once, each a thousand times larger when it is
//! decompressed: their total is bounded, with and without an order key.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use listener::ListenerBuilder;
use listener::driver::Properties;
use listener::driver::{Outgoing, Route};
use listener::envelope::Compression;
use listener::{Listener, OrderKey, State, Transport, notification_endpoint};

use crate::MEMORY;

const BODIES: u32 = 64;

/// The size of one decompressed body.
const OPENED: usize = 512 << 10;

/// The bytes in flight: one decompressed body.
const BUDGET: usize = OPENED;

/// How many times the size of a body may be in use: one body that a method has or that is being
/// decompressed, and one that is decompressed for its order key, with that key, each with the buffers of
/// the decompressor.
const TIMES: usize = 10;

struct Waits;

#[notification_endpoint(register = false)]
impl Waits {
    async fn info(&self, publisher_id: &str, payload: &str, called: State<Arc<AtomicU32>>) {
        assert!(publisher_id.len() + payload.len() > OPENED / 2);
        called.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
}

/// The `n`th body, most of it in one field.
fn body(n: u32, is_key_long: bool) -> Bytes {
    let padding = "x".repeat(OPENED - 200);
    let (publisher, payload) = if is_key_long { (&*padding, "") } else { ("", &*padding) };
    let body = format!(
        r#"{{"priority": "INFO", "event_type": "x", "publisher_id": "{n}{publisher}", "payload": "{payload}"}}"#
    );
    Bytes::from(Compression::Zlib.compress(body.as_bytes()))
}

/// The most bytes in use while a listener works on all of them.
fn peak(
    name: &str,
    is_key_long: bool,
    set: impl FnOnce(ListenerBuilder) -> ListenerBuilder,
) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let transport = Transport::open(&format!("memory://together-{name}")).unwrap();
        let called: Arc<AtomicU32> = Arc::default();
        let builder = Listener::builder().transport(transport.clone()).endpoint(Waits);
        let builder = builder.bytes_in_flight(BUDGET).state(Arc::clone(&called));
        let listener = set(builder).build().unwrap();
        listener.start().await.unwrap();
        let bodies: Vec<Bytes> = (0..BODIES).map(|n| body(n, is_key_long)).collect();
        let before = MEMORY.current_usage();
        MEMORY.reset_peak_usage();
        for body in bodies {
            let mut properties = Properties::default();
            properties.headers.insert("compression", Compression::Zlib.content_type().into());
            let outgoing = Outgoing::new(
                Route::Queue("notifications.info".to_owned()),
                body,
                Duration::from_secs(60),
            )
            .properties(properties);
            transport.send(outgoing).await.unwrap();
        }
        while called.load(Ordering::SeqCst) < BODIES {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        listener.stop().await;
        listener.wait().await.unwrap();
        MEMORY.peak_usage() - before
    })
}

pub(crate) fn many_bodies() {
    for (name, order, is_key_long) in [
        ("unordered", None, false),
        ("ordered", Some(OrderKey::Payload("nothing".to_owned())), false),
        ("ordered-by-long-keys", Some(OrderKey::PublisherId), true),
    ] {
        let taken = peak(name, is_key_long, |builder| match order {
            Some(key) => builder.ordered_by(key),
            None => builder,
        });
        println!("{BODIES} bodies, {name}: {taken} bytes, {OPENED} each");
        assert!(taken <= TIMES * OPENED, "{name}: {taken} for {BODIES} bodies of {OPENED}");
    }
}
