//! Consuming: `supervisor.rs` makes sessions (`session.rs`), each with a consumer on every queue
//! (`consumers.rs`) and on quarantine queues (`quarantine.rs`). `prefetch/` decides how many deliveries
//! may be unsettled, `settlements.rs` how settlements are written. Queues are declared in `topology/`.

mod consumers;
mod settlements;
mod prefetch;
mod quarantine;
mod session;
pub(super) mod supervisor;
