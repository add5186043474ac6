//! Encoding one notification as version 2, compared with serde_json used by hand: the inner string, then
//! the envelope. `cargo bench -p tests --bench encode`. The payload is in `sample.rs`, typed, and as a
//! `Value`.

mod sample;

use std::borrow::Cow;
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use listener::Context;
use listener::Priority;
use listener::envelope::{EnvelopeVersion, Message, encode};
use serde::Serialize;
use serde_json::Value;

use crate::sample::{BODY, ByHand, Envelope, Server};

const USER: &str = "1e3ce043029547f1a61c1996d1a531a2";
const PROJECT: &str = "7c150a59fe714e6f9263774af9688f0e";
const REQUEST: &str = "req-3c2b8f0e-5d7f-4a0f-9f51-0d2c7b8f6e10";

fn by_hand<P: Serialize>(payload: P) -> String {
    let message = ByHand {
        message_id: "7c5f2f4e-2d0c-4b53-9d5d-5f0b4a1b2c3d",
        publisher_id: "compute.compute-0042",
        event_type: "compute.instance.create.end",
        priority: "INFO",
        payload,
        timestamp: "2026-05-09 07:29:33.123456",
        unique_id: "0123456789abcdef0123456789abcdef",
        user_id: USER,
        project_id: PROJECT,
        request_id: REQUEST,
    };
    let message = serde_json::to_string(&message).expect("valid JSON");
    serde_json::to_string(&Envelope { version: "2.0", message: Cow::Owned(message) })
        .expect("valid JSON")
}

fn listener<P: Serialize>(payload: &P, context: &Context) -> Vec<u8> {
    let message = Message {
        message_id: "7c5f2f4e-2d0c-4b53-9d5d-5f0b4a1b2c3d",
        publisher_id: Some("compute.compute-0042"),
        event_type: "compute.instance.create.end",
        priority: Priority::Info,
        payload,
        timestamp: "2026-05-09 07:29:33.123456",
        unique_id: "0123456789abcdef0123456789abcdef",
        context,
    };
    encode(EnvelopeVersion::V2, &message).expect("valid JSON")
}

/// The whole payload of the body.
fn payload() -> Value {
    let envelope = Envelope::read(BODY);
    let message: ByHand<'_, Value> =
        serde_json::from_str(&envelope.message).expect("a complete message");
    message.payload
}

fn run(criterion: &mut Criterion) {
    let context = Context::new()
        .with("user_id", USER)
        .with("project_id", PROJECT)
        .with("request_id", REQUEST);
    let value = payload();
    let text = value.to_string();
    let typed: Server<'_> = serde_json::from_str(&text).expect("a valid payload");
    let mut group = criterion.benchmark_group("encode");
    group.bench_function("by hand: serde_json twice, 13 fields typed", |b| {
        b.iter(|| black_box(by_hand(black_box(&typed))));
    });
    group.bench_function("listener: 13 fields typed", |b| {
        b.iter(|| black_box(listener(black_box(&typed), &context)));
    });
    group.bench_function("by hand: serde_json twice, 39 fields as a Value", |b| {
        b.iter(|| black_box(by_hand(black_box(&value))));
    });
    group.bench_function("listener: 39 fields as a Value", |b| {
        b.iter(|| black_box(listener(black_box(&value), &context)));
    });
    group.finish();
}

criterion_group!(benches, run);
criterion_main!(benches);
