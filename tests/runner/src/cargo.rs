//! Calls Cargo: lists the test targets of the workspace, and builds them. Which of them a run includes
//! is in `sets.rs`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::sets::{Choice, Set, Suite};

/// A package of the workspace.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) manifest: PathBuf,
    /// The names of its test targets.
    pub(crate) tests: Vec<String>,
}

/// The executable of each test target, by the manifest of its package and its name.
pub(crate) type Executables = BTreeMap<(PathBuf, String), PathBuf>;

/// The folder of the whole project.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A call of Cargo, in the project's folder.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    cargo
}

/// All packages of the workspace.
pub(crate) fn members() -> Result<Vec<Member>, String> {
    let mut metadata = cargo();
    metadata.args(["metadata", "--no-deps", "--offline", "--format-version", "1"]);
    let message: Value =
        serde_json::from_str(&output(metadata)?).map_err(|error| error.to_string())?;
    Ok(message["packages"].as_array().into_iter().flatten().map(member).collect())
}

fn member(package: &Value) -> Member {
    let targets = package["targets"].as_array().into_iter().flatten();
    Member {
        name: text(&package["name"]),
        manifest: PathBuf::from(text(&package["manifest_path"])),
        tests: targets
            .filter(|target| target["test"] == true)
            .map(|target| text(&target["name"]))
            .collect(),
    }
}

/// Builds these tests, always with the features of the whole workspace, so that runs share their builds.
pub(crate) fn build(choice: &Choice, suites: &[&Suite]) -> Result<Executables, String> {
    let mut build = cargo();
    build.args(["test", "--workspace", "--no-run", "--message-format=json-render-diagnostics"]);
    let is_part = !matches!(choice, Choice::Set(Set::Default | Set::Full));
    if is_part {
        if suites.iter().any(|suite| suite.is_unit) {
            build.args(["--lib", "--bins"]);
        }
        let tests = suites.iter().filter(|suite| !suite.is_unit);
        build.args(tests.flat_map(|suite| ["--test", suite.target]));
    }
    Ok(output(build)?.lines().filter_map(executable).collect())
}

/// The test executable in a line of Cargo's output, if it is one.
fn executable(line: &str) -> Option<((PathBuf, String), PathBuf)> {
    let message: Value = serde_json::from_str(line).ok()?;
    let is_test = message["reason"] == "compiler-artifact" && message["profile"]["test"] == true;
    let file = message["executable"].as_str().filter(|_| is_test)?;
    let target = (PathBuf::from(text(&message["manifest_path"])), text(&message["target"]["name"]));
    Some((target, PathBuf::from(file)))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The stdout of a command that succeeded; stderr is shown at once.
fn output(mut command: Command) -> Result<String, String> {
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| format!("cargo does not start: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo: {}", output.status));
    }
    String::from_utf8(output.stdout).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUILT: &str = r#"{"reason":"compiler-artifact","manifest_path":"/p/tests/Cargo.toml","target":{"name":"flow"},"profile":{"test":true},"executable":"/p/target/flow-1"}"#;

    #[test]
    fn the_executable_of_a_test_is_read() {
        let target = (PathBuf::from("/p/tests/Cargo.toml"), "flow".to_owned());
        assert_eq!(executable(BUILT), Some((target, PathBuf::from("/p/target/flow-1"))));
    }

    #[test]
    fn a_program_or_a_message_is_not_a_test() {
        assert_eq!(executable(&BUILT.replace("\"test\":true", "\"test\":false")), None);
        assert_eq!(executable(&BUILT.replace("\"/p/target/flow-1\"", "null")), None);
        assert_eq!(executable(r#"{"reason":"build-finished","success":true}"#), None);
        assert_eq!(executable("warning: text"), None);
    }
}
