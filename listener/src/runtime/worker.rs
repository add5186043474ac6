//! One delivery through all stages, in order: suspect, open, read, call, decide, copy, settle.
//! The stages themselves are in `poison.rs`, `envelope`, `walk.rs`, `failure.rs`, `copies.rs`
//! and `settle.rs`. Called by `crew.rs` for each delivery.

use std::borrow::Cow;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::dispatch::{Dispatcher, panic_message};
use crate::envelope::{self, DecodeError, Labels};
use crate::inbox::Inbox;
use crate::notification::Notification;
use crate::notification::fields::Fields;
use crate::notification::owned::OwnedFields;
use crate::notification::priority::Priority;
use crate::notification::states::States;
use crate::observe::{Event, Observers};
use crate::order::OrderKey;
use crate::outcome::BoxError;
use crate::outcome::kind::Classifiers;
use crate::runtime::copies::{Copier, NotMade, NotSetAside};
use crate::runtime::failure::{self, Copy, Destination, Verdict};
use crate::runtime::hands::{Hands, InHand};
use crate::runtime::headers::Marks;
use crate::runtime::options::{Executor, OnFailure, OnUnknownPriority, Options, RetryPlace};
use crate::runtime::poison::{Given, Suspicion};
use crate::runtime::priority::{self, NoPriority};
use crate::runtime::settle::{self, End, Subject};
use crate::runtime::turns::Turn;
use crate::serializer::Serializer;
use crate::transport::delivery::Delivery;
use crate::transport::error::SendError;

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
    /// The queue for what is set aside, by the queue that it is taken from.
    pub(super) alone: HashMap<String, String>,
    pub(super) hands: Arc<Hands>,
    /// Told when something was set aside.
    pub(super) set_aside: Notify,
    /// How many copies were made that count where the broker does not.
    pub(super) noted: AtomicU64,
    /// Held while a delivery is worked on that could not be set aside.
    pub(super) suspects: tokio::sync::Mutex<()>,
}

/// A delivery, and the note that it is in hand.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) delivery: Delivery,
    pub(super) in_hand: InHand,
    pub(super) marks: Marks,
    /// Its place behind others of its order, kept until it is settled.
    pub(super) turn: Option<Turn>,
    /// The text of its body, if that was opened before and does not take more than the body.
    pub(super) text: Option<String>,
}

/// What came of calling the methods of a delivery.
struct Judged {
    verdict: Verdict,
    subject: Subject,
    /// How often methods have been called for it.
    attempts: u32,
    /// Whether some of the methods keep an order, so that it may not come again later.
    ordered: bool,
}

impl Worker {
    pub(super) fn take(&self, delivery: Delivery) -> Task {
        let table = self.dispatcher.table();
        let mut marks = Marks::read(&delivery.properties, &delivery.info, |name| table.knows(name));
        // Whoever may publish may write headers: a queue that is not one of ours is not where
        // this came from, and no copy is put there.
        if !self.alone.contains_key(&*marks.origin.queue) {
            marks.origin.queue = Arc::clone(&delivery.info.queue);
        }
        let in_hand = self.hands.take(&delivery);
        self.observers.tell(&Event::Taken { delivery: &delivery.info });
        Task { delivery, in_hand, marks, turn: None, text: None }
    }

    /// Takes one delivery through all stages. `stop` is cancelled when the listener stops: a
    /// method that runs is let finish, a pause is not.
    pub(super) async fn work(&self, task: Task, stop: &CancellationToken) {
        let mut suspect = None;
        match self.suspicion(&task) {
            Suspicion::None => {}
            Suspicion::Poison(count) => {
                let owed = task.marks.owed.clone().unwrap_or_default();
                return self.give_up(task, failure::poison(count, owed), stop).await;
            }
            Suspicion::Note(count) => {
                let queue = Arc::clone(&task.delivery.info.queue);
                let marks = Marks { deliveries: count, ..task.marks.clone() };
                match self.copier.move_to(&queue, &task.delivery, &marks).await {
                    Ok(()) => {
                        self.tell_noted(&queue);
                        return self.conclude(task, &End::Noted { count }, &Subject::default());
                    }
                    Err(error) => tell_not_moved(&task, &queue, &error),
                }
            }
            Suspicion::SetAside(count) => {
                let queue = self.alone.get(&*task.delivery.info.queue);
                let marks = Marks { deliveries: 0, ..task.marks.clone() };
                if let Some(queue) = queue {
                    let moved = self.set_aside(&task, queue, &marks, stop).await;
                    // One that was not confirmed may stand there all the same.
                    self.set_aside.notify_one();
                    match moved {
                        Ok(()) => {
                            let delivery = &task.marks.origin;
                            self.observers.tell(&Event::SetAside { delivery, count });
                            let end = End::Moved { to: queue, count };
                            return self.conclude(task, &end, &Subject::default());
                        }
                        Err(NotSetAside::Abandoned) => return self.give_back(task),
                        Err(NotSetAside::Impossible(error)) => tell_not_moved(&task, queue, &error),
                    }
                }
                suspect = Some(self.suspects.lock().await);
            }
        }
        self.work_on(task, stop).await;
        drop(suspect);
    }

    /// Tells of copies that count, the first and each time that they are twice as many: when a
    /// process ends, all that it held comes again at once, begun or not.
    fn tell_noted(&self, queue: &str) {
        let noted = self.noted.fetch_add(1, Ordering::Relaxed) + 1;
        if noted.is_power_of_two() {
            tracing::info!(
                queue,
                noted,
                "given out before and not settled: copies that count stand at the end of the queue"
            );
        }
    }

    /// Calls the methods, again and again while it is held in the process, and carries out what
    /// follows.
    async fn work_on(&self, mut task: Task, stop: &CancellationToken) {
        task.in_hand.begins();
        let began = Instant::now();
        let mut done: Vec<Copy> = Vec::new();
        loop {
            let Judged { verdict, subject, attempts, ordered } =
                self.judge_or_catch(&task, stop).await;
            task.marks.attempts = attempts;
            let copies = match verdict {
                Verdict::Copies(copies) => copies,
                Verdict::Ack => Vec::new(),
                Verdict::Requeue => return self.conclude(task, &End::Requeued, &subject),
                Verdict::GiveBack => return self.conclude(task, &End::GivenBack, &subject),
            };
            let in_process = ordered
                || self.options.executor == Executor::Sequential
                || self.options.retry.place == RetryPlace::Process;
            let mut held = Held::default();
            for copy in copies {
                let made = match copy.to {
                    Destination::Later(_) if in_process => Err(NotMade::NoDelay),
                    _ => self.copy(&task, &copy, stop).await,
                };
                match (made, copy.to) {
                    (Ok(()), _) => done.push(copy),
                    (Err(NotMade::NoDelay), Destination::Later(after)) => held.add(copy, after),
                    (Err(_), _) => return self.conclude(task, &End::GivenBack, &subject),
                }
            }
            if held.owed.is_empty() {
                let end = if done.is_empty() { End::Handled } else { End::Copied(&done) };
                return self.conclude(task, &end, &subject);
            }
            if began.elapsed().saturating_add(held.after) > self.options.retry.hold {
                let copy = held.too_long(self.options.retry.hold);
                if self.copy(&task, &copy, stop).await.is_err() {
                    return self.conclude(task, &End::GivenBack, &subject);
                }
                done.push(copy);
                return self.conclude(task, &End::Copied(&done), &subject);
            }
            let paused = stop.run_until_cancelled(tokio::time::sleep(held.after)).await;
            if paused.is_none() || task.delivery.is_over() {
                return self.conclude(task, &End::GivenBack, &subject);
            }
            task.marks.owed = Some(held.owed);
        }
    }

    /// Gives a delivery up without calling anything.
    async fn give_up(&self, task: Task, copy: Copy, stop: &CancellationToken) {
        match self.copy(&task, &copy, stop).await {
            Ok(()) => self.conclude(task, &End::Copied(&[copy]), &Subject::default()),
            Err(_) => self.give_back(task),
        }
    }

    /// Gives a delivery back that was not begun.
    pub(super) fn give_back(&self, task: Task) {
        self.conclude(task, &End::GivenBack, &Subject::default());
    }

    fn conclude(&self, task: Task, end: &End<'_>, subject: &Subject) {
        let Task { delivery, in_hand, marks, turn, .. } = task;
        settle::carry_out(delivery, &in_hand, &marks, end, subject, &self.observers);
        drop(turn);
    }

    async fn copy(
        &self,
        task: &Task,
        copy: &Copy,
        stop: &CancellationToken,
    ) -> Result<(), NotMade> {
        self.copier.make(&task.delivery, &task.marks, copy, stop, &self.observers).await
    }

    /// A suspect is held rather than worked on while the broker cannot take it: if it ended this
    /// process too, all that is in hand would be counted once more.
    async fn set_aside(
        &self,
        task: &Task,
        queue: &str,
        marks: &Marks,
        stop: &CancellationToken,
    ) -> Result<(), NotSetAside> {
        let (hold, observers) = (self.options.retry.hold, &self.observers);
        self.copier.set_aside(queue, &task.delivery, marks, hold, stop, observers).await
    }

    /// Whether it may be what ended the process that worked on it. What methods may give back on
    /// purpose says nothing by coming again.
    fn suspicion(&self, task: &Task) -> Suspicion {
        let info = &task.delivery.info;
        if !info.redelivered && info.delivery_count.is_none_or(|count| count == 0) {
            return Suspicion::None;
        }
        if self.options.allow_requeue || self.options.on_failure == OnFailure::Requeue {
            return Suspicion::None;
        }
        let losses = self.hands.losses(&task.delivery);
        let given = Given {
            counted: info.delivery_count.map(|count| count.saturating_sub(losses)),
            noted: task.marks.deliveries,
            redelivered: info.redelivered && losses == 0,
            alone: self.alone.values().any(|alone| **alone == *info.queue),
        };
        given.suspicion(&self.options.poison)
    }

    /// Methods are caught where they are called. What is caught here is the rest of the
    /// program's code: serializers, errors that cannot be printed.
    async fn judge_or_catch(&self, task: &Task, stop: &CancellationToken) -> Judged {
        let judged = AssertUnwindSafe(self.judge(task, stop)).catch_unwind().await;
        let verdict = match judged {
            Ok(Ok(judged)) => return judged,
            Ok(Err(error)) => failure::undecodable(&*error),
            Err(panic) => failure::panicked(&panic_message(&*panic)),
        };
        Judged {
            verdict,
            subject: Subject::default(),
            attempts: task.marks.attempts,
            ordered: false,
        }
    }

    async fn judge(&self, task: &Task, stop: &CancellationToken) -> Result<Judged, BoxError> {
        let delivery = &task.delivery;
        let text = match &task.text {
            Some(text) => Cow::Borrowed(text.as_str()),
            None => self.open(delivery)?,
        };
        let mut deserialized = None;
        let fields = self.read(&text, &mut deserialized)?;
        let priority = match self.priority(task, &fields) {
            Ok(priority) => priority,
            Err(none) => {
                let subject = Subject::of(&fields, 0);
                let verdict = self.without_priority(task, &none, &subject);
                return Ok(Judged { verdict, subject, attempts: 0, ordered: false });
            }
        };
        let notification = Notification::new(fields, priority, &task.marks.origin, &self.states);
        let walk = self.walk(&notification, task, stop).await;
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
        })
    }

    fn priority(&self, task: &Task, fields: &Fields<'_>) -> Result<Priority, NoPriority> {
        let routing_key = &task.marks.origin.routing_key;
        priority::find(fields, routing_key, self.options.on_unknown_priority)
    }

    /// What follows for a delivery for which no method can be found.
    fn without_priority(&self, task: &Task, none: &NoPriority, subject: &Subject) -> Verdict {
        match self.options.on_unknown_priority {
            OnUnknownPriority::DeadLetter => failure::unknown_priority(none),
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

    /// What this delivery has in common with others that it must not be worked on beside:
    /// nothing where nobody keeps an order.
    pub(super) fn keys(&self, task: &mut Task) -> Vec<String> {
        let keeps_order = self.order.is_some() || self.dispatcher.table().keeps_order();
        if !keeps_order && self.inbox.is_none() {
            return Vec::new();
        }
        // What cannot be read waits for nobody; why it cannot is told when it is worked on.
        let read = AssertUnwindSafe(|| self.read_keys(task));
        std::panic::catch_unwind(read).ok().flatten().unwrap_or_default()
    }

    fn read_keys(&self, task: &mut Task) -> Option<Vec<String>> {
        let text = self.open(&task.delivery).ok()?;
        let mut deserialized = None;
        let fields = self.read(&text, &mut deserialized).ok()?;
        let priority = self.priority(task, &fields).ok()?;
        let notification = Notification::new(fields, priority, &task.marks.origin, &self.states);
        let keys = self.keys_of(&notification);
        if let Cow::Owned(text) = text {
            // What was compressed may be as large as it likes: it is opened again.
            task.text = Some(text).filter(|text| text.len() <= task.delivery.body.len());
        }
        Some(keys)
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

fn tell_not_moved(task: &Task, to: &str, error: &SendError) {
    tracing::warn!(
        queue = %task.delivery.info.queue,
        to,
        %error,
        "a delivery that was given out before could not be moved: it is worked on where it is"
    );
}

fn labels(delivery: &Delivery) -> Labels<'_> {
    Labels {
        content_type: delivery.properties.content_type.as_deref(),
        compression: delivery.properties.headers.text("compression"),
    }
}

/// What is held in the process for another call.
#[derive(Default)]
struct Held {
    owed: Vec<String>,
    errors: Vec<String>,
    /// The longest of the pauses that were asked for.
    after: Duration,
}

impl Held {
    fn add(&mut self, copy: Copy, after: Duration) {
        self.owed.extend(copy.owed);
        self.errors.push(copy.error);
        self.after = self.after.max(after);
    }

    fn too_long(self, hold: Duration) -> Copy {
        let error = format!(
            "{}; the next pause would hold the delivery for more than {hold:?}",
            self.errors.join("; ")
        );
        Copy { to: Destination::Dead("retries"), owed: self.owed, error }
    }
}
