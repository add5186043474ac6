//! The text of a body and the fields of its notification. A compressed body is opened within the budget
//! of the listener (`budget.rs`), and outside of the runtime's threads if it is large (`offload.rs`).

use std::borrow::Cow;

use crate::envelope::{self, DecodeError, Labels, Limits};
use crate::notification::fields::Fields;
use crate::notification::owned::OwnedFields;
use crate::outcome::BoxError;
use crate::runtime::case::Case;
use crate::runtime::open::budget::{self, BudgetPermit};
use crate::runtime::open::offload::Offload;
use crate::runtime::schedule::permit;
use crate::runtime::schedule::priority_queues::QueueIndex;
use crate::runtime::shared::{Shared, WorkContext};
use crate::runtime::suspect::gate::Passage;
use crate::transport::delivery::Delivery;

/// A body that decompresses to at most this many bytes is opened in the task of its delivery.
const IN_TASK: usize = 256 << 10;

/// A buffer for texts, which a worker task reuses for its deliveries.
#[derive(Debug, Default)]
pub(crate) struct TextBuffer(Vec<u8>);

impl TextBuffer {
    /// The memory that is kept at most, in bytes.
    const MOST: usize = 64 << 10;

    /// Keeps the memory of a text for the next one.
    pub(crate) fn reuse(&mut self, text: Cow<'_, str>) {
        if let Cow::Owned(text) = text
            && text.capacity() <= Self::MOST
        {
            self.0 = text.into_bytes();
        }
    }
}

/// The text of a body that is not compressed, or is opened wherever the caller runs.
pub(crate) fn open<'d>(
    shared: &Shared,
    delivery: &'d Delivery,
    buffer: &mut TextBuffer,
) -> Result<Cow<'d, str>, DecodeError> {
    let (labels, limits) = (labels(delivery), &shared.options.limits);
    let opened = envelope::open_with(&mut buffer.0, &delivery.body, labels, limits)?;
    Ok(opened.text)
}

/// Opens a compressed body once the budget allows it, and returns its share of the budget. `None`: the
/// listener stopped, or the session is over.
pub(crate) async fn open_compressed<'w>(
    work: WorkContext<'w>,
    case: &Case,
) -> Option<(Result<String, DecodeError>, Option<BudgetPermit<'w>>)> {
    let WorkContext { shared, permit } = work;
    let (delivery, index) = (&case.delivery, QueueIndex::of(&case.copy_headers.origin.routing_key));
    let limits = &shared.options.limits;
    let most = limits.max_decompressed.min(limits.max_body);
    if case.passage() == Passage::Exclusive {
        // Deliveries that wait at the gate may hold the whole budget.
        return Some((decompress(delivery, limits, &shared.offload).await, None));
    }
    let mut expected = budget::expected(delivery.body.len(), most);
    loop {
        let free = async {
            tokio::select! {
                biased;
                share = shared.budget.take(index, expected) => share,
                () = permit::session_ended(delivery) => None,
            }
        };
        let mut share = permit.wait(free).await??;
        let limits = Limits { max_decompressed: expected, ..limits.clone() };
        match decompress(delivery, &limits, &shared.offload).await {
            Err(DecodeError::TooLarge { .. }) if expected < most => expected = most,
            Err(error) => return Some((Err(error), None)),
            Ok(text) => {
                share.shrink(text.len());
                return Some((Ok(text), Some(share)));
            }
        }
    }
}

/// Opens a body, on a blocking thread if that may take long.
async fn decompress(
    delivery: &Delivery,
    limits: &Limits,
    offload: &Offload,
) -> Result<String, DecodeError> {
    let open = |body: &[u8], labels: Labels<'_>, limits: &Limits| {
        envelope::open(body, labels, limits).map(|opened| opened.text.into_owned())
    };
    let labels = labels(delivery);
    if limits.max_decompressed <= IN_TASK {
        return open(&delivery.body, labels, limits);
    }
    let (body, limits) = (delivery.body.clone(), limits.clone());
    let Labels { content_type, compression } = labels;
    let (content_type, compression) =
        (content_type.map(str::to_owned), compression.map(str::to_owned));
    let opening = move || {
        let labels =
            Labels { content_type: content_type.as_deref(), compression: compression.as_deref() };
        open(&body, labels, &limits)
    };
    offload.run(opening).await
}

/// The fields of a notification; those that a serializer returns are kept in `made`.
pub(crate) fn read<'t>(
    shared: &Shared,
    text: &'t str,
    made: &'t mut Option<OwnedFields>,
) -> Result<Fields<'t>, BoxError> {
    let fields = envelope::read(text)?;
    let Some(serializer) = &shared.serializer else { return Ok(fields) };
    let deserialized = crate::serializer::deserialize(&**serializer, &fields)?;
    Ok(Fields { priority: fields.priority, ..made.insert(deserialized).borrow() })
}

pub(crate) fn is_compressed(delivery: &Delivery) -> bool {
    labels(delivery).compression.is_some_and(|name| !name.is_empty())
}

fn labels(delivery: &Delivery) -> Labels<'_> {
    Labels {
        content_type: delivery.properties.content_type.as_deref(),
        compression: delivery.properties.headers.get_str("compression"),
    }
}
