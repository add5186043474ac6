//! A verdict is carried out: copies are made and confirmed (`copier.rs`), then the delivery is settled
//! (`settlement.rs`). Only `settlement.rs` settles.

pub(crate) mod copier;
pub mod copy_headers;
pub(crate) mod held;
pub(crate) mod progress;
pub(crate) mod settlement;
