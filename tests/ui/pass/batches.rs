//! Every form of a method that takes a batch.
#![deny(warnings)]

use listener::{
    Batch, BatchItem, BatchOutcome, Outcome, PartError, Priority, State, Versioned,
    VersionedPayload, notification_endpoint,
};
use serde::Deserialize;

type Readable<T> = Result<T, PartError>;

#[derive(Deserialize)]
struct Sample<'a> {
    name: &'a str,
    volume: f64,
}

#[derive(Deserialize)]
struct Owned {
    volume: f64,
}

impl VersionedPayload for Owned {
    const NAME: &'static str = "Owned";
    const VERSION: (u32, u32) = (1, 0);
}

#[derive(Default)]
struct Metering;

#[notification_endpoint(batch(size = 10))]
impl Metering {
    async fn info(&self, batch: Batch<'_, Sample<'_>>) {
        for item in &batch {
            println!("{} {}", item.payload.name, item.payload.volume);
        }
    }

    #[on(warn, error, event_type = "^a", batch(timeout = "500ms", bytes = 1000))]
    async fn several(
        &self,
        log: State<String>,
        batch: Batch<'_, Owned>,
        priority: Priority,
        none: Option<State<u8>>,
    ) -> Result<BatchOutcome, std::io::Error> {
        println!("{} {priority} {} {}", log.as_str(), none.is_none(), batch.len());
        Ok(batch
            .each(
                async |item| {
                    if item.payload.volume > 0.0 { Outcome::Handled } else { Outcome::retry() }
                },
            )
            .await)
    }

    #[on(sample)]
    fn plain(batch: &[Owned]) -> Outcome {
        if batch.iter().all(|sample| sample.volume > 0.0) {
            Outcome::Handled
        } else {
            Outcome::retry()
        }
    }

    #[on(debug)]
    async fn items(&self, batch: Vec<BatchItem<'_, String>>) -> Result<(), String> {
        batch.first().map(|item| println!("{}", item.payload));
        Ok(())
    }

    #[on(audit)]
    async fn each_form(&self, mut batch: Batch<'_, Readable<Option<u8>>>) -> BatchOutcome {
        let _ = &mut batch;
        batch
            .iter()
            .map(|item| {
                (item.index(), item.payload.as_ref().map(|_| ()).map_err(ToString::to_string))
            })
            .collect()
    }

    #[on(critical, event_type = "^object")]
    async fn versioned(&self, batch: listener::Batch<'_, Versioned<Owned>>) {
        let _ = batch.len();
    }

    #[on(critical, event_type = "^number")]
    async fn not_a_batch(&self, payload: u8) {
        let _ = payload;
    }
}

fn main() {}
