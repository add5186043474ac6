//! Any variables and any file as the configuration: it is read, or refused without showing a value that
//! may be secret.

use std::path::PathBuf;
use std::sync::OnceLock;

use listener::Config;

use super::{SECRET, tells_no_secret};

/// Lines `NAME=value` up to an empty line; what follows is the file.
pub fn config(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (lines, file) = text.split_once("\n\n").unwrap_or((&text, ""));
    let mut variables: Vec<(String, String)> = lines
        .lines()
        .filter_map(|line| line.split_once('='))
        .filter(|(name, _)| !name.eq_ignore_ascii_case("CONFIG"))
        .map(|(name, value)| (format!("LISTENER_{name}"), value.to_owned()))
        .collect();
    if !file.is_empty() {
        let path = path();
        std::fs::write(path, file).unwrap();
        variables.push(("LISTENER_CONFIG".to_owned(), path.to_str().unwrap().to_owned()));
    }
    let found = read(&variables);
    assert_eq!(read(&variables), found, "the second read differs from the first");
    if !text.contains(SECRET) {
        variables.retain(|(name, _)| !name.eq_ignore_ascii_case("LISTENER_TRANSPORT_URL"));
        variables.push(("LISTENER_TRANSPORT_URL".to_owned(), format!("rabbit://u:{SECRET}@h/")));
        if let Ok(shown) = read(&variables) {
            assert!(!shown.contains(SECRET), "{shown}");
        }
    }
}

/// The `Debug` of the configuration.
fn read(variables: &[(String, String)]) -> Result<String, String> {
    match Config::from_variables(variables.iter().cloned()) {
        Ok(config) => Ok(format!("{config:?}")),
        Err(error) => {
            tells_no_secret(&error);
            Err(error.to_string())
        }
    }
}

/// A file of this process.
fn path() -> &'static PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| std::env::temp_dir().join(format!("fuzz-{}.toml", std::process::id())))
}
