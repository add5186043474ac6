//! The judge of a history, as Jepsen's total queue: what was confirmed is handled, dead or still
//! there; nothing is there that was not sent; what comes twice is counted, and has its bound.
//! Pure, and not lenient: `broken.rs` shows that it finds what is wrong.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::endpoints::{ENDPOINTS, Payload, count, program};
use crate::run::{History, is_dead};
use crate::script::{POOL, Program, Script};
use crate::world::Found;

/// What was found wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wrong {
    /// It was confirmed, and an endpoint neither handled it nor owes it.
    Lost { number: u32, endpoint: &'static str },
    /// It spins: no time of its own passes.
    Endless,
    /// The simulation itself panicked, as printed.
    Panicked,
    /// It is somewhere, and was not sent so.
    Unexpected { place: String, what: String },
    /// It still lies in a queue although all is well.
    Left { queue: String, count: usize },
    /// So much was quarantined although no process died.
    Quarantined(u64),
    /// It was called more often than the policy allows.
    TooManyCalls { number: u32, endpoint: &'static str, calls: u64, bound: u64 },
    /// It was handled more often than faults can explain.
    TooOftenHandled { number: u32, endpoint: &'static str, handled: u64, bound: u64 },
}

/// What became of the notifications of a history that is in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) sent: u64,
    pub(crate) unconfirmed: u64,
    pub(crate) handled: u64,
    /// Handled again: at least once is the promise.
    pub(crate) duplicates: u64,
    pub(crate) dead: u64,
    /// How often something was quarantined.
    pub(crate) quarantined: u64,
    /// What the second program handled.
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

/// The payload of a message as a notifier writes it; none if it is no such message.
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
    let mut owed: BTreeSet<(u32, usize)> = BTreeSet::new();
    let mut dead = 0;
    for (queue, messages) in &history.found {
        for message in messages {
            match payload(&message.body).filter(is_sent) {
                None => {
                    let what = String::from_utf8_lossy(&message.body).into_owned();
                    wrong.insert(Wrong::Unexpected { place: queue.clone(), what });
                }
                Some(payload) => {
                    owed.extend(owed_by(queue, message).map(|by| (payload.number, by)));
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
            if *confirmed && !handled && !owed.contains(&(*number, at)) {
                wrong.insert(Wrong::Lost { number: *number, endpoint });
            }
        }
    }
    if history.quarantined > 0 && !script.has_deaths() {
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

/// The endpoints that a message is for: those that it names, or all of the program whose queue
/// it lies in.
fn owed_by<'m>(queue: &str, message: &'m Found) -> impl Iterator<Item = usize> + use<'m> {
    let of = if queue.starts_with(POOL) { Program::Second } else { Program::First };
    let named =
        |name: &&str| message.owed.is_empty() || message.owed.iter().any(|owed| owed == name);
    let all = ENDPOINTS.iter().enumerate().filter(move |(at, _)| program(*at) == of);
    all.filter(move |(_, name)| named(name)).map(|(at, _)| at)
}

/// What happened more often than faults and policy explain. A notification has a life for each
/// time that it was sent, that it was stored and nobody knew, and that it came back unsettled;
/// in a life an endpoint handles it once, and is called as often as the policy says. It is called
/// once more for each stop that may have come before its dead letter was confirmed.
fn beyond_bounds(script: &Script, history: &History, known: &BTreeMap<u32, u64>) -> Vec<Wrong> {
    let Some(lives) = &history.lives else {
        return Vec::new();
    };
    let mut wrong = Vec::new();
    for ((number, at), (calls, handled)) in count(&history.calls) {
        let endpoint = ENDPOINTS[at];
        let own = lives.get(&number).copied().unwrap_or_default();
        let sent = known.get(&number).copied().unwrap_or_default();
        let most = sent + own.unconfirmed + own.given_back;
        let bound = most * u64::from(script.options.retry.attempts) + script.stops();
        if calls > bound {
            wrong.push(Wrong::TooManyCalls { number, endpoint, calls, bound });
        }
        if handled > most {
            wrong.push(Wrong::TooOftenHandled { number, endpoint, handled, bound: most });
        }
    }
    wrong
}
