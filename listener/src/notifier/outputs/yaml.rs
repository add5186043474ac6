//! Reads the rules of a routing from oslo.messaging's YAML file: groups of outputs, each with the event types
//! and the priorities that it accepts.

use std::path::{Path, PathBuf};

use saphyr::{LoadableYamlNode, Yaml};

use crate::notifier::outputs::name::UnknownOutput;
use crate::notifier::outputs::rule::Rule;

/// The largest file, in bytes.
const LARGEST: usize = 1024 * 1024;

/// The rule of one output in one group.
pub(super) struct Read {
    pub(super) group: String,
    pub(super) output: String,
    pub(super) rule: Rule,
}

pub(super) fn read(text: &str) -> Result<Vec<Read>, RoutingError> {
    if text.len() > LARGEST {
        let (at, expected) = ("the file".to_owned(), "at most 1 MiB");
        return Err(RoutingError::Form { at, expected });
    }
    let documents = Yaml::load_from_str(text).map_err(|e| RoutingError::Yaml(e.to_string()))?;
    let mut read = Vec::new();
    let Some(groups) = documents.first() else { return Ok(read) };
    for (group, outputs) in entries("the file", groups)? {
        for (output, rules) in entries(&group, outputs)? {
            let rule = rule(&format!("{group}.{output}"), rules)?;
            read.push(Read { group: group.clone(), output, rule });
        }
    }
    Ok(read)
}

pub(super) fn load(path: &Path) -> Result<String, RoutingError> {
    std::fs::read_to_string(path)
        .map_err(|error| RoutingError::File { path: path.to_owned(), reason: error.to_string() })
}

/// The entries of a mapping; none of null.
fn entries<'y>(at: &str, yaml: &'y Yaml<'_>) -> Result<Vec<(String, &'y Yaml<'y>)>, RoutingError> {
    let wrong =
        || RoutingError::Form { at: at.to_owned(), expected: "a mapping with texts as keys" };
    if yaml.is_null() {
        return Ok(Vec::new());
    }
    let mapping = yaml.as_mapping().ok_or_else(wrong)?;
    let entry = |(key, value)| Ok((Yaml::as_str(key).ok_or_else(wrong)?.to_owned(), value));
    mapping.iter().map(entry).collect()
}

fn rule(at: &str, yaml: &Yaml<'_>) -> Result<Rule, RoutingError> {
    let mut rule = Rule::new();
    for (key, patterns) in entries(at, yaml)? {
        let at = format!("{at}.{key}");
        rule = match key.as_str() {
            "accepted_events" => rule.events(texts(at, patterns)?),
            "accepted_priorities" => rule.priorities(texts(at, patterns)?),
            _ => {
                return Err(RoutingError::Form {
                    at,
                    expected: "one of the keys accepted_events and accepted_priorities",
                });
            }
        };
    }
    Ok(rule)
}

fn texts<'y>(at: String, yaml: &'y Yaml<'_>) -> Result<Vec<&'y str>, RoutingError> {
    let texts = yaml.as_sequence().and_then(|items| items.iter().map(Yaml::as_str).collect());
    texts.ok_or(RoutingError::Form { at, expected: "a list of texts, such as ['compute.*']" })
}

/// The rules of a [`Routing`](crate::output::Routing) cannot be read.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RoutingError {
    /// The file cannot be read.
    #[error("cannot read the routing file {}: {reason}", .path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// The error of the operating system.
        reason: String,
    },
    /// It is not YAML.
    #[error("the routing file is not YAML: {0}")]
    Yaml(String),
    /// It has another form.
    #[error("{at} of the routing file has another form; expected {expected}")]
    Form {
        /// Where, as keys with dots between them.
        at: String,
        /// What is expected there.
        expected: &'static str,
    },
    /// It names an unknown output.
    #[error("group {group:?} of the routing file: {error}")]
    Output {
        /// The group.
        group: String,
        /// The name, and those that are known.
        error: UnknownOutput,
    },
}

debug_is_the_message!(RoutingError);
