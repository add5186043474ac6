//! The jobs of a run: the plain tests of each binary, its ignored tests, and the documentation tests. A
//! test is ignored if it needs more than Rust: a broker, Python, a build.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cargo::{self, Executables, Member};
use crate::sets::{self, Choice, Lane, Set, Suite};

/// Tests that wait for a broker use little CPU; the brokers use more.
const WAITING_THREADS: &str = "8";

/// One process to be run.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) name: String,
    pub(crate) lane: Lane,
    pub(crate) command: Command,
}

/// All jobs of a run, in the order in which they start. `arguments` are those of the user, for each
/// binary.
pub(crate) fn of(
    choice: &Choice,
    suites: &[&Suite],
    members: &[Member],
    executables: &Executables,
    arguments: &[String],
) -> Result<Vec<Job>, String> {
    let mut jobs = Vec::new();
    for suite in suites {
        let name = format!("{}/{}", suite.package, suite.target);
        let manifest = members.iter().find(|member| member.name == suite.package);
        let manifest = &manifest.ok_or_else(|| format!("{name} has no package"))?.manifest;
        let built = executables.get(&(manifest.clone(), suite.target.to_owned()));
        let built = built.ok_or_else(|| format!("Cargo has built no {name}"))?;
        let folder = manifest.parent().unwrap_or(manifest);
        if !choice.is_quick() && has_ignored(built, folder, &name)? {
            let command = binary(suite.lane, built, folder, &["--ignored"], arguments);
            jobs.push(Job { name: format!("{name}, ignored"), lane: suite.lane, command });
        }
        // Without tests that wait for a broker, their lane is free.
        let lane = if choice.is_quick() { suite.lane } else { Lane::Compute };
        let command = binary(lane, built, folder, &[], arguments);
        jobs.push(Job { name, lane, command });
    }
    if matches!(choice, Choice::Set(_)) {
        jobs.push(documentation(choice, arguments));
    }
    let variables = match choice {
        Choice::Set(Set::Quick) => sets::QUICK,
        Choice::Set(Set::Full) => sets::FULL,
        Choice::Set(Set::Default) | Choice::Only(_) => &[],
    };
    for job in &mut jobs {
        let given = |name: &str| std::env::var_os(name).is_some();
        job.command.envs(variables.iter().copied().filter(|(name, _)| !given(name)));
    }
    Ok(jobs)
}

/// A test binary, as `cargo test` runs it.
fn binary(
    lane: Lane,
    built: &Path,
    folder: &Path,
    options: &[&str],
    arguments: &[String],
) -> Command {
    let mut command = with_priority(lane, built);
    command.args(options).arg("--show-output").args(arguments);
    if lane == Lane::Wait && std::env::var_os("RUST_TEST_THREADS").is_none() {
        command.env("RUST_TEST_THREADS", WAITING_THREADS);
    }
    command.current_dir(folder).env("CARGO_MANIFEST_DIR", folder);
    if folder.ends_with("ui") {
        // Its cases need no debug information, which would take gigabytes.
        command.env("CARGO_PROFILE_DEV_DEBUG", "0");
    }
    command
}

/// Jobs that compute have a lower priority, so that tests that wait for a broker get the CPU when they
/// need it.
fn with_priority(lane: Lane, program: &Path) -> Command {
    match lane {
        Lane::Wait => Command::new(program),
        Lane::Compute => {
            let mut command = Command::new("nice");
            command.arg(program);
            command
        }
    }
}

fn has_ignored(built: &Path, folder: &Path, name: &str) -> Result<bool, String> {
    let mut list = Command::new(built);
    list.args(["--list", "--ignored", "--format", "terse"]).current_dir(folder);
    let listed = list.output().map_err(|error| format!("{name} does not start: {error}"))?;
    if !listed.status.success() {
        return Err(format!("{name} does not list its tests: {}", listed.status));
    }
    Ok(!listed.stdout.is_empty())
}

/// The tests of the documentation, which Cargo builds and runs by itself.
fn documentation(choice: &Choice, arguments: &[String]) -> Job {
    let program: OsString = cargo::cargo().get_program().to_owned();
    let mut command = with_priority(Lane::Compute, &PathBuf::from(program));
    command.args(["test", "--workspace", "--doc", "--no-fail-fast", "--", "--show-output"]);
    if !choice.is_quick() {
        command.arg("--include-ignored");
    }
    command.args(arguments).current_dir(cargo::root());
    Job { name: "documentation".to_owned(), lane: Lane::Compute, command }
}
