//! A redelivered message before its methods are called: whether it may have ended processes, and what
//! follows. `examine.rs` has the steps; `journal.rs` has the evidence.

pub(crate) mod examine;
pub(crate) mod journal;
pub(crate) mod quarantine;
