//! Configuration of `listen()`: environment variables, whose values may be in files, over a TOML file, over the
//! files of oslo.config (`oslo/`). Here is where values come from and which wins; the options
//! themselves, and what they accept, are declared in `options/listener.rs`.

mod arguments;
mod error;
mod files;
#[cfg(not(feature = "oslo-config"))]
#[path = "no_oslo.rs"]
mod oslo;
#[cfg(feature = "oslo-config")]
mod oslo;
mod value_file;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;

pub use self::error::ConfigError;
use self::error::{ENVIRONMENT, is_given, is_option, keys};
use self::oslo::Oslo;
use self::value_file::FromFiles;
use crate::options::declare::Group;
use crate::options::listener::{
    ConfiguredExecutor, ExternalOptions, ListenerOptions, Queues, external_table, options_table,
    retry_table,
};
use crate::options::nearest::nearest;
use crate::options::value::Raw;
use crate::redact::{Chain, redacted};
use crate::target::{Role, mistake_in_configuration};
use crate::transport::Transport;

/// The prefix of the environment variables.
const PREFIX: &str = "LISTENER_";

/// The variable that is set in each container of Kubernetes.
const IN_A_POD: &str = "KUBERNETES_SERVICE_HOST";

/// The option that names files of oslo.config: a path, or several with commas.
const OSLO: &str = "oslo_config";

/// The configuration of [`listen`](crate::listen()). Options that are not set keep their defaults.
///
/// The names are the keys of the TOML file that `LISTENER_CONFIG` names. The environment variable of an
/// option is `LISTENER_` and its name in capitals, such as `LISTENER_PREFETCH`; variables take precedence
/// over the file.
///
/// `LISTENER_<OPTION>_FILE`, such as `LISTENER_TRANSPORT_URL_FILE`, names a file that contains the value, as
/// container platforms mount secrets. Line breaks at its end are removed. It is an error if the file cannot be
/// read, is empty, is larger than 64 KiB, is not a regular file (a symbolic link to one is accepted), or if
/// `LISTENER_<OPTION>` is set, too. No error shows the content. The file is read once, at the start.
///
/// `LISTENER_OSLO_CONFIG` names files of oslo.config, as other services have them: the guide's page
/// [`configuration`](crate::guide::configuration) describes them, and which source takes precedence.
///
/// | option | default | |
/// |---|---|---|
#[doc = concat!(external_table!(), options_table!(), retry_table!())]
///
/// A duration is written as in the attribute, `30s`, `1m30s` or `500ms`, or as whole seconds. A list is
/// an array in the file, and a text with commas in a variable. White space and line breaks around a value
/// are ignored. An empty value counts as not given, and is logged: as `${POOL:-}` in a compose file produces
/// it.
///
/// If any of these options is given, even an empty one, or the program runs in a container of Kubernetes, a
/// `transport_url` is required, and without one nothing starts: in memory only the program itself can
/// notify, so a listener whose URL was forgotten would be ready and do nothing. If nothing is configured, the
/// transport is `memory://`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Config {
    pub(crate) sources: ExternalOptions,
    /// Those that are not in `given` are defaults.
    options: ListenerOptions,
    /// The keys that were given, with the file or the environment.
    given: BTreeMap<&'static str, String>,
    /// Whether anything is configured, so that memory cannot be what was meant.
    pub(crate) is_deployed: bool,
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
        Self::read(variables, Vec::new())
    }

    /// Reads the environment as [`from_env`](Self::from_env) does, and takes from the arguments of the program
    /// what all services have that use oslo.config: `--config-file PATH` and `--config-dir PATH`, also with
    /// `=`, each as often as wanted. Other arguments are ignored, and so is everything after `--`.
    ///
    /// The files are used instead of those that `LISTENER_OSLO_CONFIG` names; later ones win over earlier ones.
    /// [`listen`](crate::listen()) does not read arguments:
    ///
    /// ```no_run
    /// use listener::{Config, Listener};
    ///
    /// # async fn start() -> Result<(), listener::Error> {
    /// let config = Config::from_args(std::env::args().skip(1))?;
    /// Listener::builder().config(config).registered().build()?.run().await
    /// # }
    /// ```
    ///
    /// # Errors
    /// As `from_env`; an argument without its path.
    pub fn from_args(args: impl IntoIterator<Item = String>) -> Result<Self, ConfigError> {
        Self::read(texts(std::env::vars_os())?, arguments::paths(args)?)
    }

    /// Reads all sources, from the weakest to the strongest.
    fn read(
        variables: impl IntoIterator<Item = (String, String)>,
        mut paths: Vec<String>,
    ) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        let mut ours: Vec<(String, String)> = Vec::new();
        let mut theirs: Vec<(String, String)> = Vec::new();
        for (name, value) in variables {
            config.is_deployed |= name == IN_A_POD && !value.is_empty();
            if let Some(name) = name.strip_prefix(PREFIX) {
                ours.push((name.to_lowercase(), value.trim().to_owned()));
            } else if name.starts_with("OS_") {
                theirs.push((name, value));
            }
        }
        ours.sort();
        let mut mistakes = Vec::new();
        let mut named_by = "the argument";
        if let Some((_, value)) = ours.iter().find(|(name, _)| name == OSLO) {
            config.is_deployed = true;
            if paths.is_empty() && is_given(OSLO, value) {
                named_by = "LISTENER_OSLO_CONFIG";
                let items = value.split(',').map(str::trim).filter(|path| !path.is_empty());
                paths.extend(items.map(str::to_owned));
            }
        }
        let oslo = Oslo::read(&paths, named_by, &theirs, &mut mistakes);
        config.is_deployed |= !paths.is_empty() || oslo.has_variables();
        let of_files = oslo.values(false, &mut mistakes);
        config.take_values(of_files, &mut mistakes);
        let file = ours.iter().find(|(name, _)| name == "config").map(|(_, path)| path.clone());
        config.is_deployed |= file.is_some();
        if let Some(path) = file.filter(|path| is_given("config", path)) {
            match read_file(&path) {
                Ok(values) => config.take(values, &format!("{path:?}"), &mut mistakes),
                Err(error) => mistakes.push(error),
            }
        }
        let of_variables = oslo.values(true, &mut mistakes);
        config.take_values(of_variables, &mut mistakes);
        ours.retain(|(name, _)| name != "config" && name != OSLO && !is_of_a_service(name));
        let (mut ours, others): (Vec<_>, Vec<_>) = ours.into_iter().partition(|(name, _)| {
            is_option(name) || value_file::option_of(name).is_some() || meant(name).is_some()
        });
        if !others.is_empty() {
            let names: Vec<_> = others.iter().map(|(name, _)| redacted(name)).collect();
            tracing::info!(
                variables = redacted(&names.join(", ")),
                "these variables begin with LISTENER_ and are not options: they are ignored"
            );
        }
        config.is_deployed |= !ours.is_empty();
        let mut from_files = FromFiles::default();
        from_files.replace(&mut ours, &mut mistakes);
        let before = mistakes.len();
        config.take(value_file::raw(ours), ENVIRONMENT, &mut mistakes);
        for (option, origin) in from_files.origins() {
            if let Some(given) = config.given.get_mut(option) {
                origin.clone_into(given);
            }
        }
        mistakes.extend(config.unusable());
        from_files.conceal(&mut mistakes[before..]);
        let section = oslo.of_rabbit(&mut mistakes);
        if let Some(url) = &mut config.sources.transport_url {
            Transport::add_section(url, &section);
        }
        oslo.log_others();
        match mistakes.pop() {
            None => Ok(config),
            Some(mistake) if mistakes.is_empty() => Err(mistake),
            Some(mistake) => {
                mistakes.push(mistake);
                Err(ConfigError::Several(mistakes))
            }
        }
    }

    /// Overwrites the options of a builder with those that were given.
    pub(crate) fn apply_to(&self, options: &mut ListenerOptions) {
        let is_given = |key: &str| self.given.contains_key(key);
        options.take_given(&self.options, &is_given);
        options.retry.take_given(&self.options.retry, &is_given);
        if let Some(executor) = self.sources.executor {
            options.executor = executor.over(options.executor);
        }
    }

    /// The values that no listener can be built with.
    fn unusable(&self) -> Vec<ConfigError> {
        let mut found = Vec::new();
        let mut check = |name: &str, mistake: Option<String>| {
            found.extend(mistake.map(|mistake| ConfigError::Unusable {
                name: name.to_owned(),
                origin: self.given.get(name).cloned().unwrap_or_default(),
                mistake,
            }));
        };
        let ExternalOptions { transport_url, topics, control_exchange, queues, .. } = &self.sources;
        if let Some(url) = transport_url {
            check(
                "transport_url",
                Transport::open(url).err().map(|error| Chain(&error).to_string()),
            );
        }
        let exchange = |name: &str| mistake_in_configuration(Role::Exchange, name);
        for target in topics {
            // Whether queues are named after it, the builder knows.
            check("topics", mistake_in_configuration(Role::Route, target.topic_name()));
            check("topics", target.exchange_name().and_then(exchange));
        }
        check("control_exchange", control_exchange.as_deref().and_then(exchange));
        let pool = queues.as_ref().and_then(Queues::pool);
        check("pool", pool.and_then(|name| mistake_in_configuration(Role::Pool, name)));
        found
    }

    /// Takes the values of one origin over those of the origins before it.
    fn take(&mut self, values: Vec<(String, Raw)>, origin: &str, mistakes: &mut Vec<ConfigError>) {
        let values = values.into_iter().map(|(name, value)| (name, value, origin.to_owned()));
        self.take_values(values, mistakes);
    }

    /// Takes values, each with its origin, over those of the sources before theirs.
    fn take_values(
        &mut self,
        values: impl IntoIterator<Item = (String, Raw, String)>,
        mistakes: &mut Vec<ConfigError>,
    ) {
        for (name, value, origin) in values {
            mistakes.extend(self.set(&name, value, &origin).err());
        }
        // The kind and the size are one value from here on, so that the next origin overwrites both.
        let Some(size) = self.sources.executor_size.take() else {
            return;
        };
        let name = "executor_thread_pool_size";
        match self.sources.executor {
            Some(ConfiguredExecutor::Sequential) if size > 1 => mistakes.push(ConfigError::Value {
                name: name.to_owned(),
                origin: self.given.get(name).cloned().unwrap_or_default(),
                expected:
                    "nothing, or 1, where `executor` is `sequential`; take one of the two out"
                        .to_owned(),
                found: size.to_string(),
            }),
            Some(ConfiguredExecutor::Sequential) => {}
            Some(ConfiguredExecutor::Concurrent(_)) | None => {
                self.sources.executor = Some(ConfiguredExecutor::Concurrent(Some(size)));
            }
        }
    }

    fn set(&mut self, name: &str, value: Raw, origin: &str) -> Result<(), ConfigError> {
        let Some(key) = keys().find(|key| *key == name) else {
            return Err(ConfigError::Unknown {
                name: redacted(name),
                origin: origin.to_owned(),
                near: meant(name).map(str::to_owned),
            });
        };
        let value = match value {
            Raw::Text(text) if !is_given(name, text.trim()) => return Ok(()),
            Raw::Text(text) => Raw::Text(text.trim().to_owned()),
            other => other,
        };
        let set = self
            .sources
            .set(key, &value)
            .or_else(|| self.options.set(key, &value))
            .or_else(|| self.options.retry.set(key, &value));
        set.unwrap_or(Ok(())).map_err(|wrong| ConfigError::Value {
            name: name.to_owned(),
            origin: origin.to_owned(),
            expected: wrong.expected,
            found: wrong.found,
        })?;
        self.given.insert(key, origin.to_owned());
        Ok(())
    }
}

/// Hides the transport URL, which may hold a password.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("given", &self.given)
            .field("topics", &self.sources.topics)
            .field("queues", &self.sources.queues)
            .field("groups", &self.sources.groups)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// The variables that are text. An option that is not is a mistake, and must not count as not given.
fn texts(
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Vec<(String, String)>, ConfigError> {
    let mut texts = Vec::new();
    for (name, value) in variables {
        let Ok(name) = name.into_string() else { continue };
        let option = name.strip_prefix(PREFIX).map(str::to_lowercase).unwrap_or_default();
        match value.into_string() {
            Ok(value) => texts.push((name, value)),
            Err(_)
                if option == "config"
                    || option == OSLO
                    || is_option(&option)
                    || value_file::option_of(&option).is_some() =>
            {
                return Err(ConfigError::Value {
                    name: option,
                    origin: ENVIRONMENT.to_owned(),
                    expected: "text in UTF-8".to_owned(),
                    found: "other bytes".to_owned(),
                });
            }
            Err(_) => {}
        }
    }
    Ok(texts)
}

/// The option that a name comes close to, or that has this name elsewhere.
fn meant(name: &str) -> Option<&'static str> {
    let elsewhere = match name {
        "exchange" => Some("control_exchange"),
        "queue" => Some("pool"),
        "endpoints" => Some("enabled_endpoints"),
        "concurrency" | "threads" | "workers" => Some("executor_thread_pool_size"),
        "timeout" => Some("handler_timeout"),
        "retries" | "max_retries" | "attempts" => Some("retry_attempts"),
        "vhost" | "virtual_host" | "url" => Some("transport_url"),
        name if name.ends_with("_url") => Some("transport_url"),
        _ => None,
    };
    elsewhere.or_else(|| nearest(name, keys()))
}

/// Whether Kubernetes sets such a variable, for a service named `listener`.
fn is_of_a_service(name: &str) -> bool {
    let name = name.strip_prefix("service_").unwrap_or(name);
    name == "host" || name == "port" || name.starts_with("port_")
}

#[cfg(feature = "config")]
fn read_file(path: &str) -> Result<Vec<(String, Raw)>, ConfigError> {
    let failed = |reason: String| ConfigError::File {
        path: path.to_owned(),
        named_by: "LISTENER_CONFIG",
        reason,
    };
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
        named_by: "LISTENER_CONFIG",
        reason: "this build has no feature `config`; add it to `listener` in Cargo.toml".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::error::declared;
    use super::*;
    use crate::options::declare::set_to_documented_defaults;
    use crate::options::listener::RetryOptions;
    use crate::options::listener::{Executor, OnUnknownPriority};
    use crate::order::OrderKey;
    use crate::target::{DEFAULT_EXCHANGE, DEFAULT_TOPIC, Target};

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
            ("LISTENER_ON_UNKNOWN_PRIORITY", "acknowledge"),
            ("LISTENER_RETRY_ATTEMPTS", "3"),
            ("LISTENER_RETRY_DELAY", "2"),
            ("LISTENER_RETRY_MAX_DELAY", "30"),
            ("LISTENER_ORDERED_BY", "payload.instance_id"),
            ("LISTENER_START_TIMEOUT", "5"),
            ("LISTENER_SHUTDOWN_TIMEOUT", "6"),
            ("PATH", "/bin"),
        ]);
        let expected = ExternalOptions {
            transport_url: Some("rabbit://h/".to_owned()),
            topics: vec![
                Target::topic("notifications"),
                Target::topic("versioned_notifications").exchange("nova"),
            ],
            control_exchange: Some("cinder".to_owned()),
            queues: Some(Queues::Pool("billing".to_owned())),
            groups: vec!["a".to_owned(), "b".to_owned()],
            enabled_endpoints: Vec::new(),
            disabled_endpoints: Vec::new(),
            executor: Some(ConfiguredExecutor::Concurrent(Some(8))),
            executor_size: None,
            ordered_by: Some(OrderKey::Payload("instance_id".to_owned())),
        };
        let config = config.expect("a configuration");
        assert!(config.sources == expected && config.is_deployed);
        let mut options = ListenerOptions::default();
        config.apply_to(&mut options);
        let expected = ListenerOptions {
            allow_requeue: true,
            executor: Executor::Concurrent(8),
            prefetch: 7,
            bytes_in_flight: 1000,
            handler_timeout: Duration::from_secs(60),
            on_unknown_priority: OnUnknownPriority::Acknowledge,
            retry: RetryOptions {
                attempts: 3,
                delay: Duration::from_secs(2),
                max_delay: Duration::from_secs(30),
                ..RetryOptions::default()
            },
            start_timeout: Duration::from_secs(5),
            shutdown_timeout: Duration::from_secs(6),
            ..ListenerOptions::default()
        };
        assert_eq!(options, expected);
        assert_eq!(read(&[]), Ok(Config::default()));
    }

    #[test]
    fn each_declared_option_is_accepted_read_and_documented() {
        let documentation = concat!(external_table!(), options_table!(), retry_table!());
        assert_eq!(documentation.lines().count(), declared().count());
        for option in declared() {
            let variable = format!("LISTENER_{}", option.key.to_uppercase());
            let read = read(&[(&variable, (option.example)())]);
            let config = read.unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(config.given, BTreeMap::from([(option.key, ENVIRONMENT.to_owned())]));
            assert_ne!(config, Config::default());
            let row = format!("| `{}` | ", option.key);
            assert_eq!(documentation.matches(&row).count(), 1, "{row}");
        }
    }

    #[test]
    fn the_documented_defaults_are_the_defaults() {
        let mut options = ListenerOptions::default();
        set_to_documented_defaults(&mut options);
        set_to_documented_defaults(&mut options.retry);
        assert_eq!(options, ListenerOptions::default());
        let of_sources: Vec<&str> =
            ExternalOptions::DECLARED.iter().map(|option| option.default).collect();
        let Executor::Concurrent(slots) = ListenerOptions::default().executor else {
            panic!("the default is not concurrent");
        };
        let [topic, exchange] = [DEFAULT_TOPIC, DEFAULT_EXCHANGE].map(|name| format!("`{name}`"));
        let (executor, size) = ("`concurrent`", format!("`{slots}`"));
        let none = "not given";
        let expected = [none, &topic, &exchange, none, none, none, none, executor, &size, none];
        assert_eq!(of_sources, expected);
    }

    #[test]
    fn each_variable_that_a_page_names_is_declared() {
        let pages = [
            include_str!("../../../README.md"),
            include_str!("../guide/endpoints.md"),
            include_str!("../guide/failures.md"),
            include_str!("../guide/operating.md"),
        ];
        for variable in pages.iter().flat_map(|page| page.split(PREFIX).skip(1)) {
            let end = variable.find(|c: char| !c.is_ascii_uppercase() && c != '_');
            let name = variable[..end.unwrap_or(variable.len())].to_lowercase();
            let is_option = is_option(&name) || value_file::option_of(&name).is_some();
            let others = ["", "oslo_config", "config", "macros_debug"];
            let is_known = is_option || others.contains(&name.as_str());
            assert!(is_known, "{PREFIX}{name}");
        }
    }

    #[test]
    fn every_mistake_is_reported_at_once() {
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
    fn a_listener_variable_that_is_not_text_is_an_error() {
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
            Err("option \"prefetch\" in the environment (LISTENER_..): expected a number from 1 to 65535 (0 would take the whole queue into memory), found \"0\"".to_owned())
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
            let found = found.as_ref().map(|config| {
                let prefetch = config.given.get("prefetch").map(|_| config.options.prefetch);
                (prefetch, config.sources.queues.as_ref().and_then(Queues::pool))
            });
            assert_eq!(found.map_err(String::as_str), expected);
        };
        check("prefetch = 9\npool = 'file'\n", Ok((Some(9), Some("env"))));
        let executor = |text: &str, variables: &[(&str, &str)]| {
            std::fs::write(&path, text).expect("a file");
            let file = ("LISTENER_CONFIG", path.to_str().expect("a path"));
            let config = read(&[variables, &[file]].concat());
            config.map(|config| config.sources.executor).ok()
        };
        let sequential = ("LISTENER_EXECUTOR", "sequential");
        let size = ("LISTENER_EXECUTOR_THREAD_POOL_SIZE", "8");
        assert_eq!(
            executor("executor_thread_pool_size = 8", &[sequential]),
            Some(Some(ConfiguredExecutor::Sequential))
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
