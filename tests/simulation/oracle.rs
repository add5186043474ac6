//! Judges a history like Jepsen's total queue: confirmed notifications are handled, dead-lettered or
//! still queued; nothing exists that was not sent; duplicates are counted and bounded. A pure function;
//! `broken.rs` shows that it finds violations.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::endpoints::{ENDPOINTS, Payload, bounds, count, program};
use crate::run::{History, is_dead};
use crate::script::{POOL, Program, Script};
use crate::world::Found;

/// A violation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wrong {
    /// It was confirmed, and an endpoint neither handled it nor is it pending for it.
    Lost { number: u32, endpoint: &'static str },
    /// A hot loop: the paused clock does not advance.
    Endless,
    /// The simulation itself panicked, as printed.
    Panicked,
    /// It exists, and was not sent like this.
    Unexpected { place: String, what: String },
    /// It is still queued although all faults have ended.
    Left { queue: String, count: usize },
    /// This many were quarantined although no process crashed.
    Quarantined(u64),
    /// It was called more often than the policy allows.
    TooManyCalls { number: u32, endpoint: &'static str, calls: u64, bound: u64 },
    /// It was handled more often than faults can explain.
    TooOftenHandled { number: u32, endpoint: &'static str, handled: u64, bound: u64 },
}

/// Counts of a history without violations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) sent: u64,
    pub(crate) unconfirmed: u64,
    pub(crate) handled: u64,
    /// Handled again: the promise is at least once.
    pub(crate) duplicates: u64,
    pub(crate) dead: u64,
    /// How many deliveries were quarantined.
    pub(crate) quarantined: u64,
    /// How many the second program handled.
    pub(crate) second: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.unconfirmed += other.unconfirmed;
        self.handled += other.handled;
        self.duplicates += other.duplicates;
        self.dead += other.dead;
        self.quarantined += other.quarantined;
        self.second += other.second;
    }
}

#[derive(Deserialize)]
struct Body {
    payload: Payload,
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "oslo.message")]
    message: String,
}

/// The payload of a message of a notifier; `None` for other messages.
pub(crate) fn payload(body: &[u8]) -> Option<Payload> {
    let envelope: Envelope = serde_json::from_slice(body).ok()?;
    serde_json::from_str::<Body>(&envelope.message).ok().map(|body| body.payload)
}

pub(crate) fn judge(script: &Script, history: &History) -> Result<Tally, BTreeSet<Wrong>> {
    let counts = count(&history.calls);
    let known: BTreeMap<u32, u64> =
        history.sent.iter().fold(BTreeMap::new(), |mut known, (number, _)| {
            *known.entry(*number).or_default() += 1;
            known
        });
    let is_sent = |payload: &Payload| {
        known.contains_key(&payload.number) && *payload == Payload::new(payload.number)
    };
    let mut wrong = BTreeSet::new();
    let mut pending: BTreeSet<(u32, usize)> = BTreeSet::new();
    let mut dead = 0;
    for (queue, messages) in &history.found {
        for message in messages {
            match payload(&message.body).filter(is_sent) {
                None => {
                    let what = String::from_utf8_lossy(&message.body).into_owned();
                    wrong.insert(Wrong::Unexpected { place: queue.clone(), what });
                }
                Some(payload) => {
                    pending.extend(pending_of(queue, message).map(|by| (payload.number, by)));
                }
            }
        }
        if is_dead(queue) {
            dead += messages.len() as u64;
        } else {
            wrong.insert(Wrong::Left { queue: queue.clone(), count: messages.len() });
        }
    }
    for call in history.calls.iter().filter(|call| !is_sent(&call.payload)) {
        let (place, what) = (ENDPOINTS[call.endpoint].to_owned(), format!("{:?}", call.payload));
        wrong.insert(Wrong::Unexpected { place, what });
    }
    for (number, confirmed) in &history.sent {
        for (at, &endpoint) in ENDPOINTS.iter().enumerate() {
            if !script.has(program(at)) {
                continue;
            }
            let handled = counts.get(&(*number, at)).is_some_and(|(_, handled)| *handled > 0);
            if *confirmed && !handled && !pending.contains(&(*number, at)) {
                wrong.insert(Wrong::Lost { number: *number, endpoint });
            }
        }
    }
    if history.quarantined > 0 && !script.has_crashes() {
        wrong.insert(Wrong::Quarantined(history.quarantined));
    }
    wrong.extend(beyond_bounds(script, history, &known));
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let handled: u64 = counts.values().map(|(_, handled)| handled).sum();
    let of_second = counts.iter().filter(|((_, at), _)| program(*at) == Program::Second);
    let once = counts.values().filter(|(_, handled)| *handled > 0).count() as u64;
    Ok(Tally {
        sent: history.sent.len() as u64,
        unconfirmed: history.sent.iter().filter(|(_, confirmed)| !confirmed).count() as u64,
        handled,
        duplicates: handled - once,
        dead,
        quarantined: history.quarantined,
        second: of_second.map(|(_, (_, handled))| handled).sum(),
    })
}

/// The endpoints that a message is pending for: those that it names, or all of the program that consumes its queue.
fn pending_of<'m>(queue: &str, message: &'m Found) -> impl Iterator<Item = usize> + use<'m> {
    let of = if queue.starts_with(POOL) { Program::Second } else { Program::First };
    let named = |name: &&str| {
        message.pending.is_empty() || message.pending.iter().any(|pending| pending == name)
    };
    let all = ENDPOINTS.iter().enumerate().filter(move |(at, _)| program(*at) == of);
    all.filter(move |(_, name)| named(name)).map(|(at, _)| at)
}

/// What happened more often than faults and policy explain. A notification has one life for each time
/// that it was sent, stored without a confirm, or redelivered. In a life an endpoint handles it once
/// (with batches more often, see `bounds`), and is called as often as the policy allows, and once more for each stop that may have come before
/// the confirm of its dead letter.
fn beyond_bounds(script: &Script, history: &History, known: &BTreeMap<u32, u64>) -> Vec<Wrong> {
    let Some(lives) = &history.lives else {
        return Vec::new();
    };
    let mut wrong = Vec::new();
    for ((number, at), (calls, handled)) in count(&history.calls) {
        let endpoint = ENDPOINTS[at];
        let own = lives.get(&number).copied().unwrap_or_default();
        let sent = known.get(&number).copied().unwrap_or_default();
        let most = sent + own.unconfirmed + own.released;
        let (called, handles) = bounds(at, u64::from(script.options.retry.attempts));
        let bound = most * called + script.stops();
        if calls > bound {
            wrong.push(Wrong::TooManyCalls { number, endpoint, calls, bound });
        }
        let bound = most * handles;
        if handled > bound {
            wrong.push(Wrong::TooOftenHandled { number, endpoint, handled, bound });
        }
    }
    wrong
}
