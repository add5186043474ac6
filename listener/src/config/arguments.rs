//! The arguments that name files of oslo.config: `--config-file` and `--config-dir`. The files themselves
//! are read in `oslo/`.

use super::error::ConfigError;

/// The arguments that are read; all others belong to the program.
const NAMES: [&str; 2] = ["--config-file", "--config-dir"];

/// The paths, in the order of the arguments.
pub(super) fn paths(args: impl IntoIterator<Item = String>) -> Result<Vec<String>, ConfigError> {
    let mut args = args.into_iter();
    let mut paths = Vec::new();
    while let Some(arg) = args.next() {
        if arg == "--" {
            break;
        }
        let (name, path) = match arg.split_once('=') {
            Some((name, path)) => (name, Some(path.to_owned())),
            None => (arg.as_str(), None),
        };
        if !NAMES.contains(&name) {
            continue;
        }
        match path.or_else(|| args.next()).filter(|path| !path.is_empty()) {
            Some(path) => paths.push(path),
            None => {
                return Err(ConfigError::Value {
                    name: name.to_owned(),
                    origin: "the arguments".to_owned(),
                    expected: "a path".to_owned(),
                    found: "nothing".to_owned(),
                });
            }
        }
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str]) -> Result<Vec<String>, String> {
        paths(args.iter().map(|arg| (*arg).to_owned())).map_err(|error| error.to_string())
    }

    #[test]
    fn both_forms_are_read_and_other_arguments_are_ignored() {
        let args = ["-v", "--config-file", "a", "--config-dir=b", "x", "--", "--config-file=c"];
        assert_eq!(read(&args), Ok(vec!["a".to_owned(), "b".to_owned()]));
    }

    #[test]
    fn an_argument_without_a_path_is_an_error() {
        let expected = "option \"--config-file\" in the arguments: expected a path, found nothing";
        assert_eq!(read(&["--config-file"]), Err(expected.to_owned()));
        assert_eq!(read(&["--config-file="]), Err(expected.to_owned()));
    }
}
