//! The example of the contract: arguments by name, a borrowed payload, `#[on(..)]`.
#![forbid(unsafe_code)]

use listener::{Context, Metadata, Outcome, State, notification_endpoint};
use serde::Deserialize;

#[derive(Deserialize)]
struct Instance {
    uuid: String,
}

#[derive(Deserialize)]
struct Fault<'a> {
    code: &'a str,
}

#[derive(Debug)]
struct BillingError;

impl std::fmt::Display for BillingError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("billing failed")
    }
}

impl std::error::Error for BillingError {}

struct Db;

#[derive(Default)]
struct Billing;

#[notification_endpoint(publisher_id = r"^compute\.")]
impl Billing {
    /// The five arguments of oslo.messaging.
    async fn info(
        &self,
        ctxt: &Context,
        publisher_id: &str,
        event_type: &str,
        payload: Instance,
        metadata: &Metadata,
    ) -> Result<(), BillingError> {
        tokio::task::yield_now().await;
        let _ = (ctxt, publisher_id, event_type, payload.uuid, metadata);
        Err(BillingError)
    }

    async fn error(&self, payload: Fault<'_>) -> Outcome {
        tokio::task::yield_now().await;
        let _ = payload.code;
        Outcome::Requeue
    }

    #[on(info, warn, event_type = r"^instance\.create\.end$")]
    async fn created(&self, payload: Instance, db: State<Db>) {
        let _ = (payload, db);
    }
}

fn main() {}
