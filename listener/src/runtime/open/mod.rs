//! From a body to the fields of a notification and its priority, within a budget of open bytes. The
//! format itself is in `envelope`. Called by `judge/` and `schedule/keys.rs`.

pub(crate) mod body;
pub(crate) mod budget;
pub(crate) mod offload;
pub(crate) mod priority;
