//! The endpoints of a simulated listener, and the log of their calls. The result of a call depends only
//! on the seed, the notification, the endpoint and the number of earlier calls, not on its time or
//! process.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use listener::observe::{Event, Observer};
use listener::{
    Batch, BatchItem, BatchOutcome, DeliveryInfo, Inbox, InboxEntry, Listener, Outcome, State,
    Transport, notification_endpoint,
};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::script::{POOL, Program, Script};

/// The names of the endpoints in copy headers.
pub(crate) const ENDPOINTS: [&str; 4] = ["alpha::info", "beta::info", "gamma::info", "delta::info"];

/// The program of an endpoint.
pub(crate) const fn program(endpoint: usize) -> Program {
    if endpoint == 3 { Program::Second } else { Program::First }
}

/// The payload. The text repeats the number, so that a corrupted payload is found.
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

/// One call of an endpoint by a live process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// Since the start of the script.
    pub(crate) at: Duration,
    pub(crate) payload: Payload,
    /// Its index in `ENDPOINTS`.
    pub(crate) endpoint: usize,
    pub(crate) redelivered: bool,
    pub(crate) handled: bool,
}

/// The log of all processes of a script.
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

/// Whether a process is alive. Actions of a dead process are ignored.
#[derive(Clone, Debug, Default)]
pub(crate) struct Life {
    dead: Arc<AtomicBool>,
    dying: Arc<AtomicBool>,
}

impl Life {
    pub(crate) fn end(&self) {
        self.dead.store(true, Ordering::SeqCst);
    }

    /// Whether a notification has ended the process, so that the run has to kill it.
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

    /// How many deliveries were quarantined.
    pub(crate) fn quarantined(&self) -> u64 {
        self.quarantined.load(Ordering::SeqCst)
    }

    /// Records a call. Returns its index in the log, and the number of earlier calls.
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

/// The result of a call.
#[derive(Clone, Copy, Debug)]
enum CallResult {
    Handled,
    Slow(f64),
    Hangs,
    Errs,
    ErrsForGood,
    Panics,
    AsksAgain,
    GivesUp,
}

fn call_result(seed: u64, endpoint: usize, number: u32, before: usize) -> CallResult {
    let which = (u64::from(number) << 16) | ((endpoint as u64) << 12) | before as u64;
    let mut chance = fastrand::Rng::with_seed(seed.rotate_left(32) ^ which);
    match chance.u8(0..100) {
        0..58 => CallResult::Handled,
        58..72 => CallResult::Slow(chance.f64()),
        72..75 => CallResult::Hangs,
        75..85 => CallResult::Errs,
        85..89 => CallResult::ErrsForGood,
        89..94 => CallResult::Panics,
        94..97 => CallResult::AsksAgain,
        _ => CallResult::GivesUp,
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
    match call_result(log.seed, endpoint, number, before) {
        CallResult::Handled => {}
        CallResult::Slow(part) => tokio::time::sleep(log.slow.mul_f64(part)).await,
        CallResult::Hangs => tokio::time::sleep(log.hang).await,
        CallResult::Errs => return Err("it failed".into()),
        CallResult::ErrsForGood => return Err(listener::permanent("it fails always").into()),
        // Unlike `panic!` this prints nothing.
        CallResult::Panics => std::panic::resume_unwind(Box::new("it panicked")),
        CallResult::AsksAgain => return Ok(Outcome::retry()),
        CallResult::GivesUp => return Ok(Outcome::dead_letter("it gives up")),
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

endpoints!(Alpha = "alpha" at 0, Gamma = "gamma" at 2, Delta = "delta" at 3);

/// The index of `Beta`, which takes batches.
const BATCHES: usize = 1;

/// Takes batches. A panic or a call that does not return fails for the whole batch.
struct Beta;

#[notification_endpoint(register = false, name = "beta", order = 1)]
impl Beta {
    #[on(info, batch(size = 3, timeout = "300ms"))]
    async fn info(
        &self,
        batch: Batch<'_, Payload>,
        log: State<Log>,
        life: State<Life>,
    ) -> BatchOutcome {
        let (log, life) = (&*log, &*life);
        let each = async |item: BatchItem<'_, Payload>| {
            let info = item.notification().delivery();
            call((log, life), BATCHES, item.payload, info).await
        };
        batch.each_concurrent(3, each).await
    }
}

/// How often the endpoint may be called for a notification with this number of attempts, and how often it may
/// handle it: a batch that fails for another notification is called again, and before a dead letter each
/// notification alone.
pub(crate) fn bounds(endpoint: usize, attempts: u64) -> (u64, u64) {
    if endpoint == BATCHES { (attempts + 1, attempts + 1) } else { (attempts, 1) }
}

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
        .options(script.options.clone())
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

/// Counts deliveries quarantined by live processes.
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

/// What all processes have handled, like a shared database.
#[derive(Debug, Default)]
struct Inboxes {
    handled: BTreeSet<(String, String)>,
    /// How many lookups and inserts were made.
    asked: u64,
}

/// The inbox of a process. Sometimes it hangs or fails.
struct Shared {
    log: Log,
    life: Life,
}

impl Shared {
    /// Answers, hangs or fails, depending on the seed.
    async fn answer(&self) -> Result<(), listener::BoxError> {
        let asked = {
            let mut inboxes = self.log.inboxes();
            inboxes.asked += 1;
            inboxes.asked
        };
        let call_result = fastrand::Rng::with_seed(self.log.seed ^ (asked << 20)).u8(0..100);
        match call_result {
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
