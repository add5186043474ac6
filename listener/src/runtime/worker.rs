//! One delivery through all stages, in order: open, read, dispatch, verdict, settle. The
//! stages themselves are in `envelope`, `dispatch`, `failure.rs` and `settle.rs`.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::dispatch::Dispatcher;
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
        let (verdict, subject) = match self.judge(&delivery, stop).await {
            Ok(judged) => judged,
            Err(error) => (failure::undecodable(&*error), Subject::default()),
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
        let walk = self.dispatcher.walk(&notification, stop).await;
        subject.handled = walk.handled;
        Ok((failure::verdict(walk, self.options.allow_requeue), subject))
    }
}
