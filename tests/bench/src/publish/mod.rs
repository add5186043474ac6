//! The publishers, one per file, with confirms. Each sends one message to connect, and then measures the
//! others until the last is confirmed.

pub(crate) mod lapin;
pub(crate) mod ours;
