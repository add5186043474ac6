//! RustStream with its lapin broker: with its defaults, and with 64 workers and a prefetch of 300, the
//! best setting found. Its handlers are functions, so their counter is a global.

use std::sync::OnceLock;

use ruststream_lapin::prelude::*;
use serde::Deserialize;

use crate::Error;
use crate::contender::Measured;
use crate::notification::decode_message;
use crate::tally::Tally;

static TALLY: OnceLock<Tally> = OnceLock::new();

/// It decodes the body itself, so the envelope is its message.
#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "oslo.message")]
    message: String,
}

fn handle(envelope: &Envelope) -> HandlerOutcome {
    let Some(tally) = TALLY.get() else { return HandlerOutcome::drop() };
    match decode_message(&envelope.message) {
        Ok(instance) => {
            tally.handled(instance.vcpus);
            HandlerOutcome::ack()
        }
        Err(_) => HandlerOutcome::drop(),
    }
}

#[subscriber("notifications.info")]
async fn plain(envelope: &Envelope) -> HandlerOutcome {
    handle(envelope)
}

#[subscriber("notifications.info", workers(64))]
async fn parallel(envelope: &Envelope) -> HandlerOutcome {
    handle(envelope)
}

pub(crate) async fn run(url: &str, messages: u64) -> Result<Measured, Error> {
    let broker = LapinBroker::new(url.to_owned());
    let app = RustStream::new(AppInfo::new("bench", "0.0.0")).with_broker(broker, |b| {
        b.include(plain);
    });
    let tally = TALLY.get_or_init(|| Tally::of(messages));
    let running = app.start().await?;
    tally.all_handled().await;
    running.shutdown().await?;
    tally.measured()
}

pub(crate) async fn run_64(url: &str, messages: u64) -> Result<Measured, Error> {
    let broker = LapinBroker::new(url.to_owned()).prefetch(nonzero!(300));
    let app = RustStream::new(AppInfo::new("bench", "0.0.0")).with_broker(broker, |b| {
        b.include(parallel);
    });
    let tally = TALLY.get_or_init(|| Tally::of(messages));
    let running = app.start().await?;
    tally.all_handled().await;
    running.shutdown().await?;
    tally.measured()
}
