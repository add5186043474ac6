//! What oslo.messaging's notification side does, row by row, with what this crate does and the tests that
//! show it. `tests/tidy/checklist.rs` checks that they exist, and counts the rows.

#![doc = include_str!("oslo.md")]
