//! What happens when a method, a process, a broker or a dead-letter queue fails: the queues involved, the
//! headers of copies, and what an operator can rely on.

#![doc = include_str!("failures.md")]
