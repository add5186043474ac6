//! `listener` with its defaults: an endpoint and a URL. The same with batches of a hundred. And, to measure its memory, with a hundred slow
//! concurrent calls.

use std::sync::Arc;
use std::time::Duration;

use listener::options::Executor;
use listener::{Batch, Listener, notification_endpoint};
use serde::Deserialize;
use tokio::time::sleep;

use crate::Error;
use crate::contender::Measured;
use crate::notification::Instance;
use crate::tally::Tally;

struct Counter {
    tally: Arc<Tally>,
}

#[notification_endpoint(register = false)]
impl Counter {
    async fn info(&self, payload: Instance) {
        self.tally.handled(payload.vcpus);
    }
}

pub(crate) async fn run(url: &str, queue: &str, messages: u64) -> Result<Measured, Error> {
    let tally = Arc::new(Tally::of(messages));
    let url = match queue {
        "quorum" => {
            let separator = if url.contains('?') { '&' } else { '?' };
            format!("{url}{separator}rabbit_quorum_queue=true")
        }
        _ => url.to_owned(),
    };
    let listener = Listener::builder()
        .transport_url(&url)
        .endpoint(Counter { tally: Arc::clone(&tally) })
        .build()?;
    handle_all(&listener, &tally).await
}

struct BatchCounter {
    tally: Arc<Tally>,
}

#[notification_endpoint(register = false)]
impl BatchCounter {
    #[on(info, batch(size = 100, timeout = "1s"))]
    async fn store(&self, batch: Batch<'_, Instance>) {
        for item in &batch {
            self.tally.handled(item.payload.vcpus);
        }
    }
}

pub(crate) async fn run_batch(url: &str, messages: u64) -> Result<Measured, Error> {
    let tally = Arc::new(Tally::of(messages));
    let listener = Listener::builder()
        .transport_url(url)
        .endpoint(BatchCounter { tally: Arc::clone(&tally) })
        .build()?;
    handle_all(&listener, &tally).await
}

/// Runs until all are handled, and settled.
async fn handle_all(listener: &Listener, tally: &Tally) -> Result<Measured, Error> {
    listener.start().await?;
    tally.all_handled().await;
    listener.stop().await;
    listener.wait().await?;
    tally.measured()
}

/// How long a slow call takes.
const SLOW: Duration = Duration::from_millis(500);

/// The part of a large notification that is read.
#[derive(Deserialize)]
struct Large {
    number: u64,
}

struct Slow {
    tally: Arc<Tally>,
}

#[notification_endpoint(register = false)]
impl Slow {
    async fn info(&self, payload: Large) {
        sleep(SLOW).await;
        self.tally.handled(payload.number);
    }
}

/// A hundred concurrent calls, and defaults otherwise.
pub(crate) async fn run_slow(url: &str, messages: u64) -> Result<Measured, Error> {
    let tally = Arc::new(Tally::of(messages));
    let listener = Listener::builder()
        .transport_url(url)
        .executor(Executor::Concurrent(100))
        .endpoint(Slow { tally: Arc::clone(&tally) })
        .build()?;
    handle_all(&listener, &tally).await
}
