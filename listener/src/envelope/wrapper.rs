//! The wrapper of oslo.messaging's AMQP 1.0 driver, `{"request": {..}, "context": {..}}`, which bridges
//! forward to RabbitMQ. Extracts the notification of either version and adds the context to it. Called by
//! `open` before the body itself is read as version 2 or 1.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::envelope::context_keys::PREFIX;
use crate::envelope::error::{DecodeError, Part, not_json};
use crate::envelope::fields::{self, Key};
use crate::envelope::lenient::{Wanted, may_name, repair};
use crate::envelope::limits::Limits;
use crate::envelope::opened::{EnvelopeVersion, Opened};
use crate::envelope::{v1, v2};

/// The notification in the wrapper, or `None` if the body is not a wrapper.
pub(super) fn open<'t>(text: &'t str, limits: &Limits) -> Result<Option<Opened<'t>>, DecodeError> {
    if !may_name(text, Wanted::Request) {
        return Ok(None);
    }
    if let Ok(wrapper) = serde_json::from_str::<Wrapper<'_>>(text) {
        return wrapper.open(limits);
    }
    // A text that is not JSON after the repair either is reported where it is read as version 1 or 2.
    let Cow::Owned(repaired) = repair(text) else { return Ok(None) };
    let Ok(wrapper) = serde_json::from_str::<Wrapper<'_>>(&repaired) else { return Ok(None) };
    let opened = wrapper.open(limits)?;
    Ok(opened.map(|Opened { text, version }| Opened { text: text.into_owned().into(), version }))
}

#[derive(Default)]
struct Wrapper<'t> {
    request: Option<&'t RawValue>,
    context: Option<&'t RawValue>,
    /// Whether the object itself has keys of a notification; then `request` is an ordinary key.
    is_notification: bool,
}

impl<'t> Wrapper<'t> {
    fn open(self, limits: &Limits) -> Result<Option<Opened<'t>>, DecodeError> {
        let request = self.request.map(RawValue::get).filter(|request| request.starts_with('{'));
        let Some(request) = request.filter(|_| !self.is_notification) else { return Ok(None) };
        let (text, version) = match v2::open(request)? {
            Some(text) => (text, EnvelopeVersion::V2),
            None => (v1::open(request, limits)?, EnvelopeVersion::V1),
        };
        let is_notification = version == EnvelopeVersion::V2
            || fields::read(&text).is_ok_and(|fields| fields.event_type.is_some());
        if !is_notification {
            return Ok(None);
        }
        Ok(Some(Opened { text: with_context(text, self.context)?, version }))
    }
}

/// The notification with the entries of the wrapper's context, as `_context_<key>`. Its own entries come
/// later in the text, so they win.
fn with_context<'t>(
    text: Cow<'t, str>,
    context: Option<&RawValue>,
) -> Result<Cow<'t, str>, DecodeError> {
    let (Some(context), Some(fields)) = (context, text.trim_start().strip_prefix('{')) else {
        return Ok(text);
    };
    if !context.get().starts_with('{') {
        return Ok(text);
    }
    let context = repair(context.get());
    let Items(items) =
        serde_json::from_str(&context).map_err(|error| not_json(Part::Body, &context, error))?;
    if items.is_empty() {
        return Ok(text);
    }
    let items = items
        .iter()
        .map(|(key, value)| format!("{}: {}", Value::from(format!("{PREFIX}{key}")), value.get()));
    let items = items.collect::<Vec<_>>().join(", ");
    let comma = if fields.trim_start().starts_with('}') { "" } else { ", " };
    Ok(Cow::Owned(format!("{{{items}{comma}{fields}")))
}

impl<'de> Deserialize<'de> for Wrapper<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(WrapperVisitor)
    }
}

struct WrapperVisitor;

impl<'de> Visitor<'de> for WrapperVisitor {
    type Value = Wrapper<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Wrapper<'de>, A::Error> {
        let mut wrapper = Wrapper::default();
        while let Some(Key(key)) = map.next_key()? {
            match &*key {
                "request" => wrapper.request = Some(map.next_value()?),
                "context" => wrapper.context = Some(map.next_value()?),
                key => {
                    wrapper.is_notification |= key == v2::MESSAGE
                        || fields::IDENTIFYING.contains(&key)
                        || key.starts_with(PREFIX);
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(wrapper)
    }
}

/// The entries of an object, in order.
struct Items<'t>(Vec<(Cow<'t, str>, &'t RawValue)>);

impl<'de> Deserialize<'de> for Items<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ItemsVisitor)
    }
}

struct ItemsVisitor;

impl<'de> Visitor<'de> for ItemsVisitor {
    type Value = Items<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Items<'de>, A::Error> {
        let mut items = Vec::new();
        while let Some((Key(key), value)) = map.next_entry()? {
            items.push((key, value));
        }
        Ok(Items(items))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2: &str = r#"{"oslo.version": "2.0", "oslo.message": "{\"a\": 1}"}"#;
    const V1: &str = r#"{"event_type": "e", "priority": "INFO", "payload": [NaN]}"#;

    #[track_caller]
    fn check(body: &str, version: EnvelopeVersion, expected: &str) {
        let opened = open(body, &Limits::default()).unwrap();
        let opened = opened.map(|opened| (opened.version, opened.text.into_owned()));
        assert_eq!(opened, Some((version, expected.to_owned())), "{body}");
    }

    #[track_caller]
    fn is_none(body: &str) {
        assert_eq!(open(body, &Limits::default()).unwrap(), None, "{body}");
    }

    #[test]
    fn both_versions_are_extracted() {
        check(
            &format!(r#"{{"request": {V2}, "context": {{}}}}"#),
            EnvelopeVersion::V2,
            r#"{"a": 1}"#,
        );
        check(
            &format!(r#"{{"context": null, "request": {V1}}}"#),
            EnvelopeVersion::V1,
            &V1.replace("NaN", "null"),
        );
    }

    #[test]
    fn the_entries_of_the_notification_win_over_those_of_the_wrapper() {
        check(
            &format!(
                r#"{{"request": {V2}, "context": {{"u\u00e9\"": NaN, "b": {{"c": "\ud800"}}}}}}"#
            ),
            EnvelopeVersion::V2,
            r#"{"_context_ué\"": null, "_context_b": {"c": "\ufffd"}, "a": 1}"#,
        );
        check(
            r#"{"request": {"oslo.version": "2.0", "oslo.message": " { } "}, "context": {"a": 1}}"#,
            EnvelopeVersion::V2,
            r#"{"_context_a": 1 } "#,
        );
        let text = open(
            r#"{"request": {"_context_a": 1, "event_type": "e"}, "context": {"a": 2, "b": 3}}"#,
            &Limits::default(),
        );
        let text = text.unwrap().unwrap().text;
        let context = fields::read(&text).unwrap().context;
        let context: Vec<_> = context.iter().map(|(key, value)| (&**key, value.get())).collect();
        assert_eq!(context, [("a", "1"), ("b", "3")]);
    }

    #[test]
    fn a_context_that_is_not_an_object_is_ignored() {
        for context in ["null", "\"x\"", "[1]", "{ }"] {
            check(
                &format!(r#"{{"request": {V2}, "context": {context}}}"#),
                EnvelopeVersion::V2,
                r#"{"a": 1}"#,
            );
        }
    }

    #[test]
    fn other_keys_do_not_matter_unless_they_are_of_a_notification() {
        check(
            &format!(r#"{{"request": {V2}, "context": {{}}, "call_monitor_timeout": 5}}"#),
            EnvelopeVersion::V2,
            r#"{"a": 1}"#,
        );
        for key in ["event_type", "payload", "priority", "oslo.message", "_context_a"] {
            is_none(&format!(r#"{{"request": {V2}, "{key}": "e"}}"#));
        }
    }

    #[test]
    fn a_body_without_a_notification_is_not_a_wrapper() {
        for request in [
            r#"{"oslo.version": "2.0"}"#,
            "\"oslo.message\"",
            "[]",
            "{}",
            r#"{"priority": "INFO"}"#,
            r#"{"request": {"event_type": "e"}}"#,
        ] {
            is_none(&format!(r#"{{"request": {request}, "context": {{}}}}"#));
        }
        is_none(r#"{"request": {"#);
        is_none(r#"{"payload": {"request": {"event_type": "e"}}}"#);
    }
}
