//! The names of all options that can be given, and the errors about them. All files of this folder use them; the
//! sources are put together in `mod.rs`.

use crate::options::declare::{Declared, Group};
use crate::options::listener::{ExternalOptions, ListenerOptions, RetryOptions};

/// The environment, as errors name it.
pub(super) const ENVIRONMENT: &str = "the environment (LISTENER_..)";

/// The options that can be given from outside.
pub(super) fn declared() -> impl Iterator<Item = &'static Declared> {
    ExternalOptions::DECLARED.iter().chain(ListenerOptions::DECLARED).chain(RetryOptions::DECLARED)
}

pub(super) fn keys() -> impl Iterator<Item = &'static str> {
    declared().map(|option| option.key)
}

/// The configuration cannot be read.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// There is no option with this name.
    #[error("unknown option {name:?} in {origin}{}", known(.near.as_deref()))]
    #[non_exhaustive]
    Unknown {
        /// The name.
        name: String,
        /// The file or the environment.
        origin: String,
        /// The known name that is most similar to it.
        near: Option<String>,
    },
    /// An option has an invalid value.
    #[error("option {name:?} in {origin}: expected {expected}, found {found}")]
    #[non_exhaustive]
    Value {
        /// The name.
        name: String,
        /// The file or the environment.
        origin: String,
        /// The valid values.
        expected: String,
        /// The value that was found, unless it may be a secret.
        found: String,
    },
    /// A URL or a name that is invalid.
    #[error("option {name:?} in {origin}: {mistake}")]
    #[non_exhaustive]
    Unusable {
        /// The name of the option.
        name: String,
        /// The file or the environment.
        origin: String,
        /// What is wrong with the value, and what was expected. A URL is not shown.
        mistake: String,
    },
    /// Several mistakes: all that were found.
    #[error("the configuration has {} mistakes:{}", .0.len(), listed(.0))]
    Several(Vec<Self>),
    /// The file cannot be read.
    #[error("the file {path:?} that {named_by} names cannot be read: {reason}")]
    #[non_exhaustive]
    File {
        /// Its path.
        path: String,
        /// The variable or the argument that names it.
        named_by: &'static str,
        /// Why it cannot be read.
        reason: String,
    },
}

/// The mistakes that one error lists.
const LISTED: usize = 10;

fn listed(mistakes: &[ConfigError]) -> String {
    let told = mistakes.iter().take(LISTED).map(|mistake| format!("\n- {mistake}"));
    let more = mistakes.len().saturating_sub(LISTED);
    told.chain((more > 0).then(|| format!("\n- and {more} more"))).collect()
}

fn known(near: Option<&str>) -> String {
    near.map_or_else(
        || format!("; the options are {}", keys().collect::<Vec<_>>().join(", ")),
        |near| format!("; did you mean {near:?}?"),
    )
}

pub(super) fn is_option(name: &str) -> bool {
    keys().any(|key| key == name)
}

/// Whether a value is not empty. That one is empty is logged.
pub(super) fn is_given(name: &str, value: &str) -> bool {
    if value.is_empty() {
        tracing::info!(option = name, "the option is empty, which counts as not given");
    }
    !value.is_empty()
}

debug_is_the_message!(ConfigError);
