//! Layers of `tracing` that make notifications from events, as oslo.messaging's log handlers do:
//! `PublishErrorsLayer` from errors, `LogRecordLayer` from each event.

use serde_json::{Map, Value, json};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use crate::layers::background::{self, BackgroundNotifier, Queued};
use crate::layers::record::{self, Fields};
use crate::notification::priority::Priority;

/// Sends a notification for each event of level `ERROR`, as oslo.messaging's `PublishErrorsHandler` does:
/// priority `error`, publisher `error.publisher`, event type `error_notification`, payload
/// `{"error": message}`. The message is the formatted one; without one it is the error among the fields with its
/// sources, or the fields.
///
/// It never waits (see [`BackgroundNotifier`]), and is for events of any thread. Events of `listener` and
/// `lapin`, and those of anything executed by the task that sends (outputs, serializers), send
/// nothing: sending that fails does not cause further notifications. An output that logs in a task or
/// thread of its own must be excluded with a filter of `tracing-subscriber`.
///
/// ```
/// use listener::layers::{BackgroundNotifier, PublishErrorsLayer};
/// use listener::{Notifier, Transport};
/// use std::time::Duration;
/// use tracing_subscriber::layer::SubscriberExt;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let notifier = Notifier::builder(Transport::open("memory://doc-errors")?).build()?;
/// let background = BackgroundNotifier::start(notifier, 1_000)?;
/// let subscriber = tracing_subscriber::registry().with(PublishErrorsLayer::new(background.clone()));
/// // A program calls `init` of `tracing_subscriber::util::SubscriberInitExt` instead.
/// tracing::subscriber::with_default(subscriber, || tracing::error!("the disk is full"));
/// assert!(background.flush(Duration::from_secs(5)).await);
/// assert_eq!(background.counts().sent, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct PublishErrorsLayer(BackgroundNotifier);

impl PublishErrorsLayer {
    /// A layer that sends with this notifier.
    #[must_use]
    pub fn new(background: BackgroundNotifier) -> Self {
        Self(background)
    }
}

impl<S: Subscriber> Layer<S> for PublishErrorsLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if *event.metadata().level() != Level::ERROR {
            return;
        }
        let Some(fields) = fields_to_send(event) else { return };
        self.0.add(Queued {
            priority: Priority::Error,
            publisher_id: Some("error.publisher"),
            event_type: "error_notification",
            payload: json!({ "error": fields.message }),
        });
    }
}

/// Sends a notification for each event, as oslo.messaging's `LoggingNotificationHandler` does for log records:
/// event type `logrecord`, with the priority of the level. Python has no level like `TRACE`: such events send
/// nothing. Choose events with a filter of `tracing-subscriber`, such as `with_filter(LevelFilter::ERROR)`.
///
/// Recursion, threads and the queue are as for [`PublishErrorsLayer`]. The payload has the keys of Python:
///
/// | key | value |
/// |---|---|
/// | `name` | the event's target |
/// | `levelno`, `levelname` | Python's: 40 `ERROR`, 30 `WARNING`, 20 `INFO`, 10 `DEBUG` |
/// | `exc_info` | the first field that is an error: its message and those of its sources; null without |
/// | `pathname`, `lineno` | source file and line, null if unknown |
/// | `msg` | the formatted message |
/// | `funcName` | the name of the current span; without a span, the module's path |
/// | `thread` | the number of the thread |
/// | `processName`, `process` | the program's name, and its process id |
/// | `extra` | the event's other fields; null without |
#[derive(Clone, Debug)]
pub struct LogRecordLayer(BackgroundNotifier);

impl LogRecordLayer {
    /// A layer that sends with this notifier, with its publisher id.
    #[must_use]
    pub fn new(background: BackgroundNotifier) -> Self {
        Self(background)
    }
}

impl<S: Subscriber + for<'s> LookupSpan<'s>> Layer<S> for LogRecordLayer {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let level = *event.metadata().level();
        let Some((priority, levelno, levelname)) = python_level(level) else { return };
        let Some(fields) = fields_to_send(event) else { return };
        let span = context.event_span(event).map(|span| span.name());
        let payload = payload(event, fields, span, levelno, levelname);
        self.0.add(Queued { priority, publisher_id: None, event_type: "logrecord", payload });
    }
}

/// The fields of an event, unless it comes from sending.
fn fields_to_send(event: &Event<'_>) -> Option<Fields> {
    if background::is_sending() || record::is_of_sending(event.metadata().target()) {
        return None;
    }
    let fields = Fields::of(event);
    (!record::is_of_sending(fields.target(event))).then_some(fields)
}

fn python_level(level: Level) -> Option<(Priority, u8, &'static str)> {
    match level {
        Level::ERROR => Some((Priority::Error, 40, "ERROR")),
        Level::WARN => Some((Priority::Warn, 30, "WARNING")),
        Level::INFO => Some((Priority::Info, 20, "INFO")),
        Level::DEBUG => Some((Priority::Debug, 10, "DEBUG")),
        _ => None,
    }
}

fn payload(
    event: &Event<'_>,
    fields: Fields,
    span: Option<&str>,
    levelno: u8,
    levelname: &str,
) -> Value {
    let metadata = event.metadata();
    let name = fields.target(event).to_owned();
    let Fields { message, mut extra, errors } = fields;
    // The position of a record of the crate `log`.
    let (file, line) = (extra.remove("log.file"), extra.remove("log.line"));
    let module = extra.remove("log.module_path");
    extra.remove("log.target");
    let function = span.or(module.as_ref().and_then(Value::as_str)).or(metadata.module_path());
    json!({
        "name": name,
        "levelno": levelno,
        "levelname": levelname,
        "exc_info": (!errors.is_empty()).then_some(errors),
        "pathname": file.or(metadata.file().map(Value::from)),
        "lineno": line.or(metadata.line().map(Value::from)),
        "msg": message,
        "funcName": function,
        "thread": thread_number(),
        "processName": program_name(),
        "process": std::process::id(),
        "extra": Some(extra).filter(|extra: &Map<String, Value>| !extra.is_empty()),
    })
}

/// `ThreadId` shows its number only in `Debug`, as `ThreadId(7)`.
fn thread_number() -> Option<u64> {
    let shown = format!("{:?}", std::thread::current().id());
    shown.trim_start_matches("ThreadId(").trim_end_matches(')').parse().ok()
}

fn program_name() -> Option<String> {
    let program = std::env::args_os().next()?;
    Some(std::path::Path::new(&program).file_name()?.to_string_lossy().into_owned())
}
