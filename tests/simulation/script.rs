//! A script: what happens to a listener and its broker, step by step, generated from a seed. `run.rs`
//! executes it; each world defines what the steps do to a broker.

use std::time::Duration;

use listener::options::{Executor, ListenerOptions};
use listener::options::{RetryOptions, RetryStorage};

/// A fault of a broker; it lasts until the world is healed, or ends at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// All connections are closed.
    Cut,
    /// One consumer's session ends.
    Cancel(usize),
    /// The node is killed, with all unconfirmed messages.
    Down,
    /// Memory is low: sends wait.
    Alarm,
    /// Queues are full: sends are refused.
    Full,
    /// The dead-letter queues are full.
    DeadLettersFull,
    /// Everything is slow.
    Slow,
    /// Connections break before a message arrives, or before it is confirmed.
    Unreliable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A notification is sent; the same number is a duplicate.
    Send(u32),
    /// A process of `PROCESSES` starts.
    Start(usize),
    /// It stops orderly.
    Stop(usize),
    /// It crashes.
    Crash(usize),
    Fault(Fault),
    /// All faults end.
    Heal,
    Wait(Duration),
}

/// A program that listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// It consumes the queues of the topic, and several instances may run.
    First,
    /// Another program with its own endpoints, which gets a copy of each notification through a pool.
    Second,
}

/// The processes that a script may start.
pub(crate) const PROCESSES: [Program; 3] = [Program::First, Program::First, Program::Second];

/// The pool of the second program.
pub(crate) const POOL: &str = "second";

/// The time scale of a world: paused clock or real time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// The longest wait between two steps.
    pub(crate) wait: Duration,
    /// The longest that a slow method takes.
    pub(crate) slow: Duration,
    /// How long a method may take; one that hangs takes much longer.
    pub(crate) timeout: Duration,
    /// How long the sender waits for a confirm.
    pub(crate) send: Duration,
    /// How long it may take until all is at rest after the last fault.
    pub(crate) rest: Duration,
    /// How often a fault or the end of a process follows a message, in percent.
    pub(crate) trouble: u8,
}

/// The delivery limit of the queue, and what happens to messages beyond it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limited {
    Never,
    /// They go to `LIMITED`, as with a dead-letter exchange.
    DeadLettered(u64),
    /// They are dropped: a listener has to settle them before.
    Dropped(u64),
}

/// Where a broker puts messages beyond the delivery limit.
pub(crate) const LIMITED: &str = "limited.dead";

#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) seed: u64,
    pub(crate) pace: Pace,
    pub(crate) options: ListenerOptions,
    pub(crate) limited: Limited,
    /// The notifications that end every process that works on them.
    pub(crate) deadly: Option<u32>,
    /// Whether the programs have an inbox, which sometimes hangs or fails.
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
            // More than the number of faults in a script. A notification that ends every process while
            // it cannot be quarantined would reach the limit, also for others that were delivered with
            // it, so such scripts have no broker that drops.
            2 if deadly.is_none() => Limited::Dropped(30),
            _ => Limited::Never,
        };
        let has_inbox = chance.u8(0..3) == 0;
        let mut steps = Vec::new();
        // A queue has no messages from before it was bound.
        if chance.u8(0..3) == 0 {
            steps.push(Step::Start(2));
        }
        let starts = chance.u32(0..3);
        let joins = (chance.u8(0..3) == 0).then(|| chance.u32(0..messages));
        for number in 0..messages {
            if number == starts {
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

    /// How often a process is stopped orderly.
    pub(crate) fn stops(&self) -> u64 {
        let stops = self.steps.iter().filter(|step| matches!(step, Step::Stop(_))).count();
        // The last one of each process at the very end.
        let ends = 1 + (1..PROCESSES.len()).filter(|at| self.starts(*at)).count();
        (ends + stops) as u64
    }

    /// Whether this process starts; the first one always does.
    pub(crate) fn starts(&self, at: usize) -> bool {
        at == 0 || self.steps.contains(&Step::Start(at))
    }

    /// Whether a process of this program starts.
    pub(crate) fn has(&self, program: Program) -> bool {
        (0..PROCESSES.len()).any(|at| PROCESSES[at] == program && self.starts(at))
    }

    /// Whether a process crashes.
    pub(crate) fn has_crashes(&self) -> bool {
        self.deadly.is_some() || self.steps.iter().any(|step| matches!(step, Step::Crash(_)))
    }
}

/// A fault and its end after a while, sometimes with a second one meanwhile.
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

/// Each started process is stopped and started again, one after the other.
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

fn options(chance: &mut fastrand::Rng, pace: &Pace) -> ListenerOptions {
    let executor = match chance.u8(0..4) {
        0 => Executor::Sequential,
        _ => Executor::Concurrent(chance.usize(1..8)),
    };
    ListenerOptions::default()
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
        .delay(pace.slow)
        .max_delay(pace.slow * 4)
        .storage(if chance.bool() { RetryStorage::Broker } else { RetryStorage::Process })
}
