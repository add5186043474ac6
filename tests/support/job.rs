//! The notifications of the fault tests, and the options of the program that handles them. Both sides,
//! the tests in `fault` and their program `worker`, use these types.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The payload of a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    pub id: u64,
    pub act: Act,
}

/// What the handler does with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Act {
    Handle,
    /// It fails this many times, and is handled then.
    Fail(u32),
    /// It panics this many times, and is handled then.
    Panic(u32),
    /// It takes this many milliseconds.
    Sleep(u64),
    /// The first call in a process takes this many milliseconds, later ones no time.
    SleepOnce(u64),
    /// It never ends.
    Hang,
    /// It ends the process, like a crash.
    Abort,
    /// The same, before the call is recorded.
    AbortAtOnce,
}

/// The configuration of a worker, as JSON in the variable `WORKER`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WorkerOptions {
    pub url: String,
    /// A line is appended for each call (`call 7`), and for each handled job (`done 7`) before the call
    /// returns.
    pub log: PathBuf,
    pub prefetch: u16,
    /// One notification at a time.
    pub sequential: bool,
    /// With an inbox in memory.
    pub inbox: bool,
    /// Every nth call of the process fails.
    pub fail_one_in: Option<u64>,
    /// How long each call takes in addition to what its job asks for.
    pub pause_ms: u64,
    /// The first delay before a retry.
    pub retry_delay_ms: u64,
    pub handler_timeout_ms: u64,
    /// How long an attempt to send a copy may take.
    pub send_timeout_ms: u64,
    pub start_timeout_s: u64,
    pub shutdown_timeout_s: u64,
}

impl WorkerOptions {
    pub fn new(url: impl Into<String>, log: impl Into<PathBuf>) -> Self {
        Self {
            url: url.into(),
            log: log.into(),
            prefetch: 50,
            sequential: false,
            inbox: false,
            fail_one_in: None,
            pause_ms: 0,
            retry_delay_ms: 200,
            handler_timeout_ms: 60_000,
            send_timeout_ms: 10_000,
            start_timeout_s: 300,
            shutdown_timeout_s: 30,
        }
    }
}
