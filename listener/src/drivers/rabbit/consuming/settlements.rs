//! Settlements, from the owner of a delivery to the broker: `SessionSettler` queues them, `AckMerger`
//! decides which acknowledgements are written, `write` writes them. The task of `session.rs` does both.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lapin::Channel;
use lapin::options::ChannelFlowOptions;
use tokio::sync::{Notify, oneshot};

use crate::drivers::rabbit::connection::channel::{ack, call, reject};
use crate::drivers::rabbit::connection::failure::Fault;
use crate::future::BoxFuture;
use crate::transport::delivery::{Settle, Settler};
use crate::transport::error::SettleError;

/// Queues the settlements of one session. It fails after the end of the session, because in the next one
/// the same tag belongs to another delivery.
#[derive(Debug)]
pub(crate) struct SessionSettler {
    queue: Arc<SettlementQueue>,
    stale: Arc<AtomicU64>,
}

/// Settlements that wait until the session writes them. The session is woken for the first one, to start
/// its timer, and for a full batch: a wake-up for each would be expensive.
#[derive(Debug)]
struct SettlementQueue {
    waiting: Mutex<WaitingSettlements>,
    /// The session has ended.
    is_over: AtomicBool,
    notify: Arc<Notify>,
}

#[derive(Debug)]
struct WaitingSettlements {
    settlements: Vec<(u64, Settle)>,
    /// How many are a full batch, which is written without further delay.
    batch_size: usize,
    /// Notified when the broker has processed all earlier settlements; dropped with the session.
    flushes: Vec<oneshot::Sender<()>>,
}

/// The receiving end of a session's settlements. Dropping it ends the settler.
#[derive(Debug)]
pub(crate) struct Settlements(Arc<SettlementQueue>);

impl SessionSettler {
    /// `stale` counts settlements after the end of their session. `notify` is notified when some wait,
    /// and may be shared with other settlers.
    pub(crate) fn new(stale: Arc<AtomicU64>, notify: Arc<Notify>) -> (Self, Settlements) {
        let queue = Arc::new(SettlementQueue {
            waiting: Mutex::new(WaitingSettlements {
                settlements: Vec::new(),
                batch_size: 1,
                flushes: Vec::new(),
            }),
            is_over: AtomicBool::new(false),
            notify,
        });
        (Self { queue: Arc::clone(&queue), stale }, Settlements(queue))
    }
}

impl Settler for SessionSettler {
    fn settle(&self, tag: u64, settle: Settle) -> Result<(), SettleError> {
        let mut waiting = self.queue.lock();
        // Checked under the lock: what is queued before it is closed is written.
        if self.is_over() {
            self.stale.fetch_add(1, Ordering::Relaxed);
            return Err(SettleError);
        }
        waiting.settlements.push((tag, settle));
        let count = waiting.settlements.len();
        // Once for a full batch: more may be queued before the session runs.
        let wakes = count == 1 || count == waiting.batch_size;
        drop(waiting);
        if wakes {
            self.queue.notify.notify_one();
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.queue.is_over.load(Ordering::Acquire)
    }

    fn flush(&self) -> BoxFuture<'static, ()> {
        let (done, processed) = oneshot::channel();
        let mut waiting = self.queue.lock();
        if !self.is_over() {
            waiting.flushes.push(done);
            self.queue.notify.notify_one();
        }
        drop(waiting);
        // An error means that the session has ended.
        Box::pin(async move { drop(processed.await) })
    }
}

impl SettlementQueue {
    fn lock(&self) -> MutexGuard<'_, WaitingSettlements> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Settlements {
    /// Completes when settlements have started to wait, or are a full batch.
    pub(crate) async fn waiting(&self) {
        self.0.notify.notified().await;
    }

    /// Adapts the size of a full batch to the largest prefetch of a consumer.
    pub(crate) fn set_batch_size(&self, prefetch: u16) {
        self.0.lock().batch_size = usize::from(prefetch / BATCHES_PER_PREFETCH).max(1);
    }

    /// Whether at least a full batch is waiting to be written.
    pub(crate) fn has_full_batch(&self) -> bool {
        let waiting = self.0.lock();
        waiting.settlements.len() >= waiting.batch_size
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.lock().settlements.is_empty()
    }

    /// Replaces `batch` by the waiting settlements.
    pub(crate) fn take(&self, batch: &mut Vec<(u64, Settle)>) {
        batch.clear();
        std::mem::swap(batch, &mut self.0.lock().settlements);
    }

    /// The callers that wait until all settlements so far are processed.
    pub(crate) fn flushes(&self) -> Vec<oneshot::Sender<()>> {
        std::mem::take(&mut self.0.lock().flushes)
    }

    /// Makes all later settlements fail.
    pub(crate) fn close(&self) {
        let mut waiting = self.0.lock();
        self.0.is_over.store(true, Ordering::Release);
        waiting.flushes.clear();
    }
}

impl Drop for Settlements {
    fn drop(&mut self) {
        self.close();
    }
}

/// A quarter of the prefetch is a full batch: the broker sends the rest meanwhile.
pub(crate) const BATCHES_PER_PREFETCH: u16 = 4;

/// What is written for settlements. Failed deliveries are rejected, which quorum queues of every version
/// count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SettlementFrame {
    Ack { tag: u64, multiple: bool },
    Reject { tag: u64 },
}

/// The settled tags of a channel, so that one acknowledgement can cover neighbours. It covers a tag only
/// when all lower tags are settled as well, and the rejections of the batch are written before it.
#[derive(Debug, Default)]
pub(crate) struct AckMerger {
    /// All tags up to this one are settled.
    settled_up_to: u64,
    /// The settled tags above it.
    settled_above: BTreeSet<u64>,
    /// A delivery was unsettled for so long that later tags are not recorded any more.
    is_overflowed: bool,
}

/// The most recorded tags above one that is unsettled.
const MAX_RECORDED: usize = 65_536;

impl AckMerger {
    /// What to write for a batch of settlements, in order.
    pub(crate) fn plan(&mut self, batch: &[(u64, Settle)]) -> Vec<SettlementFrame> {
        let mut plan = Vec::with_capacity(batch.len());
        let mut acks = Vec::with_capacity(batch.len());
        for (tag, settle) in batch {
            match settle {
                Settle::Ack => acks.push(*tag),
                // Before the acknowledgements, one of which may cover all lower tags.
                Settle::Requeue => plan.push(SettlementFrame::Reject { tag: *tag }),
            }
            self.settled(*tag);
        }
        acks.sort_unstable();
        let covered = acks.partition_point(|tag| !self.is_overflowed && *tag <= self.settled_up_to);
        if let Some(tag) = covered.checked_sub(1).map(|last| acks[last]) {
            plan.push(SettlementFrame::Ack { tag, multiple: covered > 1 });
        }
        let single =
            acks[covered..].iter().map(|tag| SettlementFrame::Ack { tag: *tag, multiple: false });
        plan.extend(single);
        plan
    }

    fn settled(&mut self, tag: u64) {
        if self.is_overflowed {
            return;
        }
        if tag == self.settled_up_to + 1 {
            self.settled_up_to = tag;
        } else {
            self.settled_above.insert(tag);
        }
        while self.settled_above.first() == Some(&(self.settled_up_to + 1)) {
            self.settled_above.pop_first();
            self.settled_up_to += 1;
        }
        if self.settled_above.len() > MAX_RECORDED {
            self.settled_above = BTreeSet::new();
            self.is_overflowed = true;
        }
    }
}

/// Writes a plan, in order.
pub(crate) fn write(channel: &Channel, plan: &[SettlementFrame]) -> Result<(), Fault> {
    plan.iter().try_for_each(|write| match *write {
        SettlementFrame::Ack { tag, multiple } => ack(channel, tag, multiple),
        SettlementFrame::Reject { tag } => reject(channel, tag),
    })
}

/// Notifies the callers when the broker has processed all that was written on the channel before: it
/// answers in order.
pub(crate) async fn flush(channel: Channel, waiting: Vec<oneshot::Sender<()>>) {
    let answered = call(channel.channel_flow(ChannelFlowOptions { active: true })).await;
    if answered.is_ok() {
        for done in waiting {
            // The caller may have given up.
            let _ = done.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use Settle::{Ack, Requeue};

    const fn ack(tag: u64, multiple: bool) -> SettlementFrame {
        SettlementFrame::Ack { tag, multiple }
    }

    #[test]
    fn neighbours_are_acknowledged_together() {
        let mut merger = AckMerger::default();
        assert_eq!(merger.plan(&[(1, Ack)]), [ack(1, false)]);
        assert_eq!(merger.plan(&[(4, Ack), (2, Ack), (3, Ack)]), [ack(4, true)]);
    }

    #[test]
    fn an_unsettled_tag_is_never_covered_by_an_acknowledgement() {
        let mut merger = AckMerger::default();
        assert_eq!(
            merger.plan(&[(3, Ack), (1, Ack), (4, Ack)]),
            [ack(1, false), ack(3, false), ack(4, false)]
        );
        // 3 and 4 are acknowledged already, so 2 closes the gap alone.
        assert_eq!(merger.plan(&[(2, Ack)]), [ack(2, false)]);
        assert_eq!(merger.plan(&[(5, Ack), (6, Ack)]), [ack(6, true)]);
    }

    #[test]
    fn rejections_are_written_first() {
        let mut merger = AckMerger::default();
        assert_eq!(
            merger.plan(&[(1, Ack), (2, Requeue), (3, Requeue), (4, Ack)]),
            [SettlementFrame::Reject { tag: 2 }, SettlementFrame::Reject { tag: 3 }, ack(4, true)]
        );
    }

    /// All permutations.
    fn orders(tags: &[u64]) -> Vec<Vec<u64>> {
        let [first, rest @ ..] = tags else { return vec![Vec::new()] };
        let insert = |order: Vec<u64>| {
            (0..=order.len()).map(move |at| {
                let mut order = order.clone();
                order.insert(at, *first);
                order
            })
        };
        orders(rest).into_iter().flat_map(insert).collect()
    }

    /// Applies what is written, as a broker with these unsettled deliveries does.
    fn apply(plan: &[SettlementFrame], held: &mut BTreeSet<u64>) -> Vec<(u64, Settle)> {
        let mut done = Vec::new();
        for written in plan {
            let (tag, settle, multiple) = match *written {
                SettlementFrame::Ack { tag, multiple } => (tag, Ack, multiple),
                SettlementFrame::Reject { tag } => (tag, Requeue, false),
            };
            assert!(held.contains(&tag), "the broker closes the channel at {written:?}");
            let those: Vec<u64> =
                held.iter().copied().filter(|one| *one == tag || multiple && *one < tag).collect();
            for one in those {
                held.remove(&one);
                done.push((one, settle));
            }
        }
        done
    }

    /// All orders in which five deliveries can be settled, in both ways, and in any number of batches:
    /// what is written settles exactly those of each batch, in the right way.
    #[test]
    fn each_delivery_is_settled_with_its_batch_and_in_the_right_way() {
        const ALL: [u64; 5] = [1, 2, 3, 4, 5];
        for order in orders(&ALL) {
            for ways in 0..2_usize.pow(5) {
                let way = |tag: u64| {
                    let ways = ways / 2_usize.pow(u32::try_from(tag - 1).expect("small"));
                    [Ack, Requeue][ways % 2]
                };
                for cuts in 0..16_u8 {
                    let (mut merger, mut held) = (AckMerger::default(), BTreeSet::from(ALL));
                    let mut batch = Vec::new();
                    for (at, tag) in order.iter().enumerate() {
                        batch.push((*tag, way(*tag)));
                        if at < 4 && cuts & (1 << at) == 0 {
                            continue;
                        }
                        let mut done = apply(&merger.plan(&batch), &mut held);
                        done.sort_unstable_by_key(|(tag, _)| *tag);
                        batch.sort_unstable_by_key(|(tag, _)| *tag);
                        assert_eq!(done, batch, "{order:?} {ways} {cuts}");
                        batch.clear();
                    }
                    assert!(held.is_empty());
                }
            }
        }
    }

    #[test]
    fn a_delivery_unsettled_for_ever_costs_no_memory() {
        let mut merger = AckMerger::default();
        for tag in 2..(MAX_RECORDED as u64 + 10) {
            assert_eq!(merger.plan(&[(tag, Ack)]), [ack(tag, false)]);
        }
        assert!(merger.settled_above.is_empty());
        assert_eq!(merger.plan(&[(1, Ack)]), [ack(1, false)]);
    }

    #[test]
    fn settlements_queued_before_the_end_are_written() {
        let (settler, settlements) = SessionSettler::new(Arc::default(), Arc::default());
        assert!(settlements.is_empty());
        for tag in 1..=9 {
            settler.settle(tag, Ack).expect("the session is open");
        }
        settlements.set_batch_size(40);
        assert!(!settlements.has_full_batch());
        settler.settle(10, Requeue).expect("the session is open");
        assert!(settlements.has_full_batch());
        settlements.close();
        assert_eq!(settler.settle(11, Ack), Err(SettleError));
        let mut batch = vec![(99, Ack)];
        settlements.take(&mut batch);
        assert_eq!((batch.len(), batch[0], batch[9]), (10, (1, Ack), (10, Requeue)));
        assert!(settlements.is_empty());
    }

    #[tokio::test]
    async fn the_session_is_woken_by_the_first_and_by_the_last_that_is_needed() {
        let (settler, settlements) = SessionSettler::new(Arc::default(), Arc::default());
        settlements.set_batch_size(12);
        let mut woken = Vec::new();
        for tag in 1..=9 {
            settler.settle(tag, Ack).expect("the session is open");
            woken.extend(settlements.waiting().now_or_never().map(|()| tag));
        }
        assert_eq!(woken, [1, 3]);
    }

    #[test]
    fn settlements_after_the_end_fail_and_are_counted() {
        let stale = Arc::new(AtomicU64::new(0));
        let (settler, settlements) = SessionSettler::new(Arc::clone(&stale), Arc::default());
        assert_eq!(settler.settle(1, Ack), Ok(()));
        assert!(!settler.is_over());
        drop(settlements);
        assert!(settler.is_over());
        assert_eq!(settler.settle(2, Ack), Err(SettleError));
        assert_eq!(stale.load(Ordering::Relaxed), 1);
    }
}
