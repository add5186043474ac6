//! `batch(..)` on a block in which no method takes a batch.
#![allow(unused)]

use listener::{Batch, BatchItem, BatchOutcome, Notification, Outcome, PartError, State, notification_endpoint};
use serde::Deserialize;

#[derive(Deserialize)]
struct Sample {
    volume: f64,
}

#[derive(Default)]
struct Metering;

#[notification_endpoint(batch(size = 5))]
//~                     ^^^^^
impl Metering {
    async fn info(&self, payload: Sample) {}
}

fn main() {}
