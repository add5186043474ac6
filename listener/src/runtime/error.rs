//! The errors of a listener: `Error` combines those of all stages. Everything that is wrong with a builder
//! is collected in one `BuildError`. Errors of the notifier are in `notifier/error.rs`.

use std::fmt;

use crate::endpoint::EndpointDefinition;
use crate::outcome::BoxError;
use crate::redact::{Chain, redacted};
use crate::transport::error::{ConnectError, OpenError};
use crate::transport::executor::NoRuntime;

/// Why a listener could not start, or ended.
///
/// `Display` shows the message without its causes, which are the sources of the error; `Debug`, which `main`
/// prints for an error that it returns, shows both.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The listener cannot be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The transport cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The configuration cannot be read.
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
    /// The broker could not be reached in time, or refused to let the listener consume.
    #[error("the listener could not start on {transport}")]
    Connect {
        /// The transport, without its password.
        transport: String,
        /// The cause.
        source: ConnectError,
    },
    /// There is no tokio runtime, or it has no timers or no I/O.
    #[error("the listener cannot run")]
    Runtime(#[from] NoRuntime),
    /// The function that `init` names failed, panicked, or took too long.
    #[error("{endpoint}: its `init` failed")]
    Instance {
        /// The endpoint.
        endpoint: EndpointLocation,
        /// The error of the function.
        source: BoxError,
    },
    /// [`Listener::run`](crate::Listener::run) cannot catch the signals that end a program.
    #[error("SIGINT and SIGTERM cannot be caught")]
    Signals(#[source] std::io::Error),
    /// The listener's task panicked, which is a bug in this crate.
    #[error("the listener's task failed: {0}")]
    Task(String),
}

/// Everything that is wrong with a builder, as far as it can be found without I/O.
#[derive(PartialEq, Eq)]
pub struct BuildError {
    problems: Vec<Problem>,
}

impl std::error::Error for BuildError {}

impl BuildError {
    pub(super) const fn new(problems: Vec<Problem>) -> Self {
        Self { problems }
    }

    /// The problems, at least one.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.as_slice() {
            [problem] => write!(f, "the listener cannot be built: {}", Chain(problem)),
            problems => {
                write!(f, "the listener cannot be built, for {} reasons:", problems.len())?;
                problems.iter().try_for_each(|problem| write!(f, "\n- {}", Chain(problem)))
            }
        }
    }
}

/// One reason why a listener cannot be built.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// There is no endpoint.
    #[error(
        "no endpoint is registered; write `#[notification_endpoint]` on an impl block, or pass one to `Listener::builder().endpoint(..)`; endpoints of another crate are linked only if code names that crate, as `listener::link!(that_crate);` does"
    )]
    NoEndpoint,
    /// No endpoint is in this group.
    #[error("no endpoint is in group {group:?}; {}", known_groups(.known))]
    #[non_exhaustive]
    UnknownGroup {
        /// The requested group.
        group: String,
        /// The groups that exist.
        known: Vec<String>,
    },
    /// An endpoint takes a state that was not given.
    #[error(
        "{endpoint}: {whose} takes `State<{state}>`, and the listener has none; {}",
        missing_state_fix(.state, .near.as_deref())
    )]
    #[non_exhaustive]
    MissingState {
        /// The endpoint.
        endpoint: EndpointLocation,
        /// The method, or the function that makes the instance.
        whose: String,
        /// The type of the state.
        state: String,
        /// The type of a given state that differs only by wrappers such as `Arc`.
        near: Option<String>,
    },
    /// Two states of one type were given.
    #[error(
        "two states of type `{state}` were given; expected at most one of each type: wrap one in a newtype"
    )]
    #[non_exhaustive]
    DuplicateState {
        /// The type.
        state: String,
    },
    /// Two instances of one endpoint were given without a name.
    #[error(
        "{endpoint}: two instances were given without a name; expected at most one: logs and copies identify an endpoint by its type and name; give each a name, as in `.endpoint(instance.named(\"tenant-a\"))`"
    )]
    #[non_exhaustive]
    Duplicate {
        /// The endpoint.
        endpoint: EndpointLocation,
    },
    /// Two instances of one endpoint have the same name.
    #[error(
        "{endpoint}: two instances are named {name:?}; expected a different name for each: copies identify an instance by it"
    )]
    #[non_exhaustive]
    DuplicateInstance {
        /// The endpoint.
        endpoint: EndpointLocation,
        /// The name.
        name: String,
    },
    /// The name of an instance is invalid.
    #[error(
        "{endpoint}: the name of an instance is {}: {mistake}; expected 1 to 64 bytes of ASCII letters, digits, `-`, `_` and `.`", quoted(.name)
    )]
    #[non_exhaustive]
    InstanceName {
        /// The endpoint.
        endpoint: EndpointLocation,
        /// The name.
        name: String,
        /// What is wrong with it.
        mistake: &'static str,
    },
    /// An option enables or disables an endpoint that does not exist.
    #[error("{option} names {}, which is not an endpoint, an instance or a group of this program; {}", quoted(.name), known_endpoints(.near.as_deref(), .known))]
    #[non_exhaustive]
    UnknownEndpoint {
        /// `enabled_endpoints` or `disabled_endpoints`.
        option: String,
        /// The name.
        name: String,
        /// The known name that is most similar to it.
        near: Option<String>,
        /// The names that exist.
        known: Vec<String>,
    },
    /// Every endpoint is disabled.
    #[error(
        "every endpoint is disabled; expected at least one: enable one with `enabled_endpoints` or `disabled_endpoints`, or with the condition of `endpoint_if`"
    )]
    AllDisabled,
    /// A filter is for an endpoint that the listener does not have.
    #[error(
        "{endpoint}: `filter` was called for it, but the listener has no instance of it; pass one to `.endpoint(..)`, or run the registered one with `.registered()` or `.group(..)`"
    )]
    #[non_exhaustive]
    NothingToFilter {
        /// The endpoint.
        endpoint: EndpointLocation,
    },
    /// The driver of a transport cannot do what an option, or every listener, needs.
    #[error("the driver of {transport} cannot {missing}, which {needed_by} needs; {fix}")]
    #[non_exhaustive]
    Unsupported {
        /// The transport, without its password.
        transport: String,
        /// What the driver cannot do.
        missing: &'static str,
        /// The option that needs it.
        needed_by: &'static str,
        /// What to do.
        fix: &'static str,
    },
    /// No instance of a `provided` endpoint was given.
    #[error(
        "{endpoint} is `provided`, but no instance was given; pass one to `.endpoint(..)` of the listener's builder, or select other endpoints with `.group(..)`"
    )]
    #[non_exhaustive]
    NotProvided {
        /// The endpoint.
        endpoint: EndpointLocation,
    },
    /// The regular expression of a filter is invalid.
    #[error("{endpoint}: the filter{} is not a valid regular expression: {reason}", of_method(.method.as_deref()))]
    #[non_exhaustive]
    Filter {
        /// The endpoint.
        endpoint: EndpointLocation,
        /// The method, unless it is the filter of the whole endpoint.
        method: Option<String>,
        /// What is wrong with it.
        reason: String,
    },
    /// `ordered_by` does not name a part of a notification.
    #[error("{endpoint}: `ordered_by`: {reason}")]
    #[non_exhaustive]
    Order {
        /// The endpoint.
        endpoint: EndpointLocation,
        /// What is wrong with it.
        reason: String,
    },
    /// Two methods have the same name.
    #[error(
        "{endpoint}: another method has the name {name:?}, so that a copy of a notification could not identify the method that it is for; give one of the endpoints another `name`"
    )]
    #[non_exhaustive]
    SameName {
        /// The second endpoint.
        endpoint: EndpointLocation,
        /// The name.
        name: String,
    },
    /// The name of a topic, a pool or an exchange is invalid.
    #[error("{}{reason}", of_endpoint(.endpoint.as_ref()))]
    #[non_exhaustive]
    Name {
        /// The endpoint, if the name is in its attribute.
        endpoint: Option<EndpointLocation>,
        /// The name, what is wrong with it, and the fix.
        reason: String,
    },
    /// The transport URL is invalid.
    #[error(transparent)]
    Transport(#[from] OpenError),
    /// An option has an invalid value.
    #[error("{option} is {found}; expected {expected}")]
    #[non_exhaustive]
    Option {
        /// The name of the option.
        option: String,
        /// The value that it was set to.
        found: String,
        /// The valid values.
        expected: String,
    },
}

/// Where an endpoint is defined.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndpointLocation {
    /// `module::Type`.
    pub endpoint: String,
    /// The path of the source file.
    pub file: &'static str,
    /// The line of the attribute.
    pub line: u32,
}

impl EndpointLocation {
    pub(super) fn of(definition: &EndpointDefinition) -> Self {
        Self {
            endpoint: format!("{}::{}", definition.module, definition.name),
            file: definition.file,
            line: definition.line,
        }
    }
}

impl fmt::Display for EndpointLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "endpoint `{}` ({}:{})", self.endpoint, self.file, self.line)
    }
}

fn of_endpoint(endpoint: Option<&EndpointLocation>) -> String {
    endpoint.map(|endpoint| format!("{endpoint}: ")).unwrap_or_default()
}

fn of_method(method: Option<&str>) -> String {
    method.map(|method| format!(" of method `{method}`")).unwrap_or_default()
}

fn missing_state_fix(needed: &str, near: Option<&str>) -> String {
    let Some(near) = near else {
        return "give it with `Listener::builder().config(Config::from_env()?).state(..)` instead of `listen()`".to_owned();
    };
    let shared = match needed.strip_suffix(&format!("::Arc<{near}>")) {
        Some(_) => " A `State` needs no `Arc` around it.",
        None => "",
    };
    format!("did you mean `State<{near}>`, which it has?{shared}")
}

fn known_endpoints(near: Option<&str>, known: &[String]) -> String {
    match near {
        Some(near) => format!("did you mean {near:?}?"),
        None if known.is_empty() => "it has no endpoint".to_owned(),
        None => format!("the names are: {}", known.join(", ")),
    }
}

fn quoted(name: &str) -> String {
    format!("{:?}", redacted(name))
}

fn known_groups(known: &[String]) -> String {
    if known.is_empty() {
        "no registered endpoint has a group".to_owned()
    } else {
        format!("the groups are: {}", known.join(", "))
    }
}

debug_is_the_message!(Error, BuildError, Problem);
