//! Publishing: a connection that publishes (`publisher.rs`) in confirm mode (`confirms.rs`,
//! `pending/`), and what is sent over it: messages (`publish.rs`, `message.rs`) and the entries of
//! journals (`journal.rs`). What a message needs is declared in `topology/`.

mod confirms;
pub(super) mod journal;
pub(super) mod message;
mod pending;
pub(super) mod publish;
pub(super) mod publisher;
