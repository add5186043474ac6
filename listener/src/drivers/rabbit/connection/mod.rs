//! Connections to a broker, from the bottom up: the stream of bytes (`socket.rs`, `tls/`, `byte_stream.rs`,
//! `stream.rs`, `greeting.rs`, `version.rs`), the connection and its channels (`io.rs`, `dial.rs`, `login.rs`, `link.rs`,
//! `channel.rs`), what its refusals mean (`refusal.rs`, `failure.rs`), and how another one is made
//! (`hosts.rs`, `backoff.rs`, `reconnect.rs`). What runs over a connection is in `topology/`, `consuming/`
//! and `publishing/`.

mod backoff;
mod byte_stream;
pub(super) mod channel;
mod dial;
pub(super) mod failure;
mod greeting;
pub(super) mod hosts;
pub(super) mod io;
pub(super) mod link;
mod login;
pub(super) mod reconnect;
pub(super) mod refusal;
mod socket;
mod stream;
#[cfg(feature = "tls")]
pub(super) mod tls;
#[cfg(not(feature = "tls"))]
#[path = "no_tls.rs"]
pub(super) mod tls;
mod tls_problem;
pub(super) mod version;
