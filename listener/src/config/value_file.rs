//! `LISTENER_<OPTION>_FILE`: values of variables that are in files, as container platforms mount secrets.
//! Errors name the file and never show what is in it: the wrong file may hold a secret.

use std::collections::BTreeMap;

use super::error::{ConfigError, ENVIRONMENT, is_given, is_option};
use super::files;
use crate::options::value::Raw;

/// What the name of such a variable ends with, in lower case.
const SUFFIX: &str = "_file";

/// The longest file that is read, in bytes. A longer one is not the value of an option.
const LONGEST: u64 = 64 * 1024;

/// The option whose value is in the file that the variable of this name names.
pub(super) fn option_of(name: &str) -> Option<&str> {
    name.strip_suffix(SUFFIX).filter(|option| is_option(option))
}

/// The options whose values came from files, with the origin that errors name.
#[derive(Default)]
pub(super) struct FromFiles(BTreeMap<String, String>);

impl FromFiles {
    /// Replaces each variable that names a file by the option with the file's content.
    pub(super) fn replace(
        &mut self,
        variables: &mut Vec<(String, String)>,
        mistakes: &mut Vec<ConfigError>,
    ) {
        let (named, mut values): (Vec<_>, Vec<_>) =
            variables.drain(..).partition(|(name, _)| option_of(name).is_some());
        for (variable, path) in named {
            let Some(option) = option_of(&variable).filter(|_| is_given(&variable, &path)) else {
                continue;
            };
            let is_set = values.iter().any(|(name, value)| name == option && !value.is_empty());
            let read = if is_set { Err(both(option)) } else { content(&path) };
            let upper = variable.to_uppercase();
            match read {
                Ok(text) => {
                    // An empty variable counts as not given.
                    values.retain(|(name, _)| name != option);
                    values.push((option.to_owned(), text));
                    self.0.insert(option.to_owned(), format!("{path:?} (LISTENER_{upper})"));
                }
                Err(mistake) => mistakes.push(ConfigError::Unusable {
                    name: option.to_owned(),
                    origin: ENVIRONMENT.to_owned(),
                    mistake: if is_set {
                        mistake
                    } else {
                        format!("the file {path:?} that LISTENER_{upper} names {mistake}")
                    },
                }),
            }
        }
        *variables = values;
    }

    /// The options and their origins.
    pub(super) fn origins(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(option, origin)| (option.as_str(), origin.as_str()))
    }

    /// Names the file in the errors about its value, and takes the value out of them.
    pub(super) fn conceal(&self, mistakes: &mut [ConfigError]) {
        for mistake in mistakes {
            match mistake {
                ConfigError::Value { name, origin, found, .. } => {
                    if let Some(file) = self.0.get(name) {
                        origin.clone_from(file);
                        "another value (not shown, because it is from a file)".clone_into(found);
                    }
                }
                // The mistake in a URL is described without the URL.
                ConfigError::Unusable { name, origin, mistake }
                    if name != "transport_url" && self.0.get(name) == Some(origin) =>
                {
                    "the file contains no valid name (not shown)".clone_into(mistake);
                }
                _ => {}
            }
        }
    }
}

fn both(option: &str) -> String {
    let upper = option.to_uppercase();
    format!("LISTENER_{upper} and LISTENER_{upper}_FILE are both set; remove one of them")
}

/// The values as the options take them.
pub(super) fn raw(variables: Vec<(String, String)>) -> Vec<(String, Raw)> {
    variables.into_iter().map(|(name, value)| (name, Raw::Text(value))).collect()
}

/// The text of a file without the line breaks at its end, or what is wrong with the file.
fn content(path: &str) -> Result<String, String> {
    let text = files::text(path, LONGEST)?;
    let text = text.trim_end_matches(['\n', '\r']);
    if text.trim().is_empty() {
        return Err("is empty".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use crate::options::listener::Queues;

    /// Reads the variables, of which `AT` is replaced by the path of a file with these bytes.
    fn read(name: &str, bytes: &[u8], variables: &[(&str, &str)]) -> Result<Config, String> {
        let path = std::env::temp_dir().join(format!("listener-{}-{name}", std::process::id()));
        std::fs::write(&path, bytes).expect("a file");
        let at = path.to_str().expect("a path");
        let variables = variables.iter().map(|(name, value)| {
            (format!("LISTENER_{name}"), if *value == "AT" { at } else { value }.to_owned())
        });
        let config = Config::from_variables(variables);
        std::fs::remove_file(&path).expect("the file is ours");
        config.map_err(|error| error.to_string().replace(at, "AT"))
    }

    #[test]
    fn the_value_is_the_file_without_the_line_break_at_its_end() {
        let url = read("url", b"rabbit://u:p@h/\r\n", &[("TRANSPORT_URL_FILE", "AT")]);
        assert_eq!(url.expect("a URL").sources.transport_url.as_deref(), Some("rabbit://u:p@h/"));
        let pool = read("pool", b"billing\n", &[("POOL_FILE", "AT"), ("POOL", "")]);
        let pool = pool.expect("a pool").sources.queues;
        assert_eq!(pool.as_ref().and_then(Queues::pool), Some("billing"));
    }

    #[test]
    fn a_variable_and_its_file_together_are_an_error() {
        assert_eq!(
            read("both", b"a", &[("POOL", "b"), ("POOL_FILE", "AT")]),
            Err("option \"pool\" in the environment (LISTENER_..): LISTENER_POOL and \
                 LISTENER_POOL_FILE are both set; remove one of them"
                .to_owned())
        );
    }

    #[test]
    fn a_file_that_holds_no_value_is_an_error_that_says_why() {
        let long = vec![b'a'; 70_000];
        for (name, bytes, reason) in [
            ("empty", &b"\n"[..], "is empty"),
            ("blank", b" \r\n\n", "is empty"),
            ("binary", b"\xff\xfe", "is not text in UTF-8"),
            ("long", &long, "is larger than 65536 bytes"),
        ] {
            let expected = format!(
                "option \"pool\" in the environment (LISTENER_..): the file \"AT\" that \
                 LISTENER_POOL_FILE names {reason}"
            );
            assert_eq!(read(name, bytes, &[("POOL_FILE", "AT")]), Err(expected));
        }
        for (path, reason) in [
            ("/nonexistent/listener", "cannot be read: No such file or directory (os error 2)"),
            ("/", "is not a regular file"),
        ] {
            let error = read("other", b"", &[("POOL_FILE", path)]).expect_err(path);
            assert!(error.ends_with(reason), "{error}");
        }
    }

    #[test]
    fn no_error_shows_what_is_in_the_file() {
        for option in ["PREFETCH", "TRANSPORT_URL", "TOPICS", "POOL", "EXECUTOR", "ORDERED_BY"] {
            let variable = format!("{option}_FILE");
            for secret in ["hunter2 hunter2", "rabbit://u:hunter2@h:hunter2/", "amq.hunter2"] {
                let found = read(option, secret.as_bytes(), &[(&variable, "AT")]);
                let shown = format!("{:?}", found.err());
                assert!(!shown.contains("hunter2"), "{option}: {shown}");
            }
        }
        assert_eq!(
            read("prefetch", b"hunter2", &[("PREFETCH_FILE", "AT")]),
            Err(
                "option \"prefetch\" in \"AT\" (LISTENER_PREFETCH_FILE): expected a number from 1 \
                 to 65535, found another value (not shown, because it is from a file)"
                    .to_owned()
            )
        );
    }
}
