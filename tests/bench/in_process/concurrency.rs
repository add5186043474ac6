//! The gain of concurrency and the cost of key order: a listener handles a few hundred available
//! deliveries of a driver in this process. Methods that compute, on one thread and on all; methods that
//! return immediately, without an order key and with one in the payload. `cargo bench -p tests --bench
//! concurrency`.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use listener::ListenerBuilder;
use listener::driver::Delivery;
use listener::{Listener, OrderKey, Transport, notification_endpoint};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;

use crate::counted::Counted;
use crate::prepared::Prepared;

mod counted;
#[path = "../../flow/prepared.rs"]
mod prepared;

const BODY: &str = include_str!("body.json");

/// How many deliveries are available at the same time.
const COUNT: u64 = 400;

/// How many steps a method computes: some hundreds of microseconds.
const STEPS: u64 = 400_000;

struct Computes;

#[notification_endpoint(register = false)]
impl Computes {
    async fn info(&self) {
        black_box((0..STEPS).fold(0_u64, |sum, step| black_box(sum ^ step).rotate_left(1)));
    }
}

struct ReturnsAtOnce;

#[notification_endpoint(register = false)]
impl ReturnsAtOnce {
    async fn info(&self, event_type: &str) {
        black_box(event_type);
    }
}

/// A running listener, and the channel of its deliveries.
struct Running {
    runtime: Runtime,
    deliveries: mpsc::UnboundedSender<Delivery>,
    counted: Arc<Counted>,
    bodies: Vec<Bytes>,
    _listener: Listener,
}

impl Running {
    /// On this many threads, with `keys` different instance names.
    fn start(threads: usize, keys: usize, listener: ListenerBuilder) -> Self {
        let runtime =
            Builder::new_multi_thread().worker_threads(threads).enable_all().build().unwrap();
        let (deliveries, prepared) = mpsc::unbounded_channel();
        let transport = Transport::new(Prepared::new(prepared), "prepared");
        let listener = listener.transport(transport).build().unwrap();
        runtime.block_on(listener.start()).unwrap();
        let name = "9f2d6d02-4a67-4c8b-9d8f-0f4b2f6a7c11";
        assert!(BODY.contains(name));
        let body = |key| BODY.replace(name, &format!("{key:036}")).into();
        let bodies = (0..keys).map(body).collect();
        Self { runtime, deliveries, counted: Arc::default(), bodies, _listener: listener }
    }

    fn handle(&self) {
        self.counted.expect(COUNT);
        for tag in 0..COUNT {
            let body = self.bodies[tag as usize % self.bodies.len()].clone();
            self.deliveries.send(self.counted.delivery(tag, body)).unwrap();
        }
        self.runtime.block_on(self.counted.all());
    }
}

fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("concurrency");
    group.throughput(Throughput::Elements(COUNT));
    let all = std::thread::available_parallelism().unwrap().get();
    for threads in [1, all] {
        let running = Running::start(threads, 1, Listener::builder().endpoint(Computes));
        group.bench_function(format!("computing, {threads} threads"), |b| {
            b.iter(|| running.handle());
        });
    }
    let key = || OrderKey::Payload("instance_id".to_owned());
    let builder = || Listener::builder().endpoint(ReturnsAtOnce);
    for (name, keys, builder) in [
        ("no order", 1, builder()),
        ("an order by one of 100 keys", 100, builder().ordered_by(key())),
        ("an order by one key", 1, builder().ordered_by(key())),
    ] {
        let running = Running::start(1, keys, builder);
        group.bench_function(format!("returning immediately, {name}"), |b| {
            b.iter(|| running.handle());
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
