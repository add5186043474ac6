//! The grammar of durations: `500ms`, `1m30s`, `1h`. The attribute reads the same texts in
//! `listener-macros`, where it can say more; both are held to the cases in `durations.txt`. Which plain numbers
//! an option accepts as well, and in which range, is in `value.rs`.
//!
//! No crate has just this grammar: humantime and jiff also accept spaces, months and years, duration-str
//! arithmetic, go-parse-duration signs, fractions and any order. Each would accept texts here that the
//! attribute refuses, or would have to be checked for them by a parser as long as this one.

use std::time::Duration;

/// The units with their milliseconds, in the order in which a text has them.
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// The duration that a text says: whole numbers with units, the longest first.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let (mut rest, mut sum, mut units) = (text, 0_u64, UNITS.as_slice());
    while !rest.is_empty() {
        let (number, behind) = split(rest, |c| c.is_ascii_digit());
        let (unit, behind) = split(behind, |c| !c.is_ascii_digit());
        let at = units.iter().position(|(name, _)| *name == unit)?;
        let part = number.parse::<u64>().ok()?.checked_mul(units[at].1)?;
        sum = sum.checked_add(part)?;
        (rest, units) = (behind, &units[at + 1..]);
    }
    (!text.is_empty()).then(|| Duration::from_millis(sum))
}

/// A duration of whole milliseconds as a text of the grammar.
pub(super) fn text(duration: Duration) -> String {
    let mut millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (name, unit) in UNITS {
        if millis >= unit {
            text += &format!("{}{name}", millis / unit);
            millis %= unit;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// Splits a text before the first character for which `is_in` is false.
fn split(text: &str, is_in: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !is_in(c)).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_that_of_the_attribute() {
        for case in include_str!("durations.txt").lines().filter(|line| !line.starts_with('#')) {
            let (text, expected) = case.split_once(" => ").expect("a text and what it is");
            let expected = expected.parse().ok().map(Duration::from_millis);
            assert_eq!(parse(text), expected, "{case}");
        }
    }

    #[test]
    fn a_duration_is_written_as_it_is_read() {
        for written in ["1ms", "30s", "1m30s", "1h", "1h2m3s4ms", "1176h", "0s"] {
            assert_eq!(parse(written).map(text).as_deref(), Some(written));
        }
    }
}
