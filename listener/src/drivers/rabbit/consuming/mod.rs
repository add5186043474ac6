//! Consuming: a supervised session (`supervisor.rs`, `session.rs`) with a consumer on each queue
//! (`consumers.rs`), the prefetch of each (`prefetch/`), quarantine queues (`quarantine.rs`) and the
//! settlements (`ledger.rs`). What is consumed is declared in `topology/`.

mod consumers;
pub(super) mod ledger;
mod prefetch;
mod quarantine;
mod session;
pub(super) mod supervisor;
