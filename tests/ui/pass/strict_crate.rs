//! Generated code has no warnings in a crate that denies all of them.
#![deny(warnings, missing_docs, unused_qualifications, unreachable_pub, unused, deprecated)]
#![deny(missing_debug_implementations, single_use_lifetimes, unused_lifetimes, let_underscore_drop)]
#![deny(trivial_casts, trivial_numeric_casts, elided_lifetimes_in_paths, unsafe_code)]
#![deny(unused_results, unused_crate_dependencies, clippy::all, clippy::pedantic, clippy::nursery)]
#![allow(unused_crate_dependencies)]

use listener::{Context, Metadata, Notification, Outcome, Priority, notification_endpoint};

/// An endpoint.
#[derive(Debug, Default)]
pub struct Strict {
    seen: std::sync::atomic::AtomicUsize,
}

/// The attribute does not require documentation of its block.
#[notification_endpoint(event_type = "^a", context(b = "c"))]
impl Strict {
    /// Documented.
    ///
    /// # Errors
    /// None.
    pub async fn info(
        &self,
        ctxt: &Context,
        _payload: &str,
        metadata: &Metadata,
    ) -> Result<(), String> {
        tokio::task::yield_now().await;
        let _seen = self.seen.load(std::sync::atomic::Ordering::Relaxed);
        let _ = (ctxt, metadata);
        Ok(())
    }

    /// Documented.
    #[deprecated = "still called by the listener"]
    #[must_use]
    pub fn warn(notification: &Notification<'_>, priority: Priority) -> Outcome {
        drop((notification, priority.to_string()));
        Outcome::Handled
    }

    fn error(&self) {
        let _seen = self.seen.load(std::sync::atomic::Ordering::Relaxed);
    }
}

fn main() {}
