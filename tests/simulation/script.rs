//! A script: what happens to a listener and its broker, one step after the other, all from a
//! seed. Who carries it out is `run.rs`; what the steps do to a broker is each world's own.

use std::time::Duration;

use listener::options::{Executor, Options};
use listener::options::{RetryOptions, RetryPlace};

/// What can be made to go wrong with a broker; it lasts until the world is healed, or is over at
/// once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// All connections are closed.
    Cut,
    /// One consumer's session ends.
    Cancel(usize),
    /// The node is gone, with all that it had not confirmed.
    Down,
    /// Memory is short: what is sent waits.
    Alarm,
    /// Queues are full: what is sent is refused.
    Full,
    /// The queues of dead letters are full.
    DeadLettersFull,
    /// Everything takes its time.
    Slow,
    /// Connections break before what is sent arrives, or before it is confirmed.
    Unreliable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A notification is sent; the same number again is the same notification again.
    Send(u32),
    /// A process begins; which of `PROCESSES`.
    Start(usize),
    /// It ends in order.
    Stop(usize),
    /// It dies.
    Crash(usize),
    Fault(Fault),
    /// All faults end.
    Heal,
    Wait(Duration),
}

/// A program that listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// It consumes the queues of the topic, and may run more than once.
    First,
    /// Another program, with endpoints of its own, which gets a copy of each notification over a
    /// pool.
    Second,
}

/// The processes that a script may begin.
pub(crate) const PROCESSES: [Program; 3] = [Program::First, Program::First, Program::Second];

/// The pool of the second program.
pub(crate) const POOL: &str = "second";

/// How fast a world goes: its own time, or ours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// The longest wait between two steps.
    pub(crate) wait: Duration,
    /// The longest that a slow method takes.
    pub(crate) slow: Duration,
    /// How long a method may take; one that hangs takes much longer.
    pub(crate) timeout: Duration,
    /// How long the sender waits for a confirmation.
    pub(crate) send: Duration,
    /// How long the whole may take to come to rest once all faults are over.
    pub(crate) rest: Duration,
    /// How often a fault or the end of a process follows a message, in a hundred.
    pub(crate) trouble: u8,
}

/// Whether the queue of the messages has a limit on deliveries, and what becomes of those beyond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limited {
    Never,
    /// They go to `LIMITED`, as with a dead-letter exchange.
    DeadLettered(u64),
    /// They are dropped: a listener has to be done with them before.
    Dropped(u64),
}

/// Where a broker puts what it gave out too often.
pub(crate) const LIMITED: &str = "limited.dead";

#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) seed: u64,
    pub(crate) pace: Pace,
    pub(crate) options: Options,
    pub(crate) limited: Limited,
    /// The notifications that end every process that works on them.
    pub(crate) deadly: Option<u32>,
    /// Whether the programs have an inbox, which now and then hangs or fails.
    pub(crate) has_inbox: bool,
    pub(crate) steps: Vec<Step>,
}

impl Script {
    pub(crate) fn new(seed: u64, pace: Pace, faults: &[Fault]) -> Self {
        let mut chance = fastrand::Rng::with_seed(seed);
        let messages = chance.u32(3..=8);
        let options = options(&mut chance, &pace);
        let deadly = (chance.u8(0..20) == 0).then(|| chance.u32(0..messages));
        let limited = match chance.u8(0..10) {
            0..2 => Limited::DeadLettered(chance.u64(3..10)),
            // More often than a script has troubles. What ends its process again and again while
            // it cannot be set aside would use that up, also for those that were given out with
            // it: a broker that drops is none for that.
            2 if deadly.is_none() => Limited::Dropped(30),
            _ => Limited::Never,
        };
        let has_inbox = chance.u8(0..3) == 0;
        let mut steps = Vec::new();
        // A queue has no copies of what was sent before it was bound.
        if chance.u8(0..3) == 0 {
            steps.push(Step::Start(2));
        }
        let begins = chance.u32(0..3);
        let joins = (chance.u8(0..3) == 0).then(|| chance.u32(0..messages));
        for number in 0..messages {
            if number == begins {
                steps.push(Step::Start(0));
            }
            if Some(number) == joins {
                steps.push(Step::Start(1));
            }
            steps.push(Step::Send(number));
            if chance.u8(0..5) == 0 {
                steps.push(Step::Send(chance.u32(0..=number)));
            }
            if chance.bool() {
                steps.push(Step::Wait(part(&mut chance, pace.wait)));
            }
            if chance.u8(0..100) < pace.trouble {
                trouble(&mut chance, &pace, faults, &mut steps);
            }
        }
        Self { seed, pace, options, limited, deadly, has_inbox, steps }
    }

    /// How often a process is stopped in order.
    pub(crate) fn stops(&self) -> u64 {
        let stops = self.steps.iter().filter(|step| matches!(step, Step::Stop(_))).count();
        // The last of each at the very end.
        let ends = 1 + (1..PROCESSES.len()).filter(|at| self.begins(*at)).count();
        (ends + stops) as u64
    }

    /// Whether this process begins; the first one always does.
    pub(crate) fn begins(&self, at: usize) -> bool {
        at == 0 || self.steps.contains(&Step::Start(at))
    }

    /// Whether a process of this program begins.
    pub(crate) fn has(&self, program: Program) -> bool {
        (0..PROCESSES.len()).any(|at| PROCESSES[at] == program && self.begins(at))
    }

    /// Whether a process dies.
    pub(crate) fn has_deaths(&self) -> bool {
        self.deadly.is_some() || self.steps.iter().any(|step| matches!(step, Step::Crash(_)))
    }
}

/// A trouble, and its end after a while; now and then a second one meanwhile.
fn trouble(chance: &mut fastrand::Rng, pace: &Pace, faults: &[Fault], steps: &mut Vec<Step>) {
    let fault = match chance.u8(0..10) {
        0..2 => {
            let wait = Step::Wait(part(chance, pace.wait));
            let at = chance.usize(0..PROCESSES.len());
            let begun = steps.contains(&Step::Start(at));
            let at = if begun { at } else { 0 };
            return steps.extend([Step::Crash(at), wait, Step::Start(at)]);
        }
        2 => return rolling(chance, pace, steps),
        _ => match faults[chance.usize(0..faults.len())] {
            Fault::Cancel(_) => Fault::Cancel(chance.usize(0..4)),
            fault => fault,
        },
    };
    steps.extend([Step::Fault(fault), Step::Wait(part(chance, 2 * pace.wait))]);
    if chance.u8(0..4) == 0 {
        let second = faults[chance.usize(0..faults.len())];
        steps.extend([Step::Fault(second), Step::Wait(part(chance, pace.wait))]);
    }
    steps.push(Step::Heal);
}

/// Each process that was begun is stopped and begun again, one after the other.
fn rolling(chance: &mut fastrand::Rng, pace: &Pace, steps: &mut Vec<Step>) {
    for at in 0..PROCESSES.len() {
        if steps.contains(&Step::Start(at)) {
            steps.extend([Step::Stop(at), Step::Start(at)]);
            if chance.bool() {
                steps.push(Step::Wait(part(chance, pace.wait)));
            }
        }
    }
}

fn part(chance: &mut fastrand::Rng, longest: Duration) -> Duration {
    longest.mul_f64(chance.f64())
}

fn options(chance: &mut fastrand::Rng, pace: &Pace) -> Options {
    let executor = match chance.u8(0..4) {
        0 => Executor::Sequential,
        _ => Executor::Concurrent(chance.usize(1..8)),
    };
    Options::default()
        .executor(executor)
        .prefetch(chance.u16(1..10))
        // A body has about 400 bytes.
        .bytes_in_flight(if chance.bool() { 1000 } else { usize::MAX })
        .shutdown_timeout(pace.timeout / 2)
        .send_timeout(pace.send)
        .handler_timeout(pace.timeout)
        .retry(retry(chance, pace))
}

fn retry(chance: &mut fastrand::Rng, pace: &Pace) -> RetryOptions {
    RetryOptions::default()
        .attempts(chance.u32(1..=4))
        .pause(pace.slow)
        .max_pause(pace.slow * 4)
        .place(if chance.bool() { RetryPlace::Broker } else { RetryPlace::Process })
}
