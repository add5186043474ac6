//! The licences of all dependencies: those that deny.toml allows, for each crate that
//! `cargo metadata` knows for this machine; cargo-deny, where it is installed, checks more. And the
//! licence texts in each crate that is published.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use crate::tree;

/// The licences in the list `allow`.
fn allowed(text: &str) -> BTreeSet<String> {
    let list = text.split_once("\nallow = [").and_then(|(_, rest)| rest.split_once(']'));
    let (list, _) = list.expect("deny.toml has a list of licences");
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Whether one of the alternatives has only allowed licences.
fn fits(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let plain = expression.replace(['(', ')'], " ").replace('/', " OR ");
    // Parentheses are ignored: each operand of `AND` must have an allowed alternative.
    plain.split(" AND ").all(|part| part.split(" OR ").any(|name| allowed.contains(name.trim())))
}

/// The output of a program of the toolchain; a variable may name another one.
fn output(variable: &str, program: &str, arguments: &[&str]) -> Vec<u8> {
    let program = std::env::var_os(variable).unwrap_or_else(|| program.into());
    let command = Command::new(program).args(arguments).current_dir(tree::root()).output();
    let output = command.expect("a program of the toolchain runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn every_crate_has_an_allowed_licence() {
    // Dependencies of other systems may not be available offline.
    let rustc = String::from_utf8(output("RUSTC", "rustc", &["-vV"])).expect("text");
    let host = rustc.lines().find_map(|line| line.strip_prefix("host: ")).expect("a host");
    let metadata = ["metadata", "--format-version", "1", "--offline", "--filter-platform", host];
    let metadata = output("CARGO", "cargo", &metadata);
    let metadata: Value = serde_json::from_slice(&metadata).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    assert!(packages.len() > 100, "too few crates: {}", packages.len());
    let allowed = allowed(&tree::text("deny.toml"));
    let others: Vec<_> = packages
        .iter()
        .filter(|package| !fits(package["license"].as_str().unwrap_or("none"), &allowed))
        .map(|package| format!("{} {}", package["name"], package["license"]))
        .collect();
    assert_eq!(others, [""; 0]);
}

#[test]
fn each_published_crate_contains_both_licence_texts() {
    for text in ["LICENSE-APACHE", "LICENSE-MIT"] {
        for crate_folder in ["listener", "listener-macros"] {
            assert_eq!(tree::text(&format!("{crate_folder}/{text}")), tree::text(text));
        }
    }
}

#[test]
fn one_allowed_alternative_is_enough() {
    let allowed = allowed("\nallow = [\"MIT\", \"Unicode-3.0\"]\n");
    for (expression, expected) in [
        ("MIT", true),
        ("Apache-2.0 OR MIT", true),
        ("Apache-2.0/MIT", true),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
        ("MIT AND GPL-3.0", false),
        ("GPL-3.0", false),
    ] {
        assert_eq!(fits(expression, &allowed), expected, "{expression}");
    }
}
