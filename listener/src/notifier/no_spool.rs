//! The spool of a build without the feature `spool`: there is none, and its types have no
//! value. `spool/` has the real one; `send.rs` and `builder.rs` do not see the difference.

use std::time::Duration;

use tokio::time::Instant;

use crate::notifier::error::SpoolError;
use crate::notifier::letter::Letter;
use crate::notifier::window::Place;
use crate::transport::Transport;

#[derive(Debug)]
pub(super) enum SpoolOptions {}

#[derive(Debug)]
pub(super) enum Spool {}

impl SpoolOptions {
    pub(super) fn open(self, _: Transport, _: Duration) -> Result<Spool, SpoolError> {
        match self {}
    }
}

impl Spool {
    pub(super) fn is_empty(&self) -> bool {
        match *self {}
    }

    pub(super) fn patience(&self, _: Duration) -> Duration {
        match *self {}
    }

    #[allow(clippy::unused_async, reason = "as the real one")]
    pub(super) async fn append(
        &self,
        _: Vec<Letter>,
        _: Place,
        _: Instant,
    ) -> Result<(), SpoolError> {
        match *self {}
    }

    #[allow(clippy::unused_async, reason = "as the real one")]
    pub(super) async fn drained(&self, _: Duration) {
        match *self {}
    }
}
