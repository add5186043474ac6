//! The budget of bytes that decompressed bodies may use at the same time in the whole listener: a text may be
//! a thousand times as large as the body that `bytes_in_flight` counts. Bodies that are not compressed need
//! no share. Used by `body.rs`.

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::runtime::schedule::priority_queues::{self, QUEUES, QueueIndex};

/// The unit of the semaphores, in bytes.
const UNIT: usize = 1024;

/// The expected size of a text before its body is opened: this many times the size of the body, and no
/// less than `LEAST` bytes. If that is not enough, a second attempt takes more.
const EXPECTED_RATIO: usize = 16;
const LEAST: usize = 64 << 10;

/// The bytes that may be open. One priority may use a part of them only, so that its bodies do not delay
/// those of others.
#[derive(Debug)]
pub(crate) struct Budget {
    free: Semaphore,
    by_priority: [Semaphore; QUEUES],
    /// The units that one priority may use.
    part: u32,
}

/// The bytes of one body, free again when this is dropped.
#[derive(Debug)]
pub(crate) struct BudgetPermit<'b> {
    of_priority: SemaphorePermit<'b>,
    of_all: SemaphorePermit<'b>,
}

impl Budget {
    pub(crate) fn new(bytes: usize) -> Self {
        let all = units(bytes).max(1) as usize;
        let part = priority_queues::largest_share(all);
        let by_priority = std::array::from_fn(|_| Semaphore::new(part));
        Self {
            free: Semaphore::new(all),
            by_priority,
            part: u32::try_from(part).unwrap_or(u32::MAX),
        }
    }

    /// Waits until this many bytes are free, at most what one priority may use. Served in order, so that
    /// a large body is not overtaken for ever.
    pub(crate) async fn take(&self, index: QueueIndex, bytes: usize) -> Option<BudgetPermit<'_>> {
        let wanted = units(bytes).min(self.part);
        // They are never closed.
        let of_priority = self.by_priority[index.index()].acquire_many(wanted).await.ok()?;
        let of_all = self.free.acquire_many(wanted).await.ok()?;
        Some(BudgetPermit { of_priority, of_all })
    }
}

impl BudgetPermit<'_> {
    /// Frees what is more than this many bytes.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        for permit in [&mut self.of_all, &mut self.of_priority] {
            let more = permit.num_permits().saturating_sub(units(bytes) as usize);
            drop(permit.split(more));
        }
    }
}

/// The expected size of the text of a body of this size, in bytes.
pub(crate) fn expected(compressed: usize, limit: usize) -> usize {
    compressed.saturating_mul(EXPECTED_RATIO).max(LEAST).min(limit)
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn info() -> QueueIndex {
        QueueIndex::of("n.info")
    }

    #[tokio::test]
    async fn a_share_is_freed_in_parts_and_as_a_whole() {
        let budget = Budget::new(10 * UNIT);
        let mut first = budget.take(info(), 7 * UNIT).await.expect("it is free");
        assert!(budget.take(info(), 4 * UNIT).now_or_never().is_none());
        first.shrink(4 * UNIT + 1);
        let second = budget.take(info(), 4 * UNIT).await.expect("it is free");
        assert!(budget.take(info(), 1).now_or_never().is_none());
        drop((first, second));
        assert_eq!(budget.free.available_permits(), 10);
        assert_eq!(budget.by_priority[info().index()].available_permits(), 9);
    }

    #[tokio::test]
    async fn a_request_above_the_budget_takes_the_whole_part_of_its_priority() {
        for all in [0, 1, 10 * UNIT] {
            let budget = Budget::new(all);
            let share = budget.take(info(), usize::MAX).await.expect("it is free");
            assert!(budget.take(info(), 1).now_or_never().is_none());
            drop(share);
            assert!(budget.take(info(), 1).now_or_never().is_some());
        }
        assert!(Budget::new(usize::MAX).take(info(), usize::MAX).now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_large_request_is_not_overtaken_for_ever() {
        let budget = Budget::new(2 * UNIT);
        let small = budget.take(info(), UNIT).await;
        let mut large = std::pin::pin!(budget.take(info(), 2 * UNIT));
        assert!(large.as_mut().now_or_never().is_none());
        assert!(budget.take(info(), UNIT).now_or_never().is_none(), "it waits after the large one");
        drop(small);
        assert!(large.now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_waiting_request_of_one_priority_does_not_delay_another() {
        let budget = Budget::new(16 * UNIT);
        let first = budget.take(info(), 10 * UNIT).await;
        let mut second = std::pin::pin!(budget.take(info(), 14 * UNIT));
        assert!(second.as_mut().now_or_never().is_none());
        let error = budget.take(QueueIndex::of("n.error"), 6 * UNIT).now_or_never();
        assert!(error.is_some());
        drop(first);
        assert!(second.as_mut().now_or_never().is_none(), "the error holds a part");
        drop(error);
        assert!(second.now_or_never().is_some());
    }

    #[test]
    fn the_expected_size_of_a_text() {
        let found = [10, 1 << 20, 1 << 24].map(|size| expected(size, 32 << 20));
        assert_eq!(found, [LEAST, 16 << 20, 32 << 20]);
        assert_eq!(expected(10, 1000), 1000);
    }
}
