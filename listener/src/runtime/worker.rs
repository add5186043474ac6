//! One delivery through all stages, in order: suspect, open, read, call, decide, copy, settle.
//! The stages themselves are in `examine.rs`, `envelope`, `invoke.rs`, `policy.rs`, `copier.rs`
//! and `settlement.rs`. Called by `scheduler.rs` for each delivery.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::sync::{Notify, OwnedMutexGuard};
use tokio::time::Instant;

use crate::dispatch::Dispatcher;
use crate::envelope::{self, DecodeError, Labels, Limits};
use crate::inbox::Inbox;
use crate::notification::Notification;
use crate::notification::fields::Fields;
use crate::notification::owned::OwnedFields;
use crate::notification::priority::Priority;
use crate::notification::states::States;
use crate::observer::{Event, Observers};
use crate::order::OrderKey;
use crate::outcome::BoxError;
use crate::outcome::kind::Classifiers;
use crate::runtime::judge::policy::{self, Copy, Destination, Verdict};
use crate::runtime::open::budget::{self, Budget, Share};
use crate::runtime::open::offload::Apart;
use crate::runtime::open::priority::{self, NoPriority};
use crate::runtime::options::{Executor, OnUnknownPriority, Options, RetryPlace};
use crate::runtime::schedule::in_flight::{InFlight, InFlightGuard};
use crate::runtime::schedule::key_order::{Keys, Ticket};
use crate::runtime::schedule::permit::{self, Permit};
use crate::runtime::schedule::priority_queues::QueueIndex;
use crate::runtime::settle::copier::{Copier, NotMade};
use crate::runtime::settle::copy_headers::CopyHeaders;
use crate::runtime::settle::held::Round;
use crate::runtime::settle::progress::{Course, Due, Hold, Left};
use crate::runtime::settle::settlement::{self, End, Subject};
use crate::runtime::suspect::journal::{Journal, Key, Record};
use crate::runtime::suspect::quarantine::{Gate, Shut, Who};
use crate::serializer::Serializer;
use crate::shown::{discard, panic_message};
use crate::target::quarantine_queue;
use crate::transport::delivery::Delivery;

/// What every delivery is worked on with.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) dispatcher: Dispatcher,
    pub(super) copier: Copier,
    pub(super) states: States,
    pub(super) serializer: Option<Arc<dyn Serializer>>,
    pub(super) inbox: Option<Arc<dyn Inbox>>,
    pub(super) order: Option<OrderKey>,
    pub(super) classifiers: Classifiers,
    pub(super) observers: Observers,
    pub(super) options: Options,
    /// Where suspects of each work queue go, and where they are recorded.
    pub(super) quarantines: Quarantines,
    /// Whether the queue goes away: no other is declared that would hold retries for it.
    pub(super) is_temporary: bool,
    pub(super) in_flight: Arc<InFlight>,
    /// What may be open at once of bodies that came compressed.
    pub(super) opened: Budget,
    /// Where what takes long to open is opened.
    pub(super) apart: Apart,
    /// Told when something was moved into a quarantine queue.
    pub(super) quarantined: Notify,
    /// Closed while a suspect is on its way between queues, unless that takes long.
    pub(super) gate: Gate,
    /// Held while the methods of a suspect are called that may end the process: one at a time.
    pub(super) suspects: Arc<tokio::sync::Mutex<()>>,
}

/// The quarantine of each work queue. Each has its own: nobody consumes what another program
/// quarantined.
#[derive(Debug, Default)]
pub(super) struct Quarantines {
    by_source: BTreeMap<String, Quarantine>,
    journals: BTreeMap<String, Arc<Journal>>,
}

/// Where the suspects of a work queue go.
#[derive(Debug)]
pub(super) struct Quarantine {
    pub(super) queue: String,
    pub(super) journal: Arc<Journal>,
}

impl Quarantines {
    /// Adds the quarantine of a work queue; `make` makes its journal, the first time.
    pub(super) fn add(
        &mut self,
        queue: &str,
        journal: String,
        make: impl Fn(String) -> Arc<Journal>,
    ) {
        let journal = self.journals.entry(journal.clone()).or_insert_with(|| make(journal)).clone();
        let quarantine = || Quarantine { queue: quarantine_queue(queue), journal };
        self.by_source.entry(queue.to_owned()).or_insert_with(quarantine);
    }

    /// The quarantine queues, in order.
    pub(super) fn queues(&self) -> BTreeSet<&str> {
        self.by_source.values().map(|quarantine| quarantine.queue.as_str()).collect()
    }

    pub(super) fn journals(&self) -> impl Iterator<Item = &Arc<Journal>> {
        self.journals.values()
    }

    pub(super) fn is_source(&self, queue: &str) -> bool {
        self.by_source.contains_key(queue)
    }

    /// The work queue with this quarantine queue.
    fn source_of(&self, quarantine: &str) -> Option<&str> {
        let source = self.by_source.iter().find(|(_, one)| one.queue == quarantine);
        source.map(|(queue, _)| queue.as_str())
    }

    /// The quarantine of what came from a queue, which may be the quarantine queue itself.
    pub(super) fn of(&self, queue: &str) -> Option<&Quarantine> {
        self.by_source.get(queue).or_else(|| self.by_source.get(self.source_of(queue)?))
    }
}

/// How much longer it is held if no copy can take its place either.
const HOLD_AGAIN: Duration = Duration::from_secs(30);

/// The shortest time for which a delivery is held whose dead letter the broker never takes, also if
/// `retry.hold` is less: a queue with a delivery limit would drop it after a few returns.
pub(super) const SHORTEST_HOLD: Duration = Duration::from_secs(60);

/// Bodies up to this size, in bytes, are read where deliveries are taken.
const SMALL: usize = 64 << 10;

/// A delivery, and the note that it is in flight.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) delivery: Delivery,
    pub(super) in_flight: InFlightGuard,
    pub(super) copy_headers: CopyHeaders,
    /// Its place behind others of its order, kept until it is settled.
    pub(super) ticket: Option<Ticket>,
    /// The text of its body, if that was opened before and does not take more than the body.
    pub(super) text: Option<String>,
    /// When it was taken from the driver.
    pub(super) received_at: SystemTime,
    /// What a suspect is recognised by, as it came.
    pub(super) key: Option<Key>,
    /// What it is recorded as, if this process has recorded that it is begun.
    pub(super) recorded: Option<Record>,
    /// Whether its methods are called while those of no other suspect are.
    pub(super) is_alone: bool,
    /// Held while that is so, until it waits or is settled.
    pub(super) alone: Option<OwnedMutexGuard<()>>,
    /// Whether its methods are called while no others are.
    pub(super) is_last: bool,
    /// The gate is closed for the others.
    pub(super) shut: Option<Shut>,
}

impl Task {
    /// As whom its methods pass the gate.
    pub(super) fn who(&self) -> Who {
        self.shut.as_ref().map_or(Who::Anybody, Shut::who)
    }
}

/// What came of calling the methods of a delivery.
struct Judged {
    verdict: Verdict,
    subject: Subject,
    /// How often methods have been called for it.
    attempts: u32,
    /// Whether some of the methods keep an order, so that it may not come again later.
    ordered: bool,
    /// The methods that were not called, for copies cannot be made for them at present.
    paused: Vec<String>,
}

impl Judged {
    /// Nothing was called: the delivery is left to the broker.
    fn released(task: &Task) -> Self {
        Self {
            verdict: Verdict::GiveBack,
            subject: Subject::default(),
            attempts: task.copy_headers.attempts,
            ordered: false,
            paused: Vec::new(),
        }
    }
}

/// What became of a copy.
pub(super) enum Carried {
    /// It stands.
    Out(Copy),
    /// Those that it is for are held in the process for this pause.
    Held(Copy, Duration),
    /// The broker never takes it: the delivery returns to its queue.
    Refused(Copy),
    /// It was not made: the listener stopped, or the session is over.
    Abandoned(Copy),
    /// It was not made for as long as the delivery may be held.
    Overdue(Copy),
}

impl Carried {
    fn made(copy: Copy, made: Result<(), NotMade>) -> Self {
        match made {
            Ok(()) => Self::Out(copy),
            Err(NotMade::Refused) => Self::Refused(copy),
            Err(NotMade::Overdue) => Self::Overdue(copy),
            Err(NotMade::Abandoned | NotMade::NoDelay) => Self::Abandoned(copy),
        }
    }
}

/// What is next for a delivery.
enum Next {
    Round(Round),
    /// Nothing is owed any more.
    Nothing,
    /// It is left before that.
    Left(Left),
}

impl Worker {
    pub(super) fn take(&self, delivery: Delivery) -> Task {
        let table = self.dispatcher.table();
        let mut copy_headers =
            CopyHeaders::read(&delivery.properties, &delivery.info, |name| table.knows(name));
        // Whoever may publish may write headers: a queue that is not one of ours is not where
        // this came from, and no copy is put there.
        if !self.quarantines.is_source(&copy_headers.origin.queue) {
            let taken_from = &delivery.info.queue;
            copy_headers.origin.queue = self
                .quarantines
                .source_of(taken_from)
                .map_or_else(|| Arc::clone(taken_from), Arc::from);
        }
        let in_flight = self.in_flight.take(&delivery);
        self.observers.tell(&Event::Taken { delivery: &delivery.info });
        Task {
            delivery,
            in_flight,
            copy_headers,
            ticket: None,
            text: None,
            key: None,
            recorded: None,
            is_alone: false,
            alone: None,
            is_last: false,
            shut: None,
            received_at: SystemTime::now(),
        }
    }

    /// Takes one delivery through all stages.
    pub(super) async fn work(&self, mut task: Task, permit: Permit<'_>) {
        let has_a_past = self.has_a_past(&task);
        if has_a_past {
            // On the heap, so that the futures of others stay small.
            let Some(examined) = self.look_back(task, permit).boxed().await else { return };
            task = examined;
        }
        // Whoever looked back may have given up its slot, and holds one again after the wait.
        let is_to_wait = has_a_past || !self.gate.is_open(task.who());
        if is_to_wait && !self.pass(&task, permit).await {
            return self.release(task);
        }
        self.work_on(task, permit).await;
    }

    /// Calls the methods, again and again while some are held in the process, and carries out
    /// what follows.
    async fn work_on(&self, mut task: Task, permit: Permit<'_>) {
        task.in_flight.begins();
        let in_flight = task.in_flight.since();
        let mut course = Course::new(Hold::begins(self.options.retry.hold, in_flight));
        let mut handled = 0;
        loop {
            let calls = task.copy_headers.attempts;
            let Judged { verdict, mut subject, attempts, ordered, paused } =
                self.judge_or_catch(&task, permit).await;
            handled += subject.handled;
            subject.handled = handled;
            task.copy_headers.attempts = attempts;
            // Also once those that want an order are not among the next: they may still owe it.
            course.hold.in_order |= ordered || self.options.executor == Executor::Sequential;
            paused.into_iter().for_each(|method| course.held.until_resumed(method, calls));
            let copies = match verdict {
                Verdict::Copies(copies) => copies,
                Verdict::Ack => Vec::new(),
                Verdict::Requeue | Verdict::GiveBack => {
                    let is_requeue = verdict == Verdict::Requeue;
                    let left = if is_requeue { Left::Requeued } else { Left::Released };
                    course.held.pause(task.copy_headers.owed.clone(), calls, Duration::ZERO);
                    return self.leave(task, course, left, &subject, permit).await;
                }
            };
            course.due.extend(copies.into_iter().map(|copy| Due { copy, attempts }));
            match self.go_on(&mut task, &mut course, &subject, permit).await {
                Next::Round(round) => {
                    task.copy_headers.owed = round.owed;
                    task.copy_headers.attempts = round.attempts;
                }
                Next::Nothing => {
                    let made = course.made;
                    let end = if made.is_empty() { End::Handled } else { End::Copied(&made) };
                    return self.conclude(task, &end, &subject);
                }
                Next::Left(left) => return self.leave(task, course, left, &subject, permit).await,
            }
        }
    }

    /// Makes the copies that are due, and waits for the next calls. What is held for too long is
    /// left once a copy for those that still owe it is in its queue.
    async fn go_on(
        &self,
        task: &mut Task,
        course: &mut Course,
        subject: &Subject,
        permit: Permit<'_>,
    ) -> Next {
        if course.is_done() {
            return Next::Nothing;
        }
        self.step_back(task);
        loop {
            let next = match self.carry_out(task, course, subject, permit).await {
                Ok(()) => self.next(course, task, permit).await,
                Err(left) => Next::Left(left),
            };
            if !matches!(next, Next::Left(Left::Overdue)) {
                return next;
            }
            if task.delivery.is_over() {
                return Next::Left(Left::Released);
            }
            let rest = course.rest(&task.copy_headers);
            if permit.finish(self.copier.replace(&task.delivery, &rest)).await {
                return next;
            }
            course.hold.until = Instant::now() + HOLD_AGAIN;
        }
    }

    /// Makes the copies that are due, and holds in the process those that need none. Retries come
    /// first: they wait for no dead letter, whose queue may be full.
    ///
    /// # Errors
    /// Not all could be made.
    async fn carry_out(
        &self,
        task: &Task,
        course: &mut Course,
        subject: &Subject,
        permit: Permit<'_>,
    ) -> Result<(), Left> {
        if course.due.is_empty() {
            return Ok(());
        }
        let in_process = course.hold.in_order || self.options.retry.place == RetryPlace::Process;
        // What is not carried out stays due: somebody owes it.
        let is_retry = |due: &Due| matches!(due.copy.to, Destination::Later(_));
        let (retries, rest) = std::mem::take(&mut course.due).into_iter().partition(is_retry);
        course.due = rest;
        if in_process {
            self.hold_all(task, course, retries, subject);
        } else {
            self.carry_all(task, course, retries, subject, permit).await?;
        }
        if course.is_to_wait() {
            return Ok(());
        }
        let due = std::mem::take(&mut course.due);
        self.carry_all(task, course, due, subject, permit).await
    }

    /// Holds in the process those retries that may be held there.
    fn hold_all(&self, task: &Task, course: &mut Course, retries: Vec<Due>, subject: &Subject) {
        for Due { copy, attempts } in retries {
            match copy.to {
                Destination::Later(pause) if self.may_hold(pause, course.hold.began) => {
                    self.hold(task, course, copy, attempts, pause, subject);
                }
                _ => course.due.push(Due { copy, attempts }),
            }
        }
    }

    /// Makes copies side by side: none waits for another one.
    ///
    /// # Errors
    /// As `carry_out`.
    async fn carry_all(
        &self,
        task: &Task,
        course: &mut Course,
        copies: Vec<Due>,
        subject: &Subject,
        permit: Permit<'_>,
    ) -> Result<(), Left> {
        if copies.is_empty() {
            return Ok(());
        }
        let hold = course.hold;
        let carry = |Due { copy, attempts }| async move {
            let copy_headers = CopyHeaders { attempts, ..task.copy_headers.clone() };
            (self.carry(&task.delivery, &copy_headers, copy, hold, permit).await, attempts)
        };
        let mut carried_out = Ok(());
        for (carried, attempts) in permit.finish(join_all(copies.into_iter().map(carry))).await {
            match carried {
                Carried::Out(copy) => course.made.push(copy),
                Carried::Held(copy, pause) => {
                    self.hold(task, course, copy, attempts, pause, subject);
                }
                Carried::Refused(copy) => {
                    course.due.push(Due { copy, attempts });
                    carried_out = Err(Left::Refused);
                }
                Carried::Abandoned(copy) => {
                    course.due.push(Due { copy, attempts });
                    carried_out = Err(Left::Released);
                }
                Carried::Overdue(copy) => {
                    course.due.push(Due { copy, attempts });
                    carried_out = carried_out.and(Err(Left::Overdue));
                }
            }
        }
        carried_out
    }

    /// Holds the methods that a copy is for in the process.
    fn hold(
        &self,
        task: &Task,
        course: &mut Course,
        copy: Copy,
        attempts: u32,
        pause: Duration,
        subject: &Subject,
    ) {
        settlement::held(&task.delivery, &task.copy_headers, &copy, subject, &self.observers);
        course.held.pause(Some(copy.owed).filter(|owed| !owed.is_empty()), attempts, pause);
    }

    /// Leaves a delivery that was not done with to the broker. Where some of its methods have
    /// handled it, or copies exist for them, they would be called again: a copy for the others
    /// takes its place, unless order is kept. What is overdue has one already.
    async fn leave(
        &self,
        mut task: Task,
        course: Course,
        left: Left,
        subject: &Subject,
        permit: Permit<'_>,
    ) {
        self.step_back(&mut task);
        let replaced = End::Replaced(&course.made);
        if left == Left::Overdue {
            return self.conclude(task, &replaced, subject);
        }
        // Whoever gives a delivery back gives it back to all.
        let is_handled = subject.handled > 0 && left != Left::Requeued;
        let is_done_in_part = is_handled || !course.made.is_empty();
        if is_done_in_part && !course.hold.in_order && !task.delivery.is_over() {
            let rest = course.rest(&task.copy_headers);
            if rest.owed.is_some()
                && permit.finish(self.copier.replace(&task.delivery, &rest)).await
            {
                return self.conclude(task, &replaced, subject);
            }
        }
        match left {
            Left::Requeued => self.conclude(task, &End::Requeued, subject),
            Left::Refused => self.return_later(task, subject, permit).await,
            Left::Released | Left::Overdue => self.conclude(task, &End::Released, subject),
        }
    }

    /// Returns a delivery to its queue whose dead letter the broker never takes; after a while, so
    /// that it is not redelivered at once. Its order is lost by that, so nobody waits for it.
    pub(super) async fn return_later(&self, mut task: Task, subject: &Subject, permit: Permit<'_>) {
        task.ticket = None;
        self.step_back(&mut task);
        let held = async {
            tokio::select! {
                () = tokio::time::sleep(self.options.retry.hold.max(SHORTEST_HOLD)) => {}
                () = permit::ended(&task.delivery) => {}
            }
        };
        let is_held = permit.wait_outside(held).await.is_some();
        let end = if is_held { End::Refused } else { End::Released };
        self.conclude(task, &end, subject);
    }

    /// Waits for the next of the calls that are held, without a slot. Pauses end in time by
    /// themselves; methods that are paused may be so for ever.
    async fn next(&self, course: &mut Course, task: &mut Task, permit: Permit<'_>) -> Next {
        let (held, until) = (&course.held, course.hold.until());
        if held.is_empty() {
            return Next::Nothing;
        }
        let ready = permit.wait(async {
            tokio::select! {
                ready = held.ready(&self.copier) => ready,
                () = permit::ended(&task.delivery) => None,
            }
        });
        let ready = match until.filter(|_| !held.has_pauses()) {
            Some(until) => match tokio::time::timeout_at(until, ready).await {
                Ok(ready) => ready,
                Err(_) => return Next::Left(Left::Overdue),
            },
            None => ready.await,
        };
        // What was to be next is still owed otherwise.
        let Some(ready) = ready.flatten() else { return Next::Left(Left::Released) };
        // On the heap, so that the futures of others stay small.
        if task.is_alone
            && let Err(left) = self.step_up(task, course.hold, permit).boxed().await
        {
            return Next::Left(left);
        }
        // A session may have ended with the pause.
        if task.delivery.is_over() {
            return Next::Left(Left::Released);
        }
        Next::Round(course.held.take(ready))
    }

    /// Whether a pause may be spent in the process. What is held may not be held for longer than
    /// `hold` altogether: a longer pause is the broker's, even where order is kept, for it cannot
    /// be kept over such a time; where many short ones have taken so long, order is kept and the
    /// notification given up.
    fn may_hold(&self, pause: Duration, began: Instant) -> bool {
        began.elapsed().saturating_add(pause) <= self.options.retry.hold
    }

    /// Makes a copy, or says that those that it is for are to be held in the process.
    async fn carry(
        &self,
        delivery: &Delivery,
        copy_headers: &CopyHeaders,
        copy: Copy,
        hold: Hold,
        permit: Permit<'_>,
    ) -> Carried {
        let until = hold.until();
        match copy.to {
            Destination::Dead(_) => {
                let made = self.copy(delivery, copy_headers, &copy, until, permit).await;
                Carried::made(copy, made)
            }
            Destination::Later(pause) if hold.in_order && pause <= self.options.retry.hold => {
                self.give_up_waiting(delivery, copy_headers, copy, until, permit).await
            }
            Destination::Later(pause) => {
                let held = self.may_hold(pause, hold.began).then_some(pause);
                self.delay((delivery, copy_headers), copy, held, until, permit).await
            }
        }
    }

    /// Has the broker hold a copy back. Where it cannot, the delivery is held in the process for
    /// such a pause, or given up without one.
    pub(super) async fn delay(
        &self,
        (delivery, copy_headers): (&Delivery, &CopyHeaders),
        copy: Copy,
        held: Option<Duration>,
        until: Option<Instant>,
        permit: Permit<'_>,
    ) -> Carried {
        let made = if self.is_temporary {
            Err(NotMade::NoDelay)
        } else {
            self.copy(delivery, copy_headers, &copy, until, permit).await
        };
        match (made, held) {
            (Err(NotMade::NoDelay), Some(pause)) => Carried::Held(copy, pause),
            (Err(NotMade::NoDelay), None) => {
                self.give_up_waiting(delivery, copy_headers, copy, until, permit).await
            }
            (made, _) => Carried::made(copy, made),
        }
    }

    async fn give_up_waiting(
        &self,
        delivery: &Delivery,
        copy_headers: &CopyHeaders,
        mut copy: Copy,
        until: Option<Instant>,
        permit: Permit<'_>,
    ) -> Carried {
        copy.give_up_after(self.options.retry.hold);
        let made = self.copy(delivery, copy_headers, &copy, until, permit).await;
        Carried::made(copy, made)
    }

    /// Leaves a delivery that was not done with to the broker.
    pub(super) fn release(&self, task: Task) {
        self.conclude(task, &End::Released, &Subject::default());
    }

    pub(super) fn conclude(&self, task: Task, end: &End<'_>, subject: &Subject) {
        let Task { delivery, in_flight, copy_headers, ticket, recorded, .. } = task;
        let queue = Arc::clone(&delivery.info.queue);
        let is_settled = settlement::carry_out(
            delivery,
            &in_flight,
            &copy_headers,
            end,
            subject,
            &self.observers,
        );
        if let (Some(record), Some(quarantine)) = (recorded, self.quarantines.of(&queue)) {
            if is_settled {
                quarantine.journal.settled(record);
            } else {
                quarantine.journal.released(record);
            }
        }
        drop(ticket);
    }

    /// Makes a copy, however long that takes: callers give up the slot.
    pub(super) async fn copy(
        &self,
        delivery: &Delivery,
        copy_headers: &CopyHeaders,
        copy: &Copy,
        until: Option<Instant>,
        permit: Permit<'_>,
    ) -> Result<(), NotMade> {
        let (of, stop) = ((delivery, copy_headers), permit.stop);
        self.copier.make(of, copy, until, None, stop, &self.observers).await.map(drop)
    }

    /// Methods are caught where they are called. What is caught here is the rest of the
    /// program's code: serializers, errors that cannot be printed.
    async fn judge_or_catch(&self, task: &Task, permit: Permit<'_>) -> Judged {
        let judged = AssertUnwindSafe(self.judge(task, permit)).catch_unwind().await;
        let owed = || task.copy_headers.owed.clone().unwrap_or_default();
        let calls = task.copy_headers.attempts.saturating_add(1);
        let (verdict, attempts) = match judged {
            Ok(Ok(judged)) => return judged,
            Ok(Err(error)) => (policy::undecodable(&*error, owed()), task.copy_headers.attempts),
            Err(panic) => {
                let message = panic_message(panic);
                (policy::panicked(&message, owed(), self.context(calls)), calls)
            }
        };
        Judged {
            verdict,
            subject: Subject::default(),
            attempts,
            ordered: self.order.is_some() || self.dispatcher.table().keeps_order(),
            paused: Vec::new(),
        }
    }

    async fn judge(&self, task: &Task, permit: Permit<'_>) -> Result<Judged, BoxError> {
        let delivery = &task.delivery;
        let _share;
        let text = match &task.text {
            Some(text) => Cow::Borrowed(text.as_str()),
            None if is_compressed(delivery) => {
                // On the heap, so that the futures of others stay small.
                match self.open_compressed(task, permit).boxed().await {
                    Some((opened, share)) => {
                        _share = share;
                        Cow::Owned(opened?)
                    }
                    None => return Ok(Judged::released(task)),
                }
            }
            None => self.open(delivery)?,
        };
        let mut deserialized = None;
        let fields = self.read(&text, &mut deserialized)?;
        let priority = match self.priority(task, &fields) {
            Ok(priority) => priority,
            Err(none) => {
                let subject = Subject::of(&fields, 0);
                let verdict = self.without_priority(task, &none, &subject);
                return Ok(Judged {
                    verdict,
                    subject,
                    attempts: 0,
                    ordered: false,
                    paused: Vec::new(),
                });
            }
        };
        let calls = task.copy_headers.attempts.saturating_add(1);
        let notification =
            Notification::new(fields, priority, &task.copy_headers.origin, &self.states)
                .of_call(task.received_at, calls);
        let walk = self.walk(&notification, task, permit.stop).await;
        let is_told = walk.verdict != Verdict::Ack || tracing::enabled!(tracing::Level::DEBUG);
        let subject = if is_told {
            Subject::of(notification.fields(), walk.handled)
        } else {
            Subject { handled: walk.handled, ..Subject::default() }
        };
        Ok(Judged {
            verdict: walk.verdict,
            subject,
            attempts: notification.attempt(),
            ordered: walk.ordered,
            paused: walk.paused,
        })
    }

    fn priority(&self, task: &Task, fields: &Fields<'_>) -> Result<Priority, NoPriority> {
        let routing_key = &task.copy_headers.origin.routing_key;
        priority::find(fields, routing_key, self.options.on_unknown_priority)
    }

    /// What follows for a delivery for which no method can be found.
    fn without_priority(&self, task: &Task, none: &NoPriority, subject: &Subject) -> Verdict {
        match self.options.on_unknown_priority {
            OnUnknownPriority::DeadLetter => {
                let owed = task.copy_headers.owed.clone().unwrap_or_default();
                policy::unknown_priority(none, owed)
            }
            OnUnknownPriority::Lenient => {
                tracing::warn!(
                    queue = %task.delivery.info.queue,
                    message_id = subject.message_id,
                    "acknowledged, and no method was called: {none}"
                );
                Verdict::Ack
            }
        }
    }

    /// Whether deliveries have anything in common that others must not be worked on beside.
    pub(super) fn has_keys(&self) -> bool {
        self.order.is_some() || self.dispatcher.table().keeps_order() || self.inbox.is_some()
    }

    /// What this delivery has in common with others that it must not be worked on beside:
    /// nothing where nobody keeps an order.
    pub(super) fn keys(&self, task: &mut Task) -> Keys {
        if !self.has_keys() || task.delivery.is_over() {
            return Keys::default();
        }
        // What cannot be read waits for nobody; why it cannot is told when it is worked on.
        let read = AssertUnwindSafe(|| self.read_keys(task));
        std::panic::catch_unwind(read).map_err(discard).ok().flatten().unwrap_or_default()
    }

    /// Whether the keys of a delivery are found in no time: its body is not compressed, and not
    /// large.
    pub(super) fn reads_at_once(&self, task: &Task) -> bool {
        !is_compressed(&task.delivery) && task.delivery.body.len() <= SMALL
    }

    fn read_keys(&self, task: &mut Task) -> Option<Keys> {
        let text = self.open(&task.delivery).ok()?;
        let mut deserialized = None;
        let fields = self.read(&text, &mut deserialized).ok()?;
        let priority = self.priority(task, &fields).ok()?;
        let notification =
            Notification::new(fields, priority, &task.copy_headers.origin, &self.states);
        let keys = self.keys_of(&notification);
        if let Cow::Owned(text) = text {
            // What was compressed may be as large as it likes: it is opened again.
            task.text = Some(text).filter(|text| text.len() <= task.delivery.body.len());
        }
        Some(keys)
    }

    /// Opens a body that came compressed, once there is room for it, and what it takes of that.
    /// `None`: the listener stopped, or the session is over.
    async fn open_compressed(
        &self,
        task: &Task,
        permit: Permit<'_>,
    ) -> Option<(Result<String, DecodeError>, Option<Share<'_>>)> {
        let (delivery, index) =
            (&task.delivery, QueueIndex::of(&task.copy_headers.origin.routing_key));
        let limits = self.options.limits;
        let most = limits.max_decompressed.min(limits.max_body);
        if task.who() == Who::Closer {
            // Those who wait at the gate may hold all that may be open.
            return Some((budget::open(delivery, limits, &self.apart).await, None));
        }
        let mut room = budget::usual(delivery.body.len(), most);
        loop {
            let free = async {
                tokio::select! {
                    biased;
                    share = self.opened.take(index, room) => share,
                    () = permit::ended(delivery) => None,
                }
            };
            let mut share = permit.wait(free).await??;
            let limits = Limits { max_decompressed: room, ..limits };
            match budget::open(delivery, limits, &self.apart).await {
                Err(DecodeError::TooLarge { .. }) if room < most => room = most,
                Err(error) => return Some((Err(error), None)),
                Ok(text) => {
                    share.shrink(text.len());
                    return Some((Ok(text), Some(share)));
                }
            }
        }
    }

    /// The text of a body.
    fn open<'d>(&self, delivery: &'d Delivery) -> Result<Cow<'d, str>, DecodeError> {
        let opened = envelope::open(&delivery.body, labels(delivery), &self.options.limits)?;
        Ok(opened.text)
    }

    /// The fields of a notification; those that a serializer makes are kept in `made`.
    fn read<'t>(
        &self,
        text: &'t str,
        made: &'t mut Option<OwnedFields>,
    ) -> Result<Fields<'t>, BoxError> {
        let fields = envelope::read(text)?;
        let Some(serializer) = &self.serializer else { return Ok(fields) };
        let deserialized = crate::serializer::deserialize(&**serializer, &fields)?;
        Ok(Fields { priority: fields.priority, ..made.insert(deserialized).borrow() })
    }
}

fn is_compressed(delivery: &Delivery) -> bool {
    labels(delivery).compression.is_some_and(|name| !name.is_empty())
}

pub(super) fn labels(delivery: &Delivery) -> Labels<'_> {
    Labels {
        content_type: delivery.properties.content_type.as_deref(),
        compression: delivery.properties.headers.text("compression"),
    }
}
