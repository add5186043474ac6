//! Carries a script out in a world: sends, harms, ends and begins processes, lets all come to
//! rest, and writes the history. What it means is judged by `oracle.rs`.

use std::collections::BTreeMap;
use std::time::Duration;

use listener::drivers::memory::model::Lives;
use listener::{Context, Notifier};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::endpoints::{Call, ENDPOINTS, Life, Log, Payload, listener};
use crate::script::{Script, Step};
use crate::world::{Found, World};

/// How often it is looked whether a process is to be ended, or all is at rest.
const TICK: Duration = Duration::from_millis(500);

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct History {
    /// Each notification that was sent, and whether that was confirmed.
    pub(crate) sent: Vec<(u32, bool)>,
    pub(crate) calls: Vec<Call>,
    /// What lies in the queues at the end: dead letters, and what is left.
    pub(crate) found: BTreeMap<String, Vec<Found>>,
    pub(crate) lives: Option<BTreeMap<u32, Lives>>,
}

struct Run<'r, W> {
    script: &'r Script,
    world: &'r mut W,
    log: Log,
    life: Option<Life>,
}

pub(crate) async fn run<W: World>(script: &Script, world: &mut W) -> History {
    let sender = Notifier::builder(world.sender()).timeout(script.pace.send).build().unwrap();
    let mut run = Run { script, world, log: Log::new(script), life: None };
    let mut sends = Vec::new();
    for step in &script.steps {
        match *step {
            Step::Send(number) => sends.push((number, tokio::spawn(send(sender.clone(), number)))),
            Step::Start => run.start().await,
            Step::Stop => run.stop().await,
            Step::Crash => run.crash().await,
            Step::Fault(fault) => run.world.harm(fault).await,
            Step::Heal => run.world.heal().await,
            Step::Wait(time) => run.wait(time).await,
        }
    }
    run.world.heal().await;
    let sent = run.sent(sends).await;
    run.rest().await;
    run.stop().await;
    let mut found = BTreeMap::new();
    for (queue, depth) in run.world.depths().await {
        if depth > 0 {
            found.insert(queue.clone(), run.world.drain(&queue).await);
        }
    }
    History { sent, calls: run.log.calls(), found, lives: run.world.lives() }
}

async fn send(sender: Notifier, number: u32) -> bool {
    sender.info(&Context::new(), "simulated", &Payload::new(number)).await.is_ok()
}

impl<W: World> Run<'_, W> {
    async fn start(&mut self) {
        if self.life.is_none() {
            let life = Life::default();
            let (script, log) = (self.script, &self.log);
            self.world.start(|transport| listener(script, log, &life, transport)).await;
            self.life = Some(life);
        }
    }

    async fn stop(&mut self) {
        self.world.stop().await;
        self.life = None;
    }

    async fn crash(&mut self) {
        if let Some(life) = self.life.take() {
            life.end();
        }
        self.world.crash().await;
    }

    /// A process that a notification has ended is ended, and another begins.
    async fn bury(&mut self) {
        if self.life.as_ref().is_some_and(Life::is_dying) {
            self.crash().await;
            self.start().await;
        }
    }

    async fn wait(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            sleep(TICK.min(until - Instant::now())).await;
            self.bury().await;
        }
    }

    /// Whether each send was confirmed.
    async fn sent(&mut self, sends: Vec<(u32, JoinHandle<bool>)>) -> Vec<(u32, bool)> {
        let mut sent = Vec::new();
        for (number, task) in sends {
            while !task.is_finished() {
                self.wait(TICK).await;
            }
            sent.push((number, task.await.unwrap()));
        }
        sent
    }

    /// Waits until only dead letters are left, and nothing comes of what is still worked on
    /// although it is the broker's again; or too long.
    async fn rest(&mut self) {
        self.start().await;
        let until = Instant::now() + self.script.pace.rest;
        let quiet = self.script.pace.timeout * ENDPOINTS.len() as u32;
        let mut since = None;
        while Instant::now() < until {
            self.wait(TICK).await;
            let depths = self.world.depths().await;
            let is_empty = depths.iter().all(|(queue, depth)| *depth == 0 || is_dead(queue));
            since = is_empty.then(|| since.unwrap_or_else(Instant::now));
            if since.is_some_and(|since| since.elapsed() > quiet) {
                return;
            }
        }
    }
}

pub(crate) fn is_dead(queue: &str) -> bool {
    queue.ends_with(".dead")
}
