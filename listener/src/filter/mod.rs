//! `Filter`: which notifications an instance of an endpoint wants, built by the program at run time. It is
//! combined with the filters of the attribute (`rule.rs`); `dispatch` applies both. Leaves have the semantics
//! of oslo.messaging's `NotificationFilter`.

pub(crate) mod rule;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::{BitAnd, BitOr, Not};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use regex::Regex;

use crate::filter::rule::{as_text, from_start};
use crate::notification::Notification;
use crate::redact::panic_message;

/// Which notifications an endpoint wants, built at run time: regular expressions and names for parts of the
/// notification, combined with `&`, `|` and `!`.
///
/// Pass it to [`EndpointExt::filter`](crate::EndpointExt::filter), or for a registered endpoint to
/// [`ListenerBuilder::filter`](crate::ListenerBuilder::filter). It applies in addition to the filters of the
/// attribute: all have to match.
///
/// A regular expression (of the `regex` crate) must match from the start of the text, as with Python's
/// `re.match`; end it with `$` to match the whole. Only text matches: a value that is missing, null, a
/// number, a list or an object does not match, and is never an error.
///
/// `!` is the exact complement: `!filter` matches every notification that `filter` does not match, **also
/// one in which the value is missing** or not text. To match only notifications with another value, require
/// the value as well: `Filter::payload("state", "")? & !Filter::payload("state", "error$")?`.
///
/// `&` and `|` are evaluated from left to right, and only until the result is known: write the cheap part
/// first.
///
/// ```
/// use listener::Filter;
///
/// let mine = Filter::context("project_id", "7c5f")?
///     & (Filter::event_type(r"^compute\.")? | Filter::event_types(["volume.create.end"]))
///     & !Filter::payload_path(["nova_object.data", "state"], "error$")?;
/// # drop(mine);
/// # Ok::<(), listener::error::FilterError>(())
/// ```
#[derive(Clone)]
#[must_use = "a filter does nothing until it is passed to an endpoint"]
pub struct Filter(Node);

#[derive(Clone)]
enum Node {
    Text(Part, Test),
    All(Vec<Filter>),
    Any(Vec<Filter>),
    Not(Box<Filter>),
    Predicate(Predicate),
}

/// The part of a notification whose text is tested.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    PublisherId,
    EventType,
    Context(String),
    Metadata(String),
    /// The keys from the top level of the payload down, at least one.
    Payload(Vec<String>),
}

/// What the text has to be.
#[derive(Clone, Debug)]
enum Test {
    Regex(Regex),
    OneOf(BTreeSet<String>),
}

type Predicate = Arc<dyn Fn(&Notification<'_>) -> bool + Send + Sync>;

/// A [`Filter`] cannot be built.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FilterError {
    /// An expression is not a regular expression, or too large once compiled.
    #[error(
        "the filter for {part}: {expression:?} is not a valid regular expression of the `regex` crate: {reason}; `regex::escape` escapes a literal text"
    )]
    #[non_exhaustive]
    Regex {
        /// The part of the notification: `event_type`, `payload.state`.
        part: String,
        /// The expression.
        expression: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The metadata of a notification has no such key.
    #[error("the filter for metadata: expected `message_id` or `timestamp`, found {key:?}")]
    #[non_exhaustive]
    Metadata {
        /// The key.
        key: String,
    },
    /// A path into the payload has no key.
    #[error("the filter for a path of the payload: expected at least one key, found none")]
    EmptyPath,
}

debug_is_the_message!(FilterError);

impl Filter {
    /// The publisher id matches a regular expression, from its start.
    ///
    /// # Errors
    /// An invalid regular expression.
    pub fn publisher_id(expression: impl AsRef<str>) -> Result<Self, FilterError> {
        Self::regex(Part::PublisherId, expression.as_ref())
    }

    /// The event type matches a regular expression, from its start.
    ///
    /// # Errors
    /// An invalid regular expression.
    pub fn event_type(expression: impl AsRef<str>) -> Result<Self, FilterError> {
        Self::regex(Part::EventType, expression.as_ref())
    }

    /// The event type is one of these names, exactly. Without a name nothing matches.
    pub fn event_types<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Self {
        Self::one_of(Part::EventType, names)
    }

    /// The publisher id is one of these names, exactly. Without a name nothing matches.
    pub fn publisher_ids<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Self {
        Self::one_of(Part::PublisherId, names)
    }

    /// A value of the context matches a regular expression, from its start.
    ///
    /// # Errors
    /// An invalid regular expression.
    pub fn context(
        key: impl Into<String>,
        expression: impl AsRef<str>,
    ) -> Result<Self, FilterError> {
        Self::regex(Part::Context(key.into()), expression.as_ref())
    }

    /// `message_id` or `timestamp` matches a regular expression, from its start.
    ///
    /// # Errors
    /// Another key; an invalid regular expression.
    pub fn metadata(
        key: impl Into<String>,
        expression: impl AsRef<str>,
    ) -> Result<Self, FilterError> {
        let key = key.into();
        if !matches!(key.as_str(), "message_id" | "timestamp") {
            return Err(FilterError::Metadata { key });
        }
        Self::regex(Part::Metadata(key), expression.as_ref())
    }

    /// A value at the top level of the payload matches a regular expression, from its start. The key is
    /// used unchanged, also with dots, as in the attribute; [`payload_path`](Self::payload_path) has nested
    /// values.
    ///
    /// # Errors
    /// An invalid regular expression.
    pub fn payload(
        key: impl Into<String>,
        expression: impl AsRef<str>,
    ) -> Result<Self, FilterError> {
        Self::regex(Part::Payload(vec![key.into()]), expression.as_ref())
    }

    /// A nested value of the payload matches a regular expression, from its start: the keys of the objects
    /// from the top level down. Lists have no keys. If an object has a key twice, the last one counts.
    ///
    /// # Errors
    /// No key; an invalid regular expression.
    pub fn payload_path<K: Into<String>>(
        keys: impl IntoIterator<Item = K>,
        expression: impl AsRef<str>,
    ) -> Result<Self, FilterError> {
        let keys: Vec<String> = keys.into_iter().map(Into::into).collect();
        if keys.is_empty() {
            return Err(FilterError::EmptyPath);
        }
        Self::regex(Part::Payload(keys), expression.as_ref())
    }

    /// A function of the program decides.
    ///
    /// It is called for each notification that reaches it, on a thread of the runtime: it must be fast and
    /// must not block. It may be called several times for one notification, and is called again for each
    /// retry, so it should give the same answer each time: a copy for a method whose filter does not match
    /// any more is acknowledged. If it panics, the method counts as failed: it is retried or dead-lettered
    /// like one that panicked itself.
    pub fn predicate(
        predicate: impl Fn(&Notification<'_>) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self(Node::Predicate(Arc::new(predicate)))
    }

    /// All of these filters match, as with `&`. Without a filter everything matches.
    pub fn all(filters: impl IntoIterator<Item = Self>) -> Self {
        Self(Node::All(filters.into_iter().collect()))
    }

    /// One of these filters matches, as with `|`. Without a filter nothing matches.
    pub fn any(filters: impl IntoIterator<Item = Self>) -> Self {
        Self(Node::Any(filters.into_iter().collect()))
    }

    /// Whether the notification matches.
    ///
    /// # Panics
    /// If a [`predicate`](Self::predicate) panics.
    #[must_use]
    pub fn matches(&self, notification: &Notification<'_>) -> bool {
        match &self.0 {
            Node::Text(part, test) => part.of(notification).is_some_and(|text| test.accepts(&text)),
            Node::All(filters) => filters.iter().all(|filter| filter.matches(notification)),
            Node::Any(filters) => filters.iter().any(|filter| filter.matches(notification)),
            Node::Not(filter) => !filter.matches(notification),
            Node::Predicate(predicate) => predicate(notification),
        }
    }

    /// As `matches`; the message of a predicate that panicked.
    pub(crate) fn try_matches(&self, notification: &Notification<'_>) -> Result<bool, String> {
        catch_unwind(AssertUnwindSafe(|| self.matches(notification))).map_err(panic_message)
    }

    /// A regular expression that every event type has to match for which this filter matches, if there is
    /// one.
    pub(crate) fn required_event_type(&self) -> Option<Cow<'_, str>> {
        match &self.0 {
            Node::Text(Part::EventType, Test::Regex(regex)) => Some(Cow::Borrowed(regex.as_str())),
            Node::Text(Part::EventType, Test::OneOf(names)) if names.len() <= INDEXED_NAMES => {
                let names: Vec<_> = names.iter().map(|name| regex::escape(name)).collect();
                // An empty alternation would match everything.
                (!names.is_empty()).then(|| Cow::Owned(format!(r"\A(?:{})\z", names.join("|"))))
            }
            Node::All(filters) => filters.iter().find_map(Self::required_event_type),
            Node::Text(..) | Node::Any(_) | Node::Not(_) | Node::Predicate(_) => None,
        }
    }

    fn regex(part: Part, expression: &str) -> Result<Self, FilterError> {
        match from_start(expression) {
            Ok(regex) => Ok(Self(Node::Text(part, Test::Regex(regex)))),
            Err(error) => Err(FilterError::Regex {
                part: part.to_string(),
                expression: expression.to_owned(),
                reason: error.to_string(),
            }),
        }
    }

    fn one_of<N: Into<String>>(part: Part, names: impl IntoIterator<Item = N>) -> Self {
        Self(Node::Text(part, Test::OneOf(names.into_iter().map(Into::into).collect())))
    }
}

/// A longer list of names would make the combined expression of a target large.
const INDEXED_NAMES: usize = 64;

impl Part {
    fn of<'a>(&self, notification: &'a Notification<'_>) -> Option<Cow<'a, str>> {
        match self {
            Self::PublisherId => notification.publisher_id().map(Cow::Borrowed),
            Self::EventType => notification.event_type().map(Cow::Borrowed),
            Self::Context(key) => notification.context_value(key).and_then(as_text),
            Self::Metadata(key) => notification.metadata().get(key).map(Cow::Borrowed),
            Self::Payload(keys) => notification.payload_at(keys).and_then(as_text),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PublisherId => f.write_str("publisher_id"),
            Self::EventType => f.write_str("event_type"),
            Self::Context(key) => write!(f, "context.{key}"),
            Self::Metadata(key) => write!(f, "metadata.{key}"),
            Self::Payload(keys) => write!(f, "payload.{}", keys.join(".")),
        }
    }
}

impl Test {
    fn accepts(&self, text: &str) -> bool {
        match self {
            Self::Regex(regex) => regex.is_match(text),
            Self::OneOf(names) => names.contains(text),
        }
    }
}

/// Both filters match.
impl BitAnd for Filter {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        match self.0 {
            Node::All(mut filters) => {
                filters.push(other);
                Self(Node::All(filters))
            }
            first => Self::all([Self(first), other]),
        }
    }
}

/// One of the filters matches.
impl BitOr for Filter {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        match self.0 {
            Node::Any(mut filters) => {
                filters.push(other);
                Self(Node::Any(filters))
            }
            first => Self::any([Self(first), other]),
        }
    }
}

/// The filter does not match.
impl Not for Filter {
    type Output = Self;

    fn not(self) -> Self {
        Self(Node::Not(Box::new(self)))
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Node::Text(part, Test::Regex(regex)) => write!(f, "{part} =~ {:?}", regex.as_str()),
            Node::Text(part, Test::OneOf(names)) => write!(f, "{part} in {names:?}"),
            Node::All(filters) => f.debug_tuple("all").field(filters).finish(),
            Node::Any(filters) => f.debug_tuple("any").field(filters).finish(),
            Node::Not(filter) => write!(f, "!({filter:?})"),
            Node::Predicate(_) => f.write_str("predicate"),
        }
    }
}

#[cfg(test)]
mod tests;
