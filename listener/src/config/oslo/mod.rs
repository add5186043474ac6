//! The configuration of a service that uses oslo.messaging: its files (`parse.rs`), and the variables
//! `OS_<GROUP>__<OPTION>`, with references replaced (`substitute.rs`). `options.rs` has what each option is here.

mod options;
mod parse;
mod substitute;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use self::options::{MAPPED, Meaning, NOTIFICATIONS, OURS, RABBIT, meaning};
use self::parse::{DEFAULT, parse};
use self::substitute::{Lookup, substitute};
use super::error::ConfigError;
use super::files;
use crate::options::value::Raw;
use crate::redact::{Chain, redacted};
use crate::transport::Transport;
use crate::transport::error::OpenError;

/// The longest file that is read, in bytes.
const LONGEST: u64 = 16 << 20;

/// What the variables of oslo.config begin with.
const PREFIX: &str = "OS_";

/// A value, and where it is from.
struct Given {
    section: String,
    key: String,
    value: String,
    origin: String,
    is_variable: bool,
}

/// Options that a transport URL refuses where they would change how TLS verifies. The file is another service's.
const WEAKENING: [&str; 2] = ["ssl_enforce_hostname_verification", "ssl_enforce_fips_mode"];

/// A value of one of our options: its key, the value, and its origin.
pub(super) type Value = (String, Raw, String);

/// The values of the files and variables, from the weakest to the strongest.
#[derive(Default)]
pub(super) struct Oslo(Vec<Given>);

impl Lookup for Oslo {
    fn value(&self, section: &str, key: &str) -> Option<&str> {
        self.last(section, key, |_| true).map(|given| given.value.as_str())
    }
}

impl Oslo {
    /// Reads these files and directories, of which later ones win over earlier ones, and the variables.
    pub(super) fn read(
        paths: &[String],
        named_by: &'static str,
        variables: &[(String, String)],
        mistakes: &mut Vec<ConfigError>,
    ) -> Self {
        let mut oslo = Self::default();
        for path in paths {
            let read = all_of(Path::new(path)).and_then(|files| {
                files
                    .iter()
                    .try_for_each(|file| oslo.read_file(file).map_err(|r| (file.clone(), r)))
            });
            mistakes.extend(read.err().map(|(path, reason)| ConfigError::File {
                path: path.display().to_string(),
                named_by,
                reason,
            }));
        }
        for (name, value) in variables {
            if let Some((section, key)) = group_and_option(name) {
                let origin = format!("the environment ({name})");
                oslo.0.push(Given {
                    section,
                    key,
                    value: value.clone(),
                    origin,
                    is_variable: true,
                });
            }
        }
        oslo
    }

    fn read_file(&mut self, path: &Path) -> Result<(), String> {
        let text = files::text(path, LONGEST)
            .map_err(|reason| reason.trim_start_matches("cannot be read: ").to_owned())?;
        let entries = parse(&text).map_err(|m| format!("line {}: {}", m.line, m.reason))?;
        self.0.extend(entries.into_iter().map(|entry| Given {
            section: entry.section,
            key: entry.key,
            value: entry.value,
            origin: format!("{:?}, line {}", path.display().to_string(), entry.line),
            is_variable: false,
        }));
        Ok(())
    }

    fn last(&self, section: &str, key: &str, is: impl Fn(&Given) -> bool) -> Option<&Given> {
        self.0.iter().rev().find(|given| given.section == section && given.key == key && is(given))
    }

    /// Whether a variable has been found.
    pub(super) fn has_variables(&self) -> bool {
        self.0.iter().any(|given| given.is_variable)
    }

    /// The value with its references replaced.
    fn resolved(&self, given: &Given, mistakes: &mut Vec<ConfigError>) -> Option<String> {
        substitute(&given.value, &given.section, self)
            .map_err(|mistake| {
                mistakes.push(ConfigError::Unusable {
                    name: given.key.clone(),
                    origin: given.origin.clone(),
                    mistake,
                });
            })
            .ok()
    }

    /// The values of our options that are from files, or those from variables.
    pub(super) fn values(&self, of_variables: bool, mistakes: &mut Vec<ConfigError>) -> Vec<Value> {
        let mut values: BTreeMap<&str, Value> = BTreeMap::new();
        for (section, key, ours) in MAPPED {
            let found = self.last(section, key, |given| given.is_variable == of_variables);
            let Some(given) = found.filter(|given| !given.value.trim().is_empty()) else {
                continue;
            };
            // The section's URL is another option, and wins over that of `DEFAULT` wherever it is from.
            let is_default_url = *section == DEFAULT && *key == "transport_url";
            if is_default_url && self.value(NOTIFICATIONS, key).is_some_and(|url| !url.is_empty()) {
                continue;
            }
            if let Some(value) = self.resolved(given, mistakes) {
                let value = (String::from(*ours), Raw::Text(value), given.origin.clone());
                values.insert(ours, value);
            }
        }
        values.into_values().collect()
    }

    /// The options of the RabbitMQ driver, under the names that a transport URL has for them.
    pub(super) fn of_rabbit(&self, mistakes: &mut Vec<ConfigError>) -> BTreeMap<String, String> {
        let mut options = BTreeMap::new();
        for (index, given) in self.0.iter().enumerate().filter(|(_, given)| given.section == RABBIT)
        {
            let is_last =
                !self.0[index + 1..].iter().any(|o| o.section == RABBIT && o.key == given.key);
            if !is_last || given.value.trim().is_empty() {
                continue;
            }
            let Some(value) = self.resolved(given, mistakes) else { continue };
            let value = value.trim();
            if given.key == "rabbit_qos_prefetch_count" && value == "0" {
                tracing::warn!(
                    origin = given.origin,
                    "rabbit_qos_prefetch_count is 0, which would be unlimited: the listener's own \
                     prefetch is used"
                );
                continue;
            }
            if WEAKENING.contains(&given.key.as_str()) {
                tracing::warn!(
                    option = given.key,
                    origin = given.origin,
                    "an option of TLS is ignored: the certificate and the host name of the broker are \
                     always verified, by cryptography that is not certified"
                );
                continue;
            }
            if given.key == "heartbeat_timeout_threshold" && value == "0" {
                tracing::warn!(
                    origin = given.origin,
                    "heartbeat_timeout_threshold is 0: the broker's heartbeat is used, not none"
                );
            }
            match Transport::option_of_section(&given.key, value) {
                Ok(Some(name)) => {
                    options.insert(name, value.to_owned());
                }
                Ok(None) => {}
                Err(OpenError::InvalidOption { option, expected, found }) => {
                    let (name, origin) = (option, given.origin.clone());
                    let found = format!("{found:?}");
                    mistakes.push(ConfigError::Value { name, origin, expected, found });
                }
                Err(error) => tracing::warn!(
                    origin = given.origin,
                    "an option of [{RABBIT}] is ignored: {}",
                    Chain(&error)
                ),
            }
        }
        options
    }

    /// Logs which options of oslo.messaging have no meaning here, and which it does not have.
    pub(super) fn log_others(&self) {
        let mut without = Vec::new();
        for given in &self.0 {
            let Given { section, key, .. } = given;
            let name = format!("[{}]{}", redacted(section), redacted(key));
            let is_without = match meaning(section, key) {
                Meaning::None => true,
                Meaning::Rabbit => Transport::option_of_section(key, "").is_ok_and(|o| o.is_none()),
                Meaning::Unknown(near) => {
                    let hint = near.map(|near| format!("; did you mean {near:?}?"));
                    tracing::warn!(
                        option = name,
                        origin = given.origin,
                        "oslo.messaging has no such option: it is ignored{}",
                        hint.unwrap_or_default()
                    );
                    false
                }
                Meaning::Ours(_) | Meaning::Foreign => false,
            };
            if is_without && !without.contains(&name) {
                without.push(name);
            }
        }
        if !without.is_empty() {
            tracing::info!(
                options = without.join(", "),
                "these options of oslo.messaging have no meaning for a listener"
            );
        }
    }
}

/// The files of a path: those of a directory whose names end with `.conf`, sorted, without hidden ones.
fn all_of(path: &Path) -> Result<Vec<PathBuf>, (PathBuf, String)> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let failed = |error: std::io::Error| (path.to_owned(), error.to_string());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned());
        if name.is_some_and(|name| name.ends_with(".conf") && !name.starts_with('.')) {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

/// The group and the option of a variable, if the group is `DEFAULT` and the option ours, or if the group is
/// one of oslo.messaging's.
fn group_and_option(variable: &str) -> Option<(String, String)> {
    let (group, option) = variable.strip_prefix(PREFIX)?.split_once("__")?;
    let option = option.to_lowercase();
    if group == DEFAULT {
        let is_ours = matches!(meaning(DEFAULT, &option), Meaning::Ours(_));
        return is_ours.then(|| (DEFAULT.to_owned(), option));
    }
    let group = group.to_lowercase();
    group.starts_with(OURS).then_some((group, option))
}

#[cfg(test)]
mod tests;
