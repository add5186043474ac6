//! The trace that a notification belongs to: W3C's `traceparent` and `tracestate`, as keys of the context. The
//! notifier writes them, `extract/trace.rs` makes an argument of them.

use std::fmt;
use std::num::{NonZeroU64, NonZeroU128};

use serde_json::Value;

use crate::notification::context::Context;

/// The keys in a context. On the wire they have its prefix.
const PARENT: &str = "traceparent";
const STATE: &str = "tracestate";

/// The length of a `traceparent` of version 00.
const LENGTH: usize = 55;

/// The position of a notification in a distributed trace, by
/// [W3C's Trace Context](https://www.w3.org/TR/trace-context/).
///
/// It travels in the context of a notification, in the keys `traceparent` and `tracestate`, where the package
/// `opentelemetry-instrumentation-oslo-messaging` writes and reads it. This crate makes no spans.
///
/// ```
/// use listener::TraceContext;
///
/// let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// let trace = TraceContext::parse(text, Some("vendor=1")).ok_or("invalid")?;
/// assert!(trace.is_sampled());
/// assert_eq!((trace.traceparent().as_str(), trace.tracestate()), (text, Some("vendor=1")));
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TraceContext {
    trace_id: NonZeroU128,
    parent_id: NonZeroU64,
    flags: u8,
    state: Option<String>,
}

impl TraceContext {
    /// A trace, the span in it that sends, and the flags: 1 means sampled.
    #[must_use]
    pub const fn new(trace_id: NonZeroU128, parent_id: NonZeroU64, flags: u8) -> Self {
        Self { trace_id, parent_id, flags, state: None }
    }

    /// Reads both texts. `None`: the `traceparent` is invalid. A later version than 00 is read as 00; an invalid
    /// `tracestate` is ignored.
    #[must_use]
    pub fn parse(traceparent: &str, tracestate: Option<&str>) -> Option<Self> {
        let (known, rest) = traceparent.split_at_checked(LENGTH)?;
        let mut parts = known.split('-');
        let mut hex = |digits| parts.next().filter(|part| is_hex(part, digits));
        let (version, trace, parent, flags) = (hex(2)?, hex(32)?, hex(16)?, hex(2)?);
        if version == "ff" || !(rest.is_empty() || version != "00" && rest.starts_with('-')) {
            return None;
        }
        let trace_id = NonZeroU128::new(u128::from_str_radix(trace, 16).ok()?)?;
        let parent_id = NonZeroU64::new(u64::from_str_radix(parent, 16).ok()?)?;
        let flags = u8::from_str_radix(flags, 16).ok()?;
        let state = tracestate.filter(|state| is_state(state)).map(str::to_owned);
        Some(Self { trace_id, parent_id, flags, state })
    }

    /// That of a context, such as the one of a notification that is handled.
    #[must_use]
    pub fn of(context: &Context) -> Option<Self> {
        Self::parse(context.get_str(PARENT)?, context.get_str(STATE))
    }

    /// That of a notification whose values are these.
    pub(crate) fn of_values<'v>(value: impl Fn(&str) -> Option<&'v str>) -> Option<Self> {
        let text = |key| serde_json::from_str::<String>(value(key)?).ok();
        Self::parse(&text(PARENT)?, text(STATE).as_deref())
    }

    /// Writes it into a context, in place of another one.
    pub fn write_to(&self, context: &mut Context) {
        context.insert(PARENT, self.traceparent());
        match &self.state {
            Some(state) => drop(context.insert(STATE, state.as_str())),
            // One of another trace must not remain.
            None if context.get(STATE).is_some() => drop(context.insert(STATE, Value::from(""))),
            None => {}
        }
    }

    /// The same trace with another span as the parent of what follows.
    #[must_use]
    pub fn with_parent_id(self, parent_id: NonZeroU64) -> Self {
        Self { parent_id, ..self }
    }

    /// The id of the trace.
    #[must_use]
    pub const fn trace_id(&self) -> NonZeroU128 {
        self.trace_id
    }

    /// The id of the span that sent the notification.
    #[must_use]
    pub const fn parent_id(&self) -> NonZeroU64 {
        self.parent_id
    }

    /// The flags.
    #[must_use]
    pub const fn flags(&self) -> u8 {
        self.flags
    }

    /// Whether the sender may have recorded the trace.
    #[must_use]
    pub const fn is_sampled(&self) -> bool {
        self.flags & 1 == 1
    }

    /// The value of `traceparent`, in version 00.
    #[must_use]
    pub fn traceparent(&self) -> String {
        self.to_string()
    }

    /// The value of `tracestate`: what vendors add.
    #[must_use]
    pub fn tracestate(&self) -> Option<&str> {
        self.state.as_deref()
    }
}

/// The value of `traceparent`.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.parent_id, self.flags)
    }
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether a `tracestate` is valid: up to 32 members `key=value`, each key once.
fn is_state(text: &str) -> bool {
    let members = text.split(',').map(|member| member.trim_matches([' ', '\t']));
    let members: Vec<&str> = members.filter(|member| !member.is_empty()).collect();
    let mut keys: Vec<&str> = members.iter().filter_map(|member| key_of(member)).collect();
    let count = keys.len();
    keys.sort_unstable();
    keys.dedup();
    (1..=32).contains(&count) && count == members.len() && keys.len() == count
}

/// The key of a valid member.
fn key_of(member: &str) -> Option<&str> {
    let (key, value) = member.split_once('=')?;
    let is_start = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_key = |byte| is_start(byte) || matches!(byte, b'_' | b'-' | b'*' | b'/' | b'@');
    let is_value = |byte| matches!(byte, b' '..=b'~') && byte != b'=' && byte != b',';
    let is_valid = key.bytes().next().is_some_and(is_start)
        && key.bytes().all(is_key)
        && key.len() <= 256
        && key.matches('@').count() <= 1
        && (1..=256).contains(&value.len())
        && value.bytes().all(is_value);
    is_valid.then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const PARENT_ID: &str = "b7ad6b7169203331";

    #[test]
    fn a_traceparent_is_read_as_the_w3c_defines_it() {
        let valid = format!("00-{TRACE}-{PARENT_ID}-01");
        for (text, expected) in [
            (valid.clone(), true),
            (format!("00-{TRACE}-{PARENT_ID}-00"), true),
            (format!("00-{TRACE}-{PARENT_ID}-09"), true),
            (format!("cc-{TRACE}-{PARENT_ID}-01"), true),
            (format!("cc-{TRACE}-{PARENT_ID}-01-more"), true),
            (format!("cc-{TRACE}-{PARENT_ID}-01x"), false),
            (format!("{valid}-more"), false),
            (format!("ff-{TRACE}-{PARENT_ID}-01"), false),
            (format!("00-{}-{PARENT_ID}-01", "0".repeat(32)), false),
            (format!("00-{TRACE}-{}-01", "0".repeat(16)), false),
            (valid.to_uppercase(), false),
            (format!("00-{TRACE}-{PARENT_ID}-1"), false),
            (format!("00-{TRACE}-{PARENT_ID}"), false),
            (format!(" {valid}"), false),
            ("é".repeat(40), false),
            (String::new(), false),
        ] {
            assert_eq!(TraceContext::parse(&text, None).is_some(), expected, "{text}");
        }
    }

    #[test]
    fn an_invalid_tracestate_is_ignored() {
        let text = format!("00-{TRACE}-{PARENT_ID}-01");
        let many = (0..33).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join(",");
        for (state, expected) in [
            ("a=1,b=2", true),
            ("a=1, b=2 , ,c=3", true),
            ("tenant@vendor=x y", true),
            ("", false),
            ("a", false),
            ("A=1", false),
            ("a=1,a=2", false),
            ("a=é", false),
            ("a=", false),
            (many.as_str(), false),
        ] {
            let trace = TraceContext::parse(&text, Some(state)).unwrap();
            assert_eq!(trace.tracestate(), expected.then_some(state), "{state}");
        }
    }

    #[test]
    fn a_trace_that_is_written_replaces_the_former_one() {
        let read =
            |state| TraceContext::parse(&format!("00-{TRACE}-{PARENT_ID}-01"), state).unwrap();
        let mut context = Context::new();
        for trace in [read(Some("a=1")), read(None), read(Some("b=2"))] {
            trace.write_to(&mut context);
            assert_eq!(TraceContext::of(&context), Some(trace));
        }
    }
}
