//! What the compiler says: each file of `pass` compiles and runs, each file of `fail` has one
//! mistake (`many_mistakes.rs` has many) and beside it the messages that it must bring about;
//! `spans.rs` holds those to the marked tokens, `table.rs` the guide to the cases, and
//! `pedantic.rs` asks clippy. Messages are rustc's too, so they hold for the one version that
//! recorded them; the suite ran under that version only, not under the oldest supported one.

mod cases;
mod pedantic;
mod spans;
mod table;

use std::process::Command;

/// The compiler whose words stand in the `.stderr` files.
const RECORDED_WITH: &str = "1.95.0";

#[test]
fn every_form_compiles_and_runs_and_every_mistake_is_explained() {
    // Apart: those that need not run are checked all at once, on every processor. A set of cases is
    // run when it is dropped.
    trybuild::TestCases::new().pass("pass/*.rs");
    let version = rustc_version();
    if version == RECORDED_WITH {
        trybuild::TestCases::new().compile_fail("fail/*.rs");
    }
    assert_eq!(
        version, RECORDED_WITH,
        "the messages were recorded with rustc {RECORDED_WITH}, and other versions word them otherwise: \
         test with that one (`rustup run {RECORDED_WITH} cargo test -p ui`), or record them anew \
         (`TRYBUILD=overwrite`), read the difference, and change `RECORDED_WITH`"
    );
}

fn rustc_version() -> String {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("--version").output().expect("rustc runs");
    let said = String::from_utf8(output.stdout).expect("a version is text");
    let version = said.split_whitespace().nth(1);
    version.expect("rustc says its version").to_owned()
}
