//! The spool of a build without the feature `spool`: there is none, and its types have no
//! value. `spool/` has the real one; `send.rs` and `builder.rs` do not see the difference.

use std::time::Duration;

use tokio::time::Instant;

use crate::notifier::error::SpoolError;
use crate::notifier::message::OutgoingMessage;
use crate::notifier::window::Permit;
use crate::transport::Transport;

#[derive(Debug)]
pub(super) enum SpoolOptions {}

#[derive(Debug)]
pub(super) enum Spool {}

impl Spool {
    pub(super) fn open(
        options: SpoolOptions,
        _: Transport,
        _: Duration,
    ) -> Result<Self, SpoolError> {
        match options {}
    }

    pub(super) fn is_empty(&self) -> bool {
        match *self {}
    }

    pub(super) fn patience(&self, _: Duration) -> Duration {
        match *self {}
    }

    #[allow(clippy::unused_async, reason = "as the real one")]
    pub(super) async fn append(
        &self,
        _: Vec<OutgoingMessage>,
        _: Permit,
        _: Instant,
    ) -> Result<(), SpoolError> {
        match *self {}
    }

    #[allow(clippy::unused_async, reason = "as the real one")]
    pub(super) async fn drained(&self, _: Duration) {
        match *self {}
    }
}
