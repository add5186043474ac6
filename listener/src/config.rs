//! Configuration of `listen()`: environment variables over a TOML file. Each option has one
//! name; the variable is `LISTENER_` and the name in capitals. What the options do is said
//! in `runtime/options.rs` and at the builder.

use std::ffi::OsString;
use std::fmt;
use std::time::Duration;

use crate::duration::duration;
use crate::nearest::nearest;
use crate::order::OrderKey;
use crate::runtime::options::OnUnknownPriority;
use crate::shown::shown;
use crate::target::{Role, Target, mistake_in_configuration};
use crate::transport::Transport;

/// The prefix of the environment variables.
const PREFIX: &str = "LISTENER_";

/// The variable that is set in each container of Kubernetes.
const IN_A_POD: &str = "KUBERNETES_SERVICE_HOST";

/// The environment, as errors name it.
const ENVIRONMENT: &str = "the environment (LISTENER_..)";

/// The options, by name. Those that oslo.messaging has keep its names.
const OPTIONS: [&str; 18] = [
    "transport_url",
    "topics",
    "control_exchange",
    "pool",
    "group",
    "allow_requeue",
    "executor",
    "executor_thread_pool_size",
    "prefetch",
    "bytes_in_flight",
    "handler_timeout",
    "unknown_priority",
    "retry_attempts",
    "retry_pause",
    "retry_max_pause",
    "ordered_by",
    "start_timeout",
    "shutdown_timeout",
];

/// The configuration of [`listen`](crate::listen()). What is not given keeps its default.
///
/// | option | variable | value |
/// |---|---|---|
/// | `transport_url` | `LISTENER_TRANSPORT_URL` | `amqp://user:password@host:5672/vhost`, or `rabbit://..` as oslo.messaging writes it; or `memory://`, which is the default where nothing at all is configured |
/// | `topics` | `LISTENER_TOPICS` | a list; in the variable with commas: `notifications,nova/versioned_notifications`, where what stands before a `/` is the exchange |
/// | `control_exchange` | `LISTENER_CONTROL_EXCHANGE` | the exchange of topics that name none |
/// | `pool` | `LISTENER_POOL` | the queue of this pool |
/// | `group` | `LISTENER_GROUP` | the endpoints of these groups only; a list |
/// | `allow_requeue` | `LISTENER_ALLOW_REQUEUE` | `true` or `false` |
/// | `executor` | `LISTENER_EXECUTOR` | `concurrent` or `sequential` |
/// | `executor_thread_pool_size` | `LISTENER_EXECUTOR_THREAD_POOL_SIZE` | how many deliveries at once; makes the executor concurrent, so more than 1 beside `sequential` is a mistake |
/// | `prefetch` | `LISTENER_PREFETCH` | how many unsettled deliveries of a queue |
/// | `bytes_in_flight` | `LISTENER_BYTES_IN_FLIGHT` | how many bytes of unsettled deliveries |
/// | `handler_timeout` | `LISTENER_HANDLER_TIMEOUT` | how long one call of a method may take |
/// | `unknown_priority` | `LISTENER_UNKNOWN_PRIORITY` | what becomes of a notification without a known priority: `dead_letter`, unless its routing key ends in one, or `lenient`, acknowledged as oslo.messaging does |
/// | `retry_attempts` | `LISTENER_RETRY_ATTEMPTS` | how often a method that fails is called, the first call included |
/// | `retry_pause`, `retry_max_pause` | `LISTENER_RETRY_PAUSE`, .. | the pause before the second call, and the longest |
/// | `ordered_by` | `LISTENER_ORDERED_BY` | `publisher_id`, `event_type`, `payload.KEY` or `context.KEY`: what is equal in it is worked on in sequence |
/// | `start_timeout`, `shutdown_timeout` | `LISTENER_START_TIMEOUT`, .. | how long the broker is waited for at the start, and methods at the end |
///
/// `LISTENER_CONFIG` names a TOML file with the same options; the variables win.
///
/// A time is written as in the attribute, `30s`, `1m30s` or `500ms`, or as whole seconds. White space
/// and line breaks around a value are left out. An empty value is as good as none, and is logged:
/// `${POOL:-}` in a compose file leaves such.
///
/// Where any of these options is given, if only an empty one, or the program runs in a container of
/// Kubernetes, there has to be a `transport_url`, and without one nothing starts: in memory only the
/// program itself can notify, so a listener whose URL was forgotten would be ready and do nothing.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// Where to consume from; it may hold a password.
    pub(crate) transport_url: Option<String>,
    pub(crate) topics: Vec<Target>,
    pub(crate) control_exchange: Option<String>,
    pub(crate) pool: Option<String>,
    pub(crate) groups: Vec<String>,
    pub(crate) allow_requeue: Option<bool>,
    /// Without a size, `Concurrent` keeps that of the builder.
    pub(crate) executor: Option<ExecutorKind>,
    pub(crate) executor_thread_pool_size: Option<usize>,
    pub(crate) prefetch: Option<u16>,
    pub(crate) bytes_in_flight: Option<usize>,
    pub(crate) handler_timeout: Option<Duration>,
    pub(crate) unknown_priority: Option<OnUnknownPriority>,
    pub(crate) retry_attempts: Option<u32>,
    pub(crate) retry_pause: Option<Duration>,
    pub(crate) retry_max_pause: Option<Duration>,
    pub(crate) ordered_by: Option<OrderKey>,
    pub(crate) start_timeout: Option<Duration>,
    pub(crate) shutdown_timeout: Option<Duration>,
    /// Whether anything is configured, so that memory cannot be what was meant.
    pub(crate) is_deployed: bool,
}

/// The value of `executor`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExecutorKind {
    Sequential,
    Concurrent,
}

/// The configuration cannot be read.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// No option goes by this name.
    #[error("unknown option {name:?} in {origin}{}", known(.near.as_deref()))]
    Unknown {
        /// The name.
        name: String,
        /// The file or the environment.
        origin: String,
        /// The known name that is nearest to it.
        near: Option<String>,
    },
    /// An option has a value that it cannot have.
    #[error("option {name:?} in {origin}: expected {expected}, found {found}")]
    Value {
        /// The name.
        name: String,
        /// The file or the environment.
        origin: String,
        /// What it takes.
        expected: &'static str,
        /// What it was given, unless that may be a secret.
        found: String,
    },
    /// A URL that cannot be used, or a name that nothing can have.
    #[error("option {name:?} in {origin}: {mistake}")]
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
    #[error("the file {path:?} that LISTENER_CONFIG names cannot be read: {reason}")]
    File {
        /// Its path.
        path: String,
        /// Why not.
        reason: String,
    },
}

/// So many mistakes are told in one error.
const LISTED: usize = 10;

fn listed(mistakes: &[ConfigError]) -> String {
    let told = mistakes.iter().take(LISTED).map(|mistake| format!("\n- {mistake}"));
    let more = mistakes.len().saturating_sub(LISTED);
    told.chain((more > 0).then(|| format!("\n- and {more} more"))).collect()
}

fn known(near: Option<&str>) -> String {
    near.map_or_else(
        || format!("; the options are {}", OPTIONS.join(", ")),
        |near| format!("; did you mean {near:?}?"),
    )
}

/// A value before its option is known.
#[derive(Clone, Debug)]
#[cfg_attr(
    not(feature = "config"),
    expect(dead_code, reason = "only a file has values that are not text")
)]
enum Raw {
    Text(String),
    List(Vec<String>),
    Bool(bool),
    Int(i64),
    Other(&'static str),
}

impl Config {
    /// Reads the environment, and the file that `LISTENER_CONFIG` names.
    ///
    /// # Errors
    /// An unknown option, a wrong value, a file that cannot be read. A variable that begins
    /// with `LISTENER_` and resembles no option is ignored, and its name logged.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_variables(texts(std::env::vars_os())?)
    }

    /// Reads these variables as [`from_env`](Self::from_env) reads those of the environment.
    ///
    /// ```
    /// use listener::Config;
    ///
    /// let variables = [("LISTENER_PREFETCH".to_owned(), "many".to_owned())];
    /// let error = Config::from_variables(variables).unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "option \"prefetch\" in the environment (LISTENER_..): \
    ///      expected a number from 1 to 65535, found \"many\""
    /// );
    /// ```
    ///
    /// # Errors
    /// As `from_env`.
    pub fn from_variables(
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        let mut ours: Vec<(String, String)> = Vec::new();
        for (name, value) in variables {
            config.is_deployed |= name == IN_A_POD && !value.is_empty();
            if let Some(name) = name.strip_prefix(PREFIX) {
                ours.push((name.to_lowercase(), value.trim().to_owned()));
            }
        }
        ours.sort();
        let mut mistakes = Vec::new();
        let file = ours.iter().find(|(name, _)| name == "config").map(|(_, path)| path.clone());
        config.is_deployed |= file.is_some();
        let file = file.filter(|path| is_given("config", path));
        if let Some(path) = &file {
            config.take(
                read_file(path).unwrap_or_else(|error| {
                    mistakes.push(error);
                    Vec::new()
                }),
                &format!("{path:?}"),
                &mut mistakes,
            );
        }
        ours.retain(|(name, _)| name != "config" && !is_of_a_service(name));
        let is_ours = |name: &str| OPTIONS.contains(&name) || meant(name).is_some();
        let (ours, others): (Vec<_>, Vec<_>) =
            ours.into_iter().partition(|(name, _)| is_ours(name));
        if !others.is_empty() {
            let names: Vec<_> = others.iter().map(|(name, _)| shown(name)).collect();
            tracing::info!(
                variables = shown(&names.join(", ")),
                "these variables that begin with LISTENER_ are no options: they are ignored"
            );
        }
        config.is_deployed |= !ours.is_empty();
        let of_file = config.clone();
        let values: Vec<(String, Raw)> = ours
            .into_iter()
            .filter(|(name, value)| !OPTIONS.contains(&name.as_str()) || is_given(name, value))
            .map(|(name, value)| (name, Raw::Text(value)))
            .collect();
        // A kind of executor wins over the size that the file has for another.
        if values.iter().any(|(name, _)| name == "executor") {
            config.executor_thread_pool_size = None;
        }
        config.take(values, ENVIRONMENT, &mut mistakes);
        let origin = |is_of_file| match &file {
            Some(path) if is_of_file => format!("{path:?}"),
            _ => ENVIRONMENT.to_owned(),
        };
        mistakes.extend(config.unusable(&of_file, origin));
        match mistakes.pop() {
            None => Ok(config),
            Some(mistake) if mistakes.is_empty() => Err(mistake),
            Some(mistake) => {
                mistakes.push(mistake);
                Err(ConfigError::Several(mistakes))
            }
        }
    }

    /// The values that no listener can be built with. An origin is that of a value that the file has.
    fn unusable(&self, of_file: &Self, origin: impl Fn(bool) -> String) -> Vec<ConfigError> {
        let mut found = Vec::new();
        let mut check = |name: &str, is_of_file: bool, mistake: Option<String>| {
            found.extend(mistake.map(|mistake| ConfigError::Unusable {
                name: name.to_owned(),
                origin: origin(is_of_file),
                mistake,
            }));
        };
        if let Some(url) = &self.transport_url {
            let mistake = Transport::open(url).err().map(|error| error.to_string());
            check("transport_url", self.transport_url == of_file.transport_url, mistake);
        }
        let exchange = |name: &str| mistake_in_configuration(Role::Exchange, name);
        for target in &self.topics {
            // Whether queues are named after it, the builder knows.
            let topic = mistake_in_configuration(Role::Route, target.name());
            check("topics", self.topics == of_file.topics, topic);
            let exchange = target.exchange_name().and_then(exchange);
            check("topics", self.topics == of_file.topics, exchange);
        }
        let control = &self.control_exchange;
        let mistake = control.as_deref().and_then(exchange);
        check("control_exchange", *control == of_file.control_exchange, mistake);
        let mistake =
            self.pool.as_deref().and_then(|name| mistake_in_configuration(Role::Pool, name));
        check("pool", self.pool == of_file.pool, mistake);
        found
    }

    /// Takes what one origin says over what was there before.
    fn take(&mut self, values: Vec<(String, Raw)>, origin: &str, mistakes: &mut Vec<ConfigError>) {
        let concerned = values.iter().any(|(name, _)| name.starts_with("executor"));
        let set =
            values.into_iter().filter_map(|(name, value)| self.set(&name, value, origin).err());
        mistakes.extend(set);
        let size = self.executor_thread_pool_size.filter(|_| concerned);
        if let (Some(ExecutorKind::Sequential), Some(size @ 2..)) = (self.executor, size) {
            mistakes.push(ConfigError::Value {
                name: "executor_thread_pool_size".to_owned(),
                origin: origin.to_owned(),
                expected: "nothing, or 1, where `executor` is `sequential`; take one of the two out",
                found: size.to_string(),
            });
        }
    }

    fn set(&mut self, name: &str, value: Raw, origin: &str) -> Result<(), ConfigError> {
        let value = match value {
            Raw::Text(text) if OPTIONS.contains(&name) && !is_given(name, text.trim()) => {
                return Ok(());
            }
            Raw::Text(text) => Raw::Text(text.trim().to_owned()),
            other => other,
        };
        let wrong = |expected, found| ConfigError::Value {
            name: name.to_owned(),
            origin: origin.to_owned(),
            expected,
            found,
        };
        match name {
            // Its value may hold a password, so it is not shown.
            "transport_url" => match value {
                Raw::Text(text) => self.transport_url = Some(text),
                _ => return Err(wrong("a URL in quotes", "something else".to_owned())),
            },
            "topics" => {
                self.topics = value
                    .list(wrong, "topics, or exchange/topic")?
                    .iter()
                    .map(|topic| Target::from(topic.as_str()))
                    .collect();
            }
            "control_exchange" => self.control_exchange = Some(value.text(wrong)?),
            "pool" => self.pool = Some(value.text(wrong)?),
            "group" => self.groups = value.list(wrong, "names of groups")?,
            "allow_requeue" => self.allow_requeue = Some(value.bool(wrong)?),
            "executor" => {
                self.executor = Some(match value.text(wrong)?.as_str() {
                    "sequential" => ExecutorKind::Sequential,
                    "concurrent" => ExecutorKind::Concurrent,
                    other => {
                        return Err(wrong("`concurrent` or `sequential`", quoted(other)));
                    }
                });
            }
            "executor_thread_pool_size" => {
                self.executor_thread_pool_size =
                    Some(value.number(wrong, "a number above 0", 1)?);
            }
            "prefetch" => {
                self.prefetch = Some(value.number(wrong, "a number from 1 to 65535", 1)?);
            }
            "bytes_in_flight" => {
                self.bytes_in_flight = Some(value.number(wrong, "a number above 0", 1)?);
            }
            "handler_timeout" => {
                self.handler_timeout = Some(value.time(wrong, Duration::from_millis(1))?);
            }
            "unknown_priority" => {
                self.unknown_priority = Some(match value.text(wrong)?.as_str() {
                    "dead_letter" => OnUnknownPriority::DeadLetter,
                    "lenient" => OnUnknownPriority::Lenient,
                    other => return Err(wrong("`dead_letter` or `lenient`", quoted(other))),
                });
            }
            "retry_attempts" => {
                self.retry_attempts = Some(value.number(wrong, "a number above 0", 1)?);
            }
            "retry_pause" => self.retry_pause = Some(value.time(wrong, Duration::ZERO)?),
            "retry_max_pause" => self.retry_max_pause = Some(value.time(wrong, Duration::ZERO)?),
            "ordered_by" => {
                let text = value.text(wrong)?;
                let expected = "`publisher_id`, `event_type`, `payload.KEY` or `context.KEY`";
                let parsed = text.parse().map_err(|_| wrong(expected, quoted(&text)));
                self.ordered_by = Some(parsed?);
            }
            "start_timeout" => self.start_timeout = Some(value.time(wrong, Duration::ZERO)?),
            "shutdown_timeout" => self.shutdown_timeout = Some(value.time(wrong, Duration::ZERO)?),
            _ => {
                return Err(ConfigError::Unknown {
                    name: shown(name),
                    origin: origin.to_owned(),
                    near: meant(name).map(str::to_owned),
                });
            }
        }
        Ok(())
    }
}

/// Hides the transport URL, which may hold a password.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("topics", &self.topics)
            .field("pool", &self.pool)
            .field("groups", &self.groups)
            .finish_non_exhaustive()
    }
}

/// The variables that are text. One of ours that is not is a mistake, not as if nobody had set it.
fn texts(
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Vec<(String, String)>, ConfigError> {
    let mut texts = Vec::new();
    for (name, value) in variables {
        let Ok(name) = name.into_string() else { continue };
        let option = name.strip_prefix(PREFIX).map(str::to_lowercase).unwrap_or_default();
        match value.into_string() {
            Ok(value) => texts.push((name, value)),
            Err(_) if option == "config" || OPTIONS.contains(&option.as_str()) => {
                return Err(ConfigError::Value {
                    name: option,
                    origin: ENVIRONMENT.to_owned(),
                    expected: "text in UTF-8",
                    found: "other bytes".to_owned(),
                });
            }
            Err(_) => {}
        }
    }
    Ok(texts)
}

impl Raw {
    fn text(
        self,
        wrong: impl Fn(&'static str, String) -> ConfigError,
    ) -> Result<String, ConfigError> {
        match self {
            Self::Text(text) if !text.contains(char::is_control) => Ok(text),
            other => Err(wrong("a name in one line", other.shown())),
        }
    }

    fn list(
        self,
        wrong: impl Fn(&'static str, String) -> ConfigError,
        expected: &'static str,
    ) -> Result<Vec<String>, ConfigError> {
        match self {
            Self::Text(text) => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                let items: Vec<String> = items.map(str::to_owned).collect();
                if items.is_empty() { Err(wrong(expected, quoted(&text))) } else { Ok(items) }
            }
            Self::List(items) => Ok(items
                .iter()
                .map(|item| item.trim().to_owned())
                .filter(|item| !item.is_empty())
                .collect()),
            other => Err(wrong(expected, other.shown())),
        }
    }

    fn bool(
        self,
        wrong: impl Fn(&'static str, String) -> ConfigError,
    ) -> Result<bool, ConfigError> {
        match self {
            Self::Bool(value) => Ok(value),
            Self::Text(text) if text.eq_ignore_ascii_case("true") => Ok(true),
            Self::Text(text) if text.eq_ignore_ascii_case("false") => Ok(false),
            other => Err(wrong("`true` or `false`", other.shown())),
        }
    }

    fn number<N: TryFrom<u64>>(
        self,
        wrong: impl Fn(&'static str, String) -> ConfigError,
        expected: &'static str,
        least: u64,
    ) -> Result<N, ConfigError> {
        let number = match &self {
            Self::Int(number) => u64::try_from(*number).ok(),
            Self::Text(text) => text.parse().ok(),
            _ => None,
        };
        number
            .filter(|number| *number >= least)
            .and_then(|number| N::try_from(number).ok())
            .ok_or_else(|| wrong(expected, self.shown()))
    }

    fn time(
        self,
        wrong: impl Fn(&'static str, String) -> ConfigError,
        least: Duration,
    ) -> Result<Duration, ConfigError> {
        let time = match &self {
            Self::Int(seconds) => u64::try_from(*seconds).ok().map(Duration::from_secs),
            Self::Text(text) => duration(text),
            _ => None,
        };
        let expected = if least.is_zero() {
            "a time such as `30s`, `1m30s` or `500ms`, or whole seconds"
        } else {
            "a time above zero such as `30s`, `1m30s` or `500ms`, or whole seconds"
        };
        time.filter(|time| *time >= least).ok_or_else(|| wrong(expected, self.shown()))
    }

    fn shown(&self) -> String {
        match self {
            Self::Text(text) => quoted(text),
            Self::List(items) => format!("a list of {}", items.len()),
            Self::Bool(value) => value.to_string(),
            Self::Int(number) => number.to_string(),
            Self::Other(kind) => (*kind).to_owned(),
        }
    }
}

/// The option that a name comes close to, or that is called so elsewhere.
fn meant(name: &str) -> Option<&'static str> {
    let elsewhere = match name {
        "exchange" => Some("control_exchange"),
        "queue" => Some("pool"),
        "concurrency" | "threads" | "workers" => Some("executor_thread_pool_size"),
        "timeout" => Some("handler_timeout"),
        "retries" | "max_retries" | "attempts" => Some("retry_attempts"),
        "vhost" | "virtual_host" | "url" => Some("transport_url"),
        name if name.ends_with("_url") => Some("transport_url"),
        _ => None,
    };
    elsewhere.or_else(|| nearest(name, OPTIONS))
}

/// Whether Kubernetes sets such a variable, for a service named `listener`.
fn is_of_a_service(name: &str) -> bool {
    let name = name.strip_prefix("service_").unwrap_or(name);
    name == "host" || name == "port" || name.starts_with("port_")
}

/// Whether a value says anything. An empty one does not, and is told.
fn is_given(name: &str, value: &str) -> bool {
    if value.is_empty() {
        tracing::info!(option = name, "the option is empty: as if it were not given");
    }
    !value.is_empty()
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", shown(text))
}

#[cfg(feature = "config")]
fn read_file(path: &str) -> Result<Vec<(String, Raw)>, ConfigError> {
    let failed = |reason: String| ConfigError::File { path: path.to_owned(), reason };
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    // The message alone: the full one quotes the line, which may hold a password.
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().map(|span| text[..span.start].matches('\n').count() + 1);
        let line = line.map(|line| format!("line {line}: ")).unwrap_or_default();
        failed(format!("{line}{}", error.message()))
    })?;
    Ok(table.into_iter().map(|(name, value)| (name, raw(value))).collect())
}

#[cfg(feature = "config")]
fn raw(value: toml::Value) -> Raw {
    match value {
        toml::Value::String(text) => Raw::Text(text),
        toml::Value::Integer(number) => Raw::Int(number),
        toml::Value::Boolean(value) => Raw::Bool(value),
        toml::Value::Array(items) => {
            let texts: Option<Vec<String>> =
                items.into_iter().map(|item| item.as_str().map(str::to_owned)).collect();
            texts.map_or(Raw::Other("a list of something else than text"), Raw::List)
        }
        toml::Value::Float(_) => Raw::Other("a floating-point number"),
        toml::Value::Datetime(_) => Raw::Other("a date"),
        toml::Value::Table(_) => Raw::Other("a table"),
    }
}

#[cfg(not(feature = "config"))]
fn read_file(path: &str) -> Result<Vec<(String, Raw)>, ConfigError> {
    Err(ConfigError::File {
        path: path.to_owned(),
        reason: "this build has no feature `config`; add it to `listener` in Cargo.toml".to_owned(),
    })
}

debug_is_the_message!(ConfigError);

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Config, String> {
        let variables =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::from_variables(variables).map_err(|error| error.to_string())
    }

    #[test]
    fn every_option_is_read() {
        let config = read(&[
            ("LISTENER_TRANSPORT_URL", "rabbit://h/"),
            ("LISTENER_TOPICS", "notifications, nova/versioned_notifications"),
            ("LISTENER_CONTROL_EXCHANGE", "cinder"),
            ("LISTENER_POOL", "billing"),
            ("LISTENER_GROUP", "a,b"),
            ("LISTENER_ALLOW_REQUEUE", "true"),
            ("LISTENER_EXECUTOR", "concurrent"),
            ("LISTENER_EXECUTOR_THREAD_POOL_SIZE", "8"),
            ("LISTENER_PREFETCH", "7"),
            ("LISTENER_BYTES_IN_FLIGHT", "1000"),
            ("LISTENER_HANDLER_TIMEOUT", "60"),
            ("LISTENER_UNKNOWN_PRIORITY", "lenient"),
            ("LISTENER_RETRY_ATTEMPTS", "3"),
            ("LISTENER_RETRY_PAUSE", "2"),
            ("LISTENER_RETRY_MAX_PAUSE", "30"),
            ("LISTENER_ORDERED_BY", "payload.instance_id"),
            ("LISTENER_START_TIMEOUT", "5"),
            ("LISTENER_SHUTDOWN_TIMEOUT", "6"),
            ("PATH", "/bin"),
        ]);
        let expected = Config {
            transport_url: Some("rabbit://h/".to_owned()),
            topics: vec![
                Target::topic("notifications"),
                Target::topic("versioned_notifications").exchange("nova"),
            ],
            control_exchange: Some("cinder".to_owned()),
            pool: Some("billing".to_owned()),
            groups: vec!["a".to_owned(), "b".to_owned()],
            allow_requeue: Some(true),
            executor: Some(ExecutorKind::Concurrent),
            executor_thread_pool_size: Some(8),
            prefetch: Some(7),
            bytes_in_flight: Some(1000),
            handler_timeout: Some(Duration::from_secs(60)),
            unknown_priority: Some(OnUnknownPriority::Lenient),
            retry_attempts: Some(3),
            retry_pause: Some(Duration::from_secs(2)),
            retry_max_pause: Some(Duration::from_secs(30)),
            ordered_by: Some(OrderKey::Payload("instance_id".to_owned())),
            start_timeout: Some(Duration::from_secs(5)),
            shutdown_timeout: Some(Duration::from_secs(6)),
            is_deployed: true,
        };
        assert_eq!(read(&[]), Ok(Config::default()));
        assert_eq!(config, Ok(expected));
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        assert_eq!(
            read(&[
                ("LISTENER_PREFETCH", "many"),
                ("LISTENER_EXECUTOR", "sequential"),
                ("LISTENER_EXECUTOR_THREAD_POOL_SIZE", "8"),
                ("LISTENER_TOPIC", "x"),
            ]),
            Err("the configuration has 3 mistakes:\
                 \n- option \"prefetch\" in the environment (LISTENER_..): expected a number from 1 to 65535, found \"many\"\
                 \n- unknown option \"topic\" in the environment (LISTENER_..); did you mean \"topics\"?\
                 \n- option \"executor_thread_pool_size\" in the environment (LISTENER_..): expected nothing, or 1, where `executor` is `sequential`; take one of the two out, found 8"
                .to_owned())
        );
    }

    #[test]
    fn a_name_from_elsewhere_is_an_error_that_names_the_option() {
        for (name, option) in [
            ("EXCHANGE", "control_exchange"),
            ("QUEUE", "pool"),
            ("RETRIES", "retry_attempts"),
            ("TIMEOUT", "handler_timeout"),
            ("CONCURRENCY", "executor_thread_pool_size"),
            ("VHOST", "transport_url"),
            ("BROKER_URL", "transport_url"),
        ] {
            let error = read(&[(&format!("LISTENER_{name}"), "x")]).expect_err(name);
            assert!(error.ends_with(&format!("did you mean \"{option}\"?")), "{error}");
        }
    }

    #[test]
    fn variables_of_a_service_named_listener_are_not_options() {
        let service = ["SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_AMQP", "PORT", "PORT_80_TCP"];
        for name in service {
            assert_eq!(read(&[(&format!("LISTENER_{name}"), "x")]), Ok(Config::default()));
        }
    }

    #[test]
    fn a_misspelt_variable_is_an_error_that_names_the_option() {
        assert_eq!(
            read(&[("LISTENER_TOPIC", "x")]),
            Err("unknown option \"topic\" in the environment (LISTENER_..); did you mean \"topics\"?".to_owned())
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_variable_of_ours_that_is_no_text_is_a_mistake() {
        use std::os::unix::ffi::OsStringExt;
        let read = |name: &str| {
            let value = OsString::from_vec(vec![0xff]);
            texts([(name.into(), value)].into_iter()).map_err(|error| error.to_string())
        };
        assert_eq!(
            read("LISTENER_POOL"),
            Err("option \"pool\" in the environment (LISTENER_..): expected text in UTF-8, found other bytes".to_owned())
        );
        assert_eq!(read("LISTENER_SERVICE"), Ok(vec![]));
    }

    #[test]
    fn in_a_pod_something_is_meant() {
        let config = read(&[("KUBERNETES_SERVICE_HOST", "10.0.0.1")]);
        assert_eq!(config, Ok(Config { is_deployed: true, ..Config::default() }));
    }

    #[test]
    fn a_variable_of_somebody_else_is_left_alone() {
        assert_eq!(read(&[("LISTENER_SERVICE_HOST", "10.0.0.1")]), Ok(Config::default()));
    }

    #[test]
    fn a_wrong_value_says_what_was_expected() {
        assert_eq!(
            read(&[("LISTENER_PREFETCH", "0")]),
            Err("option \"prefetch\" in the environment (LISTENER_..): expected a number from 1 to 65535, found \"0\"".to_owned())
        );
    }

    #[cfg(feature = "config")]
    #[test]
    fn the_environment_wins_over_the_file() {
        let folder = std::env::temp_dir().join(format!("listener-config-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("listener.toml");
        let check = |text: &str, expected: Result<(Option<u16>, Option<&str>), &str>| {
            std::fs::write(&path, text).expect("a file");
            let path = path.to_str().expect("a path");
            let found = read(&[("LISTENER_CONFIG", path), ("LISTENER_POOL", "env")])
                .map_err(|error| error.replace(path, "FILE"));
            let found = found.as_ref().map(|config| (config.prefetch, config.pool.as_deref()));
            assert_eq!(found.map_err(String::as_str), expected);
        };
        check("prefetch = 9\npool = 'file'\n", Ok((Some(9), Some("env"))));
        let executor = |text: &str, variables: &[(&str, &str)]| {
            std::fs::write(&path, text).expect("a file");
            let file = ("LISTENER_CONFIG", path.to_str().expect("a path"));
            let config = read(&[variables, &[file]].concat());
            config.map(|config| (config.executor, config.executor_thread_pool_size)).ok()
        };
        let sequential = ("LISTENER_EXECUTOR", "sequential");
        let size = ("LISTENER_EXECUTOR_THREAD_POOL_SIZE", "8");
        assert_eq!(
            executor("executor_thread_pool_size = 8", &[sequential]),
            Some((Some(ExecutorKind::Sequential), None))
        );
        assert_eq!(executor("executor = 'sequential'", &[size]), None);
        check("prefetch = '9'\npool = ''\nshutdown_timeout = '1m'", Ok((Some(9), Some("env"))));
        check(
            "prefetc = 9",
            Err("unknown option \"prefetc\" in \"FILE\"; did you mean \"prefetch\"?"),
        );
        check(
            "prefetch = 9.5",
            Err(
                "option \"prefetch\" in \"FILE\": expected a number from 1 to 65535, found a floating-point number",
            ),
        );
        check(
            "transport_url = rabbit://u:secret@h/",
            Err(
                "the file \"FILE\" that LISTENER_CONFIG names cannot be read: line 1: string values must be quoted, expected literal string",
            ),
        );
        std::fs::remove_dir_all(&folder).expect("the folder is ours");
    }
}
