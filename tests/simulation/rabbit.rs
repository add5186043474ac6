//! The world of a private RabbitMQ node, and its scripts: the same as those of the model, so that the
//! two stay consistent. Only faults that a real node can have, in real time. A process that crashes is a
//! runtime that is dropped with all its tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::discriminant;
use std::time::Duration;

use lapin::types::AMQPValue;
use listener::testing::FaultCounts;
use listener::{Listener, Transport};
use support::{Amqp, RabbitNode};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::oracle::{Tally, judge};
use crate::run::run;
use crate::script::{Fault, PROCESSES, Pace, Program, Script, Step};
use crate::world::{Found, World};
use crate::{simulate, sound};

const PACE: Pace = Pace {
    wait: Duration::from_secs(1),
    slow: Duration::from_millis(500),
    timeout: Duration::from_secs(3),
    send: Duration::from_secs(20),
    rest: Duration::from_secs(120),
    trouble: 40,
};

const FAULTS: &[Fault] =
    &[Fault::Cut, Fault::Cancel(0), Fault::Down, Fault::Alarm, Fault::DeadLettersFull];

/// The least number of seeds.
const LEAST: usize = 4;

struct RabbitWorld<'n> {
    node: &'n mut RabbitNode,
    vhost: String,
    url: String,
    processes: [Option<Running>; PROCESSES.len()],
    faults: BTreeSet<&'static str>,
}

struct Running {
    runtime: Runtime,
    listener: Listener,
    start: JoinHandle<()>,
}

impl<'n> RabbitWorld<'n> {
    async fn new(node: &'n mut RabbitNode, script: &Script) -> Self {
        let vhost = format!("seed-{}", script.seed);
        let url = node.vhost(&vhost).await;
        let world =
            Self { node, vhost, url, processes: Default::default(), faults: BTreeSet::new() };
        world.bound_dead_letters(100_000).await;
        world.declare_queue_early().await;
        world
    }

    /// Bounds the dead-letter queues, which refuse messages beyond that. The policy exists from the
    /// start: RabbitMQ applies a new bound before the overflow behaviour, and would drop messages.
    async fn bound_dead_letters(&self, most: u32) {
        let definition = format!(r#"{{"max-length": {most}, "overflow": "reject-publish"}}"#);
        self.ctl(&["set_policy", "-p", &self.vhost, "full", r"\.dead$", &definition]).await;
    }

    /// Declares the queue some time before the first message. RabbitMQ may lose a new queue with its
    /// confirmed messages when it is killed; a notifier cannot know that its queue is new, and AMQP does
    /// not tell when it is stable.
    async fn declare_queue_early(&self) {
        let amqp = Amqp::connect(&self.url).await;
        amqp.declare_queue("notifications.info", true, &[]).await;
        amqp.close().await;
        tokio::time::sleep(Duration::from_secs(2)).await;
    }

    /// The depths of all queues, if all are known.
    async fn known_depths(&self) -> Option<BTreeMap<String, usize>> {
        // A journal keeps its records, and holds no messages.
        let depths = self.node.queue_depths(&self.vhost).await.into_iter();
        let depths = depths.filter(|(name, _)| !name.ends_with(".journal"));
        depths.map(|(name, depth)| Some((name, usize::try_from(depth?).unwrap()))).collect()
    }

    /// Runs `rabbitmqctl`, unless the node is down.
    async fn ctl(&self, arguments: &[&str]) {
        if !self.faults.contains("down") {
            self.node.ctl(arguments).await;
        }
    }
}

impl World for RabbitWorld<'_> {
    fn sender(&self) -> Transport {
        Transport::open(&self.url).unwrap()
    }

    async fn start(&mut self, at: usize, build: impl FnOnce(Transport) -> Listener) {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
        let listener = build(self.sender());
        let starting = listener.clone();
        let start = runtime.spawn(async move {
            while starting.start().await.is_err() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        self.processes[at] = Some(Running { runtime, listener, start });
    }

    async fn started(&mut self, at: usize) {
        if let Some(running) = &mut self.processes[at] {
            let _ = (&mut running.start).await;
        }
    }

    async fn stop(&mut self, at: usize) {
        if let Some(Running { runtime, listener, start }) = self.processes[at].take() {
            start.abort();
            listener.stop().await;
            listener.wait().await.unwrap();
            runtime.shutdown_background();
        }
    }

    async fn crash(&mut self, at: usize) {
        if let Some(Running { runtime, .. }) = self.processes[at].take() {
            runtime.shutdown_background();
        }
    }

    async fn harm(&mut self, fault: Fault) {
        match fault {
            Fault::Cut => {
                self.ctl(&["close_all_connections", "-p", &self.vhost, "closed by hand"]).await;
            }
            Fault::Cancel(_) => {
                let one = ["close_all_connections", "-p", &self.vhost, "--limit", "1", "one"];
                self.ctl(&one).await;
            }
            Fault::Down => {
                if self.faults.insert("down") {
                    self.node.kill().await;
                }
            }
            Fault::Alarm => {
                self.ctl(&["set_vm_memory_high_watermark", "0.0000001"]).await;
                self.faults.insert("alarm");
            }
            // Only dead-letter queues: the broker drops a message that expires in a retry queue into a
            // full queue.
            Fault::DeadLettersFull => {
                self.bound_dead_letters(0).await;
                self.faults.insert("full");
            }
            Fault::Full | Fault::Slow | Fault::Unreliable => {
                unreachable!("not among the faults of a node")
            }
        }
    }

    async fn heal(&mut self) {
        if self.faults.remove("down") {
            self.node.restart().await;
        }
        if self.faults.remove("alarm") {
            self.ctl(&["set_vm_memory_high_watermark", "absolute", "6GB"]).await;
        }
        if self.faults.remove("full") {
            self.bound_dead_letters(100_000).await;
        }
    }

    async fn depths(&mut self) -> BTreeMap<String, usize> {
        // A queue has no depth while it starts, for example after the node was killed.
        for _ in 0..60 {
            if let Some(depths) = self.known_depths().await {
                return depths;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        panic!("a queue has no depth for a minute");
    }

    async fn drain(&mut self, queue: &str) -> Vec<Found> {
        let amqp = Amqp::connect(&self.url).await;
        let messages = amqp.drain(queue).await;
        amqp.close().await;
        let found = messages.into_iter().map(|message| {
            let headers = message.properties.headers().clone().unwrap_or_default();
            let pending = match headers.inner().get("listener-methods") {
                Some(AMQPValue::FieldArray(pending)) => {
                    pending.as_slice().iter().filter_map(text).collect()
                }
                _ => Vec::new(),
            };
            Found { body: message.delivery.data, pending }
        });
        found.collect()
    }

    fn fault_counts(&self) -> Option<BTreeMap<u32, FaultCounts>> {
        None
    }
}

fn text(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => Some(text.to_string()),
        _ => None,
    }
}

/// One script in both worlds.
async fn assert_equivalent(node: &mut RabbitNode, seed: u64) -> Tally {
    let script = Script::new(seed, PACE, FAULTS);
    println!("seed {seed}: {:?}", script.steps);
    let mut world = RabbitWorld::new(node, &script).await;
    let history = run(&script, &mut world).await;
    let in_rabbit = judge(&script, &history);
    let in_rabbit = in_rabbit.unwrap_or_else(|wrong| panic!("{wrong:#?}\n{history:#?}"));
    let modelled = std::thread::spawn({
        let script = script.clone();
        move || judge(&script, &simulate(&script, sound))
    });
    let in_model = modelled.join().unwrap().unwrap_or_else(|wrong| panic!("{wrong:#?}"));
    println!("seed {seed}: {in_rabbit:?} in RabbitMQ, {in_model:?} in the model");
    in_rabbit
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs rabbitmq"]
async fn confirmed_notifications_are_handled_or_dead_lettered_in_rabbitmq() {
    let mut node = RabbitNode::start().await;
    let mut total = Tally::default();
    for seed in seeds() {
        total.add(assert_equivalent(&mut node, seed).await);
    }
    assert!(total.handled > 0 && total.dead > 0, "{total:?}");
}

/// The first seeds that together include all faults, stops and crashes of a process, and the second
/// program; and some more.
fn seeds() -> Vec<u64> {
    let kind = |step: &Step| match step {
        Step::Fault(fault) => Some(discriminant(fault)),
        _ => None,
    };
    let mut missing: Vec<_> = FAULTS.iter().map(discriminant).collect();
    let (mut stop, mut crash, mut second) = (false, false, false);
    let mut seeds = Vec::new();
    for seed in 0.. {
        let script = Script::new(seed, PACE, FAULTS);
        let steps = &script.steps;
        let before = (missing.len(), stop, crash, second);
        missing.retain(|fault| !steps.iter().filter_map(kind).any(|found| found == *fault));
        stop |= steps.iter().any(|step| matches!(step, Step::Stop(_)));
        crash |= steps.iter().any(|step| matches!(step, Step::Crash(_)));
        second |= script.has(Program::Second);
        let is_whole = missing.is_empty() && stop && crash && second;
        if is_whole || before != (missing.len(), stop, crash, second) {
            seeds.push(seed);
        }
        if is_whole && seeds.len() >= LEAST {
            break;
        }
    }
    seeds
}
