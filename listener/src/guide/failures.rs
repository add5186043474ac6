//! What happens when something fails: a method, a process, a broker, a dead-letter queue. Which
//! queues that takes, what copies say of themselves, and what an operator may rely on.

#![doc = include_str!("failures.md")]
