//! Which tests belong to which run. Each test target of the workspace is listed here once: a missing or
//! unknown one fails every run at its start.

use crate::cargo::Member;

/// How much is run. Each set includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Set {
    /// `--quick`: tests that need neither a broker nor Python, nor further builds.
    Quick,
    /// Without an option: every test that a change has to pass.
    Default,
    /// `--full`: also tests that take long and rarely find something new.
    Full,
}

/// What a run is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    Set(Set),
    /// `--only a,b`: all tests of these targets of the package `tests`.
    Only(Vec<String>),
}

impl Choice {
    /// Reads the first option; the rest is for the test binaries.
    pub(crate) fn read(arguments: &[String]) -> (Self, &[String]) {
        match arguments {
            [option, rest @ ..] if option == "--quick" => (Self::Set(Set::Quick), rest),
            [option, rest @ ..] if option == "--full" => (Self::Set(Set::Full), rest),
            [option, targets, rest @ ..] if option == "--only" => {
                (Self::Only(targets.split(',').map(str::to_owned).collect()), rest)
            }
            rest => (Self::Set(Set::Default), rest),
        }
    }

    pub(crate) fn suites(&self) -> Vec<&'static Suite> {
        let is_chosen = |suite: &&Suite| match self {
            Self::Set(set) => suite.set <= *set,
            Self::Only(targets) => {
                suite.package == "tests" && targets.iter().any(|target| target == suite.target)
            }
        };
        SUITES.iter().filter(is_chosen).collect()
    }

    pub(crate) fn is_quick(&self) -> bool {
        *self == Self::Set(Set::Quick)
    }
}

/// The lane in which a job runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// It uses all processors: one such job at a time, with a lower priority than those that wait.
    Compute,
    /// It mostly waits, for a broker or a delay: several at a time, with many threads.
    Wait,
}

/// A test target.
#[derive(Debug)]
pub(crate) struct Suite {
    pub(crate) set: Set,
    pub(crate) package: &'static str,
    pub(crate) target: &'static str,
    /// Whether these are the unit tests of a library or a program.
    pub(crate) is_unit: bool,
    /// The lane of its ignored tests; the others compute meanwhile. In a quick run, which skips the
    /// ignored ones, the lane of the others.
    pub(crate) lane: Lane,
}

const fn suite(set: Set, package: &'static str, target: &'static str, lane: Lane) -> Suite {
    Suite { set, package, target, is_unit: false, lane }
}

const fn unit(package: &'static str, target: &'static str) -> Suite {
    Suite { set: Set::Quick, package, target, is_unit: true, lane: Lane::Compute }
}

/// All suites; those that take longest come first, and start first.
pub(crate) const SUITES: &[Suite] = &[
    suite(Set::Full, "tests", "support_works", Lane::Wait),
    suite(Set::Full, "tests", "linking_lto", Lane::Compute),
    suite(Set::Default, "tests", "fault", Lane::Wait),
    suite(Set::Default, "tests", "rabbit", Lane::Wait),
    suite(Set::Default, "tests", "interop", Lane::Wait),
    suite(Set::Quick, "ui", "ui", Lane::Compute),
    suite(Set::Default, "api", "api", Lane::Compute),
    suite(Set::Default, "tests", "linking", Lane::Compute),
    suite(Set::Quick, "tests", "conformance", Lane::Wait),
    suite(Set::Quick, "tests", "simulation", Lane::Wait),
    suite(Set::Default, "tests", "secrets", Lane::Wait),
    suite(Set::Default, "tests", "examples", Lane::Wait),
    suite(Set::Default, "tests", "bounded", Lane::Wait),
    suite(Set::Quick, "tests", "hostile", Lane::Wait),
    suite(Set::Quick, "tests", "allocations", Lane::Wait),
    suite(Set::Quick, "tests", "flow", Lane::Wait),
    suite(Set::Quick, "tests", "tidy", Lane::Wait),
    unit("tests", "support"),
    unit("listener", "listener"),
    unit("listener-macros", "listener_macros"),
    unit("examples", "examples"),
    unit("runner", "runner"),
];

/// What a quick run reduces.
pub(crate) const QUICK: &[(&str, &str)] = &[("SIMULATION_SEEDS", "1000")];

/// What a full run extends.
pub(crate) const FULL: &[(&str, &str)] = &[("LISTENER_SOAK_SECONDS", "600")];

/// Checks that each test target is listed once, and nothing else.
pub(crate) fn check(suites: &[Suite], members: &[Member]) -> Result<(), String> {
    let mut wrong = Vec::new();
    let targets = members.iter().flat_map(|member| {
        member.tests.iter().map(|target| (member.name.as_str(), target.as_str()))
    });
    let targets: Vec<(&str, &str)> = targets.collect();
    for (package, target) in &targets {
        let is_it = |suite: &&Suite| (suite.package, suite.target) == (*package, *target);
        match suites.iter().filter(is_it).count() {
            1 => {}
            0 => wrong.push(format!("{package}/{target} is in no set, so no run would include it")),
            times => wrong.push(format!("{package}/{target} is listed {times} times")),
        }
    }
    let lost = suites.iter().filter(|suite| !targets.contains(&(suite.package, suite.target)));
    wrong.extend(lost.map(|suite| {
        format!("{}/{} is not a test target of the workspace", suite.package, suite.target)
    }));
    if wrong.is_empty() {
        return Ok(());
    }
    Err(format!("`SUITES` in tests/runner/src/sets.rs:\n- {}", wrong.join("\n- ")))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn the_option_comes_before_the_arguments_of_the_binaries() {
        for (arguments, choice, rest) in [
            (&["pool"][..], Choice::Set(Set::Default), &["pool"][..]),
            (&["--quick", "pool"], Choice::Set(Set::Quick), &["pool"]),
            (&["--full"], Choice::Set(Set::Full), &[]),
            (&["--only", "flow,fault", "x"], Choice::Only(texts(&["flow", "fault"])), &["x"]),
        ] {
            let arguments = texts(arguments);
            assert_eq!(Choice::read(&arguments), (choice, &*texts(rest)));
        }
    }

    #[test]
    fn a_full_run_has_every_suite_and_a_quick_run_only_its_set() {
        assert_eq!(Choice::Set(Set::Full).suites().len(), SUITES.len());
        let quick = Choice::Set(Set::Quick).suites();
        assert!(quick.iter().all(|suite| suite.set == Set::Quick) && quick.len() > 5);
        let only = Choice::Only(texts(&["fault", "examples"])).suites();
        let only: Vec<_> = only.iter().map(|suite| (suite.package, suite.target)).collect();
        assert_eq!(only, [("tests", "fault"), ("tests", "examples")]);
    }

    #[track_caller]
    fn wrong(suites: &[Suite], targets: &[&str], expected: &[&str]) {
        let tests = targets.iter().map(|&target| target.to_owned()).collect();
        let member =
            Member { name: "tests".to_owned(), manifest: PathBuf::from("Cargo.toml"), tests };
        let expected = match expected {
            [] => Ok(()),
            all => Err(format!("`SUITES` in tests/runner/src/sets.rs:\n- {}", all.join("\n- "))),
        };
        assert_eq!(check(suites, &[member]), expected);
    }

    fn flow() -> Suite {
        suite(Set::Quick, "tests", "flow", Lane::Wait)
    }

    #[test]
    fn a_list_with_each_target_once_is_accepted() {
        wrong(&[flow()], &["flow"], &[]);
    }

    #[test]
    fn a_target_in_no_set_or_in_two_is_reported() {
        let lost = "tests/ui is in no set, so no run would include it";
        wrong(&[flow()], &["flow", "ui"], &[lost]);
        wrong(&[flow(), flow()], &["flow"], &["tests/flow is listed 2 times"]);
    }

    #[test]
    fn a_suite_that_does_not_exist_is_reported() {
        wrong(&[flow()], &[], &["tests/flow is not a test target of the workspace"]);
    }
}
