//! Pending confirms with a model of lapin and its thread: each message gets its own result, in whatever
//! order the broker confirms, and whatever happens while the task collects.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::task::Wake;

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::protocol::{AMQPError, AMQPSoftError};

use super::*;

/// How the broker answers a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Ack,
    Nack,
    /// It is returned, and acknowledged.
    Return,
}
use Answer::{Ack, Nack, Return};

/// What happens in lapin's thread. Messages are numbered from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Event {
    Written(usize),
    /// It has been returned completely.
    Returned(usize),
    /// A frame that confirms these, in the order in which lapin resolves them.
    Confirmed(Vec<usize>),
    /// The broker closes the channel.
    Closed,
}
use Event::{Closed, Confirmed, Returned};

/// lapin's side of one message.
#[derive(Default)]
struct Slot {
    written: Option<lapin::Result<()>>,
    confirmed: Option<lapin::Result<Confirmation>>,
    waker: Option<Waker>,
}

/// lapin and its thread: the next event happens between two polls of the task, or during one.
struct Model {
    answers: Vec<Answer>,
    slots: Vec<Slot>,
    /// Returned messages that are not attached to a confirm yet.
    waiting: VecDeque<BasicReturnMessage>,
    events: VecDeque<Event>,
    /// The rest of the frame that lapin is resolving.
    frame: VecDeque<usize>,
    pace: Pace,
    polls: usize,
}

/// How lapin's thread and the task interleave.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// An event happens during every n-th poll.
    every: usize,
    /// All other events happen with it.
    rushes: bool,
    /// The task is also woken after each event, as by another message.
    busy: bool,
}

/// The task runs only when it is woken, and nothing happens meanwhile.
const CALM: Pace = Pace { every: usize::MAX, rushes: false, busy: false };

/// One event during every poll up to every twelfth, or all during one of the first fifty.
fn paces() -> impl Iterator<Item = Pace> {
    let steady = |every| [true, false].map(|busy| Pace { every, rushes: false, busy });
    let rushing = |every| Pace { every, rushes: true, busy: true };
    (1..=12).flat_map(steady).chain((1..=50).map(rushing))
}

type Shared = Arc<Mutex<Model>>;

fn lock(model: &Shared) -> MutexGuard<'_, Model> {
    model.lock().expect("no panic before")
}

fn closed() -> lapin::Error {
    let error = AMQPError::new(AMQPSoftError::NOTFOUND.into(), "gone".into());
    lapin::ErrorKind::ProtocolError(error).into()
}

fn body(number: usize) -> String {
    format!("message {number}")
}

impl Model {
    fn next(&mut self) -> bool {
        if let Some(number) = self.frame.pop_front() {
            self.confirm(number);
            return true;
        }
        let Some(event) = self.events.pop_front() else {
            return false;
        };
        match event {
            Event::Written(number) => self.change(number, |slot| slot.written = Some(Ok(()))),
            Returned(number) => {
                let data = body(number).into_bytes();
                let delivery = Delivery::mock(0, "e".into(), "k".into(), false, data);
                let reply_text = number.to_string().into();
                self.waiting.push_back(BasicReturnMessage {
                    delivery,
                    reply_code: 312,
                    reply_text,
                });
            }
            Confirmed(numbers) => {
                self.frame = numbers.into();
                self.next();
            }
            Closed => {
                self.events.clear();
                for number in 0..self.slots.len() {
                    self.change(number, |slot| {
                        slot.written.get_or_insert_with(|| Err(closed()));
                        slot.confirmed.get_or_insert_with(|| Err(closed()));
                    });
                }
            }
        }
        true
    }

    fn confirm(&mut self, number: usize) {
        let waiting = self.waiting.pop_front();
        let confirmation = match self.answers[number] {
            Nack => Confirmation::Nack(waiting),
            Ack | Return => Confirmation::Ack(waiting),
        };
        self.change(number, |slot| slot.confirmed = Some(Ok(confirmation)));
    }

    /// Resolves the rest of the frame.
    fn finish_frame(&mut self) {
        while let Some(number) = self.frame.pop_front() {
            self.confirm(number);
        }
    }

    fn change(&mut self, number: usize, change: impl FnOnce(&mut Slot)) {
        change(&mut self.slots[number]);
        self.slots[number].waker.take().into_iter().for_each(Waker::wake);
    }

    /// lapin's thread does not wait for the task: events happen before and after it polls.
    fn poll(&mut self) {
        self.polls += 1;
        if self.polls.is_multiple_of(self.pace.every) {
            while self.next() && self.pace.rushes {}
        }
    }
}

/// lapin's confirmation of one message.
struct Confirm(Shared, usize);

impl Future for Confirm {
    type Output = lapin::Result<Confirmation>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut model = lock(&self.0);
        model.poll();
        let slot = &mut model.slots[self.1];
        match &slot.confirmed {
            Some(Ok(_)) => Poll::Ready(slot.confirmed.take().expect("it is there")),
            Some(Err(_)) => Poll::Ready(Err(closed())),
            None => {
                slot.waker = Some(context.waker().clone());
                model.poll();
                Poll::Pending
            }
        }
    }
}

fn writing(model: &Shared, number: usize) -> Writing<Confirm> {
    let model = Arc::clone(model);
    poll_fn(move |context| {
        let mut locked = lock(&model);
        locked.poll();
        let slot = &mut locked.slots[number];
        match &slot.written {
            Some(Ok(())) => Poll::Ready(Ok(Confirm(Arc::clone(&model), number))),
            Some(Err(_)) => Poll::Ready(Err(closed())),
            None => {
                slot.waker = Some(context.waker().clone());
                locked.poll();
                Poll::Pending
            }
        }
    })
    .boxed()
}

/// The task's waker: the task is polled only after a wake-up.
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A task that publishes messages, as that of `confirms.rs` does.
struct Task {
    model: Shared,
    pending_confirms: PendingConfirms<Confirm>,
    results: Vec<oneshot::Receiver<PublishResult>>,
    woken: Arc<Woken>,
}

impl Task {
    fn new(answers: &[Answer], events: &[Event], pace: Pace) -> Self {
        let model = Arc::new(Mutex::new(Model {
            answers: answers.to_vec(),
            slots: answers.iter().map(|_| Slot::default()).collect(),
            waiting: VecDeque::new(),
            events: events.iter().cloned().collect(),
            frame: VecDeque::new(),
            pace,
            polls: 0,
        }));
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        Self { model, pending_confirms: PendingConfirms::default(), results: Vec::new(), woken }
    }

    fn send(&mut self, body: String) {
        let number = self.results.len();
        let (result, receiver) = oneshot::channel();
        let message = Arc::new(Message {
            exchange: "e".into(),
            routing_key: "k".into(),
            properties: BasicProperties::default(),
            body: Bytes::from(body),
        });
        self.results.push(receiver);
        let pending = PendingConfirm { message, result, returned: None };
        self.pending_confirms.add(pending, writing(&self.model, number));
    }

    /// Runs while it is woken.
    fn poll(&mut self) {
        let waker = Waker::from(Arc::clone(&self.woken));
        while self.woken.0.swap(false, Ordering::SeqCst) {
            let mut context = Context::from_waker(&waker);
            while let Poll::Ready(done) = self.pending_confirms.poll_done(&mut context) {
                let model = Arc::clone(&self.model);
                let finish_frame = || lock(&model).finish_frame();
                if let Some(fault) = self.pending_confirms.resolve(done, finish_frame) {
                    self.pending_confirms.fail_all(&fault, finish_frame);
                }
            }
        }
    }

    fn results(&mut self) -> Vec<Option<PublishResult>> {
        self.results.iter_mut().map(|result| result.try_recv().ok()).collect()
    }
}

/// The result of each message after these events.
fn expected(answers: &[Answer], events: &[Event]) -> Vec<Option<PublishResult>> {
    let mut results: Vec<Option<PublishResult>> = vec![None; answers.len()];
    for event in events {
        match event {
            Confirmed(numbers) => {
                for number in numbers {
                    results[*number] = Some(match answers[*number] {
                        Ack => PublishResult::Confirmed,
                        Nack => PublishResult::Nacked,
                        Return => PublishResult::Returned(format!("312 {number}")),
                    });
                }
            }
            Closed => {
                let closed = PublishResult::ChannelClosed(Fault::from(&closed()));
                for result in &mut results {
                    result.get_or_insert_with(|| closed.clone());
                }
            }
            Event::Written(_) | Returned(_) => {}
        }
    }
    results
}

/// All ways in which RabbitMQ can confirm the remaining messages: each alone, or several from the first
/// on in one frame, if the answer is the same. Returned messages are confirmed in order.
fn schedules(answers: &[Answer], left: &[usize]) -> Vec<Vec<Vec<usize>>> {
    if left.is_empty() {
        return vec![Vec::new()];
    }
    let is_returned = |number: &&usize| answers[**number] == Return;
    let next_returned = left.iter().find(is_returned);
    let alone = left.iter().filter(|number| !is_returned(number) || Some(*number) == next_returned);
    let mut frames: Vec<Vec<usize>> = alone.map(|number| vec![*number]).collect();
    let is_nack = |number: &usize| answers[*number] == Nack;
    for upto in 2..=left.len() {
        let those = &left[..upto];
        if those.iter().all(|number| is_nack(number) == is_nack(&those[0])) {
            // lapin resolves them in any order.
            frames.push(those.to_vec());
            frames.push(those.iter().rev().copied().collect());
        }
    }
    let mut found = Vec::new();
    for frame in frames {
        let rest: Vec<usize> =
            left.iter().copied().filter(|number| !frame.contains(number)).collect();
        for mut schedule in schedules(answers, &rest) {
            schedule.insert(0, frame.clone());
            found.push(schedule);
        }
    }
    found
}

/// The events of a schedule: messages are written and returned all at the beginning, or each as late as
/// possible.
fn events(answers: &[Answer], schedule: &[Vec<usize>], early: bool) -> Vec<Event> {
    let (mut events, mut begun) = (Vec::new(), 0);
    let mut begin = |events: &mut Vec<Event>, upto: usize| {
        let new = begun..upto.max(begun);
        begun = new.end;
        events.extend(new.clone().map(Event::Written));
        events.extend(new.filter(|number| answers[*number] == Return).map(Returned));
    };
    if early {
        begin(&mut events, answers.len());
    }
    for frame in schedule {
        let last = frame.iter().max().expect("it confirms some");
        begin(&mut events, last + 1);
        events.push(Confirmed(frame.clone()));
    }
    events
}

/// All combinations of answers to this number of messages.
fn all_answers(count: u32) -> impl Iterator<Item = Vec<Answer>> {
    (0..3_usize.pow(count)).map(move |number| {
        let digit = |at| [Ack, Nack, Return][number / 3_usize.pow(at) % 3];
        (0..count).map(digit).collect()
    })
}

/// The results of one run.
fn run(answers: &[Answer], events: &[Event], pace: Pace) -> Vec<Option<PublishResult>> {
    let mut task = Task::new(answers, events, pace);
    for number in 0..answers.len() {
        task.send(body(number));
    }
    task.poll();
    while lock(&task.model).next() {
        task.woken.0.fetch_or(pace.busy, Ordering::SeqCst);
        task.poll();
    }
    let found = task.results();
    let left = found.iter().filter(|found| found.is_none()).count();
    assert_eq!(task.pending_confirms.len(), left, "{answers:?} {events:?}");
    found
}

/// Checks all orders in which a broker can acknowledge, nack and return messages, one by one and
/// together.
fn check_all(count: u32, paces: &[Pace]) {
    let all: Vec<usize> = (0..count as usize).collect();
    for answers in all_answers(count) {
        for schedule in schedules(&answers, &all) {
            for early in [true, false] {
                let events = events(&answers, &schedule, early);
                let expected = expected(&answers, &events);
                for pace in paces {
                    let found = run(&answers, &events, *pace);
                    assert_eq!(found, expected, "{answers:?} {events:?} {pace:?}");
                }
            }
        }
    }
}

#[test]
fn each_of_five_messages_gets_its_own_result() {
    check_all(5, &[CALM]);
}

#[test]
fn results_are_right_whatever_happens_while_the_task_collects() {
    check_all(3, &paces().collect::<Vec<_>>());
}

/// The channel is closed after any number of events: earlier results are not affected, and no message is
/// reported as confirmed that was not.
#[test]
fn closing_the_channel_resolves_all_messages_and_confirms_none() {
    let all = [0, 1, 2];
    for answers in all_answers(3) {
        for schedule in schedules(&answers, &all) {
            for early in [true, false] {
                let events = events(&answers, &schedule, early);
                for end in 0..=events.len() {
                    let events = [&events[..end], &[Closed]].concat();
                    let certain = expected(&answers, &events);
                    assert_eq!(run(&answers, &events, CALM), certain, "{answers:?}");
                    for pace in paces().filter(|pace| pace.every < 8) {
                        let found = run(&answers, &events, pace);
                        for (found, certain) in found.iter().zip(&certain) {
                            // Messages confirmed at the end may be published again.
                            let again = matches!(found, Some(PublishResult::ChannelClosed(_)));
                            assert!(again || found == certain, "{answers:?} {events:?} {pace:?}");
                        }
                    }
                }
            }
        }
    }
}

/// Of two messages that are confirmed while the task collects, the confirm of the later one carries the
/// returned message of the earlier.
#[test]
fn a_message_returned_with_the_confirm_of_a_later_one_is_not_confirmed() {
    let answers = [Ack, Return, Ack];
    let events = [
        Event::Written(0),
        Event::Written(1),
        Confirmed(vec![0]),
        Returned(1),
        Event::Written(2),
        Confirmed(vec![2, 1]),
    ];
    for pace in paces() {
        assert_eq!(run(&answers, &events, pace), expected(&answers, &events), "{pace:?}");
    }
}

#[test]
fn a_large_message_is_confirmed_before_those_behind_it_are_written() {
    for (size, is_confirmed) in [(WRITTEN_BYTES, true), (WRITTEN_BYTES / 2, false)] {
        let events = [Event::Written(0), Confirmed(vec![0])];
        let mut task = Task::new(&[Ack, Ack], &events, CALM);
        (0..2).for_each(|_| task.send("x".repeat(size)));
        task.poll();
        while lock(&task.model).next() {
            task.poll();
        }
        assert_eq!(task.results()[0], is_confirmed.then_some(PublishResult::Confirmed), "{size}");
    }
}

#[test]
fn small_messages_wake_the_task_once_for_many() {
    let count = 3 * WRITTEN + 5;
    let events: Vec<_> = (0..count).map(Event::Written).collect();
    let mut task = Task::new(&vec![Ack; count], &events, CALM);
    (0..count).for_each(|number| task.send(body(number)));
    task.poll();
    let mut woken = Vec::new();
    for number in 0..count {
        lock(&task.model).next();
        if task.woken.0.load(Ordering::SeqCst) {
            woken.push(number + 1);
        }
        task.poll();
    }
    assert_eq!(woken, [WRITTEN, 2 * WRITTEN, 3 * WRITTEN, count]);
}

#[test]
fn a_sender_that_has_given_up_does_not_affect_the_others() {
    for answers in all_answers(3) {
        for schedule in schedules(&answers, &[0, 1, 2]) {
            let events = events(&answers, &schedule, true);
            for gone in 0..3 {
                let mut task = Task::new(&answers, &events, CALM);
                (0..3).for_each(|number| task.send(body(number)));
                task.results[gone].close();
                task.poll();
                while lock(&task.model).next() {
                    task.poll();
                }
                let mut expected = expected(&answers, &events);
                expected[gone] = None;
                assert_eq!(task.results(), expected, "{answers:?} {events:?} {gone}");
                assert_eq!(task.pending_confirms.len(), 0);
            }
        }
    }
}
