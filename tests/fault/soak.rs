//! A stream of notifications while fault follows fault, for as long as `LISTENER_SOAK_SECONDS`
//! says: by default each fault once, in about a minute. Nothing is lost, and what the process
//! takes of the machine does not grow. `LISTENER_SEED` repeats the order of a run.

use std::time::{Duration, Instant};

use support::{Act, Job, Proxy, RabbitNode, harmed, wait_until};
use tokio::sync::MutexGuard;
use tokio::time::sleep;

use crate::process::{Measures, Worker};
use crate::program::SOON;
use crate::trial::{PREFETCH, QUEUE, Trial, all_sent};

#[derive(Clone, Copy, Debug)]
enum Fault {
    KillNode,
    CloseConnections,
    Cut,
    Stall,
    MemoryAlarm,
    /// One that nothing is in: what a queue holds goes with it.
    DeleteQueue,
    KillProcess,
    RestartProcess,
}

const FAULTS: [Fault; 8] = [
    Fault::KillNode,
    Fault::CloseConnections,
    Fault::Cut,
    Fault::Stall,
    Fault::MemoryAlarm,
    Fault::DeleteQueue,
    Fault::KillProcess,
    Fault::RestartProcess,
];

/// What all faults are done to: one of two programs is let live, and measured.
struct Ground {
    node: MutexGuard<'static, RabbitNode>,
    proxy: Proxy,
    trial: Trial,
    other: Worker,
}

impl Ground {
    async fn harm(&mut self, fault: Fault) {
        let Self { node, proxy, trial, other } = self;
        match fault {
            Fault::KillNode => {
                node.kill().await;
                node.restart().await;
            }
            Fault::CloseConnections => {
                node.ctl(&["close_all_connections", "--vhost", &trial.vhost, "a test"]).await;
            }
            Fault::Cut => proxy.cut(),
            Fault::Stall => {
                proxy.stall(true);
                sleep(Duration::from_secs(5)).await;
                proxy.stall(false);
            }
            Fault::MemoryAlarm => {
                node.ctl(&["set_vm_memory_high_watermark", "0.00001"]).await;
                sleep(Duration::from_secs(3)).await;
                node.ctl(&["set_vm_memory_high_watermark", "absolute", "6GB"]).await;
            }
            Fault::DeleteQueue => {
                let queue = "notifications.error";
                let is_there = async || node.queue_depth(&trial.vhost, queue).await.is_some();
                wait_until("the queue is there", SOON, is_there).await;
                node.ctl(&["delete_queue", "-p", &trial.vhost, queue]).await;
            }
            Fault::KillProcess => {
                let next = Worker::start(&trial.options);
                std::mem::replace(other, next).kill().await;
            }
            Fault::RestartProcess => {
                other.signal("-TERM");
                let next = Worker::start(&trial.options);
                let (status, log) = std::mem::replace(other, next).ended().await;
                assert_eq!(status.code(), Some(0), "{log}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs rabbitmq"]
async fn a_long_run_of_faults_loses_nothing_and_takes_no_more_of_the_machine() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seed = number("LISTENER_SEED").unwrap_or_else(|| fastrand::u64(..));
    let length = Duration::from_secs(number("LISTENER_SOAK_SECONDS").unwrap_or(0));
    eprintln!("LISTENER_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);

    let node = harmed().await;
    let proxy = Proxy::start(node.port()).await;
    let fault = if length.is_zero() { "soak, each fault twice" } else { "long soak" };
    let trial = Trial::new(0, fault, &node).await.through(&node, proxy.port());
    let mut worker = trial.worker().await;
    let other = trial.worker().await;
    let (end, ended) = tokio::sync::oneshot::channel();
    let sending = trial.sending_until(ended, Duration::from_millis(5), |id| Job {
        id,
        act: if id % 20 == 0 { Act::Fail(1) } else { Act::Handle },
    });
    trial.until_handled(&mut worker, 500).await;

    let start = Instant::now();
    let mut ground = Ground { node, proxy, trial, other };
    let (mut samples, mut harmed) = (Vec::new(), 0);
    // At least twice: in the first round a process comes to need what each fault costs.
    while samples.len() < 2 * FAULTS.len() || start.elapsed() < length {
        let mut faults = FAULTS;
        random.shuffle(&mut faults);
        for fault in faults {
            ground.harm(fault).await;
            // A process that is not attached yet when the next fault comes may rightly give up.
            ground.other.ready(true).await;
            harmed += 1;
            ground.trial.attached_after(worker.ready(true).await);
            sleep(Duration::from_millis(random.u64(500..2000))).await;
            samples.push(worker.measures());
            eprintln!("{:?} {fault:?}: {:?}", start.elapsed(), worker.measures());
        }
    }
    let _ = end.send(());
    all_sent(sending).await;
    let Ground { node, trial, mut other, .. } = ground;
    other.ready(true).await;
    trial.until_empty(&mut worker, &node).await;
    worker.is_calm(Duration::from_secs(2)).await;
    let last = worker.measures();
    let calls = trial.calls();
    eprintln!("{harmed} faults in {:?}, {calls} calls, {last:?}", start.elapsed());
    other.signal("-TERM");
    assert_eq!(other.ended().await.0.code(), Some(0));
    assert_eq!(node.queue_depth(&trial.vhost, QUEUE).await, Some(0));
    // Most faults end a session, some of them several; what is in hand then is seldom much.
    trial.finish(worker, &node, harmed * PREFETCH).await;
    is_flat(&samples, last);
}

type Count = fn(&Measures) -> u64;

/// The end beside the highest of the first half: what a process needs under faults is known by
/// then, and a leak goes on.
fn is_flat(samples: &[Measures], last: Measures) {
    let first = &samples[..samples.len().div_ceil(2)];
    let most = |of: Count| first.iter().map(of).max().unwrap_or(0);
    let rss = most(|measures| measures.rss_kb);
    assert!(last.rss_kb <= rss * 5 / 4 + 8_000, "{rss} kB in the first half, {last:?} at the end");
    // A connection that is there or not: its sockets and its thread.
    let counts: [(Count, u64); 3] = [
        (|measures| measures.descriptors as u64, 6),
        (|measures| measures.threads as u64, 2),
        (|measures| measures.tasks as u64, 2),
    ];
    for (of, margin) in counts {
        assert!(of(&last) <= most(of) + margin, "{first:?} in the first half, {last:?} at the end");
    }
}
