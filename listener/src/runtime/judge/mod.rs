//! From the fields of a notification to one verdict on its delivery: the methods are called
//! (`invoke.rs`), and their failures decided (`policy.rs`).

pub(crate) mod invoke;
pub(crate) mod policy;
