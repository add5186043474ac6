//! Settlements on their way to the broker: `SessionSettler` takes them from whoever holds a
//! delivery, `Ledger` decides what goes on the wire, `write` puts it there. The task that
//! carries them is `session.rs`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::FutureExt;
use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicNackOptions, BasicRejectOptions};
use tokio::sync::mpsc;

use super::failure::Fault;
use crate::transport::delivery::{Settle, Settler};
use crate::transport::error::SettleError;

/// Takes the settlements of one session. When the session is over, so is this: a tag means
/// something else to the next one.
#[derive(Debug)]
pub(super) struct SessionSettler {
    settlements: mpsc::UnboundedSender<(u64, Settle)>,
    stale: Arc<AtomicU64>,
}

impl SessionSettler {
    /// A settler, and where its settlements come out. `stale` counts those that came too late.
    pub(super) fn new(stale: Arc<AtomicU64>) -> (Self, mpsc::UnboundedReceiver<(u64, Settle)>) {
        let (settlements, receiver) = mpsc::unbounded_channel();
        (Self { settlements, stale }, receiver)
    }
}

impl Settler for SessionSettler {
    fn settle(&self, tag: u64, settle: Settle) -> Result<(), SettleError> {
        self.settlements.send((tag, settle)).map_err(|_| {
            self.stale.fetch_add(1, Ordering::Relaxed);
            SettleError
        })
    }

    fn is_over(&self) -> bool {
        self.settlements.is_closed()
    }
}

/// What is written for settlements. Before RabbitMQ 4.3 a quorum queue counts both ways back; from
/// then on a reject only. So what failed is rejected and what was not tried is nacked, whatever the
/// version: where both count, they come to the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    Ack { tag: u64, multiple: bool },
    Reject { tag: u64 },
    Nack { tag: u64 },
}

/// Knows which tags of a channel have been settled, so that acknowledgements of neighbours
/// can go as one. A tag is acknowledged along with others only when every tag below has been
/// settled too, and the others of this batch were written before.
#[derive(Debug, Default)]
pub(super) struct Ledger {
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
    pub(super) fn plan(&mut self, batch: &[(u64, Settle)]) -> Vec<Written> {
        let mut plan = Vec::with_capacity(batch.len());
        let mut acks = Vec::with_capacity(batch.len());
        for (tag, settle) in batch {
            match settle {
                Settle::Ack => acks.push(*tag),
                // Before the acknowledgements: one of them may stand for all tags below it.
                Settle::Requeue => plan.push(Written::Reject { tag: *tag }),
                Settle::GiveBack => plan.push(Written::Nack { tag: *tag }),
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
        self.beyond.insert(tag);
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
pub(super) fn write(channel: &Channel, plan: &[Written]) -> Result<(), Fault> {
    for written in plan {
        let result = match *written {
            Written::Ack { tag, multiple } => {
                channel.basic_ack(tag, BasicAckOptions { multiple }).now_or_never()
            }
            Written::Reject { tag } => {
                channel.basic_reject(tag, BasicRejectOptions { requeue: true }).now_or_never()
            }
            Written::Nack { tag } => {
                let options = BasicNackOptions { requeue: true, multiple: false };
                channel.basic_nack(tag, options).now_or_never()
            }
        };
        if let Some(Err(error)) = result {
            return Err(Fault::from(&error));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use Settle::{Ack, GiveBack, Requeue};

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
    fn what_is_given_back_goes_first() {
        let mut ledger = Ledger::default();
        assert_eq!(
            ledger.plan(&[(1, Ack), (2, Requeue), (3, GiveBack), (4, Ack)]),
            [Written::Reject { tag: 2 }, Written::Nack { tag: 3 }, ack(4, true)]
        );
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
    fn an_ended_session_takes_nothing_and_counts() {
        let stale = Arc::new(AtomicU64::new(0));
        let (settler, receiver) = SessionSettler::new(Arc::clone(&stale));
        assert_eq!(settler.settle(1, Ack), Ok(()));
        drop(receiver);
        assert_eq!(settler.settle(2, Ack), Err(SettleError));
        assert_eq!(stale.load(Ordering::Relaxed), 1);
    }
}
