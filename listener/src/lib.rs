//! listener

pub mod envelope;
pub mod notification;
