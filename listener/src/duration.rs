//! A time in the configuration: `500ms`, `1m30s`, as in `#[notification_endpoint(timeout = ..)]`, or
//! whole seconds. The attribute reads its own in `listener-macros`, where it can say more.

use std::time::Duration;

/// The units with their milliseconds, in the order in which a text has them.
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// The time that a text says: a number of seconds, or numbers with units, the longest first.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
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

/// The text up to the first character for which it is not so, and the rest.
fn split(text: &str, is_in: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !is_in(c)).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<u64>) {
        assert_eq!(duration(text), expected.map(Duration::from_millis), "{text}");
    }

    #[test]
    fn a_time_is_what_it_is_in_the_attribute_or_whole_seconds() {
        check("500ms", Some(500));
        check("30s", Some(30_000));
        check("1m30s", Some(90_000));
        check("1h2m3s4ms", Some(3_723_004));
        check("168h", Some(604_800_000));
        check("30", Some(30_000));
        check("0", Some(0));
        check("0s", Some(0));
    }

    #[test]
    fn anything_else_is_none() {
        for text in ["", "s", "1.5s", "-1s", "30 s", "1m30", "1s1m", "1s1s", "30sec", "1d"] {
            check(text, None);
        }
        check("99999999999999999999s", None);
        check("18446744073709551615h", None);
    }
}
