//! What `oslo/` is in a build without the feature `oslo-config`: its files are an error, and its variables are
//! not read.

use std::collections::BTreeMap;

use super::error::ConfigError;
use crate::options::value::Raw;

/// A value of one of our options: its key, the value, and its origin.
pub(super) type Value = (String, Raw, String);

/// No values.
pub(super) struct Oslo;

impl Oslo {
    pub(super) fn read(
        paths: &[String],
        named_by: &'static str,
        _variables: &[(String, String)],
        mistakes: &mut Vec<ConfigError>,
    ) -> Self {
        mistakes.extend(paths.first().map(|path| {
            ConfigError::File {
                path: path.clone(),
                named_by,
                reason:
                    "this build has no feature `oslo-config`; add it to `listener` in Cargo.toml"
                        .to_owned(),
            }
        }));
        Self
    }

    pub(super) const fn has_variables(&self) -> bool {
        false
    }

    pub(super) const fn values(&self, _: bool, _: &mut Vec<ConfigError>) -> Vec<Value> {
        Vec::new()
    }

    pub(super) const fn of_rabbit(&self, _: &mut Vec<ConfigError>) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    pub(super) const fn log_others(&self) {}
}
