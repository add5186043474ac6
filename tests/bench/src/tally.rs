//! What a contender in Rust counts while it runs, and what it cost: time, the processor's time and
//! peak memory of the process, as Linux tells them in /proc. Contenders call it.

use std::fs;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::Notify;

use crate::Error;
use crate::contender::{Measured, now};

/// Of the times in /proc, in each second: the same on every Linux of today.
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

    /// The clock runs from here. Called by those who send; those who consume begin with the first
    /// message they handle.
    pub(crate) fn begin(&self) {
        self.begun.get_or_init(|| Begun {
            at: Instant::now(),
            unix: now(),
            cpu: cpu().unwrap_or_default(),
        });
    }

    /// One message was decoded, and this number was in it. Whether it was the last.
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

    /// Until the last is handled.
    pub(crate) async fn all_handled(&self) {
        self.done.notified().await;
    }

    /// The clock stops here: to be called when everything is acknowledged, or confirmed.
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

/// Seconds of the processor that all threads of this process had, in the program and in the system.
fn cpu() -> Result<(f64, f64), Error> {
    let fields = process("self")?;
    Ok((fields[0], fields[1]))
}

/// Seconds of the processor that this process, its ended children and `pid` had, and that all
/// processes of the machine had.
pub(crate) fn cpu_of_all(pid: &str) -> Result<(f64, f64), Error> {
    let ours: f64 = process("self")?.iter().sum();
    let theirs = process(pid)?;
    let stat = fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().ok_or("/proc/stat is empty")?;
    let times: Vec<f64> = line.split_whitespace().skip(1).filter_map(|t| t.parse().ok()).collect();
    // user, nice, system, idle, waiting for disks, interrupts of two kinds; the rest is of guests.
    let busy: f64 = [0, 1, 2, 5, 6].iter().filter_map(|&at| times.get(at)).sum();
    Ok((ours + theirs[0] + theirs[1], busy / TICKS))
}

/// Of a process, in seconds: in the program and in the system, its own and its ended children's.
fn process(pid: &str) -> Result<[f64; 4], Error> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is the program's name in brackets, and may hold anything.
    let (_, fields) = stat.rsplit_once(')').ok_or("/proc/PID/stat has no name in it")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let times = fields.get(11..15).ok_or("/proc/PID/stat is short")?;
    let mut seconds = [0.0; 4];
    for (second, ticks) in seconds.iter_mut().zip(times) {
        *second = ticks.parse::<f64>()? / TICKS;
    }
    Ok(seconds)
}

/// A line of /proc/PID/status, in KiB: `VmHWM:` is the peak, `VmRSS:` what it is now.
pub(crate) fn memory(pid: &str, line: &str) -> Result<u64, Error> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let value = status.lines().find_map(|text| text.strip_prefix(line)).ok_or("no such line")?;
    let number = value.split_whitespace().next().ok_or("the line is empty")?;
    Ok(number.parse()?)
}
