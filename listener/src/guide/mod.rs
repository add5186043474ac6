//! The forms of an endpoint that `#[notification_endpoint]` accepts, and its compile errors (both with the
//! feature `macros`). [`sending`] describes notifiers, [`failures`] what happens when something fails,
//! [`configuration`] where options come from, [`operating`] is for operators, and [`oslo`] compares with oslo.messaging.

#![cfg_attr(feature = "macros", doc = include_str!("endpoints.md"))]

pub mod configuration;
pub mod failures;
#[cfg(feature = "macros")]
pub mod mistakes;
pub mod operating;
pub mod oslo;
pub mod sending;
