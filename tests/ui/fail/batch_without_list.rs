//! `batch` without a list.
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
    #[on(sample, batch)]
    //~          ^^^^^
    async fn store(&self, batch: Batch<'_, Sample>) {}
}

fn main() {}
