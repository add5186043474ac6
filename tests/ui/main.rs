//! What the compiler accepts and reports: each file of `pass` compiles and runs; each file of `fail` has one
//! mistake (`many_*.rs` have several) and a recording of the messages. `spans.rs` compares the messages with the
//! marked tokens, `table.rs` the guide with the cases, and `pedantic.rs` runs clippy. Messages depend on the
//! version of rustc, so they are compared only with the version that recorded them.

mod cases;
mod pedantic;
mod spans;
mod table;

use std::process::Command;

/// The compiler that recorded the `.stderr` files.
const RECORDED_WITH: &str = "1.95.0";

#[test]
fn every_form_compiles_and_runs_and_every_mistake_is_explained() {
    // Two sets, because `fail` alone can be checked in parallel. A set of cases is run when it is dropped.
    trybuild::TestCases::new().pass("pass/*.rs");
    let version = rustc_version();
    if version == RECORDED_WITH {
        trybuild::TestCases::new().compile_fail("fail/*.rs");
    }
    assert_eq!(
        version, RECORDED_WITH,
        "the messages were recorded with rustc {RECORDED_WITH}, and other versions may differ: \
         test with that version (`rustup run {RECORDED_WITH} cargo test -p ui`), or record them again \
         (`TRYBUILD=overwrite`), read the difference, and change `RECORDED_WITH`"
    );
}

fn rustc_version() -> String {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("--version").output().expect("rustc runs");
    let said = String::from_utf8(output.stdout).expect("a version is text");
    let version = said.split_whitespace().nth(1);
    version.expect("rustc prints its version").to_owned()
}
