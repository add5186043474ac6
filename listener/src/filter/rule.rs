//! Filters of the attribute: generated code has `FilterRule`s; building the listener compiles them to
//! `CompiledRule`s, which `dispatch` applies. The semantics are those of oslo.messaging's `NotificationFilter`.
//! Filters that a program builds are in `mod.rs`.

use std::borrow::Cow;

use regex::Regex;
use serde_json::value::RawValue;

use crate::notification::Notification;

/// A filter as written in the attribute: regular expressions, each for a part of the notification. All
/// of them must match from the start of the text, as with Python's `re.match`; a value that is missing
/// or not a string does not match.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FilterRule {
    /// For the publisher id.
    pub publisher_id: Option<&'static str>,
    /// For the event type.
    pub event_type: Option<&'static str>,
    /// For values of the context, by key.
    pub context: &'static [(&'static str, &'static str)],
    /// For `message_id` and `timestamp`.
    pub metadata: &'static [(&'static str, &'static str)],
    /// For values at the top level of the payload, by key.
    pub payload: &'static [(&'static str, &'static str)],
}

impl FilterRule {
    /// The rule that matches everything, for generated code.
    #[doc(hidden)]
    pub const ALL: Self =
        Self { publisher_id: None, event_type: None, context: &[], metadata: &[], payload: &[] };
}

/// A compiled filter. Every expression must match, from the start of the text, as with Python's `re.match`;
/// a value that is missing or not a string does not match.
#[derive(Clone, Debug, Default)]
pub struct CompiledRule {
    publisher_id: Option<Regex>,
    event_type: Option<Regex>,
    context: Vec<(&'static str, Regex)>,
    metadata: Vec<(&'static str, Regex)>,
    payload: Vec<(&'static str, Regex)>,
}

impl CompiledRule {
    /// Compiles a rule.
    ///
    /// # Errors
    /// An expression that is not a valid regular expression, or too large once compiled.
    pub fn compile(rule: &FilterRule) -> Result<Self, regex::Error> {
        Ok(Self {
            publisher_id: rule.publisher_id.map(from_start).transpose()?,
            event_type: rule.event_type.map(from_start).transpose()?,
            context: by_key(rule.context)?,
            metadata: by_key(rule.metadata)?,
            payload: by_key(rule.payload)?,
        })
    }

    /// The regular expression for the event type, if there is one.
    pub(crate) fn event_type(&self) -> Option<&str> {
        self.event_type.as_ref().map(Regex::as_str)
    }

    /// Whether the notification matches.
    #[must_use]
    pub fn matches(&self, notification: &Notification<'_>) -> bool {
        let text = |rule: &Option<Regex>, text: Option<&str>| {
            rule.as_ref().is_none_or(|rule| text.is_some_and(|text| rule.is_match(text)))
        };
        text(&self.publisher_id, notification.publisher_id())
            && text(&self.event_type, notification.event_type())
            && self.metadata.iter().all(|(key, rule)| {
                notification.metadata().get(key).is_some_and(|text| rule.is_match(text))
            })
            && self.context.iter().all(|(key, rule)| {
                notification
                    .context_value(key)
                    .and_then(as_text)
                    .is_some_and(|text| rule.is_match(&text))
            })
            && self.payload.iter().all(|(key, rule)| {
                notification
                    .payload_value(key)
                    .and_then(as_text)
                    .is_some_and(|text| rule.is_match(&text))
            })
    }
}

fn by_key(
    rules: &'static [(&'static str, &'static str)],
) -> Result<Vec<(&'static str, Regex)>, regex::Error> {
    rules.iter().map(|(key, text)| Ok((*key, from_start(text)?))).collect()
}

pub(super) fn from_start(text: &str) -> Result<Regex, regex::Error> {
    // First on its own: `a)|(?:b` would close the group and match anywhere.
    Regex::new(text)?;
    Regex::new(&format!("^(?:{text})"))
}

pub(super) fn as_text(raw: &RawValue) -> Option<Cow<'_, str>> {
    let inner = raw.get().strip_prefix('"')?.strip_suffix('"')?;
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str(raw.get()).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notification::delivery_info::DeliveryInfo;
    use crate::notification::fields::Fields;
    use crate::notification::priority::Priority;
    use crate::notification::states::States;

    const CONTEXT: &str = r#""caf\u00e9""#;
    const PAYLOAD: &str =
        r#"{"state": "old", "state": "active", "n": 1, "none": null, "deep": {"state": "x"}}"#;

    fn check(rule: FilterRule, expected: bool) {
        let fields = Fields {
            message_id: Some("7c5f2f4e".into()),
            timestamp: None,
            publisher_id: Some("compute.host1".into()),
            event_type: Some("instance.create.end".into()),
            priority: None,
            unique_id: None,
            payload: serde_json::from_str(PAYLOAD).expect("JSON"),
            context: vec![("user".into(), serde_json::from_str(CONTEXT).expect("JSON"))],
        };
        let (delivery, states) = (DeliveryInfo::new("q", "", "t.info"), States::default());
        let notification = Notification::new(fields, Priority::Info, &delivery, &states);
        let filter = CompiledRule::compile(&rule).expect("a regular expression");
        assert_eq!(filter.matches(&notification), expected, "{rule:?}");
    }

    #[test]
    fn without_a_rule_everything_matches() {
        check(FilterRule::ALL, true);
    }

    #[test]
    fn an_expression_matches_from_the_start_only() {
        check(FilterRule { publisher_id: Some("compute"), ..FilterRule::ALL }, true);
        check(FilterRule { publisher_id: Some("host1"), ..FilterRule::ALL }, false);
        check(FilterRule { publisher_id: Some("x|host1"), ..FilterRule::ALL }, false);
        check(FilterRule { event_type: Some(r".*\.end$"), ..FilterRule::ALL }, true);
    }

    #[test]
    fn an_expression_cannot_leave_its_group() {
        let rule = FilterRule { event_type: Some("x)|(?:end"), ..FilterRule::ALL };
        assert!(CompiledRule::compile(&rule).is_err());
    }

    #[test]
    fn every_part_must_match() {
        let both = FilterRule {
            publisher_id: Some("compute"),
            event_type: Some("volume"),
            ..FilterRule::ALL
        };
        check(both, false);
    }

    #[test]
    fn context_values_are_compared_unescaped() {
        check(FilterRule { context: &[("user", "^café$")], ..FilterRule::ALL }, true);
        check(FilterRule { context: &[("project", ".*")], ..FilterRule::ALL }, false);
    }

    #[test]
    fn metadata_that_is_missing_does_not_match() {
        check(FilterRule { metadata: &[("message_id", "7c5f")], ..FilterRule::ALL }, true);
        check(FilterRule { metadata: &[("timestamp", ".*")], ..FilterRule::ALL }, false);
    }

    #[test]
    fn payload_keys_are_those_of_the_top_level_and_the_last_counts() {
        check(FilterRule { payload: &[("state", "active")], ..FilterRule::ALL }, true);
        check(FilterRule { payload: &[("state", "old")], ..FilterRule::ALL }, false);
        check(FilterRule { payload: &[("state", "x")], ..FilterRule::ALL }, false);
    }

    #[test]
    fn a_value_that_is_not_a_string_does_not_match() {
        check(FilterRule { payload: &[("n", "1")], ..FilterRule::ALL }, false);
        check(FilterRule { payload: &[("none", ".*")], ..FilterRule::ALL }, false);
    }
}
