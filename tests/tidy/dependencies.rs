//! The dependencies of `listener` with its default features: one syn, and no crate that compiles C.
//! ARCHITECTURE.md states the numbers.

use std::collections::BTreeSet;
use std::process::Command;

/// Crates that exist to compile or find C.
const C: [&str; 5] = ["bindgen", "cc", "cmake", "pkg-config", "vcpkg"];

/// Name and version of each package that a build on this machine needs.
fn packages(features: &[&str]) -> BTreeSet<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "-p", "listener", "-e", "normal,build", "--prefix", "none", "--offline"])
        .args(features)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, rest)| format!("{name} {}", rest.split(' ').next().unwrap_or_default()))
        .collect()
}

fn named<'p>(packages: &'p BTreeSet<String>, name: &str) -> Vec<&'p String> {
    packages.iter().filter(|package| package.split(' ').next() == Some(name)).collect()
}

#[test]
fn there_is_one_syn_and_no_crate_that_compiles_c() {
    let packages = packages(&[]);
    assert_eq!(named(&packages, "syn").len(), 1, "{packages:#?}");
    let c: Vec<_> = C.iter().flat_map(|name| named(&packages, name)).collect();
    assert!(c.is_empty(), "{c:?}");
}

#[test]
#[cfg(target_os = "linux")]
fn the_dependency_counts_in_the_architecture_are_correct() {
    let map = crate::tree::text("ARCHITECTURE.md");
    let all = packages(&[]).len();
    let least = packages(&["--no-default-features"]).len();
    let sentence =
        format!("depends on {all} crates with its default features on Linux, {least} without any");
    assert!(map.contains(&sentence), "ARCHITECTURE.md does not say: {sentence}");
}
