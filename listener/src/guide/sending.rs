//! How to send notifications: the notifier, its errors, throughput, and the spool. The types are in
//! `notifier/`.

#![doc = include_str!("sending.md")]
