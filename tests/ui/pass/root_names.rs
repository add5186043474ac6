//! Types that programs use in signatures are exported at the root.
#![deny(warnings)]
#![allow(dead_code)]

use listener::options::{OnFailure, OnUnknownPriority, PoisonOptions, RetryOptions, RetryStorage};
use listener::{Event, Health, Listener, ListenerBuilder, NotifierBuilder, Observer, Target, Transport};

struct Metrics;

impl Observer for Metrics {
    fn observe(&self, _event: &Event<'_>) {}
}

fn tuned(builder: ListenerBuilder, poison: PoisonOptions) -> ListenerBuilder {
    let retry = RetryOptions::default().storage(RetryStorage::Process);
    let options = listener::options::ListenerOptions::default().poison(poison).retry(retry);
    let builder = builder.options(options).on_unknown_priority(OnUnknownPriority::Acknowledge);
    builder.on_failure(OnFailure::Retry).observer(Metrics)
}

fn health(listener: &Listener) -> Health {
    listener.health()
}

fn notifier(transport: Transport) -> NotifierBuilder {
    listener::Notifier::builder(transport).target(Target::from("nova/billing"))
}

fn main() {}
