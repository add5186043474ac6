//! Passes a notification to all outputs of a notifier at once, each guarded against the failures of the
//! others. `send.rs` sends to the broker, `outputs/` has the other outputs.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use futures_util::future::join_all;
use serde::Serialize;
use tokio::time::timeout;

use crate::envelope::{EncodeError, EnvelopeVersion};
use crate::notification::context::Context;
use crate::notifier::error::{NotifyError, OutputError, OutputErrors};
use crate::notifier::message::OutgoingMessage;
use crate::notifier::outputs::Output;
use crate::notifier::outputs::notification::OutputNotification;
use crate::notifier::receipt::Receipt;
use crate::notifier::send::{Header, Settings, Stamp};
use crate::transport::Transport;

/// What one output is given.
pub(super) enum Part<'o> {
    Broker(&'o Output, Result<Vec<OutgoingMessage>, NotifyError>),
    Other(&'o Output),
}

/// A notification, written for each output that takes it.
pub(super) struct Prepared<'o> {
    parts: Vec<Part<'o>>,
    notification: Option<OutputNotification>,
}

/// The outputs of a notifier with these settings.
#[derive(Clone, Copy)]
pub(super) struct FanOut<'o>(pub(super) &'o Settings);

impl<'o> FanOut<'o> {
    /// Writes a notification for each of its outputs.
    ///
    /// # Errors
    /// It cannot be written for any of them.
    pub(super) fn prepare<P: Serialize + ?Sized>(
        self,
        header: Header<'_>,
        context: &Context,
        payload: &P,
    ) -> Result<Prepared<'o>, NotifyError> {
        let outputs = self.outputs_of(header);
        let Some(serializer) = &self.0.serializer else {
            let context = self.0.context_of(header, context)?;
            return self.parts(outputs, header, &context, payload);
        };
        let payload = serde_json::to_value(payload).map_err(EncodeError::Payload)?;
        let payload =
            serializer.serialize_payload(context, payload).map_err(NotifyError::Serializer)?;
        let context = self.0.context_of(header, context)?;
        self.parts(outputs, header, &context, &payload)
    }

    /// The outputs that take a notification, each once.
    fn outputs_of(self, header: Header<'_>) -> Vec<&'o Output> {
        let routed = self.0.routings.iter();
        let routed =
            routed.flat_map(|routing| routing.accepting(header.event_type, header.priority));
        let outputs = self.0.outputs.iter().chain(routed);
        outputs.filter(|output| !matches!(output, Output::Noop)).collect()
    }

    fn parts<P: Serialize + ?Sized>(
        self,
        outputs: Vec<&'o Output>,
        header: Header<'_>,
        context: &Context,
        payload: &P,
    ) -> Result<Prepared<'o>, NotifyError> {
        let stamp = Stamp::now();
        let write = |version: EnvelopeVersion| {
            let messages = self.0.encode(version, &stamp, header, context, payload)?;
            self.0.checked(messages)
        };
        let part = |output: &'o Output| match output.version() {
            Some(version) => Part::Broker(output, write(version)),
            None => Part::Other(output),
        };
        let parts: Vec<Part<'o>> = outputs.into_iter().map(part).collect();
        let needs_value = parts.iter().any(|part| matches!(part, Part::Other(_)));
        let notification = needs_value.then(|| {
            Ok::<_, EncodeError>(OutputNotification {
                message_id: stamp.message_id.clone(),
                publisher_id: header.publisher_id.map(str::to_owned),
                event_type: header.event_type.to_owned(),
                priority: header.priority,
                payload: serde_json::to_value(payload).map_err(EncodeError::Payload)?,
                timestamp: stamp.timestamp.clone(),
                context: context.clone(),
                retry: header.retry,
            })
        });
        Ok(Prepared { parts, notification: notification.transpose()? })
    }

    /// Passes a notification to its outputs at once.
    pub(super) async fn pass(
        self,
        transport: &Transport,
        header: Header<'_>,
        prepared: Prepared<'_>,
    ) -> Result<Receipt, NotifyError> {
        let Prepared { parts, notification } = prepared;
        let passed = parts.into_iter().map(|part| {
            let notification = notification.as_ref();
            async move {
                let (output, result) = match part {
                    Part::Broker(output, Ok(messages)) => (
                        output,
                        self.0.send(transport, messages, header.retry).await.map_err(Into::into),
                    ),
                    Part::Broker(output, Err(error)) => (output, Err(error.into())),
                    Part::Other(output) => (output, self.call(output, notification).await),
                };
                (output.name().to_owned(), result)
            }
        });
        let mut receipt = Receipt::Local;
        let (mut failed, mut succeeded) = (Vec::new(), Vec::new());
        for (name, result) in join_all(passed).await {
            match result {
                Ok(one) => {
                    receipt = receipt.and(one);
                    succeeded.push(name);
                }
                Err(error) => failed.push((name, error)),
            }
        }
        if failed.is_empty() {
            return Ok(receipt);
        }
        Err(NotifyError::Outputs(OutputErrors { failed, succeeded }))
    }

    /// Calls an output of the program, or one of this crate without a broker.
    async fn call(
        self,
        output: &Output,
        notification: Option<&OutputNotification>,
    ) -> Result<Receipt, OutputError> {
        let Some(notification) = notification else { return Ok(Receipt::Local) };
        let call = AssertUnwindSafe(async { output.notify(notification).await }).catch_unwind();
        match timeout(self.0.timeout, call).await {
            Ok(Ok(Ok(()))) => Ok(Receipt::Local),
            Ok(Ok(Err(error))) => Err(OutputError::Failed(error)),
            Ok(Err(_panic)) => Err(OutputError::Panicked),
            Err(_elapsed) => Err(OutputError::TimedOut { after: self.0.timeout }),
        }
    }
}
