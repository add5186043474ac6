//! The kinds of values that options take: how each is read, what it accepts, and what an error says
//! was expected. A kind serves the environment, the file, URLs and the builders alike.

use std::fmt::{Debug, Display};
use std::str::FromStr;
use std::time::Duration;

use crate::options::duration;
use crate::redact::redacted;

/// A value as it was given, before its option is known.
#[derive(Clone, Debug)]
#[cfg_attr(
    not(feature = "config"),
    expect(dead_code, reason = "only a file has values that are not text")
)]
pub(crate) enum Raw {
    Text(String),
    List(Vec<String>),
    Bool(bool),
    Int(i64),
    Other(&'static str),
}

/// A value that an option does not accept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// What it accepts.
    pub(crate) expected: String,
    /// What it was given, unless that may be a secret.
    pub(crate) found: String,
}

/// A kind of values.
pub(crate) trait Kind {
    /// What is read.
    type Value;

    /// Reads a value, whether it is accepted or not; none if it is of another kind.
    fn read(&self, raw: &Raw) -> Option<Self::Value>;

    /// Whether the option accepts a value of this kind.
    fn accepts(&self, _value: &Self::Value) -> bool {
        true
    }

    /// What is accepted, for errors.
    fn expected(&self) -> String;

    /// How it is written as text, after `expected`.
    fn written(&self) -> &'static str {
        ""
    }

    /// Why values of this kind are not accepted.
    fn why(&self) -> Option<&'static str> {
        None
    }

    /// A given value, for errors.
    fn shown(&self, raw: &Raw) -> String {
        raw.shown()
    }

    /// A text that is accepted.
    #[cfg(test)]
    fn example(&self) -> &'static str;
}

impl Raw {
    fn shown(&self) -> String {
        match self {
            Self::Text(text) => format!("\"{}\"", redacted(text)),
            Self::List(items) => format!("a list of {}", items.len()),
            Self::Bool(value) => value.to_string(),
            Self::Int(number) => number.to_string(),
            Self::Other(kind) => (*kind).to_owned(),
        }
    }

    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// `true` or `false`, and the other words that oslo.config has for them.
pub(crate) struct Switch;

impl Kind for Switch {
    type Value = bool;

    fn read(&self, raw: &Raw) -> Option<bool> {
        match raw {
            Raw::Bool(value) => return Some(*value),
            Raw::Int(number @ 0..=1) => return Some(*number == 1),
            _ => {}
        }
        match raw.text()?.to_ascii_lowercase().as_str() {
            "true" | "1" | "on" | "yes" => Some(true),
            "false" | "0" | "off" | "no" => Some(false),
            _ => None,
        }
    }

    fn expected(&self) -> String {
        "`true` or `false`".to_owned()
    }

    #[cfg(test)]
    fn example(&self) -> &'static str {
        "true"
    }
}

/// A whole number, not below the least one.
pub(crate) struct Number<N> {
    least: N,
    zero: Option<&'static str>,
    why: Option<&'static str>,
}

/// A whole number from `least` on.
pub(crate) fn number<N: Integer>(least: N) -> Number<N> {
    Number { least, zero: None, why: None }
}

impl<N> Number<N> {
    /// Also accepts 0, which means this.
    pub(crate) fn or_zero_for(self, zero: &'static str) -> Self {
        Self { zero: Some(zero), ..self }
    }

    /// Says why other numbers are not accepted, or what some of them mean.
    pub(crate) fn because(self, why: &'static str) -> Self {
        Self { why: Some(why), ..self }
    }
}

/// The integers of options.
pub(crate) trait Integer:
    Copy + PartialOrd + FromStr + TryFrom<i64> + Display + Debug
{
    const ZERO: Self;
    const ONE: Self;
    const LARGEST: Self;
    /// Whether an error names the largest one.
    const IS_SMALL: bool;
}

macro_rules! integers {
    ($($integer:ty: $is_small:literal),+) => {
        $(
            impl Integer for $integer {
                const ZERO: Self = 0;
                const ONE: Self = 1;
                const LARGEST: Self = <$integer>::MAX;
                const IS_SMALL: bool = $is_small;
            }
        )+
    };
}
integers!(u16: true, u32: true, u64: false, usize: false, i64: false);

impl<N: Integer> Kind for Number<N> {
    type Value = N;

    fn read(&self, raw: &Raw) -> Option<N> {
        match raw {
            Raw::Int(number) => N::try_from(*number).ok(),
            _ => raw.text()?.parse().ok(),
        }
    }

    fn accepts(&self, value: &N) -> bool {
        *value >= self.least || (self.zero.is_some() && *value == N::ZERO)
    }

    fn expected(&self) -> String {
        let least = self.least;
        let range = if N::IS_SMALL {
            format!("a number from {least} to {}", N::LARGEST)
        } else if least < N::ZERO {
            "a whole number".to_owned()
        } else if least == N::ONE {
            "a number above 0".to_owned()
        } else {
            format!("a whole number, {least} or more")
        };
        match self.zero {
            Some(zero) => format!("{range}, or 0 for {zero}"),
            None => range,
        }
    }

    fn why(&self) -> Option<&'static str> {
        self.why
    }

    #[cfg(test)]
    fn example(&self) -> &'static str {
        "8192"
    }
}

/// A duration in a range.
#[derive(Clone, Copy)]
pub(crate) struct Time {
    least: Duration,
    most: Duration,
    plain: Plain,
}

/// What a number without a unit is.
#[derive(Clone, Copy)]
enum Plain {
    Seconds,
    /// Seconds, with a fraction: as kombu has them.
    Fractions,
    Milliseconds,
}

/// Any duration.
pub(crate) const TIME: Time =
    Time { least: Duration::ZERO, most: Duration::MAX, plain: Plain::Seconds };

/// Any duration above zero.
pub(crate) const ABOVE_ZERO: Time = Time { least: Duration::from_nanos(1), ..TIME };

impl Time {
    pub(crate) const fn within(self, least: Duration, most: Duration) -> Self {
        Self { least, most, ..self }
    }

    pub(crate) const fn with_fractions(self) -> Self {
        Self { plain: Plain::Fractions, ..self }
    }

    pub(crate) const fn in_milliseconds(self) -> Self {
        Self { plain: Plain::Milliseconds, ..self }
    }

    fn plain(&self, text: &str) -> Option<Duration> {
        match self.plain {
            Plain::Seconds => text.parse().ok().map(Duration::from_secs),
            Plain::Fractions => Duration::try_from_secs_f64(text.parse().ok()?).ok(),
            Plain::Milliseconds => text.parse().ok().map(Duration::from_millis),
        }
    }
}

impl Kind for Time {
    type Value = Duration;

    fn read(&self, raw: &Raw) -> Option<Duration> {
        match raw {
            Raw::Int(number) => self.plain(&number.to_string()),
            _ => raw.text().and_then(|text| duration::parse(text).or_else(|| self.plain(text))),
        }
    }

    fn accepts(&self, value: &Duration) -> bool {
        (self.least..=self.most).contains(value)
    }

    fn expected(&self) -> String {
        if self.most < Duration::MAX {
            let (least, most) = (duration::text(self.least), duration::text(self.most));
            format!("a duration from {least} to {most}")
        } else if self.least > Duration::ZERO {
            "a duration above zero".to_owned()
        } else {
            "a duration".to_owned()
        }
    }

    fn written(&self) -> &'static str {
        match self.plain {
            Plain::Seconds => " such as `30s`, `1m30s` or `500ms`, or whole seconds",
            Plain::Fractions => " such as `30s`, `1m30s` or `500ms`, or seconds",
            Plain::Milliseconds => " such as `30s`, `1m30s` or `500ms`, or whole milliseconds",
        }
    }

    #[cfg(test)]
    fn example(&self) -> &'static str {
        "1m30s"
    }
}

/// Whole seconds, as a number or as a duration.
pub(crate) struct WholeSeconds;

impl Kind for WholeSeconds {
    type Value = u16;

    fn read(&self, raw: &Raw) -> Option<u16> {
        let time = TIME.read(raw).filter(|time| time.subsec_nanos() == 0)?;
        u16::try_from(time.as_secs()).ok()
    }

    fn expected(&self) -> String {
        "whole seconds from 0 to 65535, as in `60`, `30s` or `1m30s`".to_owned()
    }

    #[cfg(test)]
    fn example(&self) -> &'static str {
        "1m30s"
    }
}

/// One of several words, in any case.
pub(crate) struct Words<T: 'static>(pub(crate) &'static [(&'static str, T)]);

impl<T: Copy> Kind for Words<T> {
    type Value = T;

    fn read(&self, raw: &Raw) -> Option<T> {
        let text = raw.text()?;
        self.0.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)).map(|(_, value)| *value)
    }

    fn expected(&self) -> String {
        let words: Vec<String> = self.0.iter().map(|(word, _)| format!("`{word}`")).collect();
        match words.split_last() {
            Some((last, others)) if !others.is_empty() => {
                format!("{} or {last}", others.join(", "))
            }
            _ => words.concat(),
        }
    }

    #[cfg(test)]
    fn example(&self) -> &'static str {
        self.0.last().map_or("", |(word, _)| word)
    }
}

/// A name: text in one line.
pub(crate) struct Name;

impl Kind for Name {
    type Value = String;

    fn read(&self, raw: &Raw) -> Option<String> {
        let text = raw.text()?;
        (!text.contains(char::is_control)).then(|| text.to_owned())
    }

    fn expected(&self) -> String {
        "a name in one line".to_owned()
    }

    #[cfg(test)]
    fn example(&self) -> &'static str {
        "billing"
    }
}

/// The path of a file; an empty one counts as not given, as in oslo.messaging.
pub(crate) struct FilePath;

impl Kind for FilePath {
    type Value = std::path::PathBuf;

    fn read(&self, raw: &Raw) -> Option<std::path::PathBuf> {
        raw.text().map(Into::into)
    }

    fn expected(&self) -> String {
        "the path of a file".to_owned()
    }

    #[cfg(test)]
    fn example(&self) -> &'static str {
        "/etc/ssl/ca.pem"
    }
}

/// The path of a directory.
#[cfg(feature = "spool")]
pub(crate) struct Directory;

#[cfg(feature = "spool")]
impl Kind for Directory {
    type Value = std::path::PathBuf;

    fn read(&self, raw: &Raw) -> Option<std::path::PathBuf> {
        raw.text().map(Into::into)
    }

    fn accepts(&self, value: &std::path::PathBuf) -> bool {
        !value.as_os_str().is_empty()
    }

    fn expected(&self) -> String {
        "the path of a directory".to_owned()
    }

    #[cfg(test)]
    fn example(&self) -> &'static str {
        "/var/spool/billing"
    }
}

/// A list: an array of a file, or a text with commas. It has this name in errors.
pub(crate) struct List(pub(crate) &'static str);

impl Kind for List {
    type Value = Vec<String>;

    fn read(&self, raw: &Raw) -> Option<Vec<String>> {
        let items = |items: &mut dyn Iterator<Item = &str>| -> Vec<String> {
            let items = items.map(str::trim).filter(|item| !item.is_empty());
            items.map(str::to_owned).collect()
        };
        match raw {
            Raw::List(texts) => Some(items(&mut texts.iter().map(String::as_str))),
            _ => Some(items(&mut raw.text()?.split(','))).filter(|items| !items.is_empty()),
        }
    }

    fn expected(&self) -> String {
        self.0.to_owned()
    }

    #[cfg(test)]
    fn example(&self) -> &'static str {
        "one, two"
    }
}

/// A text that may hold a password, and is never shown.
pub(crate) struct SecretUrl;

impl Kind for SecretUrl {
    type Value = String;

    fn read(&self, raw: &Raw) -> Option<String> {
        raw.text().map(str::to_owned)
    }

    fn expected(&self) -> String {
        "a URL in quotes".to_owned()
    }

    fn shown(&self, _raw: &Raw) -> String {
        "something else".to_owned()
    }

    #[cfg(test)]
    fn example(&self) -> &'static str {
        "memory://"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check<K: Kind<Value: Debug + PartialEq>>(
        kind: &K,
        text: &str,
        expected: impl Into<Option<K::Value>>,
    ) {
        let read = kind.read(&Raw::Text(text.to_owned()));
        assert_eq!(read.filter(|value| kind.accepts(value)), expected.into(), "{text}");
    }

    #[test]
    fn a_number_without_a_unit_is_what_the_option_counts_in() {
        let seconds = |number| Some(Duration::from_secs(number));
        check(&TIME, "5", seconds(5));
        check(&TIME, "0", seconds(0));
        check(&TIME, "1.5", None);
        check(&TIME.with_fractions(), "1.5", Some(Duration::from_millis(1500)));
        check(&TIME.with_fractions(), "-1", None);
        check(&TIME.with_fractions(), "nan", None);
        check(&TIME.in_milliseconds(), "2500", Some(Duration::from_millis(2500)));
        check(&WholeSeconds, "60", Some(60));
        check(&WholeSeconds, "65536", None);
    }

    #[test]
    fn every_duration_has_one_grammar() {
        for kind in [TIME, ABOVE_ZERO, TIME.with_fractions(), TIME.in_milliseconds()] {
            check(&kind, "1m30s", Some(Duration::from_secs(90)));
            check(&kind, "1.5s", None);
            check(&kind, "30sec", None);
        }
        check(&WholeSeconds, "1m30s", Some(90));
        check(&WholeSeconds, "500ms", None);
        check(&ABOVE_ZERO, "0s", None);
    }

    #[test]
    fn what_is_expected_names_the_range_and_the_meaning_of_zero() {
        let check = |kind: &dyn Fn() -> String, expected: &str| assert_eq!(kind(), expected);
        check(&|| number(1_u16).expected(), "a number from 1 to 65535");
        check(&|| number(1_usize).expected(), "a number above 0");
        check(&|| number(2_u64).expected(), "a whole number, 2 or more");
        check(
            &|| number(16_u16).or_zero_for("the broker's limit").expected(),
            "a number from 16 to 65535, or 0 for the broker's limit",
        );
        check(&|| ABOVE_ZERO.expected(), "a duration above zero");
        let hour = Duration::from_secs(3600);
        check(&|| TIME.within(Duration::ZERO, hour).expected(), "a duration from 0s to 1h");
        check(&|| Words(&[("a", 1), ("b", 2), ("c", 3)]).expected(), "`a`, `b` or `c`");
    }
}
