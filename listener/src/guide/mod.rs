//! Every form of an endpoint that `#[notification_endpoint]` takes, and in [`mistakes`] every
//! mistake with what the compiler says of it; [`failures`] has what happens when something fails,
//! [`operating`] what whoever runs a listener has to know.

#![doc = include_str!("endpoints.md")]

pub mod failures;
pub mod mistakes;
pub mod operating;
