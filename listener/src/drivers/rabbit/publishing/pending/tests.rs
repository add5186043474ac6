//! Pending confirms with a model of lapin and its thread: each message gets its own fate, whatever
//! order the broker confirms in, and whatever happens while the task looks.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::task::Wake;

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::protocol::{AMQPError, AMQPSoftError};

use super::*;

/// What the broker makes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Makes {
    Ack,
    Nack,
    /// It comes back, and is acknowledged.
    Return,
}
use Makes::{Ack, Nack, Return};

/// What comes to pass in lapin's thread. Messages are counted from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Event {
    Written(usize),
    /// The whole of it has come back.
    Returned(usize),
    /// A frame that confirms these, in the order in which lapin goes through them.
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

/// lapin and its thread: the next event happens between two polls of the task, or within
/// one.
struct Model {
    makes: Vec<Makes>,
    slots: Vec<Slot>,
    /// Those that came back and were not yet handed out.
    waiting: VecDeque<BasicReturnMessage>,
    events: VecDeque<Event>,
    /// What is left of the frame that lapin is in the middle of.
    frame: VecDeque<usize>,
    pace: Pace,
    polls: usize,
}

/// How lapin's thread and the task go along.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// An event happens within each poll of this number.
    every: usize,
    /// All others happen with it.
    rushes: bool,
    /// The task is woken after each event by something else, such as another message.
    busy: bool,
}

/// The task looks only when it is woken, and nothing happens meanwhile.
const CALM: Pace = Pace { every: usize::MAX, rushes: false, busy: false };

/// One event within each of up to twelve polls, or all in any one of the first fifty.
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
        let confirmation = match self.makes[number] {
            Nack => Confirmation::Nack(waiting),
            Ack | Return => Confirmation::Ack(waiting),
        };
        self.change(number, |slot| slot.confirmed = Some(Ok(confirmation)));
    }

    /// Until lapin is done with its frame.
    fn whole(&mut self) {
        while let Some(number) = self.frame.pop_front() {
            self.confirm(number);
        }
    }

    fn change(&mut self, number: usize, change: impl FnOnce(&mut Slot)) {
        change(&mut self.slots[number]);
        self.slots[number].waker.take().into_iter().for_each(Waker::wake);
    }

    /// lapin's thread does not wait for the task: it goes on before the task looks, and after.
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

fn handing(model: &Shared, number: usize) -> Handing<Confirm> {
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

/// The task's waker: the task is polled only when it was woken.
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A task that sends some messages, as `confirms.rs` does.
struct Task {
    model: Shared,
    pending_confirms: PendingConfirms<Confirm>,
    told: Vec<oneshot::Receiver<Fate>>,
    woken: Arc<Woken>,
}

impl Task {
    fn new(makes: &[Makes], events: &[Event], pace: Pace) -> Self {
        let model = Arc::new(Mutex::new(Model {
            makes: makes.to_vec(),
            slots: makes.iter().map(|_| Slot::default()).collect(),
            waiting: VecDeque::new(),
            events: events.iter().cloned().collect(),
            frame: VecDeque::new(),
            pace,
            polls: 0,
        }));
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        Self { model, pending_confirms: PendingConfirms::default(), told: Vec::new(), woken }
    }

    fn send(&mut self, body: String) {
        let number = self.told.len();
        let (fate, told) = oneshot::channel();
        let message = Arc::new(Message {
            exchange: "e".into(),
            routing_key: "k".into(),
            properties: BasicProperties::default(),
            body: Bytes::from(body),
        });
        self.told.push(told);
        let pending = Pending { message, fate, returned: None };
        self.pending_confirms.add(pending, handing(&self.model, number));
    }

    /// Does all that there is to do.
    fn turn(&mut self) {
        let waker = Waker::from(Arc::clone(&self.woken));
        while self.woken.0.swap(false, Ordering::SeqCst) {
            let mut context = Context::from_waker(&waker);
            while let Poll::Ready(done) = self.pending_confirms.poll_done(&mut context) {
                let model = Arc::clone(&self.model);
                let whole = || lock(&model).whole();
                if let Some(fault) = self.pending_confirms.judge(done, whole) {
                    self.pending_confirms.spoil(&fault, whole);
                }
            }
        }
    }

    fn told(&mut self) -> Vec<Option<Fate>> {
        self.told.iter_mut().map(|told| told.try_recv().ok()).collect()
    }
}

/// What each has to be told when these events have come to pass.
fn expected(makes: &[Makes], events: &[Event]) -> Vec<Option<Fate>> {
    let mut fates: Vec<Option<Fate>> = vec![None; makes.len()];
    for event in events {
        match event {
            Confirmed(numbers) => {
                for number in numbers {
                    fates[*number] = Some(match makes[*number] {
                        Ack => Fate::Confirmed,
                        Nack => Fate::Refused,
                        Return => Fate::Returned(format!("312 {number}")),
                    });
                }
            }
            Closed => {
                let spoiled = Fate::Spoiled(Fault::from(&closed()));
                for fate in &mut fates {
                    fate.get_or_insert_with(|| spoiled.clone());
                }
            }
            Event::Written(_) | Returned(_) => {}
        }
    }
    fates
}

/// Every way in which RabbitMQ can confirm those that are left: each alone, or all up to one
/// together, if it makes the same of them. Those that come back keep their order.
fn schedules(makes: &[Makes], left: &[usize]) -> Vec<Vec<Vec<usize>>> {
    if left.is_empty() {
        return vec![Vec::new()];
    }
    let comes_back = |number: &&usize| makes[**number] == Return;
    let next_back = left.iter().find(comes_back);
    let alone = left.iter().filter(|number| !comes_back(number) || Some(*number) == next_back);
    let mut frames: Vec<Vec<usize>> = alone.map(|number| vec![*number]).collect();
    let is_nack = |number: &usize| makes[*number] == Nack;
    for upto in 2..=left.len() {
        let those = &left[..upto];
        if those.iter().all(|number| is_nack(number) == is_nack(&those[0])) {
            // lapin goes through them in any order.
            frames.push(those.to_vec());
            frames.push(those.iter().rev().copied().collect());
        }
    }
    let mut found = Vec::new();
    for frame in frames {
        let rest: Vec<usize> =
            left.iter().copied().filter(|number| !frame.contains(number)).collect();
        for mut schedule in schedules(makes, &rest) {
            schedule.insert(0, frame.clone());
            found.push(schedule);
        }
    }
    found
}

/// The events of a schedule: messages are written, and come back, all at the beginning or
/// each as late as it can.
fn events(makes: &[Makes], schedule: &[Vec<usize>], early: bool) -> Vec<Event> {
    let (mut events, mut begun) = (Vec::new(), 0);
    let mut begin = |events: &mut Vec<Event>, upto: usize| {
        let new = begun..upto.max(begun);
        begun = new.end;
        events.extend(new.clone().map(Event::Written));
        events.extend(new.filter(|number| makes[*number] == Return).map(Returned));
    };
    if early {
        begin(&mut events, makes.len());
    }
    for frame in schedule {
        let last = frame.iter().max().expect("it confirms some");
        begin(&mut events, last + 1);
        events.push(Confirmed(frame.clone()));
    }
    events
}

/// All that can be made of so many messages.
fn all_makes(count: u32) -> impl Iterator<Item = Vec<Makes>> {
    (0..3_usize.pow(count)).map(move |number| {
        let digit = |at| [Ack, Nack, Return][number / 3_usize.pow(at) % 3];
        (0..count).map(digit).collect()
    })
}

/// One run: the task is woken, or not, after each event.
fn run(makes: &[Makes], events: &[Event], pace: Pace) -> Vec<Option<Fate>> {
    let mut task = Task::new(makes, events, pace);
    for number in 0..makes.len() {
        task.send(body(number));
    }
    task.turn();
    while lock(&task.model).next() {
        task.woken.0.fetch_or(pace.busy, Ordering::SeqCst);
        task.turn();
    }
    let told = task.told();
    let left = told.iter().filter(|told| told.is_none()).count();
    assert_eq!(task.pending_confirms.len(), left, "{makes:?} {events:?}");
    told
}

/// Every order in which a broker can confirm, refuse and return some messages, singly and
/// together, whatever lapin's thread does while the task looks.
fn check_all(count: u32, paces: &[Pace]) {
    let all: Vec<usize> = (0..count as usize).collect();
    for makes in all_makes(count) {
        for schedule in schedules(&makes, &all) {
            for early in [true, false] {
                let events = events(&makes, &schedule, early);
                let expected = expected(&makes, &events);
                for pace in paces {
                    let told = run(&makes, &events, *pace);
                    assert_eq!(told, expected, "{makes:?} {events:?} {pace:?}");
                }
            }
        }
    }
}

#[test]
fn each_of_five_is_told_its_own_fate() {
    check_all(5, &[CALM]);
}

#[test]
fn what_happens_while_the_task_looks_is_told_right() {
    check_all(3, &paces().collect::<Vec<_>>());
}

/// The channel is closed after any number of events: what was told before stands, and
/// nothing is told to be confirmed that was not.
#[test]
fn a_channel_that_is_closed_leaves_none_untold_and_confirms_none() {
    let all = [0, 1, 2];
    for makes in all_makes(3) {
        for schedule in schedules(&makes, &all) {
            for early in [true, false] {
                let events = events(&makes, &schedule, early);
                for end in 0..=events.len() {
                    let events = [&events[..end], &[Closed]].concat();
                    let certain = expected(&makes, &events);
                    assert_eq!(run(&makes, &events, CALM), certain, "{makes:?}");
                    for pace in paces().filter(|pace| pace.every < 8) {
                        let told = run(&makes, &events, pace);
                        for (told, certain) in told.iter().zip(&certain) {
                            // What was confirmed beside the end may be sent again.
                            let again = matches!(told, Some(Fate::Spoiled(_)));
                            assert!(again || told == certain, "{makes:?} {events:?} {pace:?}");
                        }
                    }
                }
            }
        }
    }
}

/// Of two that the broker confirms while the task looks, the later one carries what came
/// back of the earlier.
#[test]
fn a_message_that_comes_back_with_one_written_since_is_not_confirmed() {
    let makes = [Ack, Return, Ack];
    let events = [
        Event::Written(0),
        Event::Written(1),
        Confirmed(vec![0]),
        Returned(1),
        Event::Written(2),
        Confirmed(vec![2, 1]),
    ];
    for pace in paces() {
        assert_eq!(run(&makes, &events, pace), expected(&makes, &events), "{pace:?}");
    }
}

#[test]
fn a_large_message_is_told_before_those_behind_it_are_written() {
    for (size, is_told) in [(WRITTEN_BYTES, true), (WRITTEN_BYTES / 2, false)] {
        let events = [Event::Written(0), Confirmed(vec![0])];
        let mut task = Task::new(&[Ack, Ack], &events, CALM);
        (0..2).for_each(|_| task.send("x".repeat(size)));
        task.turn();
        while lock(&task.model).next() {
            task.turn();
        }
        assert_eq!(task.told()[0], is_told.then_some(Fate::Confirmed), "{size}");
    }
}

#[test]
fn small_messages_wake_the_task_once_for_many() {
    let count = 3 * WRITTEN + 5;
    let events: Vec<_> = (0..count).map(Event::Written).collect();
    let mut task = Task::new(&vec![Ack; count], &events, CALM);
    (0..count).for_each(|number| task.send(body(number)));
    task.turn();
    let mut woken = Vec::new();
    for number in 0..count {
        lock(&task.model).next();
        if task.woken.0.load(Ordering::SeqCst) {
            woken.push(number + 1);
        }
        task.turn();
    }
    assert_eq!(woken, [WRITTEN, 2 * WRITTEN, 3 * WRITTEN, count]);
}

#[test]
fn a_sender_that_is_gone_takes_nothing_from_the_others() {
    for makes in all_makes(3) {
        for schedule in schedules(&makes, &[0, 1, 2]) {
            let events = events(&makes, &schedule, true);
            for gone in 0..3 {
                let mut task = Task::new(&makes, &events, CALM);
                (0..3).for_each(|number| task.send(body(number)));
                task.told[gone].close();
                task.turn();
                while lock(&task.model).next() {
                    task.turn();
                }
                let mut expected = expected(&makes, &events);
                expected[gone] = None;
                assert_eq!(task.told(), expected, "{makes:?} {events:?} {gone}");
                assert_eq!(task.pending_confirms.len(), 0);
            }
        }
    }
}
