//! A time as text, `500ms` or `1m30s`, read into milliseconds; what is wrong with one is said
//! with a fix. Called by `value.rs`, which knows where the text stands.

use crate::near::UNIT_WORDS;

/// The units with their milliseconds, in the order in which a text has them.
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A week: brokers hold a message back for some weeks at most.
const LONGEST: u64 = 168 * UNITS[0].1;

const FORMS: &str = "write whole numbers with units, as in `500ms`, `30s`, `5m` or `1h30m`";

/// What is wrong with a text, and the fix.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Flaw {
    pub(super) found: String,
    pub(super) fix: String,
}

fn flaw(found: impl Into<String>, fix: impl Into<String>) -> Flaw {
    Flaw { found: found.into(), fix: fix.into() }
}

/// The milliseconds that the text says: above zero, and a week at most.
pub(super) fn milliseconds(text: &str) -> Result<u64, Flaw> {
    if text.trim().is_empty() {
        return Err(flaw("the time is empty", FORMS));
    }
    if text.contains(char::is_whitespace) {
        let joined: String = text.split_whitespace().collect();
        return Err(flaw(
            format!("the time `{text}` has a space in it"),
            format!("write `{joined}`"),
        ));
    }
    if text.starts_with('-') {
        return Err(flaw(format!("the time `{text}` is negative"), "write one above zero"));
    }
    let (mut rest, mut sum, mut units) = (text, 0, UNITS.as_slice());
    while !rest.is_empty() {
        let (number, unit, behind) = part(rest)?;
        let at = position(unit, number, units)?;
        let part = number.parse::<u64>().ok().and_then(|number| number.checked_mul(units[at].1));
        sum += part.filter(|part| *part <= LONGEST).ok_or_else(|| too_long(text))?;
        (rest, units) = (behind, &units[at + 1..]);
    }
    match sum {
        0 => Err(flaw(
            format!("`{text}` is no time at all"),
            "write one above zero; the shortest is `1ms`",
        )),
        sum if sum > LONGEST => Err(too_long(text)),
        sum => Ok(sum),
    }
}

/// The first number, its unit, and what stands behind them.
fn part(text: &str) -> Result<(&str, &str, &str), Flaw> {
    let (number, rest) = split(text, |c| c.is_ascii_digit());
    if number.is_empty() {
        return Err(flaw(format!("expected a number at `{text}`"), FORMS));
    }
    if rest.starts_with(['.', ',']) {
        let found = format!("`{text}` is no whole number");
        return Err(flaw(found, "take a smaller unit: `1500ms` is one second and a half"));
    }
    let (unit, behind) = split(rest, |c| !c.is_ascii_digit());
    if unit.is_empty() {
        let found = format!("`{number}` has no unit");
        let fix = format!("write `{number}s` for seconds; the units are ms, s, m and h");
        return Err(flaw(found, fix));
    }
    Ok((number, unit, behind))
}

/// Which of the units that may still follow this one is.
fn position(unit: &str, number: &str, units: &[(&str, u64)]) -> Result<usize, Flaw> {
    if let Some(at) = units.iter().position(|(name, _)| *name == unit) {
        return Ok(at);
    }
    if UNITS.iter().any(|(name, _)| *name == unit) {
        let found = format!("`{number}{unit}` stands behind a unit that is no longer than it");
        return Err(flaw(found, "write each unit once, the longest first: `1h30m`"));
    }
    let word = unit.to_lowercase();
    let meant = UNIT_WORDS.iter().find(|(other, _)| *other == word);
    let fix = match meant {
        Some((_, meant)) => format!("did you mean `{number}{meant}`?"),
        None if word.starts_with('d') => "write hours: a day is `24h`".to_owned(),
        None => "the units are ms, s, m and h".to_owned(),
    };
    Err(flaw(format!("unknown unit `{unit}`"), fix))
}

fn too_long(text: &str) -> Flaw {
    flaw(format!("the time `{text}` is too long"), "the longest is a week, `168h`")
}

/// The text up to the first character for which it is not so, and the rest.
fn split(text: &str, is_in: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !is_in(c)).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: u64) {
        assert_eq!(milliseconds(text), Ok(expected), "{text}");
    }

    #[track_caller]
    fn check_flaw(text: &str, found: &str, fix: &str) {
        assert_eq!(milliseconds(text), Err(flaw(found, fix)), "{text}");
    }

    #[test]
    fn a_number_with_a_unit_is_a_time() {
        check("500ms", 500);
        check("30s", 30_000);
        check("5m", 300_000);
        check("2h", 7_200_000);
        check("007s", 7_000);
        check("168h", 604_800_000);
    }

    #[test]
    fn units_add_up() {
        check("1m30s", 90_000);
        check("1h30m", 5_400_000);
        check("1h2m3s4ms", 3_723_004);
        check("0m1s", 1_000);
    }

    #[test]
    fn a_number_without_a_unit_is_refused() {
        let units = "the units are ms, s, m and h";
        check_flaw("30", "`30` has no unit", &format!("write `30s` for seconds; {units}"));
        check_flaw("1m30", "`30` has no unit", &format!("write `30s` for seconds; {units}"));
    }

    #[test]
    fn a_unit_of_another_library_names_the_one_that_was_meant() {
        check_flaw("30sec", "unknown unit `sec`", "did you mean `30s`?");
        check_flaw("5min", "unknown unit `min`", "did you mean `5m`?");
        check_flaw("5S", "unknown unit `S`", "did you mean `5s`?");
        check_flaw("1d", "unknown unit `d`", "write hours: a day is `24h`");
        check_flaw("9us", "unknown unit `us`", "the units are ms, s, m and h");
    }

    #[test]
    fn a_unit_stands_once_and_the_longest_first() {
        let fix = "write each unit once, the longest first: `1h30m`";
        check_flaw("1s1m", "`1m` stands behind a unit that is no longer than it", fix);
        check_flaw("1s1s", "`1s` stands behind a unit that is no longer than it", fix);
    }

    #[test]
    fn what_is_no_whole_number_is_refused() {
        check_flaw("", "the time is empty", FORMS);
        check_flaw("s", "expected a number at `s`", FORMS);
        check_flaw("30 s", "the time `30 s` has a space in it", "write `30s`");
        check_flaw("-1s", "the time `-1s` is negative", "write one above zero");
        let smaller = "take a smaller unit: `1500ms` is one second and a half";
        check_flaw("1.5s", "`1.5s` is no whole number", smaller);
    }

    #[test]
    fn no_time_and_more_than_a_week_are_refused() {
        let least = "write one above zero; the shortest is `1ms`";
        check_flaw("0s", "`0s` is no time at all", least);
        check_flaw("0h0ms", "`0h0ms` is no time at all", least);
        for text in
            ["169h", "168h1ms", "10080m1s", "99999999999999999999s", "18446744073709551615h"]
        {
            let found = format!("the time `{text}` is too long");
            check_flaw(text, &found, "the longest is a week, `168h`");
        }
    }
}
