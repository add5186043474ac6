//! The endpoints of a simulated listener, and the log of what they did. What a call comes to is
//! decided by the seed, the notification, the endpoint and how often it was called before, and
//! by nothing else: not by when it is called, or by which process.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use listener::observe::{Event, Observer};
use listener::{
    DeliveryInfo, Inbox, InboxEntry, Listener, Outcome, State, Transport, notification_endpoint,
};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::script::{POOL, Program, Script};

/// The names of the endpoints, as copies have them.
pub(crate) const ENDPOINTS: [&str; 4] = ["alpha::info", "beta::info", "gamma::info", "delta::info"];

/// The program that an endpoint is of.
pub(crate) const fn program(endpoint: usize) -> Program {
    if endpoint == 3 { Program::Second } else { Program::First }
}

/// What is sent. The text says the number again, so that a payload that is mixed up is found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Payload {
    pub(crate) number: u32,
    pub(crate) text: String,
}

impl Payload {
    pub(crate) fn new(number: u32) -> Self {
        Self { number, text: format!("the text of notification {number}") }
    }
}

/// One call of an endpoint by a process that was alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// Since the script began.
    pub(crate) at: Duration,
    pub(crate) payload: Payload,
    /// Its place in `ENDPOINTS`.
    pub(crate) endpoint: usize,
    pub(crate) redelivered: bool,
    pub(crate) handled: bool,
}

/// What all processes of a script write to.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    seed: u64,
    slow: Duration,
    hang: Duration,
    deadly: Option<u32>,
    began: Instant,
    calls: Arc<Mutex<Vec<Call>>>,
    quarantined: Arc<AtomicU64>,
    inboxes: Arc<Mutex<Inboxes>>,
}

/// Whether a process lives. What one does that is dead did not happen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Life {
    dead: Arc<AtomicBool>,
    dying: Arc<AtomicBool>,
}

impl Life {
    pub(crate) fn end(&self) {
        self.dead.store(true, Ordering::SeqCst);
    }

    /// Whether a notification has ended the process: somebody has to carry that out.
    pub(crate) fn is_dying(&self) -> bool {
        self.dying.load(Ordering::SeqCst)
    }

    fn is_over(&self) -> bool {
        self.dead.load(Ordering::SeqCst) || self.is_dying()
    }
}

impl Log {
    pub(crate) fn new(script: &Script) -> Self {
        Self {
            seed: script.seed,
            slow: script.pace.slow,
            hang: 4 * script.pace.timeout,
            deadly: script.deadly,
            began: Instant::now(),
            calls: Arc::default(),
            quarantined: Arc::default(),
            inboxes: Arc::default(),
        }
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.lock().clone()
    }

    /// How often something was quarantined.
    pub(crate) fn quarantined(&self) -> u64 {
        self.quarantined.load(Ordering::SeqCst)
    }

    /// Writes a call down; its place in the log, and how often this was called before.
    fn begin(&self, endpoint: usize, payload: Payload, info: &DeliveryInfo) -> (usize, usize) {
        let mut calls = self.lock();
        let same = |call: &&Call| call.endpoint == endpoint && call.payload == payload;
        let before = calls.iter().filter(same).count();
        let (at, redelivered) = (self.began.elapsed(), info.redelivered);
        calls.push(Call { at, payload, endpoint, redelivered, handled: false });
        (calls.len() - 1, before)
    }

    fn inboxes(&self) -> MutexGuard<'_, Inboxes> {
        self.inboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Call>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a call comes to.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Handled,
    Slow(f64),
    Hangs,
    Errs,
    ErrsForGood,
    Panics,
    AsksAgain,
    GivesUp,
}

fn fate(seed: u64, endpoint: usize, number: u32, before: usize) -> Fate {
    let which = (u64::from(number) << 16) | ((endpoint as u64) << 12) | before as u64;
    let mut chance = fastrand::Rng::with_seed(seed.rotate_left(32) ^ which);
    match chance.u8(0..100) {
        0..58 => Fate::Handled,
        58..72 => Fate::Slow(chance.f64()),
        72..75 => Fate::Hangs,
        75..85 => Fate::Errs,
        85..89 => Fate::ErrsForGood,
        89..94 => Fate::Panics,
        94..97 => Fate::AsksAgain,
        _ => Fate::GivesUp,
    }
}

async fn call(
    (log, life): (&Log, &Life),
    endpoint: usize,
    payload: Payload,
    info: &DeliveryInfo,
) -> Result<Outcome, listener::BoxError> {
    if life.is_over() {
        return std::future::pending().await;
    }
    let number = payload.number;
    let (at, before) = log.begin(endpoint, payload, info);
    if log.deadly == Some(number) {
        life.dying.store(true, Ordering::SeqCst);
        return std::future::pending().await;
    }
    match fate(log.seed, endpoint, number, before) {
        Fate::Handled => {}
        Fate::Slow(part) => tokio::time::sleep(log.slow.mul_f64(part)).await,
        Fate::Hangs => tokio::time::sleep(log.hang).await,
        Fate::Errs => return Err("it failed".into()),
        Fate::ErrsForGood => return Err(listener::permanent("it fails always").into()),
        // Unlike `panic!` it prints nothing.
        Fate::Panics => std::panic::resume_unwind(Box::new("it panicked")),
        Fate::AsksAgain => return Ok(Outcome::retry()),
        Fate::GivesUp => return Ok(Outcome::dead_letter("it gives up")),
    }
    if life.is_over() {
        return std::future::pending().await;
    }
    log.lock()[at].handled = true;
    Ok(Outcome::Handled)
}

macro_rules! endpoints {
    ($($name:ident = $text:literal at $place:literal),+) => {
        $(
            struct $name;

            #[notification_endpoint(register = false, name = $text, order = $place)]
            impl $name {
                async fn info(
                    &self,
                    payload: Payload,
                    info: &DeliveryInfo,
                    log: State<Log>,
                    life: State<Life>,
                ) -> Result<Outcome, listener::BoxError> {
                    call((&log, &life), $place, payload, info).await
                }
            }
        )+
    };
}

endpoints!(Alpha = "alpha" at 0, Beta = "beta" at 1, Gamma = "gamma" at 2, Delta = "delta" at 3);

/// The listener of one process.
pub(crate) fn listener(
    script: &Script,
    program: Program,
    log: &Log,
    life: &Life,
    transport: Transport,
) -> Listener {
    let mut builder = Listener::builder()
        .transport(transport)
        .options(script.options)
        .state(log.clone())
        .state(life.clone())
        .observer(Counting { log: log.clone(), life: life.clone() });
    if script.has_inbox {
        builder = builder.inbox(Shared { log: log.clone(), life: life.clone() });
    }
    let builder = match program {
        Program::First => builder.endpoint(Alpha).endpoint(Beta).endpoint(Gamma),
        Program::Second => builder.endpoint(Delta).pool(POOL),
    };
    builder.build().unwrap()
}

/// Counts what is quarantined by a process that lives.
struct Counting {
    log: Log,
    life: Life,
}

impl Observer for Counting {
    fn observe(&self, event: &Event<'_>) {
        if matches!(event, Event::Quarantined { .. }) && !self.life.is_over() {
            self.log.quarantined.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// What all processes have handled, as in a database that they share.
#[derive(Debug, Default)]
struct Inboxes {
    handled: BTreeSet<(String, String)>,
    /// How often it was asked.
    asked: u64,
}

/// The inbox of a process. Now and then it does not answer, or fails.
struct Shared {
    log: Log,
    life: Life,
}

impl Shared {
    /// Whether it answers, by the seed.
    async fn answer(&self) -> Result<(), listener::BoxError> {
        let asked = {
            let mut inboxes = self.log.inboxes();
            inboxes.asked += 1;
            inboxes.asked
        };
        let fate = fastrand::Rng::with_seed(self.log.seed ^ (asked << 20)).u8(0..100);
        match fate {
            _ if self.life.is_over() => std::future::pending().await,
            0..4 => std::future::pending().await,
            4..8 => Err("the database is away".into()),
            _ => Ok(()),
        }
    }
}

impl Inbox for Shared {
    fn contains<'a>(
        &'a self,
        entry: InboxEntry<'a>,
    ) -> BoxFuture<'a, Result<bool, listener::BoxError>> {
        Box::pin(async move {
            self.answer().await?;
            let key = (entry.message_id.to_owned(), entry.method.to_owned());
            Ok(self.log.inboxes().handled.contains(&key))
        })
    }

    fn insert<'a>(
        &'a self,
        entry: InboxEntry<'a>,
    ) -> BoxFuture<'a, Result<(), listener::BoxError>> {
        Box::pin(async move {
            self.answer().await?;
            let key = (entry.message_id.to_owned(), entry.method.to_owned());
            self.log.inboxes().handled.insert(key);
            Ok(())
        })
    }
}

/// How often each endpoint was called for each notification, and how often it handled it.
pub(crate) fn count(calls: &[Call]) -> BTreeMap<(u32, usize), (u64, u64)> {
    let mut counts: BTreeMap<(u32, usize), (u64, u64)> = BTreeMap::new();
    for call in calls {
        let (called, handled) = counts.entry((call.payload.number, call.endpoint)).or_default();
        *called += 1;
        *handled += u64::from(call.handled);
    }
    counts
}
