//! The drivers: one folder for each broker, each gated by its feature. What they must do is
//! `transport/driver.rs`; none of them knows another.

#[cfg(feature = "rabbit")]
pub mod rabbit;
