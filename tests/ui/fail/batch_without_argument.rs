//! `batch(..)` on a method that does not take a batch.
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
    #[on(info, batch(size = 5))]
    //~        ^^^^^
    async fn store(&self, payload: Sample) {}
}

fn main() {}
