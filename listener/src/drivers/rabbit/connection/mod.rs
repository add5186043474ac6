//! Connections to a broker: the stream of bytes (`socket.rs`, inspected in `stream.rs` and
//! `greeting.rs`), the connection on top of it (`dial.rs`, `link.rs`), and what its refusals mean
//! (`refusal.rs`). What runs over a connection is in `topology/`, `consuming/` and `publishing/`.

mod dial;
mod greeting;
pub(super) mod hosts;
pub(super) mod link;
pub(super) mod refusal;
mod socket;
mod stream;
pub(super) mod version;
