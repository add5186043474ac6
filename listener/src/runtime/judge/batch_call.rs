//! Calls a method that takes a batch, for one delivery: it joins the batch of its method, waits without a slot,
//! and either calls the method for all of the batch or receives its result from the delivery that does.
//! `runtime/batches.rs` collects, `invoke.rs` acts on the result.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::sleep_until;

use crate::batch::outcome::{BatchResult, ItemResult};
use crate::dispatch::table::{BatchEntry, Entry};
use crate::notification::Notification;
use crate::notification::owned::OwnedNotification;
use crate::outcome::{MethodResult, Outcome};
use crate::runtime::batches::{BatchItem, Collector, Joined, OpenBatch};
use crate::runtime::case::Case;
use crate::runtime::judge::policy::{self, CopyKind, NotHandled, PolicyContext, Step};
use crate::runtime::schedule::permit::Permit;
use crate::runtime::shared::Shared;
use crate::runtime::suspect::gate::Passage;

/// During a stop: how long a batch waits for the gate, and the next method of a notification for the inbox and
/// the gate if other methods of it were called.
pub(super) const WAIT_AT_STOP: Duration = Duration::from_millis(500);

/// The call of a method that takes a batch, for one delivery.
pub(super) struct BatchCall<'c> {
    pub(super) shared: &'c Shared,
    pub(super) notification: &'c Notification<'c>,
    pub(super) case: &'c Case,
    pub(super) permit: Permit<'c>,
    pub(super) entry: &'c Entry,
    /// How long one call may take.
    pub(super) timeout: Duration,
}

impl BatchCall<'_> {
    /// Calls the method with a batch that contains this notification. `None`: it was not called, because
    /// the listener stops or the session is over.
    pub(super) async fn call(
        &self,
        batch: &BatchEntry,
        context: PolicyContext<'_>,
    ) -> Option<MethodResult> {
        let (item, result) = self.item();
        // The methods of an isolated suspect are called for it alone: others would be blamed with it.
        let ItemResult { result, is_shared } = match self.shared.batches.get(batch.index) {
            Some(collector) if !self.case.is_isolated() => {
                self.join(collector, item, result).await?
            }
            _ => self.call_alone(item, result).await?,
        };
        if !is_shared || !gives_up(&result, self.entry, context) {
            return Some(result);
        }
        // Another notification of the batch may have caused this: each is called alone before it is given up.
        let (item, result) = self.item();
        Some(self.call_alone(item, result).await?.result)
    }

    fn item(&self) -> (BatchItem, oneshot::Receiver<ItemResult>) {
        let (reply, result) = oneshot::channel();
        let notification = OwnedNotification::new(self.notification);
        (BatchItem { notification, settler: self.case.delivery.settler(), reply }, result)
    }

    async fn call_alone(
        &self,
        item: BatchItem,
        result: oneshot::Receiver<ItemResult>,
    ) -> Option<ItemResult> {
        self.permit.acquire().await;
        self.call_batch(vec![item], self.case.passage()).await;
        result.await.ok()
    }

    async fn join(
        &self,
        collector: &Collector,
        item: BatchItem,
        mut result: oneshot::Receiver<ItemResult>,
    ) -> Option<ItemResult> {
        // A body may be larger once it is decompressed.
        let payload = self.notification.raw_payload().get().len();
        match collector.join(item, self.case.delivery.body.len().max(payload)) {
            Joined::Complete(items) => self.call_batch(items, Passage::Normal).await,
            Joined::Waiting(open) => {
                self.permit.free();
                if let Some(result) = self.wait(open, &mut result).await {
                    return result;
                }
                if let Some(items) = collector.take(open) {
                    self.permit.acquire().await;
                    self.call_batch(items, Passage::Normal).await;
                }
            }
        }
        // Without a result if the delivery that called the method was released.
        result.await.ok()
    }

    /// Waits for the result until the batch is due. A stop makes it due.
    async fn wait(
        &self,
        open: OpenBatch,
        result: &mut oneshot::Receiver<ItemResult>,
    ) -> Option<Option<ItemResult>> {
        tokio::select! {
            biased;
            result = result => Some(result.ok()),
            () = sleep_until(open.deadline) => None,
            () = self.permit.stop.cancelled() => None,
        }
    }

    /// Calls the method for those notifications that can still be settled, and passes on the results. If it may
    /// not be called, there are none.
    async fn call_batch(&self, mut items: Vec<BatchItem>, passage: Passage) {
        let Self { shared, permit, entry, timeout, .. } = *self;
        items.retain(|item| !item.settler.is_over() && !item.reply.is_closed());
        if items.is_empty() {
            return;
        }
        let (mut notifications, replies): (Vec<_>, Vec<_>) =
            items.into_iter().map(|item| (item.notification, item.reply)).unzip();
        let results = loop {
            let entering = shared.gate.enter(passage);
            let Some(_entered) = self.unless_stopped(entering).await else { return };
            let gate = shared.gate.clone();
            let may_start = move || gate.is_open(passage);
            let called = shared.dispatcher.call_batch(entry, notifications, timeout, may_start);
            match called.await {
                Ok(results) => break results,
                // The gate was closed while a plain `fn` waited for a thread.
                Err(uncalled) if !permit.stop.is_cancelled() => notifications = uncalled,
                Err(_) => return,
            }
        };
        pass_on(results, replies);
    }

    /// Waits; a stop ends the wait after `WAIT_AT_STOP`.
    async fn unless_stopped<T>(&self, waited: impl Future<Output = T>) -> Option<T> {
        let stopped = async {
            self.permit.stop.cancelled().await;
            tokio::time::sleep(WAIT_AT_STOP).await;
        };
        tokio::select! {
            biased;
            value = waited => Some(value),
            () = stopped => None,
        }
    }
}

fn pass_on(results: BatchResult, replies: Vec<oneshot::Sender<ItemResult>>) {
    for (reply, result) in replies.into_iter().zip(results) {
        // A delivery that waits no longer is redelivered.
        let _ = reply.send(result);
    }
}

/// Whether a result that is shared with others would make a dead letter, other than by the method's own choice.
fn gives_up(result: &MethodResult, entry: &Entry, context: PolicyContext<'_>) -> bool {
    let step = match result {
        Err(failure) => policy::step_of_failure(failure, &entry.policy, context),
        Ok(Outcome::Retry { after }) => {
            policy::step(&NotHandled::Retry(*after), &entry.policy, context)
        }
        Ok(_) => return false,
    };
    matches!(step, Step::Copy(CopyKind::DeadLetter(_)))
}
