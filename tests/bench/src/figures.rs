//! The measurements, with medians, ranges and ratios. `rounds.rs` adds them; `table.rs` and `chart.rs`
//! show them.

use std::fmt;

use crate::contender::{Contender, Half, Measured};

/// One run of one contender.
#[derive(Clone)]
pub(crate) struct Run {
    /// Messages per second.
    pub(crate) rate: f64,
    /// CPU time of the contender, µs per message.
    pub(crate) cpu: f64,
    /// Peak, in MiB.
    pub(crate) memory: f64,
    /// From the start of the process to the first message, in ms.
    pub(crate) first: f64,
    /// The load of other processes meanwhile, in cores.
    others: f64,
}

impl Run {
    pub(crate) fn new(measured: &Measured, started_at: f64, others: f64) -> Self {
        let messages = measured.messages as f64;
        Self {
            rate: messages / measured.seconds,
            cpu: (measured.cpu_user_s + measured.cpu_sys_s) * 1e6 / messages,
            memory: measured.peak_rss_kb as f64 / 1024.0,
            first: (measured.first_at - started_at) * 1e3,
            others,
        }
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rate, cpu, memory, first, others } = self;
        write!(f, "{rate:.0} a second, {cpu:.1} µs, {memory:.1} MiB, first after {first:.0} ms; ")?;
        write!(f, "other processes: {others:.1} cores")
    }
}

/// A figure of a run.
pub(crate) type Figure = fn(&Run) -> f64;

pub(crate) const RATE: Figure = |run| run.rate;
pub(crate) const CPU: Figure = |run| run.cpu;
pub(crate) const MEMORY: Figure = |run| run.memory;
pub(crate) const FIRST: Figure = |run| run.first;

pub(crate) struct Figures {
    pub(crate) half: Half,
    /// The runs of each contender, one per round.
    rows: Vec<(&'static str, Vec<Run>)>,
}

/// A median with its range.
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Figures {
    pub(crate) fn new(half: Half, contenders: &[&Contender]) -> Self {
        Self { half, rows: contenders.iter().map(|one| (one.name, Vec::new())).collect() }
    }

    pub(crate) fn add(&mut self, name: &str, run: Run) {
        for (_, runs) in self.rows.iter_mut().filter(|(row, _)| *row == name) {
            runs.push(run.clone());
        }
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.rows.iter().map(|(name, _)| *name)
    }

    pub(crate) fn spread(&self, name: &str, figure: Figure) -> Spread {
        spread(self.runs(name).iter().map(figure).collect())
    }

    /// The ratio to the baseline of the same round; `None` if that did not run or has no value.
    pub(crate) fn ratio(&self, name: &str, figure: Figure) -> Option<f64> {
        let pairs = self.runs(name).iter().zip(self.runs(self.half.baseline()));
        let ratios: Vec<f64> = pairs.map(|(run, base)| figure(run) / figure(base)).collect();
        // A run too short for the CPU clock has no ratio either.
        let known = !ratios.is_empty() && ratios.iter().all(|ratio| ratio.is_finite());
        known.then(|| spread(ratios).median)
    }

    pub(crate) fn others(&self) -> impl Iterator<Item = f64> {
        self.rows.iter().flat_map(|(_, runs)| runs).map(|run| run.others)
    }

    fn runs(&self, name: &str) -> &[Run] {
        self.rows.iter().find(|(row, _)| *row == name).map_or(&[], |(_, runs)| runs)
    }
}

/// Of at least one value.
pub(crate) fn spread(mut values: Vec<f64>) -> Spread {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
    Spread { median: (low + high) / 2.0, least: values[0], most: values[values.len() - 1] }
}
