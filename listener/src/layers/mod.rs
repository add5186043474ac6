//! Layers that make notifications from what a program does anyway. `background.rs` is the bounded queue and the
//! task that sends them; `log.rs` makes them from events of `tracing`, which `record.rs` reads.

pub(crate) mod background;
pub(crate) mod log;
mod record;

pub use crate::layers::background::{BackgroundCounts, BackgroundNotifier};
pub use crate::layers::log::{LogRecordLayer, PublishErrorsLayer};
