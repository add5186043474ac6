//! Carries out a verdict: copies are made and confirmed (`copies.rs`, `copier.rs`, `send_attempts.rs`), then the
//! delivery is settled (`settlement.rs`, the only file that settles).

pub(crate) mod copier;
pub(crate) mod copies;
pub mod copy_headers;
pub(crate) mod failures;
pub(crate) mod form;
pub(crate) mod held;
pub(crate) mod pending;
pub(crate) mod progress;
pub(crate) mod report;
pub(crate) mod send_attempts;
pub(crate) mod settlement;
pub(crate) mod timeout;
