//! The spool without the feature `spool`: types without values, so that `send.rs` and `builder.rs` need no
//! conditional code. `spool/` has the real spool.

use std::time::Duration;

use tokio::time::Instant;

use crate::notifier::error::SpoolError;
use crate::notifier::message::OutgoingMessage;
use crate::notifier::window::Permit;
use crate::options::value::Wrong;
use crate::transport::Transport;

#[derive(Debug)]
pub(super) enum SpoolOptions {}

impl SpoolOptions {
    pub(super) fn wrong(&self) -> Vec<(&'static str, Wrong)> {
        match *self {}
    }
}

#[derive(Debug)]
pub(super) enum Spool {}

impl Spool {
    #[allow(clippy::needless_pass_by_value, reason = "the signature of the real spool")]
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

    #[allow(clippy::unused_async, reason = "the signature of the real spool")]
    pub(super) async fn append(
        &self,
        _: Vec<OutgoingMessage>,
        _: Permit,
        _: Instant,
    ) -> Result<(), SpoolError> {
        match *self {}
    }

    #[allow(clippy::unused_async, reason = "the signature of the real spool")]
    pub(super) async fn drained(&self, _: Duration) {
        match *self {}
    }
}
