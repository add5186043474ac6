//! `listener`, with nothing tuned: an endpoint, a URL, and the defaults.

use std::sync::Arc;

use listener::{Listener, notification_endpoint};

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
        "quorum" => format!("{url}?rabbit_quorum_queue=true"),
        _ => url.to_owned(),
    };
    let listener = Listener::builder()
        .transport_url(&url)
        .endpoint(Counter { tally: Arc::clone(&tally) })
        .build()?;
    listener.start().await?;
    tally.all_handled().await;
    listener.stop().await;
    listener.wait().await?;
    tally.measured()
}
