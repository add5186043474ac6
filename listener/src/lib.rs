//! listener

pub mod notification;
