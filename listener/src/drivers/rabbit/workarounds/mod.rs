//! What works around lapin 4.12, one file for each problem. Each header names the problem, and has a
//! test that fails once lapin has solved it, or says why there is none. Of the driver they use only
//! `options.rs`. Workarounds that are part of a larger stage are there: `connection/socket.rs` (wake-ups),
//! `connection/greeting.rs` (the broker's version), `publishing/pending/` (returned messages).

pub(super) mod connection_guard;
pub(super) mod detached_consume;
pub(super) mod nested_tables;
pub(super) mod ready;
