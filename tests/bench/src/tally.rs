//! Counts the messages of a contender in Rust, and measures its time, CPU time and peak memory, from
//! /proc. Contenders call it.

use std::fs;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::Notify;

use crate::Error;
use crate::contender::{Measured, now};

/// Ticks per second of the times in /proc: the same on every current Linux.
const TICKS: f64 = 100.0;

/// The messages that a contender has handled or sent.
pub(crate) struct Tally {
    messages: u64,
    begun: OnceLock<Begun>,
    handled: AtomicU64,
    sum: AtomicU64,
    done: Notify,
}

struct Begun {
    at: Instant,
    unix: f64,
    cpu: (f64, f64),
}

impl Tally {
    pub(crate) fn of(messages: u64) -> Self {
        Self {
            messages,
            begun: OnceLock::new(),
            handled: AtomicU64::new(0),
            sum: AtomicU64::new(0),
            done: Notify::new(),
        }
    }

    /// Starts the clock. Publishers call it; for consumers it starts with the first message.
    pub(crate) fn begin(&self) {
        self.begun.get_or_init(|| Begun {
            at: Instant::now(),
            unix: now(),
            cpu: cpu().unwrap_or_default(),
        });
    }

    /// Counts a decoded message with this number. Returns whether it was the last.
    pub(crate) fn handled(&self, number: u64) -> bool {
        self.sum.fetch_add(number, Ordering::Relaxed);
        let handled = self.handled.fetch_add(1, Ordering::AcqRel) + 1;
        if handled == 1 {
            self.begin();
        }
        let last = handled == self.messages;
        if last {
            self.done.notify_one();
        }
        last
    }

    /// Waits until the last is handled.
    pub(crate) async fn all_handled(&self) {
        self.done.notified().await;
    }

    /// Stops the clock: called when everything is acknowledged, or confirmed.
    pub(crate) fn measured(&self) -> Result<Measured, Error> {
        let begun = self.begun.get().ok_or("nothing was handled")?;
        let seconds = begun.at.elapsed().as_secs_f64();
        let (user, system) = cpu()?;
        Ok(Measured {
            messages: self.messages,
            seconds,
            cpu_user_s: user - begun.cpu.0,
            cpu_sys_s: system - begun.cpu.1,
            peak_rss_kb: memory("self", "VmHWM:")?,
            sum: self.sum.load(Ordering::Relaxed),
            first_at: begun.unix,
        })
    }
}

/// CPU seconds of all threads of this process, user and system.
fn cpu() -> Result<(f64, f64), Error> {
    let fields = process("self")?;
    Ok((fields[0], fields[1]))
}

/// CPU seconds of this process, its ended children and `pid`, and of all processes of the machine.
pub(crate) fn cpu_of_all(pid: &str) -> Result<(f64, f64), Error> {
    let ours: f64 = process("self")?.iter().sum();
    let theirs = process(pid)?;
    let stat = fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().ok_or("/proc/stat is empty")?;
    let times: Vec<f64> = line.split_whitespace().skip(1).filter_map(|t| t.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq; the rest is for guests.
    let busy: f64 = [0, 1, 2, 5, 6].iter().filter_map(|&at| times.get(at)).sum();
    Ok((ours + theirs[0] + theirs[1], busy / TICKS))
}

/// CPU seconds of a process: user and system, its own and those of its ended children.
fn process(pid: &str) -> Result<[f64; 4], Error> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is the name of the program in parentheses, and may contain anything.
    let (_, fields) = stat.rsplit_once(')').ok_or("/proc/PID/stat has no name in it")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let times = fields.get(11..15).ok_or("/proc/PID/stat is short")?;
    let mut seconds = [0.0; 4];
    for (second, ticks) in seconds.iter_mut().zip(times) {
        *second = ticks.parse::<f64>()? / TICKS;
    }
    Ok(seconds)
}

/// A line of /proc/PID/status, in KiB: `VmHWM:` is the peak, `VmRSS:` the current value.
pub(crate) fn memory(pid: &str, line: &str) -> Result<u64, Error> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let value = status.lines().find_map(|text| text.strip_prefix(line)).ok_or("no such line")?;
    let number = value.split_whitespace().next().ok_or("the line is empty")?;
    Ok(number.parse()?)
}
