//! However large external input is, log lines and texts of events are bounded: bodies, headers, errors
//! of methods, panics, answers of a broker.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use listener::ListenerBuilder;
use listener::driver::{ConnectError, JournalError, SendError};
use listener::driver::{
    Driver, JournalAppend, JournalRead, Outgoing, Route, Subscribed, Subscription,
};
use listener::driver::{HeaderValue, Properties};
use listener::observe::{Event, Observer};
use listener::options::{OnUnknownPriority, RetryOptions, RetryStorage};
use listener::{ErrorKind, Inbox, InboxEntry, Listener, Outcome, Transport, notification_endpoint};

const LARGE: usize = 1 << 20;

/// The most bytes of a line.
const LONGEST: usize = 8 << 10;

fn large() -> String {
    "x".repeat(LARGE)
}

/// The most bytes of an event, which contains the full names of methods.
const LONGEST_EVENT: usize = 64 << 10;

/// The length of each line and event, and its beginning.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let line = String::from_utf8_lossy(&bytes[..bytes.len().min(400)]);
        self.0.lock().unwrap().push(format!("{} bytes: {line}", bytes.len()));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Observer for Lines {
    fn observe(&self, event: &Event<'_>) {
        let told = format!("{event:?}");
        let begin: String = told.chars().take(200).collect();
        let length = told.len() * LONGEST / LONGEST_EVENT;
        self.0.lock().unwrap().push(format!("{length} bytes: {begin}"));
    }
}

/// A transport that refuses with very large texts.
struct Wordy(Transport);

impl Driver for Wordy {
    fn subscribe(
        &self,
        subscription: Subscription,
    ) -> BoxFuture<'_, Result<Subscribed, ConnectError>> {
        Box::pin(self.0.subscribe(subscription))
    }

    fn send(&self, outgoing: Outgoing) -> BoxFuture<'_, Result<(), SendError>> {
        Box::pin(async move {
            let route = outgoing.route.to_string();
            match outgoing.route {
                Route::Delayed { .. } => Err(SendError::NoDelay { route, reason: large() }),
                Route::Queue(_) if outgoing.body.len().is_multiple_of(2) => {
                    Err(SendError::Invalid { route, reason: large() })
                }
                Route::Queue(_) => {
                    let after = Duration::from_secs(1);
                    Err(SendError::TimedOut { route, after, last: Some(large()) })
                }
                _ => self.0.send(outgoing).await,
            }
        })
    }

    fn journal(&self, _: JournalAppend) -> BoxFuture<'_, Result<JournalRead, JournalError>> {
        Box::pin(async { Err(JournalError::Unsupported(large())) })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.0.close())
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Large(String);

struct Fails;

#[notification_endpoint(register = false, name = "fails")]
impl Fails {
    async fn info(&self, event_type: &str) -> Result<Outcome, Large> {
        match event_type {
            "panic" => panic!("{}", large()),
            "given-up" => Ok(Outcome::dead_letter(large())),
            "classified" => Err(Large("classified".repeat(LARGE / 10))),
            _ => Err(Large(large())),
        }
    }
}

/// An inbox whose lookups and inserts fail.
struct Forgets;

impl Inbox for Forgets {
    fn contains<'i>(
        &'i self,
        entry: InboxEntry<'i>,
    ) -> BoxFuture<'i, Result<bool, listener::BoxError>> {
        let fails = entry.message_id.is_empty();
        Box::pin(async move { if fails { Err(large().into()) } else { Ok(false) } })
    }

    fn insert<'i>(&'i self, _: InboxEntry<'i>) -> BoxFuture<'i, Result<(), listener::BoxError>> {
        Box::pin(async { Err(large().into()) })
    }
}

/// Bodies and properties with more text than fits a line.
fn messages() -> Vec<(String, Properties)> {
    let large = large();
    let with = |name: &str, value: HeaderValue| {
        let mut properties = Properties::default();
        properties.headers.insert(name, value);
        properties
    };
    let usual = |event_type: &str| {
        format!(r#"{{"priority": "INFO", "event_type": "{event_type}", "payload": 1}}"#)
    };
    let names = (0..5000).map(|n| HeaderValue::Text(format!("{n}{}", "n".repeat(600))));
    let mut messages: Vec<(String, Properties)> = [
        usual("error"),
        usual("error."),
        usual("panic"),
        usual("given-up"),
        usual("classified"),
        usual(&large),
        format!(r#"{{"priority": "{large}", "payload": 1}}"#),
        format!(r#"{{"priority": "INFO", "message_id": "{large}", "publisher_id": "{large}"}}"#),
        format!(r#"{{"priority": "INFO", "timestamp": "{large}", "payload": 1}}"#),
        format!(r#"{{"{large}": 1}}"#),
        format!(r#"{{"oslo.version": "{large}", "oslo.message": "{{}}"}}"#),
        large.clone(),
    ]
    .map(|body| (body, Properties::default()))
    .into();
    messages.extend([
        (usual("error"), with("listener-methods", HeaderValue::Array(names.collect()))),
        (usual("error"), with("listener-methods", large.as_str().into())),
        (usual("error"), with("listener-exchange", large.as_str().into())),
        (usual("error"), with("listener-routing-key", large.as_str().into())),
        (usual("error"), with("listener-queue", large.as_str().into())),
        (usual("error"), with("compression", large.as_str().into())),
        (usual("error"), Properties::default().content_type(Some(large.clone().into()))),
    ]);
    messages
}

async fn check(name: &str, set: impl FnOnce(ListenerBuilder, &Transport) -> ListenerBuilder) {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let transport = Transport::open(&format!("memory://lines-{name}")).unwrap();
    let builder = Listener::builder().endpoint(Fails).observer(lines.clone());
    let listener = set(builder, &transport).build().unwrap();
    listener.start().await.unwrap();
    for (body, properties) in messages() {
        let outgoing = Outgoing::new(
            Route::Queue("notifications.info".to_owned()),
            Bytes::from(body),
            Duration::from_secs(60),
        )
        .properties(properties);
        transport.send(outgoing).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(600)).await;
    listener.stop().await;
    listener.wait().await.unwrap();
    drop(guard);
    let lines = lines.0.lock().unwrap();
    assert!(lines.len() > messages().len(), "{name}: {} lines", lines.len());
    let length = |line: &String| line.split(' ').next().unwrap().parse::<usize>().unwrap();
    let longest = lines.iter().max_by_key(|line| length(line)).unwrap();
    assert!(length(longest) <= LONGEST, "{name}: {longest}");
}

#[tokio::test(start_paused = true)]
async fn failures_do_not_fill_the_log() {
    check("fails", |builder, transport| builder.transport(transport.clone())).await;
}

#[tokio::test(start_paused = true)]
async fn retries_held_in_the_process_do_not_fill_the_log() {
    let retry = RetryOptions::default().storage(RetryStorage::Process);
    check("held", |builder, transport| {
        builder.transport(transport.clone()).retry(retry).inbox(Forgets)
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn answers_of_a_broker_do_not_fill_the_log() {
    check("wordy", |builder, transport| {
        builder.transport(Transport::new(Wordy(transport.clone()), "wordy"))
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn messages_of_user_code_do_not_fill_the_log() {
    check("classified", |builder, transport| {
        let classify = |error: &Large| {
            assert!(!error.0.starts_with("classified"), "{}", error.0);
            ErrorKind::Permanent
        };
        builder
            .transport(transport.clone())
            .classify(classify)
            .on_unknown_priority(OnUnknownPriority::Acknowledge)
    })
    .await;
}
