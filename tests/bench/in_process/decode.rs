//! Decoding one body of version 2, from its bytes to a typed payload, compared with serde_json used by
//! hand. `cargo bench -p tests --bench decode`. The body is in `sample.rs`.

mod sample;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use listener::envelope::{Labels, Limits, open, read};

use crate::sample::{BODY, ByHand, Envelope, Server};

const LABELS: Labels<'_> = Labels { content_type: Some("application/json"), compression: None };

fn decode(criterion: &mut Criterion) {
    let limits = Limits::default();
    let mut group = criterion.benchmark_group("decode");
    group.bench_function("by hand: serde_json twice, payload typed", |b| {
        b.iter(|| {
            let envelope = Envelope::read(black_box(BODY));
            let message: ByHand<'_, Server<'_>> =
                serde_json::from_str(&envelope.message).expect("a complete message");
            black_box((message.event_type, message.priority, &message.payload));
        });
    });
    group.bench_function("listener: open, read, payload typed", |b| {
        b.iter(|| {
            let opened = open(black_box(BODY), LABELS, &limits).expect("it opens");
            let fields = read(&opened.text).expect("a valid notification");
            let payload: Server<'_> =
                serde_json::from_str(fields.payload.get()).expect("a valid payload");
            black_box((fields.event_type.as_deref(), &fields.context, &payload));
        });
    });
    group.bench_function("listener: open", |b| {
        b.iter(|| {
            black_box(open(black_box(BODY), LABELS, &limits).expect("it opens"));
        });
    });
    let opened = open(BODY, LABELS, &limits).expect("it opens");
    group.bench_function("listener: read", |b| {
        b.iter(|| {
            black_box(read(black_box(&opened.text)).expect("a valid notification"));
        });
    });
    let fields = read(&opened.text).expect("a valid notification");
    group.bench_function("serde_json: payload typed", |b| {
        b.iter(|| {
            let payload: Server<'_> =
                serde_json::from_str(black_box(fields.payload.get())).expect("a valid payload");
            black_box(&payload);
        });
    });
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);
