//! Two batches.
#![allow(unused)]

use listener::{Batch, BatchItem, BatchOutcome, Notification, Outcome, PartError, State, notification_endpoint};
use serde::Deserialize;

#[derive(Deserialize)]
struct Sample {
    volume: f64,
}

#[derive(Default)]
struct Metering;

#[notification_endpoint]
impl Metering {
    async fn sample(&self, batch: Batch<'_, Sample>, _batch: Batch<'_, Sample>) {}
    //~                                              ^^^^^^
}

fn main() {}
