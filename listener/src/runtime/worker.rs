//! One delivery through all stages, in order: open, read, dispatch, verdict, settle. The
//! stages themselves are in `envelope`, `dispatch`, `failure.rs` and `settle.rs`.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;

use crate::dispatch::{Dispatcher, Patience, panic_message};
use crate::envelope::{self, Labels};
use crate::notification::Notification;
use crate::notification::priority::Priority;
use crate::notification::states::States;
use crate::outcome::BoxError;
use crate::runtime::failure::{self, Verdict};
use crate::runtime::options::Options;
use crate::runtime::settle::{self, Subject};
use crate::serializer::Serializer;
use crate::transport::Transport;
use crate::transport::delivery::Delivery;

/// What every delivery is worked on with.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) dispatcher: Dispatcher,
    pub(super) transport: Transport,
    pub(super) states: States,
    pub(super) serializer: Option<Arc<dyn Serializer>>,
    pub(super) options: Options,
}

impl Worker {
    /// Takes one delivery through all stages. `stop` is cancelled when the listener stops: a
    /// method that runs is let finish, a pause is not.
    pub(super) async fn work(&self, delivery: Delivery, stop: &CancellationToken) {
        // Methods are caught where they are called. What is caught here is the rest of the
        // program's code: serializers, errors that cannot be printed.
        let judged = AssertUnwindSafe(self.judge(&delivery, stop)).catch_unwind().await;
        let (verdict, subject) = match judged {
            Ok(Ok(judged)) => judged,
            Ok(Err(error)) => (failure::undecodable(&*error), Subject::default()),
            Err(panic) => (failure::panicked(&panic_message(&*panic)), Subject::default()),
        };
        let timeout = self.options.send_timeout;
        settle::carry_out(delivery, verdict, subject, &self.transport, timeout, stop).await;
    }

    async fn judge(
        &self,
        delivery: &Delivery,
        stop: &CancellationToken,
    ) -> Result<(Verdict, Subject), BoxError> {
        let labels = Labels {
            content_type: delivery.properties.content_type.as_deref(),
            compression: delivery.properties.headers.text("compression"),
        };
        let opened = envelope::open(&delivery.body, labels, &self.options.limits)?;
        let fields = envelope::read(&opened.text)?;
        let deserialized;
        let fields = match &self.serializer {
            None => fields,
            Some(serializer) => {
                let priority = fields.priority.clone();
                deserialized = crate::serializer::deserialize(&**serializer, &fields)?;
                crate::notification::fields::Fields { priority, ..deserialized.borrow() }
            }
        };
        let mut subject = Subject {
            message_id: fields.message_id.as_deref().unwrap_or_default().to_owned(),
            event_type: fields.event_type.as_deref().unwrap_or_default().to_owned(),
            handled: 0,
        };
        let written = fields.priority.as_deref().unwrap_or_default();
        let Ok(priority) = written.parse::<Priority>() else {
            // Nobody can have asked for it: acknowledged, as oslo.messaging does, and told.
            tracing::warn!(
                queue = %delivery.info.queue,
                priority = written,
                message_id = subject.message_id,
                "unknown priority: no method handles it"
            );
            return Ok((Verdict::Ack, subject));
        };
        let notification = Notification::new(fields, priority, &delivery.info, &self.states);
        let is_over = || delivery.is_over();
        let walk = self.dispatcher.walk(&notification, Patience { stop, is_over: &is_over }).await;
        subject.handled = walk.handled;
        Ok((failure::verdict(walk), subject))
    }
}
