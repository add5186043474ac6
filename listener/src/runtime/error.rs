//! What ends a listener, or keeps it from beginning: the errors of the stages come together here.
//! What was wrong while it was built is told all at once.

use std::fmt;

use crate::endpoint::Definition;
use crate::outcome::{BoxError, Chain};
use crate::transport::error::{ConnectError, OpenError};
use crate::transport::executor::NoRuntime;

/// What ends a listener, or keeps it from beginning.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The listener cannot be built: all mistakes that can be found without I/O.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The transport cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The configuration cannot be read.
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
    /// The listener could not be attached to its queues.
    #[error("the listener could not start on {transport}: {source}")]
    Connect {
        /// The transport, passwords hidden.
        transport: String,
        /// Why not.
        source: ConnectError,
    },
    /// It was not called within a tokio runtime, or in one without timers or I/O.
    #[error("the listener cannot run: {0}")]
    Runtime(#[from] NoRuntime),
    /// The instance of an endpoint could not be made.
    #[error("{endpoint}: its `init` failed: {}", Chain(&**source))]
    Instance {
        /// The endpoint.
        endpoint: Place,
        /// What its function said.
        source: BoxError,
    },
    /// The signals that end a program cannot be caught.
    #[error("SIGINT and SIGTERM cannot be caught: {0}")]
    Signals(#[source] std::io::Error),
    /// The task that takes the deliveries is gone: a mistake in this crate.
    #[error("the listener's task ended by itself: {0}")]
    Task(String),
}

/// Every mistake that can be found without I/O.
#[derive(PartialEq, Eq)]
pub struct BuildError {
    problems: Vec<Problem>,
}

impl std::error::Error for BuildError {}

impl BuildError {
    pub(super) const fn new(problems: Vec<Problem>) -> Self {
        Self { problems }
    }

    /// The mistakes, at least one.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.as_slice() {
            [problem] => write!(f, "the listener cannot be built: {problem}"),
            problems => {
                write!(f, "the listener cannot be built, for {} reasons:", problems.len())?;
                problems.iter().try_for_each(|problem| write!(f, "\n- {problem}"))
            }
        }
    }
}

/// One mistake of a listener that does not build.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// There is nothing to call.
    #[error(
        "no endpoint is registered; write `#[notification_endpoint]` on an impl block, or hand one to `Listener::builder().endpoint(..)`; endpoints of another crate are only linked when that crate is named in code, as with `listener::link!(that_crate);`"
    )]
    NoEndpoint,
    /// No endpoint is in this group.
    #[error("no endpoint is in group {group:?}; {}", known_groups(.known))]
    UnknownGroup {
        /// The group that was asked for.
        group: String,
        /// The groups that exist.
        known: Vec<String>,
    },
    /// An endpoint needs a state that was not given.
    #[error(
        "{endpoint}: {whose} takes `State<{state}>`, and the listener has none; {}",
        given_state(.state, .near.as_deref())
    )]
    MissingState {
        /// The endpoint.
        endpoint: Place,
        /// The method, or the function that makes the instance.
        whose: String,
        /// The type of the state.
        state: String,
        /// The type of a given state that is the same with something around it, or without.
        near: Option<String>,
    },
    /// Two states of one type were given.
    #[error(
        "two states of type `{state}` were given; there can be one of each type: wrap one in a type of its own"
    )]
    DuplicateState {
        /// The type.
        state: String,
    },
    /// Two instances of one endpoint were given.
    #[error(
        "{endpoint}: two instances were given; a listener has one of each type, for logs and dead letters name it by its type"
    )]
    Duplicate {
        /// The endpoint.
        endpoint: Place,
    },
    /// A `provided` endpoint was not given.
    #[error(
        "{endpoint} is `provided`, and no instance was given; add `.endpoint(..)` with one to the listener's builder, or choose other endpoints with `.group(..)`"
    )]
    NotProvided {
        /// The endpoint.
        endpoint: Place,
    },
    /// A filter does not compile.
    #[error("{endpoint}: the filter{} is no regular expression: {reason}", of_method(.method.as_deref()))]
    Filter {
        /// The endpoint.
        endpoint: Place,
        /// The method, if the filter is a method's.
        method: Option<String>,
        /// What is wrong with it.
        reason: String,
    },
    /// `ordered_by` names no part of a notification.
    #[error("{endpoint}: `ordered_by`: {reason}")]
    Order {
        /// The endpoint.
        endpoint: Place,
        /// What is wrong with it.
        reason: String,
    },
    /// Two methods go by one name.
    #[error(
        "{endpoint}: another method goes by the name {name:?}, and copies of a notification could not tell which of them owes it; give one of the endpoints a `name` of its own"
    )]
    SameName {
        /// The second endpoint.
        endpoint: Place,
        /// The name.
        name: String,
    },
    /// A topic, a pool or an exchange has a name that no broker takes, or that means nothing.
    #[error("{}{reason}", of_endpoint(.endpoint.as_ref()))]
    Name {
        /// The endpoint, if the name stands in its attribute.
        endpoint: Option<Place>,
        /// Which name, what is wrong with it, and the fix.
        reason: String,
    },
    /// The transport's URL is wrong.
    #[error(transparent)]
    Transport(#[from] OpenError),
    /// An option has a value that it cannot have.
    #[error("{option} is {found}; expected {expected}")]
    Option {
        /// Which.
        option: &'static str,
        /// What it was set to.
        found: String,
        /// What it takes.
        expected: &'static str,
    },
}

/// Where an endpoint stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// `module::Type`.
    pub endpoint: String,
    /// The file.
    pub file: &'static str,
    /// The line of its attribute.
    pub line: u32,
}

impl Place {
    pub(super) fn of(definition: &Definition) -> Self {
        Self {
            endpoint: format!("{}::{}", definition.module, definition.name),
            file: definition.file,
            line: definition.line,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "endpoint `{}` ({}:{})", self.endpoint, self.file, self.line)
    }
}

fn of_endpoint(endpoint: Option<&Place>) -> String {
    endpoint.map(|endpoint| format!("{endpoint}: ")).unwrap_or_default()
}

fn of_method(method: Option<&str>) -> String {
    method.map(|method| format!(" of method `{method}`")).unwrap_or_default()
}

fn given_state(needed: &str, near: Option<&str>) -> String {
    let Some(near) = near else {
        return "give it with `Listener::builder().configured(Config::from_env()?).state(..)`, in the place of `listen()`".to_owned();
    };
    let shared = match needed.strip_suffix(&format!("::Arc<{near}>")) {
        Some(_) => " A `State` needs no `Arc` around it.",
        None => "",
    };
    format!("did you mean `State<{near}>`, which it has?{shared}")
}

fn known_groups(known: &[String]) -> String {
    if known.is_empty() {
        "no registered endpoint has a group".to_owned()
    } else {
        format!("the groups are: {}", known.join(", "))
    }
}

debug_is_the_message!(Error, BuildError, Problem);
