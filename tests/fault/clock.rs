//! Faults of the program's wall clock: it jumps and runs slowly. Row 33 of the list. A preloaded library
//! changes it but not the monotonic clock, like a change of the machine's clock.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use support::{Act, Job, shared};

use crate::process::Worker;
use crate::trial::Trial;

/// The library, as Debian's package `libfaketime` installs it.
fn faketime() -> PathBuf {
    let installed = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let mut candidates = installed.map(|folder| folder.path().join("faketime/libfaketime.so.1"));
    let found = candidates.find(|path| path.exists());
    found.expect("libfaketime is installed: run tests/run (Debian: apt-get install libfaketime)")
}

/// The year after this many days.
fn year_in(days: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let seconds = i64::try_from(now).unwrap() + days * 86_400;
    1970 + seconds / 31_556_952
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_clock_that_jumps_and_runs_slowly_has_no_effect() {
    const EACH: u64 = 40;
    let node = shared().await;
    let mut trial = Trial::new(33, "clock jumps by an hour and by years, runs slowly", node).await;
    let clock = trial.options.log.with_extension("clock");
    fs::write(&clock, "+0").unwrap();
    let library = faketime();
    let mut worker = Worker::start_with(
        &trial.options,
        &[
            ("LD_PRELOAD", library.as_os_str()),
            ("FAKETIME_TIMESTAMP_FILE", clock.as_os_str()),
            ("FAKETIME_NO_CACHE", OsStr::new("1")),
            ("FAKETIME_DONT_FAKE_MONOTONIC", OsStr::new("1")),
            ("DONT_FAKE_MONOTONIC", OsStr::new("1")),
        ],
    );
    worker.ready(true).await;
    let mut sent = 0;
    for setting in ["+1h", "-1h", "+800d", "-800d", "+0 x0.1", "+0"] {
        // Half of them wait for a retry while the clock is set.
        let jobs = |from: u64, act: fn(u64) -> Act| {
            (from..from + EACH).map(move |id| Job { id, act: act(id) })
        };
        trial.send(jobs(sent, |id| Act::Fail(u32::from(id % 2 == 0)))).await;
        fs::write(&clock, setting).unwrap();
        trial.send(jobs(sent + EACH, |id| Act::Fail(u32::from(id % 4 == 0)))).await;
        sent += 2 * EACH;
        trial.until_all_handled(&mut worker).await;
    }
    assert_eq!(worker.losses(), 0, "{}", worker.log());
    // The log has the time of the changed clock.
    for days in [800, -800] {
        let year = format!("{}-", year_in(days));
        let log = worker.log();
        assert!(log.lines().any(|line| line.starts_with(&year)), "no line of {year}\n{log}");
    }
    fs::remove_file(&clock).unwrap();
    trial.worked(&worker);
    trial.finish(worker, node, 0).await;
}
