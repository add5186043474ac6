//! The program behind `tests/run`: builds the tests, runs their binaries in parallel, shows their
//! output, and counts. `sets.rs` assigns suites to runs, `cargo.rs` asks Cargo for targets and
//! executables, `jobs.rs` makes the jobs of a run, `lanes.rs` runs them, and `log.rs` reads their
//! output.

mod cargo;
mod jobs;
mod lanes;
mod log;
mod sets;

use std::process::ExitCode;

use crate::lanes::Ended;
use crate::sets::Choice;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (choice, arguments) = Choice::read(&arguments);
    match run(&choice, arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the chosen tests. Returns whether all passed.
fn run(choice: &Choice, arguments: &[String]) -> Result<bool, String> {
    let members = cargo::members()?;
    sets::check(sets::SUITES, &members)?;
    let suites = choice.suites();
    let executables = cargo::build(choice, &suites)?;
    let jobs = jobs::of(choice, &suites, &members, &executables, arguments)?;
    let mut all: Vec<Ended> = Vec::new();
    lanes::run(jobs, |ended| {
        println!("== {}\n{}", ended.name, ended.log);
        all.push(ended);
    });
    report(&all);
    let (passed, failed) = log::sum(all.iter().map(|ended| ended.count));
    println!("{passed} passed, {failed} failed");
    Ok(passed > 0 && all.iter().all(|ended| ended.wrong.is_none()))
}

/// Prints how long each job took, and the failures again.
fn report(all: &[Ended]) {
    println!("== time");
    for ended in all {
        let (passed, failed) = ended.count.unwrap_or_default();
        let seconds = ended.took.as_secs_f64();
        println!("{seconds:7.1} s  {}: {passed} passed, {failed} failed", ended.name);
    }
    for (ended, wrong) in all.iter().filter_map(|ended| Some((ended, ended.wrong.as_ref()?))) {
        println!("== failed: {}: {wrong}\n{}", ended.name, log::failures(&ended.log));
    }
}
