//! Queues, exchanges and bindings: existing ones are used as they are, missing ones are declared, and
//! differences from the options are explained. Nothing is ever deleted. `subscription.rs` has what is
//! consumed, `destination.rs` what is published to, `copy_permissions.rs` which permissions are missing.
//! The properties of queues are decided in the files without I/O: `declaration.rs`, `probe.rs`,
//! `delivery_limit.rs`, `retry_queue.rs`, `side_queue.rs`, `single_active.rs`.

pub(super) mod broker_state;
pub(super) mod channel;
mod declaration;
mod declare;
pub(super) mod delivery_limit;
pub(super) mod destination;
pub(super) mod inspect;
pub(super) mod permissions;
mod persistence;
mod probe;
pub(super) mod properties;
pub(super) mod retry_queue;
pub(super) mod copy_permissions;
mod side_queue;
pub(super) mod single_active;
pub(super) mod subscription;
mod survey;
