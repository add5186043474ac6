//! A value that is not `Send`, held over an await of a batch method.
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
    async fn sample(&self, batch: Batch<'_, Sample>) {
    //~      ^^^^^^
        let held = std::rc::Rc::new(1);
        std::future::ready(()).await;
        drop(held);
    }
}

fn main() {}
