//! A program that forbids `unsafe`, and denies warnings and missing documentation.
#![forbid(unsafe_code)]
#![deny(warnings, missing_docs, unused, unreachable_pub)]

use listener::{Context, Metadata, Outcome, notification_endpoint};

/// An endpoint.
#[derive(Debug, Default)]
pub struct Strict;

#[notification_endpoint(event_type = "^a", context(b = "c"))]
impl Strict {
    /// Documented.
    pub async fn info(&self, ctxt: &Context, payload: &str, metadata: &Metadata) -> Outcome {
        let _ = (ctxt, payload, metadata);
        Outcome::Handled
    }

    fn warn(&self, _event_type: &str) {}
}

fn main() {
    shown::print();
}
