//! `main` prints the `Debug` of a returned error, so the `Debug` of each public error is its message.
//! The error types are found in the sources.

use crate::tree;

const MACRO: &str = "debug_is_the_message!(";

/// The public errors of a file, and those of them whose `Debug` is their message.
fn errors(text: &str) -> (Vec<&str>, Vec<&str>) {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let mut errors = Vec::new();
    let mut is_derived = false;
    for line in text.lines() {
        is_derived |= line.starts_with("#[derive(") && line.contains("thiserror::Error");
        let Some(item) = line.strip_prefix("pub enum ").or(line.strip_prefix("pub struct ")) else {
            continue;
        };
        let name = item.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
        let implemented = ["std::error::Error for", "Error for"];
        let is_error =
            implemented.iter().any(|error| text.contains(&format!("impl {error} {name} ")));
        if std::mem::take(&mut is_derived) || is_error {
            errors.push(name);
        }
    }
    let lists = text.split(MACRO).skip(1).filter_map(|rest| rest.split(')').next());
    (errors, lists.flat_map(|list| list.split(',').map(str::trim)).collect())
}

#[test]
fn the_debug_of_each_public_error_is_its_message() {
    let (mut found, mut mistakes) = (0, Vec::new());
    for file in tree::sources("listener/src") {
        let (errors, shown) = errors(&file.text);
        found += errors.len();
        let others = errors.iter().filter(|error| !shown.contains(error));
        mistakes.extend(
            others.map(|error| {
                format!("listener/src/{}: {error}: expected {MACRO}{error})", file.path)
            }),
        );
    }
    assert!(found > 15, "too few errors were found: {found}");
    assert!(mistakes.is_empty(), "\n{}\n", mistakes.join("\n"));
}

#[test]
fn errors_are_found_by_their_derive_and_by_their_impl() {
    let text = "#[derive(Clone, Debug, thiserror::Error)]\npub enum A {}\npub struct B {\n}\n\
                impl std::error::Error for B {}\npub struct C;\n\
                debug_is_the_message!(A,\n    D);\n#[cfg(test)]\nmod tests { }";
    assert_eq!(errors(text), (vec!["A", "B"], vec!["A", "D"]));
}
