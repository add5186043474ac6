//! How many bytes of compressed bodies are open at once, over the whole listener: their texts may be
//! a thousand times what `bytes_in_flight` counts. Others need no share, for their texts are not
//! larger than what came. Who opens is `worker.rs`.

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::envelope::{self, DecodeError, Labels, Limits};
use crate::runtime::apart::Apart;
use crate::runtime::worker::labels;
use crate::transport::delivery::Delivery;

/// What is counted as one.
const UNIT: usize = 1024;

/// What a body is taken for before it is opened for the first time: so many times its size, and no
/// less than this. As a rule that is enough, and a second attempt takes more.
const USUAL_RATIO: usize = 16;
const LEAST: usize = 64 << 10;

/// A body that has no more bytes than this is opened at once.
const AT_ONCE: usize = 256 << 10;

/// The bytes that may be open.
#[derive(Debug)]
pub(super) struct Budget {
    free: Semaphore,
    all: u32,
}

/// The bytes of one body, free again when this is dropped.
#[derive(Debug)]
pub(super) struct Share<'b>(SemaphorePermit<'b>);

impl Budget {
    pub(super) fn new(bytes: usize) -> Self {
        let all = units(bytes).max(1);
        Self { free: Semaphore::new(all as usize), all }
    }

    /// Waits until so many bytes are free, all there are at most: first come, first served, so
    /// that nobody who wants many waits for ever.
    pub(super) async fn take(&self, bytes: usize) -> Option<Share<'_>> {
        // It is never closed.
        let permit = self.free.acquire_many(units(bytes).min(self.all)).await;
        permit.ok().map(Share)
    }
}

impl Share<'_> {
    /// Gives back what is more than so many bytes.
    pub(super) fn shrink(&mut self, bytes: usize) {
        let more = self.0.num_permits().saturating_sub(units(bytes) as usize);
        drop(self.0.split(more));
    }
}

/// Opens a body; where that may take long, apart.
pub(super) async fn open(
    delivery: &Delivery,
    limits: Limits,
    apart: &Apart,
) -> Result<String, DecodeError> {
    let open = move |body: &[u8], labels: Labels<'_>| {
        envelope::open(body, labels, &limits).map(|opened| opened.text.into_owned())
    };
    let labels = labels(delivery);
    if limits.max_decompressed <= AT_ONCE {
        return open(&delivery.body, labels);
    }
    let (body, Labels { content_type, compression }) = (delivery.body.clone(), labels);
    let (content_type, compression) =
        (content_type.map(str::to_owned), compression.map(str::to_owned));
    let opening = move || {
        let labels =
            Labels { content_type: content_type.as_deref(), compression: compression.as_deref() };
        open(&body, labels)
    };
    apart.run(opening).await
}

/// How many bytes a body of this size is taken to have when it is open.
pub(super) fn usual(compressed: usize, limit: usize) -> usize {
    compressed.saturating_mul(USUAL_RATIO).max(LEAST).min(limit)
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_share_is_given_back_in_parts_and_whole() {
        let budget = Budget::new(10 * UNIT);
        let mut first = budget.take(8 * UNIT).await.expect("it is free");
        assert!(budget.take(4 * UNIT).now_or_never().is_none());
        first.shrink(5 * UNIT + 1);
        let second = budget.take(4 * UNIT).await.expect("it is free");
        assert!(budget.take(1).now_or_never().is_none());
        drop((first, second));
        assert_eq!(budget.free.available_permits(), 10);
    }

    #[tokio::test]
    async fn who_wants_more_than_there_is_takes_all() {
        for all in [0, 1, 10 * UNIT] {
            let budget = Budget::new(all);
            let share = budget.take(usize::MAX).await.expect("it is free");
            assert!(budget.take(1).now_or_never().is_none());
            drop(share);
            assert!(budget.take(1).now_or_never().is_some());
        }
        assert!(Budget::new(usize::MAX).take(usize::MAX).now_or_never().is_some());
    }

    #[tokio::test]
    async fn who_wants_many_bytes_is_not_overtaken_for_ever() {
        let budget = Budget::new(2 * UNIT);
        let small = budget.take(UNIT).await;
        let mut large = std::pin::pin!(budget.take(2 * UNIT));
        assert!(large.as_mut().now_or_never().is_none());
        assert!(budget.take(UNIT).now_or_never().is_none(), "it comes behind the large one");
        drop(small);
        assert!(large.now_or_never().is_some());
    }

    #[test]
    fn what_a_body_is_taken_for() {
        let found = [10, 1 << 20, 1 << 24].map(|size| usual(size, 32 << 20));
        assert_eq!(found, [LEAST, 16 << 20, 32 << 20]);
        assert_eq!(usual(10, 1000), 1000);
    }
}
