//! Runs jobs in parallel: those of a lane start in order, as many at a time as the lane allows.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Seek};
use std::process::{ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use crate::jobs::Job;
use crate::log::{self, Count};
use crate::sets::Lane;

/// How many jobs of each lane run at a time. A waiting job has several brokers, which use two processors
/// so much that two such jobs would slow each other down.
const ROOM: [(Lane, usize); 2] = [(Lane::Compute, 1), (Lane::Wait, 1)];

/// A job that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) name: String,
    /// Everything that it has printed.
    pub(crate) log: String,
    /// `None`: it has printed no count.
    pub(crate) count: Option<Count>,
    pub(crate) took: Duration,
    /// Why it has failed, if it has.
    pub(crate) wrong: Option<String>,
}

/// Runs all jobs; each is passed to `then` when it has ended.
pub(crate) fn run(jobs: Vec<Job>, mut then: impl FnMut(Ended)) {
    let (ended, all) = mpsc::channel();
    let (compute, wait) = jobs.into_iter().partition(|job| job.lane == Lane::Compute);
    let lanes: [(Lane, Mutex<VecDeque<Job>>); 2] =
        [(Lane::Compute, Mutex::new(compute)), (Lane::Wait, Mutex::new(wait))];
    std::thread::scope(|scope| {
        for (lane, queue) in &lanes {
            let room = ROOM.iter().find(|(of, _)| of == lane).map_or(1, |(_, room)| *room);
            for _ in 0..room {
                let ended = ended.clone();
                scope.spawn(move || {
                    while let Some(job) = next(queue) {
                        eprintln!("-- {} begins", job.name);
                        let _ = ended.send(run_one(job));
                    }
                });
            }
        }
        drop(ended);
        all.into_iter().for_each(&mut then);
    });
}

fn next(queue: &Mutex<VecDeque<Job>>) -> Option<Job> {
    queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
}

fn run_one(job: Job) -> Ended {
    let Job { name, command, .. } = job;
    let start = Instant::now();
    let (log, status) = match logged(command) {
        Ok((log, status)) => (log, Ok(status)),
        Err(error) => (String::new(), Err(error)),
    };
    let count = log::count(&log);
    let wrong = wrong(status, count, &log);
    Ended { name, log, count, took: start.elapsed(), wrong }
}

/// Everything that a process prints, in order, and how it ended.
fn logged(mut command: std::process::Command) -> std::io::Result<(String, ExitStatus)> {
    // A file, so that a child process that keeps running does not block us.
    let mut file = unnamed_file()?;
    command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file.try_clone()?);
    let status = command.status()?;
    let mut log = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut log)?;
    Ok((String::from_utf8_lossy(&log).into_owned(), status))
}

fn unnamed_file() -> std::io::Result<File> {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("listener-tests-{}-{number}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(path)?;
    Ok(file)
}

/// Why a job has failed, if it has.
fn wrong(status: std::io::Result<ExitStatus>, count: Option<Count>, log: &str) -> Option<String> {
    match (status, count) {
        (Err(error), _) => Some(format!("it does not start: {error}")),
        (Ok(status), None) => Some(format!("it has counted no tests, and ended with {status}")),
        (Ok(_), Some((_, failed))) if failed > 0 => Some(format!("{failed} failed")),
        (Ok(status), _) if !status.success() => Some(format!("it ended with {status}")),
        _ if log.contains(log::SECRET) => {
            Some(format!("a test printed the secret that tests use ({})", log::SECRET))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn shell(script: &str) -> Job {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Job { name: "a job".to_owned(), lane: Lane::Wait, command }
    }

    #[track_caller]
    fn check(script: &str, count: Option<Count>, wrong: Option<&str>) {
        let mut all = Vec::new();
        run(vec![shell(script)], |ended| all.push((ended.count, ended.wrong)));
        assert_eq!(all, [(count, wrong.map(str::to_owned))]);
    }

    const PASSED: &str = "echo 'test result: ok. 2 passed; 0 failed; 0 ignored'";

    #[test]
    fn a_job_with_a_count_and_status_zero_has_passed() {
        check(PASSED, Some((2, 0)), None);
    }

    #[test]
    fn a_job_that_dies_before_its_count_has_failed() {
        let wrong = "it has counted no tests, and ended with signal: 9 (SIGKILL)";
        check("kill -KILL $$", None, Some(wrong));
        check("exit 0", None, Some("it has counted no tests, and ended with exit status: 0"));
    }

    #[test]
    fn a_job_that_dies_after_its_count_has_failed() {
        let script = format!("{PASSED}; exit 3");
        check(&script, Some((2, 0)), Some("it ended with exit status: 3"));
    }

    #[test]
    fn a_failed_test_is_counted() {
        let script = "echo 'test result: FAILED. 1 passed; 3 failed; 0 ignored' >&2; exit 101";
        check(script, Some((1, 3)), Some("3 failed"));
    }

    #[test]
    fn a_job_that_prints_the_secret_has_failed() {
        let script = format!("echo '{}'; {PASSED}", log::SECRET);
        let wrong = format!("a test printed the secret that tests use ({})", log::SECRET);
        check(&script, Some((2, 0)), Some(&wrong));
    }

    #[test]
    fn a_job_that_cannot_start_has_failed() {
        let command = Command::new("/nonexistent");
        let job = Job { name: String::new(), lane: Lane::Compute, command };
        let mut all = Vec::new();
        run(vec![job, shell(PASSED)], |ended| all.push(ended.wrong.is_some()));
        all.sort_unstable();
        assert_eq!(all, [false, true]);
    }
}
