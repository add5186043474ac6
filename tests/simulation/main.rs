//! Listeners under random faults of a seed: with a model of a broker that fails like RabbitMQ, on a
//! paused clock, and with RabbitMQ itself. Whatever happens, confirmed notifications are handled or
//! dead-lettered, without hot loops (`oracle.rs`).
//!
//! `SIMULATION_SEEDS` is the number of seeds (10000), starting at `SIMULATION_FROM` (0). A failed seed
//! is printed with the command that replays it: with `SIMULATION_SEED` only that seed runs, and all of
//! it is printed.
#![allow(clippy::unwrap_used, reason = "tests")]

mod broken;
mod endpoints;
mod faults;
mod model;
mod oracle;
mod rabbit;
mod run;
mod script;
mod world;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use listener::Transport;
use listener::testing::Process;

use crate::model::{FAULTS, ModelWorld, PACE};
use crate::oracle::{Tally, Wrong, judge};
use crate::run::{History, run};
use crate::script::Script;

/// Longer than any seed takes, also on a busy machine: some milliseconds are usual.
const ENDLESS: Duration = Duration::from_secs(60);

/// The history of a seed in the model, through a driver that may be broken.
fn simulate(script: &Script, driver: fn(Process) -> Transport) -> History {
    // The jitter of the listener uses the random generator of the thread.
    fastrand::seed(script.seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async { run(script, &mut ModelWorld::new(script, driver)).await })
}

fn sound(process: Process) -> Transport {
    Transport::new(process, "model")
}

/// Runs a seed in its own thread: one in a hot loop never ends, and its thread is abandoned.
fn outcome(seed: u64) -> Result<Tally, BTreeSet<Wrong>> {
    let (ended, end) = mpsc::channel();
    std::thread::spawn(move || {
        let script = Script::new(seed, PACE, FAULTS);
        let _ = ended.send(judge(&script, &simulate(&script, sound)));
    });
    end.recv_timeout(ENDLESS).unwrap_or_else(|error| {
        let wrong = match error {
            mpsc::RecvTimeoutError::Timeout => Wrong::Endless,
            mpsc::RecvTimeoutError::Disconnected => Wrong::Panicked,
        };
        Err(BTreeSet::from([wrong]))
    })
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| {
        text.parse().unwrap_or_else(|_| panic!("{variable}={text}: expected a number"))
    })
}

#[test]
fn confirmed_notifications_are_handled_or_dead_lettered_whatever_fails() {
    if std::env::var_os("SIMULATION_SEED").is_some() {
        return replay(number("SIMULATION_SEED", 0));
    }
    let (from, seeds) = (number("SIMULATION_FROM", 0), number("SIMULATION_SEEDS", 10_000));
    let next = AtomicU64::new(from);
    let total = Mutex::new(Tally::default());
    let failed = Mutex::new(Vec::new());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= from + seeds || failed.lock().unwrap().len() >= 5 {
                return;
            }
            match outcome(seed) {
                Ok(tally) => total.lock().unwrap().add(tally),
                Err(wrong) => failed.lock().unwrap().push((seed, wrong)),
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let (total, failed) = (total.into_inner().unwrap(), failed.into_inner().unwrap());
    println!("{seeds} seeds: {total:?}");
    for (seed, wrong) in &failed {
        println!(
            "seed {seed}: {wrong:#?}\nSIMULATION_SEED={seed} cargo test -p tests --test simulation whatever_fails -- --nocapture"
        );
    }
    assert!(failed.is_empty(), "{} seeds failed; the commands above replay them", failed.len());
    // A run with hardly any faults would prove nothing.
    assert!(total.dead * 50 > total.sent && total.duplicates * 500 > total.sent, "{total:?}");
    assert!(total.quarantined > 0 && total.second > 0, "{total:?}");
}

#[test]
fn a_seed_replays_exactly() {
    for seed in 0..50 {
        let script = Script::new(seed, PACE, FAULTS);
        let (first, second) = (simulate(&script, sound), simulate(&script, sound));
        assert_eq!((first.sent, first.calls), (second.sent, second.calls), "seed {seed}");
    }
}

/// Prints everything about one seed.
fn replay(seed: u64) {
    let script = Script::new(seed, PACE, FAULTS);
    println!("{script:#?}");
    let history = simulate(&script, sound);
    println!("{history:#?}");
    let tally = judge(&script, &history).unwrap_or_else(|wrong| panic!("{wrong:#?}"));
    println!("{tally:#?}");
}
