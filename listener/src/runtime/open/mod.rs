//! From a body to the fields of a notification and its priority, within a budget of open bytes. The
//! format itself is in `envelope`; called by the judging stages and where order keys are read.

pub(crate) mod body;
pub(crate) mod budget;
pub(crate) mod offload;
pub(crate) mod priority;
