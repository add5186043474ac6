//! An argument `batch` that is not a batch.
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
    async fn sample(&self, batch: Vec<Sample>) {}
    //~                           ^^^^^^^^^^^
}

fn main() {}
