//! Every form of an endpoint that `#[notification_endpoint]` takes, and in [`mistakes`] every
//! mistake with what the compiler says of it; [`failures`] has what happens when something fails.

#![doc = include_str!("endpoints.md")]

pub mod failures;
pub mod mistakes;
