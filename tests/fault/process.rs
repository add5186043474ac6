//! A `worker` as a process: started, signalled, measured, and read on both its outputs.

use std::ffi::OsStr;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use support::{WorkerOptions, wait_until};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::task::JoinHandle;

use crate::program::SOON;

pub(crate) struct Worker {
    child: Child,
    pid: u32,
    _stdin: ChildStdin,
    printed: Arc<Mutex<Printed>>,
    readers: [JoinHandle<()>; 2],
    started: Instant,
}

#[derive(Default)]
struct Printed {
    ready: bool,
    /// How often readiness was lost.
    losses: usize,
    tasks: usize,
    log: String,
}

/// The resources of a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measures {
    pub(crate) rss_kb: u64,
    pub(crate) descriptors: usize,
    pub(crate) threads: usize,
    /// Tasks of the program's runtime.
    pub(crate) tasks: usize,
}

impl Worker {
    pub(crate) fn start(options: &WorkerOptions) -> Self {
        Self::start_with(options, &[])
    }

    /// As `start`, with these variables in its environment.
    pub(crate) fn start_with(options: &WorkerOptions, variables: &[(&str, &OsStr)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_worker"))
            .envs(variables.iter().copied())
            .env("WORKER", serde_json::to_string(options).unwrap())
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let printed = Arc::new(Mutex::new(Printed::default()));
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let readers = [
            read(stdout, Arc::clone(&printed), |printed, line| match line.split_once(' ') {
                Some(("tasks", number)) => printed.tasks = number.parse().unwrap(),
                _ => {
                    printed.ready = line == "ready";
                    printed.losses += usize::from(line == "lost");
                }
            }),
            read(stderr, Arc::clone(&printed), |printed, line| {
                printed.log.push_str(line);
                printed.log.push('\n');
            }),
        ];
        let (pid, stdin) = (child.id().unwrap(), child.stdin.take().unwrap());
        Self { child, pid, _stdin: stdin, printed, readers, started: Instant::now() }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    pub(crate) fn ran(&self) -> Duration {
        self.started.elapsed()
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.printed.lock().unwrap().ready
    }

    /// How often readiness was lost so far.
    pub(crate) fn losses(&self) -> usize {
        self.printed.lock().unwrap().losses
    }

    /// What it has logged until now.
    pub(crate) fn log(&self) -> String {
        self.printed.lock().unwrap().log.clone()
    }

    /// Waits for readiness or its loss, and returns how long that took.
    pub(crate) async fn ready(&mut self, ready: bool) -> Duration {
        let start = Instant::now();
        let what = if ready { "it is ready" } else { "it is not ready any more" };
        self.until(what, async |worker| worker.is_ready() == ready).await;
        start.elapsed()
    }

    pub(crate) async fn logs(&mut self, text: &str) {
        self.until(&format!("it logs {text:?}"), async |worker| worker.log().contains(text)).await;
    }

    /// Waits, and fails at once when the process ends meanwhile.
    pub(crate) async fn until(
        &mut self,
        what: &str,
        mut condition: impl AsyncFnMut(&Self) -> bool,
    ) {
        let printed = Tail(Arc::clone(&self.printed), self.pid);
        wait_until(what, SOON, async || {
            self.runs();
            condition(self).await
        })
        .await;
        drop(printed);
    }

    /// Panics if the process has ended.
    pub(crate) fn runs(&mut self) {
        let ended = self.child.try_wait().unwrap();
        assert_eq!(ended, None, "the program ended:\n{}", self.log());
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.pid.to_string();
        let status = std::process::Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(status.success(), "kill {signal} {pid}");
    }

    /// SIGKILL; returns when it is gone.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Waits for its end, and returns the exit status and the whole log.
    pub(crate) async fn ended(mut self) -> (ExitStatus, String) {
        let ended = tokio::time::timeout(SOON, self.child.wait()).await;
        let status = ended.unwrap_or_else(|_| panic!("it does not end:\n{}", self.log())).unwrap();
        for reader in &mut self.readers {
            reader.await.unwrap();
        }
        (status, self.log())
    }

    /// The CPU time that it has used.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        // The name in parentheses may contain spaces; utime and stime are the 12th and 13th fields after
        // it.
        let behind = stat.rsplit(')').next().unwrap_or_default();
        let ticks = behind.split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks.filter_map(|number| number.parse::<u64>().ok()).sum();
        // Linux has 100 ticks per second.
        Duration::from_millis(ticks * 10)
    }

    pub(crate) fn measures(&self) -> Measures {
        let count = |folder: &str| {
            std::fs::read_dir(format!("/proc/{}/{folder}", self.pid)).map_or(0, Iterator::count)
        };
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid));
        let status = status.unwrap_or_default();
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let rss = rss.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        Measures {
            rss_kb: rss.unwrap_or(0),
            descriptors: count("fd"),
            threads: count("task"),
            tasks: self.printed.lock().unwrap().tasks,
        }
    }

    /// Asserts that it uses less than a tenth of one core for a while in which it only waits.
    pub(crate) async fn is_calm(&mut self, during: Duration) {
        let before = self.cpu();
        let start = Instant::now();
        tokio::time::sleep(during).await;
        self.runs();
        let (took, ran) = (self.cpu() - before, start.elapsed());
        assert!(took < ran / 10, "{took:?} of CPU within {ran:?}:\n{}", self.log());
    }
}

/// Prints the last lines that a worker logged when a test fails while it waits.
struct Tail(Arc<Mutex<Printed>>, u32);

impl Drop for Tail {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let printed = self.0.lock().unwrap();
            let lines: Vec<&str> = printed.log.lines().collect();
            let last = lines[lines.len().saturating_sub(20)..].join("\n");
            let path = std::env::temp_dir().join(format!("listener-worker-{}.log", self.1));
            let _ = std::fs::write(&path, &printed.log);
            eprintln!(
                "the last lines of the worker's log, which is in {}:\n{last}",
                path.display()
            );
        }
    }
}

fn read(
    output: impl AsyncRead + Unpin + Send + 'static,
    printed: Arc<Mutex<Printed>>,
    mut take: impl FnMut(&mut Printed, &str) + Send + 'static,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut lines = BufReader::new(output).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            take(&mut printed.lock().unwrap(), &line);
        }
    })
}
