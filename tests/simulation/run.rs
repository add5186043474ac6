//! Runs a script in a world: sends, harms, stops and starts processes, waits until all is at rest, and
//! writes the history, which `oracle.rs` judges.

use std::collections::BTreeMap;
use std::time::Duration;

use listener::testing::FaultCounts;
use listener::{Context, Notifier};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::endpoints::{Call, ENDPOINTS, Life, Log, Payload, listener};
use crate::script::{PROCESSES, Program, Script, Step};
use crate::world::{Found, World};

/// How often it is checked whether a process has to be killed, or all is at rest.
const TICK: Duration = Duration::from_millis(500);

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct History {
    /// Each notification that was sent, and whether it was confirmed.
    pub(crate) sent: Vec<(u32, bool)>,
    pub(crate) calls: Vec<Call>,
    /// How many deliveries were quarantined.
    pub(crate) quarantined: u64,
    /// The messages in the queues at the end: dead letters and leftovers.
    pub(crate) found: BTreeMap<String, Vec<Found>>,
    pub(crate) lives: Option<BTreeMap<u32, FaultCounts>>,
}

struct Run<'r, W> {
    script: &'r Script,
    world: &'r mut W,
    log: Log,
    lives: [Option<Life>; PROCESSES.len()],
}

pub(crate) async fn run<W: World>(script: &Script, world: &mut W) -> History {
    let sender = Notifier::builder(world.sender()).timeout(script.pace.send).build().unwrap();
    let mut run = Run { script, world, log: Log::new(script), lives: Default::default() };
    let mut sends = Vec::new();
    for step in &script.steps {
        match *step {
            Step::Send(number) => sends.push((number, tokio::spawn(send(sender.clone(), number)))),
            Step::Start(at) => {
                run.start(at).await;
                if PROCESSES[at] == Program::Second && sends.is_empty() {
                    // Its queue is bound before anything is sent.
                    run.world.started(at).await;
                }
            }
            Step::Stop(at) => run.stop(at).await,
            Step::Crash(at) => run.crash(at).await,
            Step::Fault(fault) => run.world.harm(fault).await,
            Step::Heal => run.world.heal().await,
            Step::Wait(time) => run.wait(time).await,
        }
    }
    run.world.heal().await;
    let sent = run.sent(sends).await;
    run.wait_for_rest().await;
    for at in 0..PROCESSES.len() {
        run.stop(at).await;
    }
    let mut found = BTreeMap::new();
    for (queue, depth) in run.world.depths().await {
        if depth > 0 {
            found.insert(queue.clone(), run.world.drain(&queue).await);
        }
    }
    let (calls, quarantined) = (run.log.calls(), run.log.quarantined());
    History { sent, calls, quarantined, found, lives: run.world.fault_counts() }
}

async fn send(sender: Notifier, number: u32) -> bool {
    sender.info(&Context::new(), "simulated", &Payload::new(number)).await.is_ok()
}

impl<W: World> Run<'_, W> {
    async fn start(&mut self, at: usize) {
        if self.lives[at].is_none() {
            let life = Life::default();
            let (script, log, program) = (self.script, &self.log, PROCESSES[at]);
            let build = |transport| listener(script, program, log, &life, transport);
            self.world.start(at, build).await;
            self.lives[at] = Some(life);
        }
    }

    async fn stop(&mut self, at: usize) {
        self.world.stop(at).await;
        self.lives[at] = None;
    }

    async fn crash(&mut self, at: usize) {
        if let Some(life) = self.lives[at].take() {
            life.end();
        }
        self.world.crash(at).await;
    }

    /// Kills a process that a notification has ended, and starts another.
    async fn replace_dying(&mut self) {
        for at in 0..PROCESSES.len() {
            if self.lives[at].as_ref().is_some_and(Life::is_dying) {
                self.crash(at).await;
                self.start(at).await;
            }
        }
    }

    async fn wait(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            sleep(TICK.min(until - Instant::now())).await;
            self.replace_dying().await;
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

    /// Waits until only dead letters are left, and calls on stale deliveries have ended; or until the
    /// time is over.
    async fn wait_for_rest(&mut self) {
        for at in (0..PROCESSES.len()).filter(|at| self.script.starts(*at)) {
            self.start(at).await;
        }
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
