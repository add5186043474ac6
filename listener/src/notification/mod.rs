//! The words of a notification: its priority and its context. How they stand on the wire
//! is not here but in `envelope`.

pub mod context;
pub mod fields;
pub mod priority;
