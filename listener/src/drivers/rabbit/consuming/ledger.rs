//! Settlements on their way to the broker: `SessionSettler` takes them from whoever holds a
//! delivery, `Ledger` decides what goes on the wire, `write` puts it there. The task that
//! carries them is `session.rs`.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicNackOptions, BasicRejectOptions, ChannelFlowOptions};
use tokio::sync::{Notify, oneshot};

use crate::drivers::rabbit::connection::link::call;
use crate::drivers::rabbit::connection::refusal::Fault;
use crate::transport::delivery::{Settle, Settler};
use crate::transport::error::SettleError;

/// Takes the settlements of one session. When the session is over, so is this: a tag means
/// something else to the next one.
#[derive(Debug)]
pub(crate) struct SessionSettler {
    queue: Arc<SettlementQueue>,
    stale: Arc<AtomicU64>,
}

/// Where settlements wait for the session that writes them. The session is woken when the first
/// one comes, to look at the clock, and when there are enough to be written: a wake-up for
/// each would cost more than all else.
#[derive(Debug)]
struct SettlementQueue {
    waiting: Mutex<Waiting>,
    /// The session is over.
    is_over: AtomicBool,
    came: Arc<Notify>,
}

#[derive(Debug)]
struct Waiting {
    settlements: Vec<(u64, Settle)>,
    /// So many are enough to be written.
    enough: usize,
    /// Told once the broker has processed all that came before; dropped with the session.
    flushes: Vec<oneshot::Sender<()>>,
}

/// Where the settlements of a session come out. Dropped, it ends its settler.
#[derive(Debug)]
pub(crate) struct Settlements(Arc<SettlementQueue>);

impl SessionSettler {
    /// A settler, and where its settlements come out. `stale` counts those that came too late;
    /// `came` is notified when some wait, and may be shared with other settlers.
    pub(crate) fn new(stale: Arc<AtomicU64>, came: Arc<Notify>) -> (Self, Settlements) {
        let queue = Arc::new(SettlementQueue {
            waiting: Mutex::new(Waiting {
                settlements: Vec::new(),
                enough: 1,
                flushes: Vec::new(),
            }),
            is_over: AtomicBool::new(false),
            came,
        });
        (Self { queue: Arc::clone(&queue), stale }, Settlements(queue))
    }
}

impl Settler for SessionSettler {
    fn settle(&self, tag: u64, settle: Settle) -> Result<(), SettleError> {
        let mut waiting = self.queue.lock();
        // Looked at under the lock: what is put in before it is closed is written.
        if self.is_over() {
            self.stale.fetch_add(1, Ordering::Relaxed);
            return Err(SettleError);
        }
        waiting.settlements.push((tag, settle));
        let count = waiting.settlements.len();
        // Once when there are enough: those that come until the session runs go along.
        let wakes = count == 1 || count == waiting.enough;
        drop(waiting);
        if wakes {
            self.queue.came.notify_one();
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
            self.queue.came.notify_one();
        }
        drop(waiting);
        // An error: the session is over.
        Box::pin(async move { drop(processed.await) })
    }
}

impl SettlementQueue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Settlements {
    /// Until some wait that did not when this was asked last, or enough of them.
    pub(crate) async fn came(&self) {
        self.0.came.notified().await;
    }

    /// Whether enough wait to be written; `prefetch` is how many may be unsettled.
    pub(crate) fn are_enough(&self, prefetch: u16) -> bool {
        let mut waiting = self.0.lock();
        waiting.enough = usize::from(prefetch / PART).max(1);
        waiting.settlements.len() >= waiting.enough
    }

    pub(crate) fn are_none(&self) -> bool {
        self.0.lock().settlements.is_empty()
    }

    /// Puts those that wait in the place of `batch`.
    pub(crate) fn take(&self, batch: &mut Vec<(u64, Settle)>) {
        batch.clear();
        std::mem::swap(batch, &mut self.0.lock().settlements);
    }

    /// Those that wait until all settlements so far have been processed.
    pub(crate) fn flushes(&self) -> Vec<oneshot::Sender<()>> {
        std::mem::take(&mut self.0.lock().flushes)
    }

    /// From here on settlements fail.
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

/// A quarter of the prefetch is enough to be written: the broker has the rest to send meanwhile.
pub(crate) const PART: u16 = 4;

/// What is written for settlements. What failed is rejected: a quorum queue of every version
/// counts that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    Ack { tag: u64, multiple: bool },
    Reject { tag: u64 },
}

/// Knows which tags of a channel have been settled, so that acknowledgements of neighbours
/// can go as one. A tag is acknowledged along with others only when every tag below has been
/// settled too, and the others of this batch were written before.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Every tag up to this one has been settled.
    floor: u64,
    /// Those above it that have been, too.
    beyond: BTreeSet<u64>,
    /// A delivery was held for so long that remembering the later ones does not pay.
    singly: bool,
}

/// So many settled tags above one that is still held are remembered.
const REMEMBERED: usize = 65_536;

impl Ledger {
    /// What to write for a batch of settlements, in order.
    pub(crate) fn plan(&mut self, batch: &[(u64, Settle)]) -> Vec<Written> {
        let mut plan = Vec::with_capacity(batch.len());
        let mut acks = Vec::with_capacity(batch.len());
        for (tag, settle) in batch {
            match settle {
                Settle::Ack => acks.push(*tag),
                // Before the acknowledgements: one of them may stand for all tags below it.
                Settle::Requeue => plan.push(Written::Reject { tag: *tag }),
            }
            self.settled(*tag);
        }
        acks.sort_unstable();
        let together = acks.partition_point(|tag| !self.singly && *tag <= self.floor);
        if let Some(tag) = together.checked_sub(1).map(|last| acks[last]) {
            plan.push(Written::Ack { tag, multiple: together > 1 });
        }
        let alone = acks[together..].iter().map(|tag| Written::Ack { tag: *tag, multiple: false });
        plan.extend(alone);
        plan
    }

    fn settled(&mut self, tag: u64) {
        if self.singly {
            return;
        }
        if tag == self.floor + 1 {
            self.floor = tag;
        } else {
            self.beyond.insert(tag);
        }
        while self.beyond.first() == Some(&(self.floor + 1)) {
            self.beyond.pop_first();
            self.floor += 1;
        }
        if self.beyond.len() > REMEMBERED {
            self.beyond = BTreeSet::new();
            self.singly = true;
        }
    }
}

/// Hands what was planned to the connection, in order. Each is in lapin's queue of frames when
/// its future has been polled once; waiting for it to reach the socket would make every
/// settlement a round trip through lapin's thread. That all have arrived is known when the
/// channel has been closed.
pub(crate) fn write(channel: &Channel, plan: &[Written]) -> Result<(), Fault> {
    for written in plan {
        let result = match *written {
            Written::Ack { tag, multiple } => {
                channel.basic_ack(tag, BasicAckOptions { multiple }).now_or_never()
            }
            Written::Reject { tag } => {
                channel.basic_reject(tag, BasicRejectOptions { requeue: true }).now_or_never()
            }
        };
        if let Some(Err(error)) = result {
            return Err(Fault::from(&error));
        }
    }
    Ok(())
}

/// Waits until the broker has processed all that was written on the channel before: it answers in
/// order.
pub(crate) async fn processed(channel: Channel, waiting: Vec<oneshot::Sender<()>>) {
    let answered = call(channel.channel_flow(ChannelFlowOptions { active: true })).await;
    if answered.is_ok() {
        for done in waiting {
            // Nobody may wait any more.
            let _ = done.send(());
        }
    }
}

/// Returns all that is unsettled, as not tried.
pub(crate) fn release_all(channel: &Channel) -> Result<(), Fault> {
    let options = BasicNackOptions { requeue: true, multiple: true };
    // Tag 0 is AMQP's for all.
    match channel.basic_nack(0, options).now_or_never() {
        Some(Err(error)) => Err(Fault::from(&error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Settle::{Ack, Requeue};

    const fn ack(tag: u64, multiple: bool) -> Written {
        Written::Ack { tag, multiple }
    }

    #[test]
    fn neighbours_are_acknowledged_together() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.plan(&[(1, Ack)]), [ack(1, false)]);
        assert_eq!(ledger.plan(&[(4, Ack), (2, Ack), (3, Ack)]), [ack(4, true)]);
    }

    #[test]
    fn a_tag_that_is_held_is_never_acknowledged_along() {
        let mut ledger = Ledger::default();
        assert_eq!(
            ledger.plan(&[(3, Ack), (1, Ack), (4, Ack)]),
            [ack(1, false), ack(3, false), ack(4, false)]
        );
        // 3 and 4 are gone already, so 2 closes the gap alone, and 5 goes with nothing.
        assert_eq!(ledger.plan(&[(2, Ack)]), [ack(2, false)]);
        assert_eq!(ledger.plan(&[(5, Ack), (6, Ack)]), [ack(6, true)]);
    }

    #[test]
    fn what_is_requeued_goes_first() {
        let mut ledger = Ledger::default();
        assert_eq!(
            ledger.plan(&[(1, Ack), (2, Requeue), (3, Requeue), (4, Ack)]),
            [Written::Reject { tag: 2 }, Written::Reject { tag: 3 }, ack(4, true)]
        );
    }

    /// All orders of these.
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

    /// Carries out what is written, as a broker does that holds these.
    fn carry_out(plan: &[Written], held: &mut BTreeSet<u64>) -> Vec<(u64, Settle)> {
        let mut done = Vec::new();
        for written in plan {
            let (tag, settle, multiple) = match *written {
                Written::Ack { tag, multiple } => (tag, Ack, multiple),
                Written::Reject { tag } => (tag, Requeue, false),
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

    /// Every order in which five deliveries can be settled, in every way, cut into every number
    /// of batches: what is written settles just those of each batch, and as was asked for.
    #[test]
    fn each_is_settled_with_its_batch_and_as_it_was_asked_for() {
        const ALL: [u64; 5] = [1, 2, 3, 4, 5];
        for order in orders(&ALL) {
            for ways in 0..2_usize.pow(5) {
                let way = |tag: u64| {
                    let ways = ways / 2_usize.pow(u32::try_from(tag - 1).expect("small"));
                    [Ack, Requeue][ways % 2]
                };
                for cuts in 0..16_u8 {
                    let (mut ledger, mut held) = (Ledger::default(), BTreeSet::from(ALL));
                    let mut batch = Vec::new();
                    for (at, tag) in order.iter().enumerate() {
                        batch.push((*tag, way(*tag)));
                        if at < 4 && cuts & (1 << at) == 0 {
                            continue;
                        }
                        let mut done = carry_out(&ledger.plan(&batch), &mut held);
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
    fn a_delivery_held_for_ever_costs_no_memory() {
        let mut ledger = Ledger::default();
        for tag in 2..(REMEMBERED as u64 + 10) {
            assert_eq!(ledger.plan(&[(tag, Ack)]), [ack(tag, false)]);
        }
        assert!(ledger.beyond.is_empty());
        assert_eq!(ledger.plan(&[(1, Ack)]), [ack(1, false)]);
    }

    #[test]
    fn what_waited_is_written_whatever_comes_with_the_end() {
        let (settler, settlements) = SessionSettler::new(Arc::default(), Arc::default());
        assert!(settlements.are_none());
        for tag in 1..=9 {
            settler.settle(tag, Ack).expect("the session stands");
        }
        assert!(!settlements.are_enough(40));
        settler.settle(10, Requeue).expect("the session stands");
        assert!(settlements.are_enough(40));
        settlements.close();
        assert_eq!(settler.settle(11, Ack), Err(SettleError));
        let mut batch = vec![(99, Ack)];
        settlements.take(&mut batch);
        assert_eq!((batch.len(), batch[0], batch[9]), (10, (1, Ack), (10, Requeue)));
        assert!(settlements.are_none());
    }

    #[tokio::test]
    async fn the_session_is_woken_by_the_first_and_by_the_last_that_is_needed() {
        let (settler, settlements) = SessionSettler::new(Arc::default(), Arc::default());
        assert!(!settlements.are_enough(12));
        let mut woken = Vec::new();
        for tag in 1..=9 {
            settler.settle(tag, Ack).expect("the session stands");
            woken.extend(settlements.came().now_or_never().map(|()| tag));
        }
        assert_eq!(woken, [1, 3]);
    }

    #[test]
    fn an_ended_session_takes_nothing_and_counts() {
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
