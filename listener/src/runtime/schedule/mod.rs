//! Which delivery is next, and with which slot: priorities are served fairly, deliveries with equal
//! keys in sequence. What is done with a delivery is in `worker.rs`.

pub(crate) mod in_flight;
pub(crate) mod key_order;
pub(crate) mod keys;
pub(crate) mod permit;
pub(crate) mod priority_queues;
pub(crate) mod scheduler;
