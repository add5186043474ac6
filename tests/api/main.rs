//! Every public item of `listener` with all features, compared with `public-api.txt`: no item becomes
//! public, changes or disappears unseen. Implementations of auto traits and blanket implementations are
//! left out. `public-api` makes the list from rustdoc's JSON, whose format belongs to a compiler version:
//! the list holds for the one that recorded it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The compiler that wrote the accepted list.
const RECORDED_WITH: &str = "1.95.0";

/// Accepts the list as it is now: `ACCEPT_API=1 cargo test -p api`.
const ACCEPT: &str = "ACCEPT_API";

#[test]
fn the_public_api_is_the_accepted_one() {
    let version = rustc_version();
    assert_eq!(
        version, RECORDED_WITH,
        "the list was recorded with rustc {RECORDED_WITH}, and other versions may write it otherwise: test with \
         that one (`rustup run {RECORDED_WITH} cargo test -p api`), or accept the list again (`{ACCEPT}=1 cargo \
         test -p api`), read the difference, and change `RECORDED_WITH`"
    );
    let file = folder().join("public-api.txt");
    let api = public_api();
    if std::env::var_os(ACCEPT).is_some() {
        std::fs::write(&file, api).expect("the list can be written");
        return;
    }
    let accepted = std::fs::read_to_string(&file).expect("an accepted list");
    if let Some(difference) = difference(&accepted, &api) {
        panic!(
            "the public API changed:\n\n{difference}\nIf that is intended, run `{ACCEPT}=1 cargo test -p api`, \
             commit tests/api/public-api.txt, and add a line to CHANGELOG.md"
        );
    }
}

/// The lines that only one of both lists has, in order; `None` where the lists are equal. They are
/// sorted, so that the order says nothing.
fn difference(accepted: &str, now: &str) -> Option<String> {
    let [old, new] = [accepted, now].map(|text| text.lines().collect::<BTreeSet<_>>());
    let removed = old.difference(&new).map(|line| format!("- {line}\n"));
    let added = new.difference(&old).map(|line| format!("+ {line}\n"));
    let lines: String = removed.chain(added).collect();
    (!lines.is_empty()).then_some(lines)
}

/// The list of all public items, one a line.
fn public_api() -> String {
    public_api::Builder::from_rustdoc_json(rustdoc_json())
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .build()
        .expect("the version of `public-api` reads the JSON of this rustdoc")
        .to_string()
}

/// Builds the documentation as JSON. Dependencies are those that checks and lints have built.
fn rustdoc_json() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("tmp is in a folder");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["rustdoc", "--quiet", "--package", "listener", "--lib", "--all-features"])
        .arg("--target-dir")
        .arg(target)
        .args(["--", "-Z", "unstable-options", "--output-format", "json"])
        .current_dir(folder())
        .env("RUSTDOC", folder().join("rustdoc"))
        .env_remove("RUSTDOCFLAGS")
        .status();
    assert!(
        status.expect("cargo runs").success(),
        "the documentation of `listener` does not build"
    );
    target.join("doc/listener.json")
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rustc_version() -> String {
    let output = Command::new("rustc").arg("--version").output().expect("rustc runs");
    let said = String::from_utf8(output.stdout).expect("a version is text");
    said.split_whitespace().nth(1).expect("rustc prints its version").to_owned()
}

#[test]
fn a_difference_names_what_is_gone_and_what_is_new() {
    assert_eq!(difference("a\nb\n", "a\nc\n"), Some("- b\n+ c\n".to_owned()));
    assert_eq!(difference("a\nb\n", "a\nb\n"), None);
}
