//! What the tests of faults send, and what they tell the program that handles it: both sides,
//! the tests in `fault` and their program `worker`, take these types from here.

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
    /// It fails as often as this, and is handled then.
    Fail(u32),
    /// It panics as often as this, and is handled then.
    Panic(u32),
    /// It takes so many milliseconds.
    Sleep(u64),
    /// The first call in a process takes so many milliseconds, the next ones no time.
    SleepOnce(u64),
    /// It never ends.
    Hang,
    /// It takes the process with it, as a crash does.
    Abort,
    /// The same, before anything else is done, so that no call of it is noted.
    AbortAtOnce,
}

/// How a worker is configured; it stands as JSON in the variable `WORKER`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WorkerOptions {
    pub url: String,
    /// A line is appended for each call (`call 7`) and for each that was handled (`done 7`),
    /// before the listener hears of it.
    pub log: PathBuf,
    pub prefetch: u16,
    /// One after the other.
    pub sequential: bool,
    /// It remembers in memory what was handled.
    pub inbox: bool,
    /// Each call with this number (counted in the process) fails, and its multiples.
    pub fail_one_in: Option<u64>,
    /// How long each call takes beside what its job asks for.
    pub pause_ms: u64,
    /// The first pause before another call.
    pub retry_pause_ms: u64,
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
            retry_pause_ms: 200,
            handler_timeout_ms: 60_000,
            send_timeout_ms: 10_000,
            start_timeout_s: 300,
            shutdown_timeout_s: 30,
        }
    }
}
