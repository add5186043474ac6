//! A redelivered message before its methods are called: whether it may have ended processes, and what
//! follows. `examine.rs` has the steps, `journal/` the evidence, `quarantine.rs` the decision.

pub(crate) mod examine;
pub(crate) mod gate;
pub(crate) mod isolation;
pub(crate) mod journal;
pub(crate) mod quarantine;
pub(crate) mod quarantines;
