//! The scheduler: worker tasks that take deliveries from the priority queues. Each worker handles one
//! delivery at a time.
//! One task is enough for methods that never wait, so nothing is spawned for those; when a method has
//! to wait, another task continues, and methods that use the processor run on as many tasks as the
//! runtime has threads. The work on one delivery is in `worker.rs`.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::options::listener::Executor;
use crate::runtime::case::Case;
use crate::runtime::open::body::TextBuffer;
use crate::runtime::schedule::key_order::KeyOrder;
use crate::runtime::schedule::keys;
use crate::runtime::schedule::permit::{Permit, Slot};
use crate::runtime::schedule::priority_queues::{PriorityQueues, QueueIndex};
use crate::runtime::settle::settlement;
use crate::runtime::shared::{Shared, WorkContext};
use crate::runtime::worker;
use crate::transport::delivery::Delivery;
use crate::transport::demand::Demand;

/// If a delivery keeps its task busy for longer than this, more tasks are started, up to the number of threads.
const LONG_POLL: Duration = Duration::from_micros(50);

/// How long a worker task runs before it yields to other tasks of its thread.
const TIME_SLICE: Duration = Duration::from_micros(200);

/// Distributes deliveries to worker tasks.
#[derive(Debug)]
pub(crate) struct Scheduler {
    shared: Arc<Shared>,
    key_order: Arc<KeyOrder>,
    state: Mutex<State>,
    /// Notified when a slot is freed while deliveries wait to reacquire one.
    freed: Notify,
    /// Notified when deliveries wait for busy workers and nothing checks whether these are stuck.
    pub(crate) needs_stuck_check: Notify,
    /// Notified when no delivery waits any more.
    demand: Arc<Demand>,
    threads: usize,
    pub(crate) running: TaskTracker,
    pub(crate) stop: CancellationToken,
    /// Cancelled at the deadline of a stop; ends the tasks that still run.
    pub(crate) abort: CancellationToken,
}

#[derive(Debug)]
struct State {
    queues: PriorityQueues<Case>,
    /// Worker tasks that are running, without those that wait for a method.
    busy: usize,
    /// Deliveries begun so far.
    begun: u64,
    /// Whether a check for stuck workers is scheduled.
    is_stuck_check_scheduled: bool,
    /// Deliveries whose keys are still to be read, in the order of arrival.
    unread: VecDeque<Case>,
    /// Whether a task is reading them.
    is_reading: bool,
}

impl State {
    fn push(&mut self, case: Case) {
        let queue = QueueIndex::of(&case.copy_headers.origin.routing_key);
        self.queues.push(queue, case);
    }
}

/// A slot to work on a delivery, freed when dropped.
struct DeliverySlot<'s> {
    scheduler: &'s Arc<Scheduler>,
    queue: QueueIndex,
    /// Atomic only because the future of the work, which borrows the slot, has to be `Send`.
    is_held: AtomicBool,
}

/// A check whether the busy workers are stuck, in methods that block their threads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StuckCheck {
    /// The number of deliveries started when the check was scheduled.
    begun: u64,
}

/// Counts a worker task as busy until it waits or is dropped.
struct Busy<'c> {
    scheduler: &'c Arc<Scheduler>,
    is_busy: bool,
}

impl Scheduler {
    pub(crate) fn new(
        shared: Arc<Shared>,
        demand: Arc<Demand>,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let queues = PriorityQueues::new(shared.options.executor);
        Arc::new(Self {
            shared,
            key_order: Arc::default(),
            state: Mutex::new(State {
                queues,
                busy: 0,
                begun: 0,
                is_stuck_check_scheduled: false,
                unread: VecDeque::new(),
                is_reading: false,
            }),
            freed: Notify::new(),
            needs_stuck_check: Notify::new(),
            demand,
            threads: tokio::runtime::Handle::current().metrics().num_workers(),
            running: TaskTracker::new(),
            stop,
            abort: CancellationToken::new(),
        })
    }

    /// Schedules deliveries, given in the order of arrival.
    pub(crate) fn take(self: &Arc<Self>, deliveries: impl Iterator<Item = Delivery>) {
        let mut cases: VecDeque<Case> =
            deliveries.map(|delivery| Case::receive(&self.shared, delivery)).collect();
        let mut ready = cases.len();
        if keys::have_keys(&self.shared) {
            ready = 0;
            // Only this function adds to `unread`.
            if !self.lock().is_reading {
                for case in cases.iter_mut().take_while(|case| keys::can_read_inline(case)) {
                    self.enter(case);
                    ready += 1;
                }
            }
        }
        let unread = cases.split_off(ready);
        let mut state = self.lock();
        cases.into_iter().for_each(|case| state.push(case));
        state.unread.extend(unread);
        if !state.unread.is_empty() && !std::mem::replace(&mut state.is_reading, true) {
            let scheduler = Arc::clone(self);
            self.running.spawn(async move {
                scheduler.abort.run_until_cancelled(scheduler.read()).await;
            });
        }
        self.start_worker(state, 1);
    }

    /// Queues a delivery after all earlier ones that share a key with it.
    fn enter(&self, case: &mut Case) {
        let keys = keys::read_keys(&self.shared, case);
        case.ticket = (!keys.keys.is_empty()).then(|| self.key_order.enter(&keys));
    }

    /// Reads the keys of deliveries that take long to open, in sequence, on a thread that may block. Later
    /// deliveries wait, because their order is that of arrival.
    async fn read(self: &Arc<Self>) {
        while let Some(mut case) = self.next_unread() {
            if keys::can_read_inline(&case) {
                self.enter(&mut case);
            } else {
                let scheduler = Arc::clone(self);
                let entering = self.shared.offload.run(move || {
                    scheduler.enter(&mut case);
                    case
                });
                // Dropped unsettled: the broker redelivers it.
                let Ok(entered) = AssertUnwindSafe(entering).catch_unwind().await else { continue };
                case = entered;
            }
            if self.stop.is_cancelled() {
                settlement::release(&self.shared, case);
                continue;
            }
            let mut state = self.lock();
            state.push(case);
            self.start_worker(state, 1);
        }
    }

    /// The next delivery whose keys are to be read. If there is none, `is_reading` is reset under the
    /// same lock.
    fn next_unread(&self) -> Option<Case> {
        let mut state = self.lock();
        let next = state.unread.pop_front();
        state.is_reading = next.is_some();
        next
    }

    /// All deliveries that were not begun.
    pub(crate) fn drain(&self) -> Vec<Case> {
        let mut state = self.lock();
        let unread = std::mem::take(&mut state.unread);
        state.queues.drain().chain(unread).collect()
    }

    /// A check for stuck workers, if deliveries could be started while all workers are busy. The caller passes it
    /// to `add_worker_if_stuck` soon.
    pub(crate) fn schedule_stuck_check(&self) -> Option<StuckCheck> {
        let mut state = self.lock();
        state.is_stuck_check_scheduled = state.busy > 0 && state.queues.can_begin();
        state.is_stuck_check_scheduled.then_some(StuckCheck { begun: state.begun })
    }

    /// Starts another worker if no delivery was started since the check was scheduled.
    pub(crate) fn add_worker_if_stuck(self: &Arc<Self>, check: StuckCheck) {
        let state = self.lock();
        if check.begun == state.begun {
            let most = state.busy + 1;
            self.start_worker(state, most);
        }
    }

    /// Starts another worker if a delivery can be begun and fewer than `most` workers are busy.
    fn start_worker(self: &Arc<Self>, mut state: MutexGuard<'_, State>, most: usize) {
        if !state.queues.can_begin() {
            return;
        }
        if state.busy >= most {
            // Their methods may block the threads.
            if !std::mem::replace(&mut state.is_stuck_check_scheduled, true) {
                self.needs_stuck_check.notify_one();
            }
            return;
        }
        state.busy += 1;
        drop(state);
        let scheduler = Arc::clone(self);
        self.running.spawn(async move {
            scheduler.abort.run_until_cancelled(scheduler.serve()).await;
        });
    }

    /// Works on deliveries in sequence until none can be begun.
    async fn serve(self: &Arc<Self>) {
        let mut busy = Busy { scheduler: self, is_busy: true };
        let mut buffer = TextBuffer::default();
        let mut since = Instant::now();
        while let Some((case, slot)) = self.next(&mut busy) {
            let began = Instant::now();
            {
                let mut work = pin!(self.work(case, slot, &mut buffer));
                poll_fn(|context| {
                    let polled = work.as_mut().poll(context);
                    if polled.is_pending() {
                        busy.leave();
                    }
                    polled
                })
                .await;
            }
            let now = Instant::now();
            if busy.is_busy && now - began > LONG_POLL {
                self.start_worker(self.lock(), self.threads);
            }
            if now - since > TIME_SLICE {
                tokio::task::yield_now().await;
                since = Instant::now();
            }
        }
    }

    /// The next delivery, and a slot for it. If there is none, the worker is marked idle under the same
    /// lock, so that no delivery is left without a worker.
    fn next<'s>(self: &'s Arc<Self>, busy: &mut Busy<'_>) -> Option<(Case, DeliverySlot<'s>)> {
        let mut state = self.lock();
        let was_busy = std::mem::replace(&mut busy.is_busy, false);
        match state.queues.next() {
            Some((case, queue)) => {
                state.busy += usize::from(!was_busy);
                state.begun += 1;
                busy.is_busy = true;
                let is_held = AtomicBool::new(true);
                Some((case, DeliverySlot { scheduler: self, queue, is_held }))
            }
            None => {
                state.busy -= usize::from(was_busy);
                self.report_idle(&state);
                None
            }
        }
    }

    /// Reports to the driver that nothing waits any more; under the lock, so that reports are in order.
    fn report_idle(&self, state: &State) {
        if state.queues.has_no_items() && state.unread.is_empty() {
            self.demand.begun(state.begun, state.queues.has_free_slot());
        }
    }

    /// Works on a delivery once all earlier ones in its key order are done.
    async fn work(&self, case: Case, slot: DeliverySlot<'_>, buffer: &mut TextBuffer) {
        let permit = Permit::new(&slot, &self.stop);
        if let Some(ticket) = &case.ticket
            && !ticket.is_next()
        {
            // An earlier one may wait in a batch, and need a slot to call its method.
            if !self.shared.batches.is_empty() {
                permit.free();
            }
            let next = async {
                let _waits = self.demand.wait_in_order();
                ticket.wait().await;
            };
            if permit.wait(next).await.is_none() {
                return settlement::release(&self.shared, case);
            }
        }
        worker::work(WorkContext { shared: &self.shared, permit }, case, buffer).await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a delivery that waits to reacquire a slot.
struct Resuming<'c> {
    scheduler: &'c Scheduler,
    queue: QueueIndex,
}

impl<'c> Resuming<'c> {
    fn new(scheduler: &'c Scheduler, queue: QueueIndex) -> Self {
        scheduler.lock().queues.begin_resuming(queue);
        Self { scheduler, queue }
    }
}

impl Drop for Resuming<'_> {
    fn drop(&mut self) {
        self.scheduler.lock().queues.end_resuming(self.queue);
    }
}

impl DeliverySlot<'_> {
    /// Frees the slot; whether it was held.
    fn free_if_held(&self) -> bool {
        let was_held = self.is_held.swap(false, Ordering::Relaxed);
        if was_held {
            let mut state = self.scheduler.lock();
            state.queues.free(self.queue);
            let has_resuming = state.queues.has_resuming();
            if self.scheduler.demand.is_watched() {
                self.scheduler.report_idle(&state);
            }
            drop(state);
            if has_resuming {
                self.scheduler.freed.notify_waiters();
            }
        }
        was_held
    }
}

impl Slot for DeliverySlot<'_> {
    fn free(&self) {
        // `Sequential` promises to handle deliveries in sequence: one that waits keeps its slot.
        if self.scheduler.shared.options.executor != Executor::Sequential {
            self.free_always();
        }
    }

    fn free_always(&self) {
        if self.free_if_held() {
            self.scheduler.start_worker(self.scheduler.lock(), 1);
        }
    }

    fn is_held(&self) -> bool {
        self.is_held.load(Ordering::Relaxed)
    }

    fn acquire(&self) -> BoxFuture<'_, ()> {
        async {
            if self.is_held() {
                return;
            }
            let _resuming = Resuming::new(self.scheduler, self.queue);
            loop {
                let mut freed = pin!(self.scheduler.freed.notified());
                // Registered first, so that a slot that is freed right after the check is not missed.
                freed.as_mut().enable();
                if self.scheduler.lock().queues.try_acquire(self.queue) {
                    return self.is_held.store(true, Ordering::Relaxed);
                }
                freed.await;
            }
        }
        .boxed()
    }
}

impl Drop for DeliverySlot<'_> {
    fn drop(&mut self) {
        self.free_if_held();
    }
}

impl Busy<'_> {
    /// The task has to wait: another worker continues.
    fn leave(&mut self) {
        if std::mem::take(&mut self.is_busy) {
            let mut state = self.scheduler.lock();
            state.busy -= 1;
            if self.scheduler.demand.is_watched() {
                self.scheduler.report_idle(&state);
            }
            self.scheduler.start_worker(state, 1);
        }
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}
