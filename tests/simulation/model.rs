//! The world in memory: the model of a broker, on a paused clock. A killed process keeps running until
//! it notices, without any effect.

use std::collections::BTreeMap;
use std::time::Duration;

use listener::driver::{Binding, Subscription};
use listener::driver::{HeaderValue, Settle};
use listener::testing::{DeliveryLimit, FaultCounts, Model, Process};
use listener::{Listener, Transport};
use tokio::task::JoinHandle;

use crate::oracle::payload;
use crate::script::{Fault, LIMITED, Limited, PROCESSES, Pace, Script};
use crate::world::{Found, QUEUE, World};

/// Time on a paused clock is free.
pub(crate) const PACE: Pace = Pace {
    wait: Duration::from_secs(5),
    slow: Duration::from_secs(2),
    timeout: Duration::from_secs(20),
    send: Duration::from_secs(15),
    rest: Duration::from_secs(3600),
    trouble: 50,
};

pub(crate) const FAULTS: &[Fault] = &[
    Fault::Cut,
    Fault::Cancel(0),
    Fault::Down,
    Fault::Alarm,
    Fault::Full,
    Fault::DeadLettersFull,
    Fault::Slow,
    Fault::Unreliable,
];

pub(crate) struct ModelWorld {
    model: Model,
    /// Wraps the driver of a program.
    driver: fn(Process) -> Transport,
    processes: [Option<Running>; PROCESSES.len()],
}

struct Running {
    process: Process,
    listener: Listener,
    start: JoinHandle<()>,
}

impl ModelWorld {
    pub(crate) fn new(script: &Script, driver: fn(Process) -> Transport) -> Self {
        let model = Model::new(script.seed);
        let limit = |deliveries, dead_letters| DeliveryLimit { deliveries, dead_letters };
        match script.limited {
            Limited::Never => {}
            Limited::DeadLettered(after) => {
                model.limit(QUEUE, limit(after, Some(LIMITED.to_owned())));
            }
            Limited::Dropped(after) => model.limit(QUEUE, limit(after, None)),
        }
        Self { model, driver, processes: Default::default() }
    }
}

impl World for ModelWorld {
    fn sender(&self) -> Transport {
        (self.driver)(self.model.process())
    }

    async fn start(&mut self, at: usize, build: impl FnOnce(Transport) -> Listener) {
        let process = self.model.process();
        let listener = build((self.driver)(process.clone()));
        let starting = listener.clone();
        let start = tokio::spawn(async move {
            while starting.start().await.is_err() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        self.processes[at] = Some(Running { process, listener, start });
    }

    async fn started(&mut self, at: usize) {
        if let Some(running) = &mut self.processes[at] {
            let _ = (&mut running.start).await;
        }
    }

    async fn stop(&mut self, at: usize) {
        if let Some(Running { listener, start, .. }) = self.processes[at].take() {
            start.abort();
            listener.stop().await;
            listener.wait().await.unwrap();
        }
    }

    async fn crash(&mut self, at: usize) {
        if let Some(Running { process, start, .. }) = self.processes[at].take() {
            start.abort();
            process.kill();
        }
    }

    async fn harm(&mut self, fault: Fault) {
        match fault {
            Fault::Cut => self.model.lose_connections("closed by hand"),
            Fault::Cancel(which) => self.model.cancel(which),
            Fault::Down => self.model.change(|conditions| conditions.down = true),
            Fault::Alarm => self.model.change(|conditions| conditions.blocked = true),
            Fault::Full => self.model.change(|conditions| conditions.full = true),
            Fault::DeadLettersFull => {
                self.model.change(|conditions| conditions.dead_letters_full = true);
            }
            Fault::Slow => {
                self.model.change(|conditions| conditions.latency = Duration::from_secs(1));
            }
            Fault::Unreliable => self.model.change(|conditions| {
                conditions.latency = Duration::from_millis(50);
                (conditions.lost_sends, conditions.lost_confirms) = (20, 30);
            }),
        }
    }

    async fn heal(&mut self) {
        self.model.change(|conditions| {
            *conditions = listener::testing::Conditions::default();
        });
    }

    async fn depths(&mut self) -> BTreeMap<String, usize> {
        self.model.depths()
    }

    async fn drain(&mut self, queue: &str) -> Vec<Found> {
        let (exchange, routing_key) = (String::new(), String::new());
        let subscription = Subscription::new(
            vec![Binding::new(exchange, routing_key, queue)],
            u16::MAX,
            PACE.send,
        );
        let transport = Transport::new(self.model.process(), "model");
        let mut subscribed = transport.subscribe(subscription).await.unwrap();
        let mut found = Vec::new();
        let soon = Duration::from_secs(1);
        while let Ok(Some(delivery)) =
            tokio::time::timeout(soon, subscribed.deliveries.recv()).await
        {
            let pending = match delivery.properties.headers.get("listener-methods") {
                Some(HeaderValue::Array(pending)) => pending.iter().filter_map(text).collect(),
                _ => Vec::new(),
            };
            found.push(Found { body: delivery.body.to_vec(), pending });
            delivery.settle(Settle::Ack).unwrap();
        }
        found
    }

    fn fault_counts(&self) -> Option<BTreeMap<u32, FaultCounts>> {
        let mut lives: BTreeMap<u32, FaultCounts> = BTreeMap::new();
        for (body, own) in self.model.fault_counts() {
            if let Some(payload) = payload(&body) {
                let sum = lives.entry(payload.number).or_default();
                sum.unconfirmed += own.unconfirmed;
                sum.released += own.released;
            }
        }
        Some(lives)
    }
}

fn text(value: &HeaderValue) -> Option<String> {
    match value {
        HeaderValue::Text(text) => Some(text.clone()),
        _ => None,
    }
}
