//! Those who publish with confirmations, one a file. Each sends one message to be connected, and
//! then the others against the clock, until the last is confirmed.

pub(crate) mod lapin;
pub(crate) mod ours;
