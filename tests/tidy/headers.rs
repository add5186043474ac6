//! Each file begins with a `//!` header of two to eight lines that says what is in it, what is
//! elsewhere, and who calls it; one line is enough for a file of tests. The first line of an example
//! says how to run it.

use crate::tree;

/// Crate guides may be of any length.
const GUIDES: [&str; 2] = ["listener/src/lib.rs", "listener-macros/src/lib.rs"];

/// Files for which one line is enough.
const ONE_LINE: [&str; 2] = ["listener/build.rs", "examples/src/lib.rs"];

/// Cases for the compiler begin with a comment of their own, some with an attribute.
const CASES: [&str; 2] = ["tests/ui/pass/", "tests/ui/fail/"];

const LONGEST: usize = 8;

/// What is wrong with the beginning of a file.
fn mistake(path: &str, text: &str) -> Option<String> {
    if CASES.iter().any(|folder| path.starts_with(folder)) {
        return None;
    }
    let lines = text.lines().take_while(|line| line.starts_with("//!"));
    let length = lines.count();
    let short = ONE_LINE.contains(&path) || GUIDES.contains(&path) || is_claims(path);
    let shortest = if short { 1 } else { 2 };
    if length < shortest {
        return Some(format!(
            "{path}: lines in its `//!` header: {length}, expected at least {shortest}: \
             say what is here, what is elsewhere, and who calls it"
        ));
    }
    if length > LONGEST && !GUIDES.contains(&path) {
        return Some(format!(
            "{path}: lines in its `//!` header: {length}, expected at most {LONGEST}"
        ));
    }
    let command = format!("cargo run -p examples --example {}", example(path)?);
    let first = text.lines().next().unwrap_or_default();
    (!first.contains(&command)).then(|| {
        format!("{path}: the first line does not say how to run it, expected `{command}` in it")
    })
}

/// Whether it is a file of tests, whose names say the rest: any but the `main.rs` of its folder.
fn is_claims(path: &str) -> bool {
    path.starts_with("tests/") && !path.starts_with("tests/support/") && !path.ends_with("/main.rs")
}

/// The name of the example that this file is the main file of.
fn example(path: &str) -> Option<&str> {
    let file = path.strip_prefix("examples/")?.strip_suffix(".rs")?;
    if file.starts_with("src/") {
        return None;
    }
    let file = file.strip_suffix("/main").unwrap_or(file);
    Some(file.rsplit_once('/').map_or(file, |(_, name)| name))
}

#[test]
fn each_file_has_a_header() {
    let mistakes: Vec<String> = ["listener", "listener-macros", "examples", "tests"]
        .iter()
        .flat_map(|member| {
            tree::sources(member)
                .into_iter()
                .filter_map(move |file| mistake(&format!("{member}/{}", file.path), &file.text))
        })
        .collect();
    assert!(mistakes.is_empty(), "\n{}\n", mistakes.join("\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, text: &str, expected: Option<&str>) {
        assert_eq!(mistake(path, text).as_deref(), expected);
    }

    #[test]
    fn a_header_has_two_to_eight_lines() {
        check("listener/src/a.rs", "//! One.\n//! Two.\n\nfn a() {}\n", None);
        check(
            "listener/src/a.rs",
            "fn a() {}\n",
            Some(
                "listener/src/a.rs: lines in its `//!` header: 0, expected at least 2: \
                 say what is here, what is elsewhere, and who calls it",
            ),
        );
        check(
            "listener/src/a.rs",
            &"//! One more.\n".repeat(9),
            Some("listener/src/a.rs: lines in its `//!` header: 9, expected at most 8"),
        );
    }

    #[test]
    fn guides_are_longer_and_empty_libraries_shorter() {
        check("listener/src/lib.rs", &"//! One more.\n".repeat(70), None);
        check("examples/src/lib.rs", "//! Empty.\n", None);
        check("tests/flow/filter.rs", "//! What filters let through.\n", None);
        check("tests/ui/fail/unknown_priority.rs", "fn main() {}\n", None);
    }

    #[test]
    fn a_header_ends_at_the_first_other_line() {
        check(
            "tests/flow/main.rs",
            "//! One.\n\n//! Two.\n",
            Some(
                "tests/flow/main.rs: lines in its `//!` header: 1, expected at least 2: \
                 say what is here, what is elsewhere, and who calls it",
            ),
        );
    }

    #[test]
    fn an_example_says_how_to_run_it() {
        let good = "//! Run it: `cargo run -p examples --example pool`.\n//! A pool.\n";
        check("examples/pool.rs", good, None);
        check("examples/pool/main.rs", good, None);
        check(
            "examples/batch.rs",
            good,
            Some(
                "examples/batch.rs: the first line does not say how to run it, \
                 expected `cargo run -p examples --example batch` in it",
            ),
        );
    }
}
