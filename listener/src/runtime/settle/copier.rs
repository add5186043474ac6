//! Makes one copy of a delivery: a retry that the broker delays, a dead letter, or a suspect in quarantine.
//! It is attempted until the broker confirms it (`send_attempts.rs`). Which copies are made is decided in
//! `copies.rs`; the original is settled in `settlement.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::observer::Observers;
use crate::redact::error_text;
use crate::runtime::health::Pause;
use crate::runtime::judge::policy::{CopyKind, MessageCopy};
use crate::runtime::settle::copy_headers::CopyHeaders;
use crate::runtime::settle::form::{self, Form};
use crate::runtime::settle::send_attempts::{
    CopyPurpose, CopySender, SendAttempts, queue_of, unless_over,
};
use crate::runtime::suspect::gate::{Gate, GateGuard};
use crate::target::dead_letter_queue;
use crate::transport::Transport;
use crate::transport::delivery::Delivery;
use crate::transport::driver::{MAX_DELAY, MAX_TIMEOUT, Route};
use crate::transport::error::SendError;

/// Makes copies.
#[derive(Debug)]
pub(crate) struct Copier {
    sender: CopySender,
    refused: AtomicU64,
}

/// The delivery that a copy is made of.
#[derive(Clone, Copy)]
pub(crate) struct Original<'o> {
    pub(crate) delivery: &'o Delivery,
    pub(crate) copy_headers: &'o CopyHeaders,
    /// Cancelled when the listener stops.
    pub(crate) stop: &'o CancellationToken,
}

/// Why a copy was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CopyError {
    /// The listener stopped, or the session is over: the broker redelivers the original.
    Abandoned,
    /// The broker cannot delay it.
    NoDelay,
    /// The broker never accepts it.
    Refused,
    /// Its delivery was held for as long as it may be.
    Overdue,
}

/// Why a delivery was not moved.
#[derive(Debug)]
pub(crate) enum MoveError {
    /// The listener stopped, or the session is over: the broker redelivers it.
    Abandoned,
    /// The broker refused it permanently, or did not accept it within the hold.
    Failed(SendError),
}

impl Copier {
    pub(crate) fn new(transport: Transport, timeout: Duration, observers: Arc<Observers>) -> Self {
        let sender = CopySender::new(transport, timeout, observers);
        Self { sender, refused: AtomicU64::new(0) }
    }

    /// Makes a copy: repeats the attempt until one is confirmed, or until `until`, when its delivery must not
    /// be held any longer. A gate is closed at the start of each attempt (`SendAttempts::run`), and from its end
    /// until the returned value is dropped: the caller acknowledges the original first.
    pub(crate) async fn make(
        &self,
        original: Original<'_>,
        copy: &MessageCopy,
        until: Option<Instant>,
        gate: Option<&Gate>,
    ) -> Result<Option<GateGuard>, CopyError> {
        let Original { delivery, copy_headers, stop } = original;
        let source = &copy_headers.origin.queue;
        let route = route_of(copy, source);
        let mut attempts = SendAttempts::new(
            &self.sender,
            CopyPurpose::Copy { source, pending: &copy.pending },
            delivery,
            &route,
        );
        let mut form = Form::Whole;
        loop {
            // The session is over: the broker redelivers the original, and a copy would be a duplicate.
            if delivery.is_over() {
                return Err(CopyError::Abandoned);
            }
            let properties = form::properties(delivery, copy_headers, copy, form);
            let sending = self.sender.send(&route, delivery, properties, until);
            let attempt = attempts.run(sending, gate, None).await;
            let (sent, closed) = attempt.ok_or(CopyError::Abandoned)?;
            let Err(error) = sent else {
                attempts.succeeded();
                return Ok(closed);
            };
            drop(closed);
            if let SendError::HeadersTooLarge { .. } = error
                && let Some(smaller) = form.smaller()
            {
                form = smaller;
                continue;
            }
            if let SendError::NoDelay { reason, .. } = &error {
                let reason = error_text(reason);
                tracing::warn!(
                    queue = %source,
                    reason,
                    "the broker cannot delay a retry: it is held in the process, or dead-lettered if its \
                     delay is too long"
                );
                return Err(CopyError::NoDelay);
            }
            if error.is_message_rejected() {
                drop(attempts);
                return Err(self.permanent_error(delivery, copy, &route, &error));
            }
            attempts.failed(&error);
            if until.is_some_and(|until| Instant::now() + attempts.delay > until) {
                return Err(CopyError::Overdue);
            }
            if !attempts.wait(stop).await {
                return Err(CopyError::Abandoned);
            }
        }
    }

    /// The error for a copy that the broker never accepts. A retry is held in the process, or becomes a dead
    /// letter. A delivery whose dead letter cannot be made stays with the broker, because nothing of it is
    /// lost there: `copies.rs` holds it for a while, so that it is not redelivered immediately.
    fn permanent_error(
        &self,
        delivery: &Delivery,
        copy: &MessageCopy,
        route: &Route,
        error: &SendError,
    ) -> CopyError {
        let (queue, to) = (&delivery.info.queue, queue_of(route));
        let error = error_text(error);
        if let CopyKind::Retry { .. } = copy.kind {
            tracing::warn!(
                %queue,
                to,
                error,
                "the broker never accepts this retry: it is held in the process, or dead-lettered if its \
                 delay is too long"
            );
            return CopyError::NoDelay;
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        tracing::error!(
            %queue,
            to,
            error,
            methods = copy.method_names(),
            "the broker never accepts this dead letter: its delivery is held, then returned to its queue and redelivered; raise the broker's limit, or remove the message from the queue"
        );
        CopyError::Refused
    }

    /// How many dead letters the broker never accepted.
    pub(crate) fn refused_count(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Puts a copy directly into a queue, such as a suspect into its quarantine queue. Repeated with
    /// growing delays while the broker has no room or is unreachable, but for no longer than `hold`. The
    /// gate is closed as in `make`.
    pub(crate) async fn move_to(
        &self,
        original: Original<'_>,
        route: &Route,
        hold: Duration,
        gate: &Gate,
    ) -> Result<Option<GateGuard>, MoveError> {
        let Original { delivery, copy_headers, stop } = original;
        let source = &delivery.info.queue;
        let mut attempts =
            SendAttempts::new(&self.sender, CopyPurpose::Move { source }, delivery, route);
        let began = Instant::now();
        let until = began + hold.min(MAX_TIMEOUT);
        loop {
            let sending = self.send_once(route, delivery, copy_headers);
            let attempt = attempts.run(sending, Some(gate), Some(until)).await;
            let (sent, closed) = attempt.ok_or(MoveError::Abandoned)?;
            let Err(error) = sent else {
                attempts.succeeded();
                return Ok(closed);
            };
            drop(closed);
            if !error.is_transient() || began.elapsed().saturating_add(attempts.delay) > hold {
                return Err(MoveError::Failed(error));
            }
            attempts.failed(&error);
            if !attempts.wait(stop).await || delivery.is_over() {
                return Err(MoveError::Abandoned);
            }
        }
    }

    /// Tries once to put a copy with these headers at the end of the queue that the delivery came from, so
    /// that only its pending methods are called again. Returns whether it is confirmed.
    pub(crate) async fn replace(&self, delivery: &Delivery, copy_headers: &CopyHeaders) -> bool {
        let route = Route::Queue(delivery.info.queue.to_string());
        match unless_over(delivery, self.send_once(&route, delivery, copy_headers)).await {
            Some(Ok(())) => true,
            // It is redelivered.
            None => false,
            Some(Err(error)) => {
                tracing::warn!(
                    queue = %delivery.info.queue,
                    error = error_text(&error),
                    "no copy for the pending methods of a notification could be made"
                );
                false
            }
        }
    }

    async fn send_once(
        &self,
        route: &Route,
        delivery: &Delivery,
        copy_headers: &CopyHeaders,
    ) -> Result<(), SendError> {
        let mut form = Form::Whole;
        loop {
            let properties = form::with_headers(delivery, copy_headers.clone(), form);
            match self.sender.send(route, delivery, properties, None).await {
                Err(error @ SendError::HeadersTooLarge { .. }) => match form.smaller() {
                    Some(smaller) => form = smaller,
                    None => return Err(error),
                },
                sent => return sent,
            }
        }
    }

    /// The transport of the listener.
    pub(crate) fn transport(&self) -> &Transport {
        &self.sender.transport
    }

    /// Whether some copies cannot be made at present.
    pub(crate) fn has_failures(&self) -> bool {
        self.sender.failures.has_failures()
    }

    /// Waits until copies can be made for this method.
    pub(crate) async fn wait_until_resumed(&self, method: &str) {
        self.sender.failures.wait_until_resumed(method).await;
    }

    /// The queues for which copies cannot be made at present.
    pub(crate) fn paused(&self) -> Vec<Pause> {
        self.sender.failures.paused()
    }
}

/// Where a copy is sent to whose original came from this queue.
fn route_of(copy: &MessageCopy, source: &str) -> Route {
    match copy.kind {
        CopyKind::Retry { after: delay } => {
            Route::Delayed { queue: source.to_owned(), delay: delay.min(MAX_DELAY) }
        }
        CopyKind::DeadLetter(_) => Route::Queue(dead_letter_queue(source)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use bytes::Bytes;
    use futures_util::FutureExt;
    use futures_util::future::BoxFuture;

    use super::*;
    use crate::notification::delivery_info::DeliveryInfo;
    use crate::runtime::settle::copy_headers;
    use crate::runtime::settle::pending::Pending;
    use crate::transport::delivery::{
        HeaderValue, Headers, Properties, Settle, Settlement, Settler,
    };
    use crate::transport::driver::{Driver, Outgoing, Subscribed, Subscription};
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
            Copier::new(transport, Duration::from_secs(1), Arc::default())
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

    struct Attached;

    impl Settler for Attached {
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
            Settlement::new(Arc::new(Attached), 1),
        )
    }

    /// One copy of each kind that a listener makes of a delivery.
    async fn every_copy(delivery: &Delivery) -> Vec<Outgoing> {
        every_copy_by(&Broker::new(|_| Ok(())), delivery, "no").await
    }

    async fn every_copy_by(broker: &Broker, delivery: &Delivery, error: &str) -> Vec<Outgoing> {
        let (copier, stop) = (broker.copier(), CancellationToken::new());
        let copy_headers = CopyHeaders::read(&delivery.properties, &delivery.info, |_| true);
        let original = Original { delivery, copy_headers: &copy_headers, stop: &stop };
        let long = Duration::from_secs(60);
        for kind in [CopyKind::Retry { after: long }, CopyKind::DeadLetter("error")] {
            let pending = match &copy_headers.pending {
                Pending::All => Pending::of(vec!["a::info".to_owned()]),
                only => only.clone(),
            };
            let copy = MessageCopy { kind, pending, error: error.to_owned() };
            copier.make(original, &copy, None, None).await.expect("it is accepted");
        }
        let gate = Gate::default();
        let to = Route::Quarantine("q.quarantine".to_owned());
        let moved = copier.move_to(original, &to, long, &gate);
        drop(moved.await.expect("it is accepted"));
        broker.sent()
    }

    #[tokio::test]
    async fn no_copy_has_a_header_that_only_a_broker_sets() {
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
        let headers = names.map(|name| (name.to_owned(), HeaderValue::Int64(7)));
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
        headers.insert(copy_headers::METHODS, HeaderValue::Array(names.collect()));
        headers.insert(copy_headers::EXCHANGE, text(255));
        headers.insert(copy_headers::ROUTING_KEY, text(255));
        headers.insert("compression", text(2000));
        headers.insert("tenant", text(5000));
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
            let said = copy.properties.headers.get_str(copy_headers::HEADERS_OMITTED);
            assert_eq!(said, Some("too large to be kept"), "{:?}", copy.route);
            assert_eq!(copy.properties.headers.get_str(copy_headers::QUEUE), Some("q"));
        }
    }

    fn too_large(outgoing: &Outgoing) -> Result<(), SendError> {
        let route = outgoing.route.to_string();
        Err(SendError::TooLarge { route, size: outgoing.body.len(), limit: 1 })
    }

    #[tokio::test(start_paused = true)]
    async fn a_copy_that_the_broker_never_accepts_is_tried_once_and_pauses_no_method() {
        let broker = Broker::new(too_large);
        let copier = broker.copier();
        let (delivery, stop) = (delivery(Properties::default()), CancellationToken::new());
        let copy_headers = CopyHeaders::read(&delivery.properties, &delivery.info, |_| true);
        let original = Original { delivery: &delivery, copy_headers: &copy_headers, stop: &stop };
        let make = async |kind| {
            let pending = Pending::of(vec!["a::info".to_owned()]);
            let copy = MessageCopy { kind, pending, error: "no".to_owned() };
            copier.make(original, &copy, None, None).await.map(drop)
        };
        let began = Instant::now();
        assert_eq!(make(CopyKind::Retry { after: HOLD }).await, Err(CopyError::NoDelay));
        assert_eq!(began.elapsed(), Duration::ZERO);
        let made = make(CopyKind::DeadLetter("error")).await;
        assert_eq!((made, began.elapsed()), (Err(CopyError::Refused), Duration::ZERO));
        assert!(!copier.has_failures());
        assert_eq!(copier.paused(), []);
        assert_eq!((broker.sent().len(), copier.refused_count()), (2, 1));
    }
}
