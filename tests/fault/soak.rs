//! A stream of notifications during a sequence of faults, for `LISTENER_SOAK_SECONDS`: by default each
//! fault twice, in about a minute. Nothing is lost, and the resources of the process do not grow.
//! `LISTENER_SEED` repeats the order of a run.

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
    /// An empty queue: its messages would be deleted with it.
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

/// The target of all faults: one of two programs is kept alive and measured.
struct Target {
    node: MutexGuard<'static, RabbitNode>,
    proxy: Proxy,
    trial: Trial,
    other: Worker,
}

impl Target {
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
async fn a_long_run_of_faults_loses_nothing_and_leaks_nothing() {
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
    let mut target = Target { node, proxy, trial, other };
    let (mut samples, mut harmed) = (Vec::new(), 0);
    // At least two rounds: in the first one a process allocates what each fault needs.
    while samples.len() < 2 * FAULTS.len() || start.elapsed() < length {
        let mut faults = FAULTS;
        random.shuffle(&mut faults);
        for fault in faults {
            target.harm(fault).await;
            // A process that is not attached yet when the next fault comes may rightly give up.
            target.other.ready(true).await;
            harmed += 1;
            target.trial.attached_after(worker.ready(true).await);
            sleep(Duration::from_millis(random.u64(500..2000))).await;
            samples.push(worker.measures());
            eprintln!("{:?} {fault:?}: {:?}", start.elapsed(), worker.measures());
        }
    }
    let _ = end.send(());
    all_sent(sending).await;
    let Target { node, trial, mut other, .. } = target;
    other.ready(true).await;
    trial.until_empty(&mut worker, &node).await;
    worker.is_calm(Duration::from_secs(2)).await;
    let last = worker.measures();
    let calls = trial.calls();
    eprintln!("{harmed} faults in {:?}, {calls} calls, {last:?}", start.elapsed());
    other.signal("-TERM");
    assert_eq!(other.ended().await.0.code(), Some(0));
    assert_eq!(node.queue_depth(&trial.vhost, QUEUE).await, Some(0));
    // Most faults end a session, some several; few deliveries are in flight then.
    trial.finish(worker, &node, harmed * PREFETCH).await;
    is_flat(&samples, last);
}

type Count = fn(&Measures) -> u64;

/// Compares the end with the highest value of the first half: by then a process has allocated what
/// faults need, and a leak continues.
fn is_flat(samples: &[Measures], last: Measures) {
    let first = &samples[..samples.len().div_ceil(2)];
    let most = |of: Count| first.iter().map(of).max().unwrap_or(0);
    let rss = most(|measures| measures.rss_kb);
    assert!(last.rss_kb <= rss * 5 / 4 + 8_000, "{rss} kB in the first half, {last:?} at the end");
    // The margin for a connection: its sockets and its thread.
    let counts: [(Count, u64); 3] = [
        (|measures| measures.descriptors as u64, 6),
        (|measures| measures.threads as u64, 2),
        (|measures| measures.tasks as u64, 2),
    ];
    for (of, margin) in counts {
        assert!(of(&last) <= most(of) + margin, "{first:?} in the first half, {last:?} at the end");
    }
}
