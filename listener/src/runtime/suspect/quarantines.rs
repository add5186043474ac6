//! Which quarantine queue and which journal belong to each work queue. Each work queue has its own,
//! so that no program consumes what another one quarantined.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::runtime::suspect::journal::Journal;
use crate::target::quarantine_queue;

/// The quarantine of each work queue.
#[derive(Debug, Default)]
pub(crate) struct Quarantines {
    by_work_queue: BTreeMap<String, Quarantine>,
    journals: BTreeMap<String, Arc<Journal>>,
}

/// Where the suspects of a work queue go, and where they are recorded.
#[derive(Debug)]
pub(crate) struct Quarantine {
    pub(crate) queue: String,
    pub(crate) journal: Arc<Journal>,
}

impl Quarantines {
    /// Adds the quarantine of a work queue. `make` creates its journal when it is first named.
    pub(crate) fn add(
        &mut self,
        queue: &str,
        journal: String,
        make: impl Fn(String) -> Arc<Journal>,
    ) {
        let journal = self.journals.entry(journal.clone()).or_insert_with(|| make(journal)).clone();
        let quarantine = || Quarantine { queue: quarantine_queue(queue), journal };
        self.by_work_queue.entry(queue.to_owned()).or_insert_with(quarantine);
    }

    /// The quarantine queues, sorted.
    pub(crate) fn queues(&self) -> BTreeSet<&str> {
        self.by_work_queue.values().map(|quarantine| quarantine.queue.as_str()).collect()
    }

    pub(crate) fn journals(&self) -> impl Iterator<Item = &Arc<Journal>> {
        self.journals.values()
    }

    /// Whether this is a work queue.
    pub(crate) fn is_work_queue(&self, queue: &str) -> bool {
        self.by_work_queue.contains_key(queue)
    }

    /// The work queue with this quarantine queue.
    pub(crate) fn work_queue_of(&self, quarantine: &str) -> Option<&str> {
        let source = self.by_work_queue.iter().find(|(_, one)| one.queue == quarantine);
        source.map(|(queue, _)| queue.as_str())
    }

    /// The quarantine for deliveries of a queue, which may be the quarantine queue itself.
    pub(crate) fn of(&self, queue: &str) -> Option<&Quarantine> {
        self.by_work_queue.get(queue).or_else(|| self.by_work_queue.get(self.work_queue_of(queue)?))
    }
}
