//! Numbers in notifications, as endpoints see them. The feature `precise` enables `arbitrary_precision`
//! of `serde_json`, as any crate of a program may do; the result must not change.

use std::time::Duration;

use listener::Transport;
use listener::driver::{Outgoing, Route};
use listener::{
    Context, Listener, Metadata, Notifier, PartError, Versioned, VersionedPayload, notification_endpoint,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::Semaphore;

const PAYLOAD: &str = r#"{"v": 1.50, "w": 1e-05, "n": -5, "large": 1e300, "wide": 18446744073709551615}"#;

/// A permit for each line that was printed.
static SEEN: Semaphore = Semaphore::const_new(0);

fn seen(line: String) {
    println!("{line}");
    SEEN.add_permits(1);
}

/// Waits until the last notification has been handled.
async fn handled() {
    let limit = Duration::from_secs(10);
    let seen = tokio::time::timeout(limit, SEEN.acquire()).await;
    seen.expect("it was not handled").unwrap().forget();
}

#[derive(Debug, Deserialize, Serialize)]
struct Measured {
    v: f64,
    w: f64,
    n: i64,
    large: f64,
    wide: u64,
}

impl VersionedPayload for Measured {
    const NAME: &'static str = "Measured";
    const VERSION: (u32, u32) = (1, 0);
}

#[derive(Default)]
struct Typed;

#[notification_endpoint]
impl Typed {
    async fn info(&self, metadata: &Metadata, payload: Measured) {
        // The notifier writes the current time.
        let timestamp = match metadata.timestamp() {
            day if day.contains('-') => "now",
            other => other,
        };
        seen(format!("typed: {payload:?}, {timestamp}"));
    }
}

#[derive(Default)]
struct InVersion;

#[notification_endpoint]
impl InVersion {
    async fn warn(&self, payload: Result<Versioned<Measured>, PartError>) {
        match payload {
            Ok(payload) => seen(format!("versioned: {:?}", payload.data)),
            Err(error) => seen(format!("versioned: {error}")),
        }
    }
}

#[derive(Default)]
struct Plain;

#[notification_endpoint]
impl Plain {
    async fn error(&self, payload: Value) {
        let float = |name: &str| payload[name].as_f64();
        let (v, w, large) = (float("v"), float("w"), float("large"));
        let (n, wide) = (payload["n"].as_i64(), payload["wide"].as_u64());
        seen(format!("value: {v:?} {w:?} {n:?} {large:?} {wide:?}"));
    }

    async fn critical(&self, payload: &RawValue) {
        seen(format!("raw: {payload}"));
    }
}

/// Expects another type than the one sent.
#[derive(Default)]
struct Wrong;

#[notification_endpoint]
impl Wrong {
    async fn audit(&self, payload: Result<String, PartError>) {
        // The error of `serde_json` does not name the type of number then.
        let error = payload.unwrap_err().to_string();
        let expected = error.split_once("expected ").map(|(_, expected)| expected.to_owned());
        seen(format!("wrong: {}", expected.unwrap_or(error)));
    }
}

fn versioned(data: &str) -> String {
    format!(
        r#"{{"nova_object.name": "Measured", "nova_object.namespace": "nova",
            "nova_object.version": "1.0", "nova_object.data": {data}}}"#
    )
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let transport = Transport::open("memory://").unwrap();
    let listener = Listener::builder().transport(transport.clone()).registered().build().unwrap();
    listener.start().await.unwrap();
    let nested = PAYLOAD.replace("1.50", &versioned("1.50"));
    for (priority, payload) in [
        ("info", PAYLOAD.to_owned()),
        ("warn", versioned(PAYLOAD)),
        ("warn", versioned(&nested)),
        ("warn", "5".to_owned()),
        ("error", PAYLOAD.to_owned()),
        ("critical", PAYLOAD.to_owned()),
        ("audit", "1.50".to_owned()),
    ] {
        let body = format!(
            r#"{{"message_id": 7, "timestamp": 5, "publisher_id": 1.50, "event_type": "measured",
                "priority": "{priority}", "payload": {payload}}}"#
        );
        let routing_key = format!("notifications.{priority}");
        let route = Route::Topic { exchange: "openstack".to_owned(), routing_key };
        let timeout = Duration::from_secs(10);
        transport.send(Outgoing::new(route, body, timeout)).await.unwrap();
        handled().await;
    }
    let notifier = Notifier::builder(transport).build().unwrap();
    let sent: Measured = serde_json::from_str(PAYLOAD).unwrap();
    notifier.info(&Context::default(), "measured", &sent).await.unwrap();
    handled().await;
    notifier.error(&Context::default(), "measured", &serde_json::to_value(&sent).unwrap()).await.unwrap();
    handled().await;
    listener.stop().await;
    listener.wait().await.unwrap();
}
