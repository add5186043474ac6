//! Parses a duration such as `500ms` or `1m30s` into milliseconds, with a diagnostic for each
//! invalid form. Called by `value.rs`, which knows the span of the text. The options of a listener have
//! the same grammar.

use crate::diagnostic::Diagnostic;
use crate::similar::UNIT_SYNONYMS;

/// The units with their milliseconds, in the order in which they must be written.
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// One week: brokers delay a message for a few weeks at most.
const LONGEST: u64 = 168 * UNITS[0].1;

const FORMS: &str = "write whole numbers with units, such as `500ms`, `30s`, `5m` or `1h30m`";

/// The milliseconds of a duration: greater than zero, at most one week.
pub(super) fn milliseconds(text: &str) -> Result<u64, Diagnostic> {
    if text.trim().is_empty() {
        return Err(Diagnostic::new("expected a duration, found an empty string", FORMS));
    }
    if text.contains(char::is_whitespace) {
        let joined: String = text.split_whitespace().collect();
        let message = format!("unexpected space in the duration `{text}`");
        return Err(Diagnostic::new(message, format!("write `{joined}`")));
    }
    if text.starts_with('-') {
        let message = format!("the duration `{text}` is negative");
        return Err(Diagnostic::new(message, "write a duration greater than zero"));
    }
    let (mut rest, mut sum, mut units) = (text, 0, UNITS.as_slice());
    while !rest.is_empty() {
        let (number, unit, tail) = split_part(rest)?;
        let index = unit_index(unit, number, units)?;
        let part = number.parse::<u64>().ok().and_then(|number| number.checked_mul(units[index].1));
        sum += part.filter(|part| *part <= LONGEST).ok_or_else(|| too_long(text))?;
        (rest, units) = (tail, &units[index + 1..]);
    }
    match sum {
        0 => Err(Diagnostic::new(
            format!("the duration `{text}` must be greater than zero"),
            "the shortest duration is `1ms`",
        )),
        sum if sum > LONGEST => Err(too_long(text)),
        sum => Ok(sum),
    }
}

/// The first number, its unit, and the rest of the text.
fn split_part(text: &str) -> Result<(&str, &str, &str), Diagnostic> {
    let (number, rest) = split_while(text, |c| c.is_ascii_digit());
    if number.is_empty() {
        return Err(Diagnostic::new(format!("expected a number, found `{text}`"), FORMS));
    }
    if rest.starts_with(['.', ',']) {
        let message = format!("expected a whole number, found `{text}`");
        let help = "use a smaller unit: `1500ms` is one and a half seconds";
        return Err(Diagnostic::new(message, help));
    }
    let (unit, tail) = split_while(rest, |c| !c.is_ascii_digit());
    if unit.is_empty() {
        let message = format!("missing unit after `{number}`");
        let help = format!("write `{number}s` for seconds; the units are ms, s, m and h");
        return Err(Diagnostic::new(message, help));
    }
    Ok((number, unit, tail))
}

/// The index of the unit among those that may still follow.
fn unit_index(unit: &str, number: &str, units: &[(&str, u64)]) -> Result<usize, Diagnostic> {
    if let Some(index) = units.iter().position(|(name, _)| *name == unit) {
        return Ok(index);
    }
    if UNITS.iter().any(|(name, _)| *name == unit) {
        let message = format!("unexpected `{number}{unit}` after a unit that is not longer");
        return Err(Diagnostic::new(message, "write each unit once, the longest first: `1h30m`"));
    }
    let word = unit.to_lowercase();
    let similar = UNIT_SYNONYMS.iter().find(|(other, _)| *other == word);
    let help = match similar {
        Some((_, similar)) => format!("did you mean `{number}{similar}`?"),
        None if word.starts_with('d') => "use hours: one day is `24h`".to_owned(),
        None => "the units are ms, s, m and h".to_owned(),
    };
    Err(Diagnostic::new(format!("unknown unit `{unit}`"), help))
}

fn too_long(text: &str) -> Diagnostic {
    Diagnostic::new(format!("the duration `{text}` is too long"), "the maximum is one week, `168h`")
}

/// Splits the text before the first character that does not satisfy the predicate.
fn split_while(text: &str, predicate: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !predicate(c)).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: u64) {
        assert_eq!(milliseconds(text), Ok(expected), "{text}");
    }

    #[track_caller]
    fn check_error(text: &str, message: &str, help: &str) {
        assert_eq!(milliseconds(text), Err(Diagnostic::new(message, help)), "{text}");
    }

    #[test]
    fn a_number_with_a_unit_is_a_duration() {
        check("500ms", 500);
        check("168h", 604_800_000);
    }

    /// The options of a listener are held to the same cases.
    #[test]
    fn the_grammar_is_that_of_the_options() {
        let cases = include_str!("../../../listener/src/options/durations.txt");
        for case in cases.lines().filter(|line| !line.starts_with('#')) {
            let (text, expected) = case.split_once(" => ").expect("a text and what it is");
            assert_eq!(milliseconds(text).ok(), expected.parse().ok(), "{case}");
        }
    }

    #[test]
    fn units_add_up() {
        check("1h2m3s4ms", 3_723_004);
    }

    #[test]
    fn a_number_without_a_unit_is_refused() {
        let units = "the units are ms, s, m and h";
        let help = format!("write `30s` for seconds; {units}");
        check_error("30", "missing unit after `30`", &help);
        check_error("1m30", "missing unit after `30`", &help);
    }

    #[test]
    fn a_unit_of_another_library_suggests_ours() {
        check_error("30sec", "unknown unit `sec`", "did you mean `30s`?");
        check_error("5min", "unknown unit `min`", "did you mean `5m`?");
        check_error("5S", "unknown unit `S`", "did you mean `5s`?");
        check_error("1d", "unknown unit `d`", "use hours: one day is `24h`");
        check_error("9us", "unknown unit `us`", "the units are ms, s, m and h");
    }

    #[test]
    fn each_unit_is_written_once_and_the_longest_first() {
        let help = "write each unit once, the longest first: `1h30m`";
        check_error("1s1m", "unexpected `1m` after a unit that is not longer", help);
        check_error("1s1s", "unexpected `1s` after a unit that is not longer", help);
    }

    #[test]
    fn anything_but_a_whole_number_is_refused() {
        check_error("", "expected a duration, found an empty string", FORMS);
        check_error("s", "expected a number, found `s`", FORMS);
        check_error("30 s", "unexpected space in the duration `30 s`", "write `30s`");
        let positive = "write a duration greater than zero";
        check_error("-1s", "the duration `-1s` is negative", positive);
        let smaller = "use a smaller unit: `1500ms` is one and a half seconds";
        check_error("1.5s", "expected a whole number, found `1.5s`", smaller);
    }

    #[test]
    fn zero_and_more_than_a_week_are_refused() {
        let shortest = "the shortest duration is `1ms`";
        check_error("0s", "the duration `0s` must be greater than zero", shortest);
        check_error("0h0ms", "the duration `0h0ms` must be greater than zero", shortest);
        for text in
            ["169h", "168h1ms", "10080m1s", "99999999999999999999s", "18446744073709551615h"]
        {
            let message = format!("the duration `{text}` is too long");
            check_error(text, &message, "the maximum is one week, `168h`");
        }
    }
}
