//! Publishing: `publisher.rs` makes sessions (`session.rs`), over which messages (`message.rs`) are
//! published and confirmed (`confirms.rs`, `pending/`). Two things are published: messages
//! (`publish.rs`) and the entries of journals (`journal.rs`). Destinations are declared in `topology/`.

mod confirms;
pub(super) mod journal;
mod message;
mod pending;
pub(super) mod publish;
pub(super) mod publisher;
mod session;
