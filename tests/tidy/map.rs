//! ARCHITECTURE.md against the tree: its map names each module and no other path, and it stays short
//! enough to be read.

use crate::tree;

const FILE: &str = "ARCHITECTURE.md";

/// The section whose paths are checked. Each `###` in it names the folder of the paths below it. A module
/// is a module: whether it is a file or a folder does not matter.
const SECTION: &str = "## The map";

const LONGEST: usize = 230;

/// What is wrong with the map: modules without a line, lines without a module.
fn mistakes(text: &str, modules: &[String], exists: impl Fn(&str) -> bool) -> Vec<String> {
    let named = named(text);
    let unnamed = modules
        .iter()
        .filter(|module| !named.iter().any(|(_, path)| path == *module))
        .map(|module| format!("{FILE}: the map does not name {module}"));
    let missing = named
        .iter()
        .filter(|(_, path)| !exists(path))
        .map(|(line, path)| format!("{FILE}:{line}: the map names {path}, which does not exist"));
    unnamed.chain(missing).collect()
}

/// The paths in the map, each with its line. A path is code with a `/` or with the extension of one of
/// our files.
fn named(text: &str) -> Vec<(usize, String)> {
    let mut named = Vec::new();
    let mut folder = String::new();
    let lines = text.lines().enumerate();
    let section = lines
        .skip_while(|(_, line)| *line != SECTION)
        .skip(1)
        .take_while(|(_, line)| !line.starts_with("## "));
    for (at, line) in section {
        // Every second part is between two backticks.
        let paths = line.split('`').skip(1).step_by(2).filter(|code| is_path(code)).map(bare);
        if line.starts_with("### ") {
            let headings: Vec<&str> = paths.collect();
            folder = headings.iter().map(|heading| format!("{heading}/")).collect();
            named.extend(headings.into_iter().map(|heading| (at + 1, heading.to_owned())));
        } else {
            named.extend(paths.map(|path| (at + 1, format!("{folder}{path}"))));
        }
    }
    named
}

/// A path without its ending: `attr.rs` and `attr/` are the module `attr`.
fn bare(path: &str) -> &str {
    path.trim_end_matches('/').trim_end_matches(".rs")
}

fn is_path(code: &str) -> bool {
    let ending = code.rsplit_once('.').map(|(_, ending)| ending);
    !code.contains("://")
        && !code.contains(' ')
        && (code.contains('/') || matches!(ending, Some("rs" | "md" | "toml" | "json" | "py")))
}

/// The modules: the entries of the two source folders, and each driver.
fn modules() -> Vec<String> {
    let mut modules: Vec<String> = ["listener/src", "listener/src/drivers", "listener-macros/src"]
        .iter()
        .flat_map(|folder| {
            let entries = tree::entries(folder).into_iter();
            entries.map(move |entry| format!("{folder}/{}", bare(&entry)))
        })
        .collect();
    modules.sort();
    modules
}

#[test]
fn the_map_names_each_module_and_nothing_else() {
    let root = tree::root();
    let exists = |path: &str| root.join(path).exists() || root.join(format!("{path}.rs")).exists();
    let mistakes = mistakes(&tree::text(FILE), &modules(), exists);
    assert!(mistakes.is_empty(), "\n{}\n", mistakes.join("\n"));
}

#[test]
fn the_architecture_is_short_enough_to_read() {
    let lines = tree::text(FILE).lines().count();
    assert!(lines <= LONGEST, "{FILE} has {lines} lines, expected at most {LONGEST}");
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# Architecture

`gone.rs` is before the map.

## The map

### `listener/src/`

- `lib.rs`: the crate. `Transport` and `memory://NAME` are not paths.
- `drivers/`, with `drivers/memory/`

### Next to them

- `tests/tidy/`

## Invariants

`also/gone.rs` is after it.
";

    fn check(modules: &[&str], existing: &[&str], expected: &[&str]) {
        let modules: Vec<String> = modules.iter().map(|module| (*module).to_owned()).collect();
        assert_eq!(mistakes(TEXT, &modules, |path| existing.contains(&path)), expected);
    }

    const THERE: [&str; 5] = [
        "listener/src",
        "listener/src/lib",
        "listener/src/drivers",
        "listener/src/drivers/memory",
        "tests/tidy",
    ];

    #[test]
    fn a_map_that_names_every_module_is_accepted() {
        check(&THERE[1..4], &THERE, &[]);
    }

    #[test]
    fn a_module_without_a_line_is_reported() {
        check(
            &["listener/src/lib", "listener/src/filter"],
            &THERE,
            &["ARCHITECTURE.md: the map does not name listener/src/filter"],
        );
    }

    #[test]
    fn a_line_without_a_module_is_reported() {
        check(
            &[],
            &THERE[..3],
            &[
                "ARCHITECTURE.md:10: the map names listener/src/drivers/memory, which does not exist",
                "ARCHITECTURE.md:14: the map names tests/tidy, which does not exist",
            ],
        );
    }
}
