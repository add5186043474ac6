//! Those who work on deliveries: tasks that each take one delivery after the other from the
//! lanes. One is enough for methods that are done at once, so nothing is spawned for those; where
//! it has to wait for a method another goes on, and where methods take the processor so many work
//! side by side as the runtime has threads. What is done with a delivery is `worker.rs`.

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

use crate::runtime::lanes::{Lane, Lanes};
use crate::runtime::options::Executor;
use crate::runtime::permit::{Permit, Slot};
use crate::runtime::turns::Turns;
use crate::runtime::worker::{Task, Worker};
use crate::transport::delivery::Delivery;
use crate::transport::demand::Demand;

/// A method that takes the processor for longer than this is not waited for by one task alone.
const HEAVY: Duration = Duration::from_micros(50);

/// For so long a task works on without letting others of its thread run.
const STINT: Duration = Duration::from_micros(200);

/// Those who work on deliveries.
#[derive(Debug)]
pub(super) struct Crew {
    worker: Arc<Worker>,
    turns: Arc<Turns>,
    board: Mutex<Board>,
    /// Told when a place has become free that somebody asked for.
    freed: Notify,
    /// Told when those at work are behind and nobody looks whether they are stuck.
    pub(super) unwatched: Notify,
    /// Told when nothing waits any more.
    demand: Arc<Demand>,
    threads: usize,
    pub(super) running: TaskTracker,
    pub(super) stop: CancellationToken,
    /// Cancelled at the deadline: it ends what still runs.
    pub(super) abort: CancellationToken,
}

#[derive(Debug)]
struct Board {
    lanes: Lanes,
    /// How many tasks are at work, those that wait for a method left out.
    busy: usize,
    /// How many deliveries were begun.
    begun: u64,
    /// Whether it is looked soon whether those at work are stuck.
    is_watched: bool,
    /// Those whose keys are still to be read, in the order in which they came.
    unread: VecDeque<Task>,
    /// Whether a task reads them.
    is_reading: bool,
}

/// A place to work on a delivery, free again when it is dropped.
struct Place<'c> {
    crew: &'c Arc<Crew>,
    lane: Lane,
    is_held: AtomicBool,
}

/// Whether a task is at work; it is not any more once this is dropped.
struct Duty<'c> {
    crew: &'c Arc<Crew>,
    is_busy: bool,
}

impl Crew {
    pub(super) fn new(
        worker: Arc<Worker>,
        demand: Arc<Demand>,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let lanes = Lanes::new(worker.options.executor);
        Arc::new(Self {
            worker,
            turns: Arc::default(),
            board: Mutex::new(Board {
                lanes,
                busy: 0,
                begun: 0,
                is_watched: false,
                unread: VecDeque::new(),
                is_reading: false,
            }),
            freed: Notify::new(),
            unwatched: Notify::new(),
            demand,
            threads: tokio::runtime::Handle::current().metrics().num_workers(),
            running: TaskTracker::new(),
            stop,
            abort: CancellationToken::new(),
        })
    }

    /// Takes deliveries, in the order in which they came.
    pub(super) fn take(self: &Arc<Self>, deliveries: impl Iterator<Item = Delivery>) {
        let mut tasks: VecDeque<Task> =
            deliveries.map(|delivery| self.worker.take(delivery)).collect();
        let mut at_once = tasks.len();
        if self.worker.has_keys() {
            at_once = 0;
            // Nobody else adds to what is unread.
            if !self.lock().is_reading {
                for task in tasks.iter_mut().take_while(|task| self.worker.reads_at_once(task)) {
                    self.enter(task);
                    at_once += 1;
                }
            }
        }
        let unread = tasks.split_off(at_once);
        let mut board = self.lock();
        tasks.into_iter().for_each(|task| board.lanes.push(task));
        board.unread.extend(unread);
        if !board.unread.is_empty() && !std::mem::replace(&mut board.is_reading, true) {
            let crew = Arc::clone(self);
            self.running.spawn(async move {
                crew.abort.run_until_cancelled(crew.read()).await;
            });
        }
        self.call_up(board, 1);
    }

    /// Has a delivery wait for those with a key of its own.
    fn enter(&self, task: &mut Task) {
        let keys = self.worker.keys(task);
        task.turn = (!keys.keys.is_empty()).then(|| self.turns.enter(&keys));
    }

    /// Reads the keys of what takes long to open, one after the other, and on a thread where
    /// nothing waits for it. What comes behind waits, for its order is that of arrival.
    async fn read(self: &Arc<Self>) {
        while let Some(mut task) = self.next_unread() {
            if self.worker.reads_at_once(&task) {
                self.enter(&mut task);
            } else {
                let crew = Arc::clone(self);
                let entering = self.worker.apart.run(move || {
                    crew.enter(&mut task);
                    task
                });
                // What is dropped here is unsettled, and the broker's again.
                let Ok(entered) = AssertUnwindSafe(entering).catch_unwind().await else { continue };
                task = entered;
            }
            if self.stop.is_cancelled() {
                self.worker.release(task);
                continue;
            }
            let mut board = self.lock();
            board.lanes.push(task);
            self.call_up(board, 1);
        }
    }

    /// The next whose keys are to be read. If there is none, it is noted under the same lock that
    /// nobody reads.
    fn next_unread(&self) -> Option<Task> {
        let mut board = self.lock();
        let next = board.unread.pop_front();
        board.is_reading = next.is_some();
        next
    }

    /// All that nobody has begun.
    pub(super) fn drain(&self) -> Vec<Task> {
        let mut board = self.lock();
        let unread = std::mem::take(&mut board.unread);
        board.lanes.drain().chain(unread).collect()
    }

    /// How many deliveries were begun so far, if others could be and all at work are busy: whoever
    /// asks looks again soon.
    pub(super) fn behind(&self) -> Option<u64> {
        let mut board = self.lock();
        board.is_watched = board.busy > 0 && board.lanes.can_go_on();
        board.is_watched.then_some(board.begun)
    }

    /// Has another one work if nothing was begun since those at work were behind.
    pub(super) fn help(self: &Arc<Self>, begun: Option<u64>) {
        let board = self.lock();
        if begun == Some(board.begun) {
            let most = board.busy + 1;
            self.call_up(board, most);
        }
    }

    /// Has one more work if there is something to begin, and fewer than `most` are at work.
    fn call_up(self: &Arc<Self>, mut board: MutexGuard<'_, Board>, most: usize) {
        if !board.lanes.can_go_on() {
            return;
        }
        if board.busy >= most {
            // They may be in a method that blocks its thread.
            if !std::mem::replace(&mut board.is_watched, true) {
                self.unwatched.notify_one();
            }
            return;
        }
        board.busy += 1;
        drop(board);
        let crew = Arc::clone(self);
        self.running.spawn(async move {
            crew.abort.run_until_cancelled(crew.serve()).await;
        });
    }

    /// Works on one delivery after the other until nothing is left to begin.
    async fn serve(self: &Arc<Self>) {
        let mut duty = Duty { crew: self, is_busy: true };
        let mut since = Instant::now();
        while let Some((task, place)) = self.next(&mut duty) {
            let began = Instant::now();
            {
                let mut work = pin!(self.work(task, place));
                poll_fn(|context| {
                    let polled = work.as_mut().poll(context);
                    if polled.is_pending() {
                        duty.leave();
                    }
                    polled
                })
                .await;
            }
            let now = Instant::now();
            if duty.is_busy && now - began > HEAVY {
                self.call_up(self.lock(), self.threads);
            }
            if now - since > STINT {
                tokio::task::yield_now().await;
                since = Instant::now();
            }
        }
    }

    /// The next delivery with a place to work on it. If there is none, whoever asks is not at
    /// work any more: that is noted under the same lock, so that nothing is left lying.
    fn next<'c>(self: &'c Arc<Self>, duty: &mut Duty<'_>) -> Option<(Task, Place<'c>)> {
        let mut board = self.lock();
        if !duty.is_busy {
            board.busy += 1;
        }
        let next = board.lanes.next();
        duty.is_busy = next.is_some();
        if next.is_some() {
            board.begun += 1;
        } else {
            board.busy -= 1;
        }
        if next.is_none() {
            self.tell(&board);
        }
        drop(board);
        let is_held = AtomicBool::new(true);
        next.map(|(task, lane)| (task, Place { crew: self, lane, is_held }))
    }

    /// Tells the driver if nothing waits any more. Under the lock, so that it is told in order.
    fn tell(&self, board: &Board) {
        if board.lanes.are_empty() && board.unread.is_empty() {
            self.demand.begun(board.begun, board.lanes.has_free());
        }
    }

    /// Works on a delivery, once it is its turn.
    async fn work(&self, task: Task, place: Place<'_>) {
        let permit = Permit::new(&place, &self.stop);
        if let Some(turn) = &task.turn
            && !turn.is_next()
        {
            let come = async {
                let _waits = self.demand.wait_in_order();
                turn.come().await;
            };
            if permit.wait(come).await.is_none() {
                return self.worker.release(task);
            }
        }
        self.worker.work(task, permit).await;
    }

    fn lock(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counted while it lives.
struct Asking<'c> {
    crew: &'c Crew,
    lane: Lane,
}

impl<'c> Asking<'c> {
    fn new(crew: &'c Crew, lane: Lane) -> Self {
        crew.lock().lanes.ask(lane);
        Self { crew, lane }
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.crew.lock().lanes.asked(self.lane);
    }
}

impl Place<'_> {
    /// Gives it up, if it is held.
    fn free(&self) -> bool {
        let was_held = self.is_held.swap(false, Ordering::Relaxed);
        if was_held {
            let mut board = self.crew.lock();
            board.lanes.free(self.lane);
            let asked = board.lanes.are_asking();
            if self.crew.demand.is_watched() {
                self.crew.tell(&board);
            }
            drop(board);
            if asked {
                self.crew.freed.notify_waiters();
            }
        }
        was_held
    }
}

impl Slot for Place<'_> {
    fn release(&self) {
        // One after the other is what is promised there: what waits holds up those behind it.
        if self.crew.worker.options.executor != Executor::Sequential {
            self.give_up();
        }
    }

    fn give_up(&self) {
        if self.free() {
            self.crew.call_up(self.crew.lock(), 1);
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
            let _asking = Asking::new(self.crew, self.lane);
            loop {
                let mut freed = pin!(self.crew.freed.notified());
                // So that one that becomes free right after the look is not missed.
                freed.as_mut().enable();
                if self.crew.lock().lanes.take(self.lane) {
                    return self.is_held.store(true, Ordering::Relaxed);
                }
                freed.await;
            }
        }
        .boxed()
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.free();
    }
}

impl Duty<'_> {
    /// It has to wait: another one goes on.
    fn leave(&mut self) {
        if std::mem::take(&mut self.is_busy) {
            let mut board = self.crew.lock();
            board.busy -= 1;
            if self.crew.demand.is_watched() {
                self.crew.tell(&board);
            }
            self.crew.call_up(board, 1);
        }
    }
}

impl Drop for Duty<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}
