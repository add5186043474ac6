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
use crate::runtime::held::{Held, Round};
use crate::runtime::options::{Executor, OnFailure, OnUnknownPriority, Options, RetryPlace};
use crate::runtime::permit::{self, Permit};
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
    /// The methods that were not called, for copies cannot be made for them at present.
    paused: Vec<String>,
}

/// What became of a copy.
enum Carried {
    /// It stands.
    Out(Copy),
    /// Those that it is for are held in the process for this pause.
    Held(Copy, Duration),
    /// The listener stopped, or the session is over.
    Abandoned,
}

impl Carried {
    fn made(copy: Copy, made: Result<(), NotMade>) -> Self {
        if made.is_ok() { Self::Out(copy) } else { Self::Abandoned }
    }
}

/// What is next for a delivery.
enum Next {
    Round(Round),
    /// Nothing is owed any more.
    Nothing,
    /// The listener stopped, or the session is over.
    Abandoned,
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

    /// Takes one delivery through all stages.
    pub(super) async fn work(&self, task: Task, permit: Permit<'_>) {
        let mut suspect = None;
        match self.suspicion(&task) {
            Suspicion::None => {}
            Suspicion::Poison(count) => {
                let owed = task.marks.owed.clone().unwrap_or_default();
                return self.give_up(task, failure::poison(count, owed), permit).await;
            }
            Suspicion::Note(count) => {
                let queue = Arc::clone(&task.delivery.info.queue);
                let marks = Marks { deliveries: count, ..task.marks.clone() };
                match permit.finish(self.copier.move_to(&queue, &task.delivery, &marks)).await {
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
                    let moved = self.set_aside(&task, queue, &marks, permit).await;
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
                suspect = permit.wait(self.suspects.lock()).await;
                if suspect.is_none() {
                    return self.give_back(task);
                }
            }
        }
        self.work_on(task, permit).await;
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

    /// Calls the methods, again and again while some are held in the process, and carries out
    /// what follows.
    async fn work_on(&self, mut task: Task, permit: Permit<'_>) {
        task.in_hand.begins();
        let began = Instant::now();
        let mut held = Held::default();
        let mut done: Vec<Copy> = Vec::new();
        let mut handled = 0;
        loop {
            let calls = task.marks.attempts;
            let Judged { verdict, mut subject, attempts, ordered, paused } =
                self.judge_or_catch(&task, permit).await;
            handled += subject.handled;
            subject.handled = handled;
            task.marks.attempts = attempts;
            paused.into_iter().for_each(|method| held.until_resumed(method, calls));
            let copies = match verdict {
                Verdict::Copies(copies) => copies,
                Verdict::Ack => Vec::new(),
                Verdict::Requeue => return self.conclude(task, &End::Requeued, &subject),
                Verdict::GiveBack => return self.conclude(task, &End::GivenBack, &subject),
            };
            for copy in copies {
                match self.carry(&task, copy, ordered, began, permit).await {
                    Carried::Out(copy) => done.push(copy),
                    Carried::Held(copy, pause) => {
                        settle::held(&task.delivery, &task.marks, &copy, &subject, &self.observers);
                        held.pause(
                            Some(copy.owed).filter(|owed| !owed.is_empty()),
                            attempts,
                            pause,
                        );
                    }
                    Carried::Abandoned => return self.conclude(task, &End::GivenBack, &subject),
                }
            }
            match self.next(&mut held, &task, permit).await {
                Next::Round(round) => {
                    task.marks.owed = round.owed;
                    task.marks.attempts = round.attempts;
                }
                Next::Nothing => {
                    let end = if done.is_empty() { End::Handled } else { End::Copied(&done) };
                    return self.conclude(task, &end, &subject);
                }
                Next::Abandoned => return self.conclude(task, &End::GivenBack, &subject),
            }
        }
    }

    /// Waits for the next of the calls that are held, without a slot.
    async fn next(&self, held: &mut Held, task: &Task, permit: Permit<'_>) -> Next {
        if held.is_empty() {
            return Next::Nothing;
        }
        let ended = async {
            tokio::select! {
                round = held.next(&self.copier) => round.map_or(Next::Nothing, Next::Round),
                () = permit::ended(&task.delivery) => Next::Abandoned,
            }
        };
        match permit.wait(ended).await {
            // A session may have ended with the pause.
            Some(Next::Round(_)) if task.delivery.is_over() => Next::Abandoned,
            Some(next) => next,
            None => Next::Abandoned,
        }
    }

    /// Makes a copy, or holds in the process those that it is for. What is held for a pause may
    /// not be held for longer than `hold` altogether: a longer pause is the broker's, even where
    /// order is kept, for it cannot be kept over such a time; where many short ones have
    /// taken so long, order is kept and the notification given up.
    async fn carry(
        &self,
        task: &Task,
        mut copy: Copy,
        ordered: bool,
        began: Instant,
        permit: Permit<'_>,
    ) -> Carried {
        let Destination::Later(pause) = copy.to else {
            return Carried::made(copy.clone(), self.copy(task, &copy, permit).await);
        };
        let hold = self.options.retry.hold;
        let fits = began.elapsed().saturating_add(pause) <= hold;
        let in_order = ordered || self.options.executor == Executor::Sequential;
        let in_process = in_order || self.options.retry.place == RetryPlace::Process;
        if fits && in_process {
            return Carried::Held(copy, pause);
        }
        if !in_order || pause > hold {
            match self.copy(task, &copy, permit).await {
                Err(NotMade::NoDelay) if fits => return Carried::Held(copy, pause),
                Err(NotMade::NoDelay) => {}
                made => return Carried::made(copy, made),
            }
        }
        copy.give_up_after(hold);
        let made = self.copy(task, &copy, permit).await;
        Carried::made(copy, made)
    }

    /// Gives a delivery up without calling anything.
    async fn give_up(&self, task: Task, copy: Copy, permit: Permit<'_>) {
        match self.copy(&task, &copy, permit).await {
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

    async fn copy(&self, task: &Task, copy: &Copy, permit: Permit<'_>) -> Result<(), NotMade> {
        let (delivery, marks) = (&task.delivery, &task.marks);
        let made = self.copier.make(delivery, marks, copy, permit.stop, &self.observers);
        permit.finish(made).await
    }

    /// A suspect is held rather than worked on while the broker cannot take it: if it ended this
    /// process too, all that is in hand would be counted once more.
    async fn set_aside(
        &self,
        task: &Task,
        queue: &str,
        marks: &Marks,
        permit: Permit<'_>,
    ) -> Result<(), NotSetAside> {
        let (hold, observers) = (self.options.retry.hold, &self.observers);
        let set_aside =
            self.copier.set_aside(queue, &task.delivery, marks, hold, permit.stop, observers);
        permit.finish(set_aside).await
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
    async fn judge_or_catch(&self, task: &Task, permit: Permit<'_>) -> Judged {
        let judged = AssertUnwindSafe(self.judge(task, permit)).catch_unwind().await;
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
            paused: Vec::new(),
        }
    }

    async fn judge(&self, task: &Task, permit: Permit<'_>) -> Result<Judged, BoxError> {
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
                return Ok(Judged {
                    verdict,
                    subject,
                    attempts: 0,
                    ordered: false,
                    paused: Vec::new(),
                });
            }
        };
        let notification = Notification::new(fields, priority, &task.marks.origin, &self.states);
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
