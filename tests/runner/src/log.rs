//! Reads the output of a test binary: its count, and the text about failed tests.

/// How many tests passed, and how many failed.
pub(crate) type Count = (u64, u64);

/// The secret of the tests, as in `tests/support`: no test may print it.
pub(crate) const SECRET: &str = "s3cr3t!canary";

/// The sum of all result lines; `None` if there is none.
pub(crate) fn count(log: &str) -> Option<Count> {
    let log = without_colours(log);
    let mut counts = log.lines().filter_map(|line| {
        let line = line.strip_prefix("test result: ")?;
        Some((before(line, " passed;")?, before(line, " failed;")?))
    });
    let first = counts.next()?;
    Some(sum(std::iter::once(Some(first)).chain(counts.map(Some))))
}

/// The sum of all counts.
pub(crate) fn sum(counts: impl Iterator<Item = Option<Count>>) -> Count {
    counts.flatten().fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1))
}

/// The number before a word.
fn before(line: &str, word: &str) -> Option<u64> {
    line.split_once(word)?.0.rsplit(' ').next()?.parse().ok()
}

/// The text without the escape sequences of colours.
fn without_colours(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once('m').map_or(part, |(_, rest)| rest))
}

/// The text about failed tests, without backtraces; or the last lines of a log without such a text.
pub(crate) fn failures(log: &str) -> String {
    const LAST: usize = 40;
    let lines: Vec<&str> = without_backtraces(log.lines()).collect();
    let first = lines.iter().position(|line| *line == "failures:");
    let from = first.unwrap_or_else(|| lines.len().saturating_sub(LAST));
    lines[from..].join("\n")
}

/// Removes what the standard library prints after a panic with `RUST_BACKTRACE`: numbered frames and
/// their locations.
fn without_backtraces<'l>(lines: impl Iterator<Item = &'l str>) -> impl Iterator<Item = &'l str> {
    let is_frame = |line: &str| {
        let text = line.trim_start();
        let number = text.split_once(": ").map(|(number, _)| number.parse::<u32>());
        text != line && (text.starts_with("at ") || matches!(number, Some(Ok(_))))
    };
    let mut within = false;
    lines.filter(move |line| {
        within = *line == "stack backtrace:" || within && is_frame(line);
        !within
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_results_of_a_log_are_counted_also_in_colour() {
        let log = "test a ... ok\n\
            test result: \u{1b}[32mok\u{1b}[0m. 3 passed; 0 failed; 1 ignored; 0 measured\n\
            x\ntest result: FAILED. 20 passed; 4 failed; 0 ignored\n";
        assert_eq!(count(log), Some((23, 4)));
        assert_eq!(count("test a ... ok\n"), None);
    }

    #[test]
    fn failures_are_the_text_after_the_successes() {
        let log = "test a ... ok\n\nsuccesses:\n    a\n\nfailures:\n\n---- b stdout ----\nwhy\n";
        assert_eq!(failures(log), "failures:\n\n---- b stdout ----\nwhy");
        assert_eq!(failures("one\ntwo\n"), "one\ntwo");
    }

    #[test]
    fn failures_are_reported_without_their_backtraces() {
        let log = "failures:\n\n---- b stdout ----\nwhy\nstack backtrace:\n   0: core::panicking\n\
            \x20            at /rustc/x.rs:14:5\n  10: <T as U>::run\nnote: Some details\n   3: kept\n";
        let told = "failures:\n\n---- b stdout ----\nwhy\nnote: Some details\n   3: kept";
        assert_eq!(failures(log), told);
    }

    #[test]
    fn the_secret_is_that_of_the_tests() {
        let support = include_str!("../../support/lib.rs");
        assert!(support.contains(&format!("SECRET: &str = \"{SECRET}\";")));
    }
}
