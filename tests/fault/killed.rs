//! The process is killed many times at random moments, while it works on a stream of notifications of
//! which one in twenty fails.

use std::time::{Duration, Instant};

use support::shared;
use tokio::time::sleep;

use crate::process::Worker;
use crate::trial::{PREFETCH, Trial, all_sent, plain};

const COUNT: u64 = 50_000;
const KILLS: u32 = 25;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs rabbitmq"]
async fn a_process_killed_twenty_five_times_loses_none_of_fifty_thousand() {
    let seed = std::env::var("LISTENER_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    eprintln!("LISTENER_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let node = shared().await;
    let mut trial = Trial::new(15, "25 x SIGKILL, one call in 20 fails", node).await;
    trial.options.fail_one_in = Some(20);
    let sending = trial.sending(plain(0..COUNT));
    let start = Instant::now();
    for kill in 1..=KILLS {
        let mut worker = Worker::start(&trial.options);
        // One in five is killed at any moment of its start, the others after they have handled some.
        if kill % 5 > 0 {
            let count = trial.handled().len() + random.usize(1..800);
            trial.until_handled(&mut worker, count.min(COUNT as usize)).await;
        }
        sleep(Duration::from_millis(random.u64(0..200))).await;
        trial.worked(&worker);
        worker.kill().await;
    }
    let killed = start.elapsed();
    let mut worker = trial.worker().await;
    all_sent(sending).await;
    trial.until_empty(&mut worker, node).await;
    eprintln!("{KILLS} kills in {killed:?}, all handled after {:?}", start.elapsed());
    // After each crash the deliveries in flight are redelivered, and those that were copied and not yet
    // acknowledged: of both queues and of quarantine.
    let account = trial.finish(worker, node, KILLS * 3 * PREFETCH).await;
    assert_eq!(account.confirmed.len() as u64, COUNT);
}
