//! The forms of an endpoint that `#[notification_endpoint]` accepts, and its mistakes with what the compiler
//! says (both with the feature `macros`). [`failures`] says what happens when something fails, [`operating`]
//! what an operator of a listener has to know.

#![cfg_attr(feature = "macros", doc = include_str!("endpoints.md"))]

pub mod failures;
#[cfg(feature = "macros")]
pub mod mistakes;
pub mod operating;
