//! Copies of a delivery: retries that the broker holds back, dead letters, and what is
//! quarantined. One that cannot be made is tried again with growing pauses, and told as a pause of the
//! listener; what its original waits for is in `worker.rs`, who settles it in `settlement.rs`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::observer::{Event, Observers};
use crate::runtime::health::Pause;
use crate::runtime::judge::policy::{Copy, Destination};
use crate::runtime::schedule::permit;
use crate::runtime::settle::copy_headers::{self, CopyHeaders};
use crate::runtime::suspect::quarantine::{Closed, Gate};
use crate::shown::{LONGEST_ERROR, error_text, shortened};
use crate::target::dead_letter_queue;
use crate::transport::Transport;
use crate::transport::delivery::{Delivery, Headers, Properties};
use crate::transport::driver::{LONGEST_DELAY, Outgoing, Route};
use crate::transport::error::SendError;

/// How much of a delivery a copy of it keeps. All headers share one AMQP frame, which is 128 KiB
/// by default and 4 KiB at least: a copy that the broker does not take for that is made again in
/// the next form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// The headers and properties of the original, and all there is to say.
    Whole,
    /// No headers of the original, but for the one without which its body cannot be read; what is
    /// said is cut.
    Short,
    /// Hardly more than the body and where it came from: what fits any frame.
    Least,
}

impl Form {
    /// The next one that takes less; none after the least.
    const fn less(self) -> Option<Self> {
        match self {
            Self::Whole => Some(Self::Short),
            Self::Short => Some(Self::Least),
            Self::Least => None,
        }
    }

    /// How much room the headers of the original may take, in bytes of a frame.
    const fn room(self) -> usize {
        match self {
            Self::Whole => 100_000,
            Self::Short | Self::Least => 0,
        }
    }

    /// The longest text of an error, in bytes.
    const fn error(self) -> usize {
        match self {
            Self::Whole => LONGEST_ERROR,
            Self::Short | Self::Least => 256,
        }
    }

    /// The most that the names of those that owe it may take. A list that takes more is left out
    /// whole, so that everybody owes it: rather twice than never.
    const fn names(self) -> usize {
        match self {
            Self::Whole => usize::MAX,
            Self::Short => 1024,
            Self::Least => 256,
        }
    }
}

/// The pauses between attempts to make a copy.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// For how long no method begins while an attempt is made after one that has failed: as a rule the
/// next one takes all of its time too.
const SHORT: Duration = Duration::from_secs(2);

/// An attempt that was not confirmed in time is sent again, and the broker may have both. The
/// next one may take this many times as long, up to `MOST_PATIENCE` times the usual.
const MORE_PATIENCE: u32 = 4;
const MOST_PATIENCE: u32 = 64;

/// How long attempts may take longer than usual after the last one that needed it.
const PATIENT_FOR: Duration = Duration::from_secs(60 * 60);

/// How long an attempt to make a copy may take: longer where the broker has shown that it confirms
/// slowly, so that few copies are sent twice.
#[derive(Debug)]
struct Patience {
    usual: Duration,
    /// More than usual, and since when nothing has needed it.
    more: Mutex<Option<(Duration, Instant)>>,
}

impl Patience {
    const fn new(usual: Duration) -> Self {
        Self { usual, more: Mutex::new(None) }
    }

    fn get(&self) -> Duration {
        let more = *self.lock();
        let more = more.filter(|(_, needed)| needed.elapsed() < PATIENT_FOR);
        more.map_or(self.usual, |(more, _)| more)
    }

    /// An attempt that might take `after` was not confirmed by then. Concurrent ones count once.
    fn timed_out(&self, after: Duration) {
        let longer = after.saturating_mul(MORE_PATIENCE);
        let longer = longer.min(self.usual.saturating_mul(MOST_PATIENCE)).max(self.get());
        *self.lock() = Some((longer, Instant::now()));
    }

    /// A confirmation took longer than usual.
    fn still_needed(&self) {
        if let Some((_, needed)) = &mut *self.lock() {
            *needed = Instant::now();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<(Duration, Instant)>> {
        self.more.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes copies.
#[derive(Debug)]
pub(crate) struct Copier {
    pub(crate) transport: Transport,
    pub(crate) timeout: Duration,
    patience: Patience,
    /// How long a delivery is held of which no copy can ever be made.
    hold: Duration,
    troubles: Troubles,
    refused: AtomicU64,
}

/// Why a copy was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotMade {
    /// The listener stopped, or the session is over: the broker gives the original out again.
    Abandoned,
    /// The broker cannot hold it back.
    NoDelay,
    /// The broker never takes it, whatever is waited for.
    Refused,
    /// Its delivery was held for as long as it may be.
    Overdue,
}

/// Why a suspect was not quarantined.
#[derive(Debug)]
pub(crate) enum NotMoved {
    /// The listener stopped, or the session is over: the broker gives it out again.
    Abandoned,
    /// The broker does not take it, whatever is waited for.
    Impossible(SendError),
}

impl Copier {
    pub(crate) fn new(transport: Transport, timeout: Duration, hold: Duration) -> Self {
        let (troubles, refused) = (Troubles::default(), AtomicU64::new(0));
        Self { transport, timeout, patience: Patience::new(timeout), hold, troubles, refused }
    }

    /// Makes a copy, again and again until it is confirmed, or its delivery may be held no longer. A
    /// gate is closed at the beginning of each attempt (`in_time`), and from its end until what is given
    /// back is dropped: the original is acknowledged first.
    pub(crate) async fn make(
        &self,
        (delivery, copy_headers): (&Delivery, &CopyHeaders),
        copy: &Copy,
        until: Option<Instant>,
        gate: Option<&Gate>,
        stop: &CancellationToken,
        observers: &Observers,
    ) -> Result<Option<Closed>, NotMade> {
        let source = &copy_headers.origin.queue;
        let route = match copy.to {
            Destination::Later(delay) => {
                let delay = delay.min(LONGEST_DELAY);
                Route::Delayed { queue: source.to_string(), delay }
            }
            Destination::Dead(_) => Route::Queue(dead_letter_queue(source)),
        };
        let (mut pause, mut form) = (FIRST_PAUSE, Form::Whole);
        let mut trouble = None;
        loop {
            // Of a session that is over the broker gives the original out again: a copy would be
            // a second one.
            if delivery.is_over() {
                return Err(NotMade::Abandoned);
            }
            let mut moving = gate.map(Gate::close);
            let properties = properties(delivery, copy_headers, copy, form);
            // An attempt is let finish: one that is broken off may have been sent all the same.
            let mut sending = pin!(self.send(&route, delivery, properties, until));
            let sent = match self.in_time(sending.as_mut(), trouble.is_some()).await {
                Some(sent) => sent,
                None => {
                    // Methods begin meanwhile: nobody knows how long it takes.
                    drop(moving.take());
                    if trouble.is_none() {
                        let error = error_text(&self.late(&route));
                        tracing::error!(
                            queue = %source,
                            to = queue_of(&route),
                            error,
                            "a copy is not confirmed yet: its delivery stays unacknowledged until it is"
                        );
                        self.report(&mut trouble, &route, &copy.owed, &error, observers);
                    }
                    let sent = unless_over(delivery, sending).await;
                    moving = gate.map(Gate::close);
                    sent.ok_or(NotMade::Abandoned)?
                }
            };
            let error = match sent {
                Ok(()) => {
                    drop(trouble);
                    self.troubles.made(queue_of(&route), observers);
                    return Ok(moving);
                }
                Err(SendError::NoDelay { reason, .. }) => {
                    let reason = error_text(&reason);
                    tracing::warn!(queue = %source, reason, "retries are held in the process");
                    return Err(NotMade::NoDelay);
                }
                Err(error @ SendError::HeadersTooLarge { .. }) => match form.less() {
                    Some(less) => {
                        form = less;
                        continue;
                    }
                    None => error,
                },
                Err(error) => error,
            };
            drop(moving);
            if error.is_of_the_message() {
                drop(trouble);
                return Err(self.refused(delivery, copy, &route, &error));
            }
            let error = error_text(&error);
            tracing::error!(
                queue = %source,
                to = queue_of(&route),
                error,
                ?pause,
                "a copy could not be made: its delivery stays unacknowledged until it can"
            );
            self.report(&mut trouble, &route, &copy.owed, &error, observers);
            if until.is_some_and(|until| Instant::now() + pause > until) {
                return Err(NotMade::Overdue);
            }
            let paused = stop.run_until_cancelled(tokio::time::sleep(pause)).await;
            if paused.is_none() {
                return Err(NotMade::Abandoned);
            }
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    }

    /// What follows when the broker never takes a copy. A retry is held in the process. A
    /// delivery whose dead letter cannot be made stays with the broker, for there is no other
    /// place where nothing of it is lost: `worker.rs` holds it for a while, so that it is not
    /// redelivered at once.
    fn refused(
        &self,
        delivery: &Delivery,
        copy: &Copy,
        route: &Route,
        error: &SendError,
    ) -> NotMade {
        let (queue, to) = (&delivery.info.queue, queue_of(route));
        let error = error_text(error);
        if let Destination::Later(_) = copy.to {
            tracing::warn!(%queue, to, error, "the broker never takes this copy: the retry is held in the process");
            return NotMade::NoDelay;
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        tracing::error!(
            %queue,
            to,
            error,
            methods = copy.owed_names(),
            held = ?self.hold,
            "the broker never takes this dead letter: its delivery is held, then released to its queue, and comes again; raise the broker's limit, or take the message out of the queue"
        );
        NotMade::Refused
    }

    /// How many dead letters the broker never took.
    pub(crate) fn refused_count(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    async fn send(
        &self,
        route: &Route,
        delivery: &Delivery,
        properties: Properties,
        until: Option<Instant>,
    ) -> Result<(), SendError> {
        let (route, body) = (route.clone(), delivery.body.clone());
        let (timeout, began) = (self.timeout_until(until), Instant::now());
        let outgoing = Outgoing { route, body, properties, timeout };
        let sent = self.transport.send(outgoing).await;
        match &sent {
            Err(SendError::TimedOut { .. }) => self.patience.timed_out(timeout),
            Ok(()) if began.elapsed() > self.timeout => self.patience.still_needed(),
            _ => {}
        }
        sent
    }

    /// How long an attempt may take now: no longer than its delivery may be held, but the usual time
    /// at least.
    fn timeout_until(&self, until: Option<Instant>) -> Duration {
        let patience = self.patience.get();
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        left.map_or(patience, |left| patience.min(left.max(self.timeout)))
    }

    /// Tells that a copy cannot be made at present; `methods` pause until it can.
    fn report<'t>(
        &'t self,
        trouble: &mut Option<Ongoing<'t>>,
        route: &Route,
        methods: &[String],
        error: &str,
        observers: &Observers,
    ) {
        trouble
            .get_or_insert_with(|| self.troubles.begin(queue_of(route), methods))
            .says(error, observers);
    }

    /// Waits for an attempt for the usual time, and for a short one after an attempt that has failed.
    /// `None` if it goes on, for it has more.
    async fn in_time<T>(
        &self,
        sending: Pin<&mut impl Future<Output = T>>,
        has_failed: bool,
    ) -> Option<T> {
        if self.patience.get() <= self.timeout && !has_failed {
            return Some(sending.await);
        }
        let limit = if has_failed { self.timeout.min(SHORT) } else { self.timeout };
        tokio::time::timeout(limit, sending).await.ok()
    }

    /// What is said of an attempt that goes on after the usual time.
    fn late(&self, route: &Route) -> SendError {
        let (route, last) = (route.to_string(), self.transport.obstacle());
        SendError::TimedOut { route, after: self.timeout, last }
    }

    /// Puts a copy straight into a queue, such as a suspect into its quarantine queue, again and again with growing pauses
    /// while the broker has no room or is away, but for no longer than `hold`. The gate is closed
    /// as in `make`.
    #[expect(clippy::too_many_arguments, reason = "all of the listener that an attempt needs")]
    pub(crate) async fn move_to(
        &self,
        route: &Route,
        delivery: &Delivery,
        copy_headers: &CopyHeaders,
        hold: Duration,
        stop: &CancellationToken,
        gate: &Gate,
        observers: &Observers,
    ) -> Result<Closed, NotMoved> {
        let began = Instant::now();
        let mut pause = FIRST_PAUSE;
        let mut trouble = None;
        loop {
            let mut moving = gate.close();
            let mut putting = pin!(self.put(route, delivery, copy_headers));
            let put = match self.in_time(putting.as_mut(), trouble.is_some()).await {
                Some(put) => put,
                None => {
                    // Methods begin meanwhile: nobody knows how long it takes.
                    drop(moving);
                    if trouble.is_none() {
                        let error = error_text(&self.late(route));
                        self.report(&mut trouble, route, &[], &error, observers);
                    }
                    let put = unless_over(delivery, putting);
                    let rest = hold.saturating_sub(began.elapsed()).max(self.timeout);
                    let put = tokio::time::timeout(rest, put).await;
                    moving = gate.close();
                    put.unwrap_or_else(|_| Some(Err(self.late(route))))
                        .ok_or(NotMoved::Abandoned)?
                }
            };
            let Err(error) = put else {
                drop(trouble);
                self.troubles.made(queue_of(route), observers);
                return Ok(moving);
            };
            drop(moving);
            if !error.is_transient() || began.elapsed().saturating_add(pause) > hold {
                return Err(NotMoved::Impossible(error));
            }
            let (source, queue) = (&delivery.info.queue, queue_of(route));
            let error = error_text(&error);
            tracing::warn!(%source, to = queue, error, ?pause, "a delivery is held: it could not be moved");
            self.report(&mut trouble, route, &[], &error, observers);
            let paused = stop.run_until_cancelled(tokio::time::sleep(pause)).await;
            if paused.is_none() || delivery.is_over() {
                return Err(NotMoved::Abandoned);
            }
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    }

    /// Tries once to put a copy with these headers at the end of the queue that a delivery was taken
    /// from: nobody else is called again for it. Whether it is confirmed.
    pub(crate) async fn replace(&self, delivery: &Delivery, copy_headers: &CopyHeaders) -> bool {
        let route = Route::Queue(delivery.info.queue.to_string());
        match unless_over(delivery, self.put(&route, delivery, copy_headers)).await {
            Some(Ok(())) => true,
            // It is redelivered.
            None => false,
            Some(Err(error)) => {
                tracing::warn!(
                    queue = %delivery.info.queue,
                    error = error_text(&error),
                    "no copy for the methods that still owe a notification could be made"
                );
                false
            }
        }
    }

    async fn put(
        &self,
        route: &Route,
        delivery: &Delivery,
        copy_headers: &CopyHeaders,
    ) -> Result<(), SendError> {
        let mut form = Form::Whole;
        loop {
            let mut properties = kept(delivery, form);
            bounded(copy_headers.clone(), form).write(&mut properties.headers);
            match self.send(route, delivery, properties, None).await {
                Err(error @ SendError::HeadersTooLarge { .. }) => match form.less() {
                    Some(less) => form = less,
                    None => return Err(error),
                },
                sent => return sent,
            }
        }
    }

    /// Whether some copies cannot be made at present.
    pub(crate) fn has_troubles(&self) -> bool {
        self.troubles.any.load(Ordering::Acquire)
    }

    /// Waits while copies cannot be made for this method.
    pub(crate) async fn wait_for(&self, method: &str) {
        self.troubles.wait_for(method).await;
    }

    /// What cannot be made at present.
    pub(crate) fn pauses(&self) -> Vec<Pause> {
        self.troubles.pauses()
    }
}

/// Waits for an attempt that takes long, unless the session of the delivery ends: the broker gives
/// the original out again, and the driver would send the copy over the next connection.
async fn unless_over<T>(delivery: &Delivery, sending: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        sent = sending => Some(sent),
        () = permit::ended(delivery) => None,
    }
}

fn queue_of(route: &Route) -> &str {
    match route {
        Route::Queue(queue) | Route::Quarantine(queue) | Route::Delayed { queue, .. } => queue,
        Route::Topic { routing_key, .. } => routing_key,
    }
}

/// What the copy says.
fn properties(
    delivery: &Delivery,
    copy_headers: &CopyHeaders,
    copy: &Copy,
    form: Form,
) -> Properties {
    let mut properties = kept(delivery, form);
    let owed = (!copy.owed.is_empty()).then(|| copy.owed.clone());
    let first_time = Some(copy_headers.first_time.unwrap_or_else(copy_headers::now));
    let remaining = match copy.to {
        Destination::Later(delay) => copy_headers::remaining_after_longest(delay),
        Destination::Dead(_) => None,
    };
    let copy_headers = CopyHeaders { owed, first_time, remaining, ..copy_headers.clone() };
    bounded(copy_headers, form).write(&mut properties.headers);
    if let Destination::Dead(reason) = copy.to {
        properties.headers.set(copy_headers::REASON, reason.into());
        properties.headers.set(copy_headers::ERROR, shortened(&copy.error, form.error()).into());
    }
    properties
}

/// The headers, without the names of those that owe it if those take too much.
fn bounded(copy_headers: CopyHeaders, form: Form) -> CopyHeaders {
    let size = |owed: &Vec<String>| owed.iter().map(|name| name.len() + 5).sum::<usize>();
    CopyHeaders {
        owed: copy_headers.owed.filter(|owed| size(owed) <= form.names()),
        ..copy_headers
    }
}

/// The properties of the original, as far as they may stand on a copy: every copy begins with
/// these.
fn kept(delivery: &Delivery, form: Form) -> Properties {
    let mut properties = delivery.properties.clone();
    properties.headers.remove_broker_owned();
    if properties.headers.size() > form.room() {
        let compression = properties.headers.text("compression").map(|text| shortened(text, 255));
        let mut headers = Headers::default();
        headers.set(copy_headers::HEADERS, "too large to be kept".into());
        // Without it the body could not be read any more.
        if let Some(compression) = compression {
            headers.set("compression", compression.into());
        }
        properties.headers = headers;
    }
    match form {
        Form::Whole | Form::Short => properties,
        Form::Least => Properties {
            content_type: properties.content_type,
            content_encoding: properties.content_encoding,
            headers: properties.headers,
            priority: properties.priority,
            ..Properties::default()
        },
    }
}

/// The copies that cannot be made at present.
#[derive(Debug, Default)]
struct Troubles {
    open: Mutex<Open>,
    /// Whether there are any: looked at before each call.
    any: AtomicBool,
    /// Whether it is told of any queue: looked at after each copy.
    any_told: AtomicBool,
    over: Notify,
}

#[derive(Debug, Default)]
struct Open {
    last: u64,
    by_number: BTreeMap<u64, Trouble>,
    /// How many of them each method waits for: asked before each call.
    by_method: HashMap<String, usize>,
    /// The queues of which it is told that no copy can be made, and not yet that one was.
    told: BTreeSet<String>,
}

#[derive(Debug)]
struct Trouble {
    queue: String,
    methods: Vec<String>,
    reason: String,
    since: Instant,
}

/// A copy that cannot be made, until this is dropped.
struct Ongoing<'t> {
    troubles: &'t Troubles,
    number: u64,
}

impl Troubles {
    fn begin(&self, queue: &str, methods: &[String]) -> Ongoing<'_> {
        let trouble = Trouble {
            queue: queue.to_owned(),
            methods: methods.to_vec(),
            reason: String::new(),
            since: Instant::now(),
        };
        let mut open = self.lock();
        open.last += 1;
        let number = open.last;
        for method in methods {
            *open.by_method.entry(method.clone()).or_default() += 1;
        }
        open.by_number.insert(number, trouble);
        self.any.store(true, Ordering::Release);
        Ongoing { troubles: self, number }
    }

    /// A copy was made.
    fn made(&self, queue: &str, observers: &Observers) {
        if !self.any_told.load(Ordering::Acquire) {
            return;
        }
        let mut open = self.lock();
        // Others may still wait: one that fails again tells of it again.
        let is_over = open.told.remove(queue);
        self.any_told.store(!open.told.is_empty(), Ordering::Release);
        drop(open);
        if is_over {
            observers.tell(&Event::Resumed { queue });
        }
    }

    async fn wait_for(&self, method: &str) {
        loop {
            let mut over = std::pin::pin!(self.over.notified());
            // So that one that ends right after the look is not missed.
            over.as_mut().enable();
            if !self.lock().by_method.contains_key(method) {
                return;
            }
            over.await;
        }
    }

    /// One for each queue, with all the methods that wait for it.
    fn pauses(&self) -> Vec<Pause> {
        let mut pauses: BTreeMap<String, Pause> = BTreeMap::new();
        for trouble in self.lock().by_number.values() {
            let since = trouble.since.elapsed();
            let pause = pauses.entry(trouble.queue.clone()).or_insert_with(|| Pause {
                queue: trouble.queue.clone(),
                methods: Vec::new(),
                reason: String::new(),
                since,
            });
            pause.since = pause.since.max(since);
            pause.reason.clone_from(&trouble.reason);
            pause.methods.extend(trouble.methods.iter().cloned());
            pause.methods.sort();
            pause.methods.dedup();
        }
        pauses.into_values().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ongoing<'_> {
    fn says(&self, reason: &str, observers: &Observers) {
        let mut open = self.troubles.lock();
        let Some(trouble) = open.by_number.get_mut(&self.number) else { return };
        reason.clone_into(&mut trouble.reason);
        let queue = trouble.queue.clone();
        let is_new = open.told.insert(queue.clone());
        self.troubles.any_told.store(true, Ordering::Release);
        drop(open);
        if is_new {
            observers.tell(&Event::Paused { queue: &queue, reason });
        }
    }
}

impl Drop for Ongoing<'_> {
    fn drop(&mut self) {
        let mut open = self.troubles.lock();
        let ended = open.by_number.remove(&self.number);
        for method in ended.iter().flat_map(|trouble| &trouble.methods) {
            match open.by_method.get_mut(method) {
                Some(count) if *count > 1 => *count -= 1,
                _ => drop(open.by_method.remove(method)),
            }
        }
        self.troubles.any.store(!open.by_number.is_empty(), Ordering::Release);
        drop(open);
        self.troubles.over.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use futures_util::FutureExt;
    use futures_util::future::BoxFuture;

    use super::*;
    use crate::notification::delivery_info::DeliveryInfo;
    use crate::transport::delivery::{HeaderValue, Settle, Settlement, Settler};
    use crate::transport::driver::{Driver, Subscribed, Subscription};
    use crate::transport::error::{ConnectError, SettleError};

    const HOLD: Duration = Duration::from_secs(900);

    /// A broker that only sends: its answer to each message, and what it was given.
    #[derive(Clone)]
    struct Broker {
        answer: fn(&Outgoing) -> Result<(), SendError>,
        sent: Arc<Mutex<Vec<Outgoing>>>,
    }

    impl Broker {
        fn new(answer: fn(&Outgoing) -> Result<(), SendError>) -> Self {
            Self { answer, sent: Arc::default() }
        }

        fn copier(&self) -> Copier {
            let transport = Transport::new(self.clone(), "test");
            Copier::new(transport, Duration::from_secs(1), HOLD)
        }

        fn sent(&self) -> Vec<Outgoing> {
            std::mem::take(&mut self.sent.lock().expect("no test panics with it"))
        }
    }

    impl Driver for Broker {
        fn subscribe(&self, _: Subscription) -> BoxFuture<'_, Result<Subscribed, ConnectError>> {
            std::future::pending().boxed()
        }

        fn send(&self, outgoing: Outgoing) -> BoxFuture<'_, Result<(), SendError>> {
            let answer = (self.answer)(&outgoing);
            self.sent.lock().expect("no test panics with it").push(outgoing);
            std::future::ready(answer).boxed()
        }

        fn close(&self) -> BoxFuture<'_, ()> {
            std::future::ready(()).boxed()
        }
    }

    struct Stands;

    impl Settler for Stands {
        fn settle(&self, _: u64, _: Settle) -> Result<(), SettleError> {
            Ok(())
        }

        fn is_over(&self) -> bool {
            false
        }
    }

    fn delivery(properties: Properties) -> Delivery {
        Delivery::new(
            Bytes::from_static(b"body"),
            properties,
            DeliveryInfo::new("q", "nova", "notifications.info"),
            Settlement::new(Arc::new(Stands), 1),
        )
    }

    /// The copy of each kind that a listener makes of a delivery, as it is sent.
    async fn every_copy(delivery: &Delivery) -> Vec<Outgoing> {
        every_copy_by(&Broker::new(|_| Ok(())), delivery, "no").await
    }

    async fn every_copy_by(broker: &Broker, delivery: &Delivery, error: &str) -> Vec<Outgoing> {
        let (copier, observers) = (broker.copier(), Observers::default());
        let stop = CancellationToken::new();
        let copy_headers = CopyHeaders::read(&delivery.properties, &delivery.info, |_| true);
        let long = Duration::from_secs(60);
        for to in [Destination::Later(long), Destination::Dead("error")] {
            let owed = copy_headers.owed.clone().unwrap_or_else(|| vec!["a::info".to_owned()]);
            let copy = Copy { to, owed, error: error.to_owned() };
            copier
                .make((delivery, &copy_headers), &copy, None, None, &stop, &observers)
                .await
                .expect("it is taken");
        }
        let gate = Gate::default();
        let to = Route::Quarantine("q.quarantine".to_owned());
        let moved = copier.move_to(&to, delivery, &copy_headers, long, &stop, &gate, &observers);
        drop(moved.await.expect("it is taken"));
        broker.sent()
    }

    #[tokio::test]
    async fn no_copy_says_what_only_a_broker_may_say() {
        let names = [
            "x-death",
            "x-first-death-queue",
            "x-last-death-reason",
            "x-delivery-count",
            "x-acquired-count",
            "x-stream-offset",
            "CC",
            "BCC",
            "tenant",
        ];
        let headers = names.map(|name| (name.to_owned(), HeaderValue::Int(7)));
        let properties =
            Properties { headers: headers.into_iter().collect(), ..Properties::default() };
        for copy in every_copy(&delivery(properties)).await {
            let kept = copy.properties.headers.iter().map(|(name, _)| name);
            let kept: Vec<_> = kept.filter(|name| !name.starts_with("listener-")).collect();
            assert_eq!(kept, ["tenant"], "{:?}", copy.route);
        }
    }

    #[tokio::test]
    async fn every_copy_keeps_the_properties_of_its_original() {
        let properties = Properties {
            content_type: Some("text/plain".into()),
            content_encoding: Some("latin-1".into()),
            headers: Headers::from_iter([("tenant".to_owned(), HeaderValue::Int8(7))]),
            priority: Some(5),
            correlation_id: Some("req-1".into()),
            reply_to: Some("replies".into()),
            message_id: Some("8f4c".into()),
            timestamp: Some(1_778_311_773),
            kind: Some("event".into()),
            app_id: Some("nova".into()),
        };
        for copy in every_copy(&delivery(properties.clone())).await {
            let mut kept = copy.properties;
            let own = kept.headers.iter().filter(|(name, _)| !name.starts_with("listener-"));
            kept.headers = own.map(|(name, value)| (name.to_owned(), value.clone())).collect();
            assert!(kept == properties, "{:?} has {kept:?}", copy.route);
        }
    }

    /// All that a publisher can make large, as large as a frame of 128 KiB lets it be.
    fn large() -> Delivery {
        let text = |length: usize| HeaderValue::Text("x".repeat(length));
        let short = || Some("x".repeat(255).into_boxed_str());
        let names = (0..200).map(|n| HeaderValue::Text(format!("{n}::{}", "x".repeat(600))));
        let mut headers = Headers::default();
        headers.set(copy_headers::ENDPOINTS, HeaderValue::List(names.collect()));
        headers.set(copy_headers::EXCHANGE, text(255));
        headers.set(copy_headers::ROUTING_KEY, text(255));
        headers.set("compression", text(2000));
        headers.set("tenant", text(5000));
        delivery(Properties {
            content_type: Some("x".repeat(255).into()),
            content_encoding: Some("x".repeat(255).into()),
            headers,
            priority: Some(5),
            correlation_id: short(),
            reply_to: short(),
            message_id: short(),
            timestamp: Some(1),
            kind: short(),
            app_id: short(),
        })
    }

    const LIMIT: usize = 3000;

    #[tokio::test]
    async fn every_copy_of_any_delivery_has_a_form_that_fits_the_smallest_frame() {
        let broker = Broker::new(|outgoing| match outgoing.properties.size() {
            size if size > LIMIT => {
                Err(SendError::HeadersTooLarge { route: outgoing.route.to_string(), limit: LIMIT })
            }
            _ => Ok(()),
        });
        let sent = every_copy_by(&broker, &large(), &"e".repeat(100_000)).await;
        let fit = sent.iter().filter(|copy| copy.properties.size() <= LIMIT);
        assert_eq!(fit.count(), 3, "a retry, a dead letter, and a quarantined one");
        for copy in sent.iter().filter(|copy| copy.properties.size() <= LIMIT) {
            let said = copy.properties.headers.text(copy_headers::HEADERS);
            assert_eq!(said, Some("too large to be kept"), "{:?}", copy.route);
            assert_eq!(copy.properties.headers.text(copy_headers::QUEUE), Some("q"));
        }
    }

    fn too_large(outgoing: &Outgoing) -> Result<(), SendError> {
        let route = outgoing.route.to_string();
        Err(SendError::TooLarge { route, size: outgoing.body.len(), limit: 1 })
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_broker_never_takes_is_tried_once_and_pauses_nobody() {
        let broker = Broker::new(too_large);
        let (copier, observers) = (broker.copier(), Observers::default());
        let (delivery, stop) = (delivery(Properties::default()), CancellationToken::new());
        let copy_headers = CopyHeaders::read(&delivery.properties, &delivery.info, |_| true);
        let make = |to| {
            let copy = Copy { to, owed: vec!["a::info".to_owned()], error: "no".to_owned() };
            let (copier, delivery, copy_headers, stop) = (&copier, &delivery, &copy_headers, &stop);
            let observers = &observers;
            async move {
                let made =
                    copier.make((delivery, copy_headers), &copy, None, None, stop, observers).await;
                made.map(drop)
            }
        };
        let began = Instant::now();
        assert_eq!(make(Destination::Later(HOLD)).await, Err(NotMade::NoDelay));
        assert_eq!(began.elapsed(), Duration::ZERO);
        let made = make(Destination::Dead("error")).await;
        assert_eq!((made, began.elapsed()), (Err(NotMade::Refused), Duration::ZERO));
        assert!(!copier.has_troubles());
        assert_eq!(copier.pauses(), []);
        assert_eq!((broker.sent().len(), copier.refused_count()), (2, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_that_time_out_are_given_more_time_until_an_hour_needs_none() {
        let seconds = Duration::from_secs;
        let patience = Patience::new(seconds(30));
        assert_eq!(patience.get(), seconds(30));
        // Two concurrent ones count once.
        for (timed_out, expected) in
            [(30, 120), (30, 120), (120, 480), (480, 1920), (1920, 1920), (30, 1920)]
        {
            patience.timed_out(seconds(timed_out));
            assert_eq!(patience.get(), seconds(expected), "{timed_out}");
        }
        tokio::time::sleep(PATIENT_FOR - seconds(1)).await;
        patience.still_needed();
        tokio::time::sleep(PATIENT_FOR - seconds(1)).await;
        assert_eq!(patience.get(), seconds(1920));
        tokio::time::sleep(seconds(1)).await;
        assert_eq!(patience.get(), seconds(30));
    }

    #[tokio::test(start_paused = true)]
    async fn a_method_waits_for_its_own_copies_only() {
        let (troubles, observers) = (Troubles::default(), Observers::default());
        let full = troubles.begin("q.dead", &["a".to_owned()]);
        full.says("it is full", &observers);
        let long = Duration::from_secs(60);
        troubles.wait_for("b").await;
        assert!(tokio::time::timeout(long, troubles.wait_for("a")).await.is_err());
        assert_eq!(
            troubles.pauses(),
            [Pause {
                queue: "q.dead".to_owned(),
                methods: vec!["a".to_owned()],
                reason: "it is full".to_owned(),
                since: long,
            }]
        );
        drop(full);
        troubles.wait_for("a").await;
        assert_eq!(troubles.pauses(), []);
    }
}
