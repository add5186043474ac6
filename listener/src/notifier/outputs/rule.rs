//! Which notifications an output accepts in a routing: patterns of event types and priorities. `glob.rs` matches
//! them, `routing.rs` has the outputs.

use crate::notification::priority::Priority;
use crate::notifier::outputs::glob::Glob;

/// Which notifications an output accepts: all of them, unless event types or priorities are given. With both,
/// both must match; of several patterns, one.
///
/// Patterns are those of Python's `fnmatch`: `*`, `?`, `[seq]`, `[!seq]`, for the whole text. Event types
/// are case-sensitive; priorities are compared in lower case. Without any pattern, an empty list accepts
/// nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    events: Option<Vec<Glob>>,
    priorities: Option<Vec<Glob>>,
}

impl Rule {
    /// Accepts all notifications.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Accepts only event types that match one of these: `accepted_events`.
    #[must_use]
    pub fn events<T: AsRef<str>>(self, patterns: impl IntoIterator<Item = T>) -> Self {
        let patterns = patterns.into_iter().map(|pattern| Glob::new(pattern.as_ref()));
        Self { events: Some(patterns.collect()), ..self }
    }

    /// Accepts only priorities that match one of these: `accepted_priorities`.
    #[must_use]
    pub fn priorities<T: AsRef<str>>(self, patterns: impl IntoIterator<Item = T>) -> Self {
        let patterns = patterns.into_iter();
        let patterns = patterns.map(|pattern| Glob::new(&pattern.as_ref().to_lowercase()));
        Self { priorities: Some(patterns.collect()), ..self }
    }

    pub(super) fn accepts(&self, event_type: &str, priority: Priority) -> bool {
        let one_of = |patterns: &Option<Vec<Glob>>, text: &str| {
            let matches = |patterns: &Vec<Glob>| patterns.iter().any(|glob| glob.matches(text));
            patterns.as_ref().is_none_or(matches)
        };
        one_of(&self.events, event_type) && one_of(&self.priorities, priority.as_str())
    }
}
