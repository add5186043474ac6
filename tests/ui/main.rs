//! What the compiler accepts and reports: each file of `pass` compiles and runs; each file of `fail` has one
//! mistake (`many_*.rs` have several) and a recording of the messages. `spans.rs` compares the places of errors
//! with the marked tokens, `broken.rs` those in half-written code with rustc's own, `table.rs` the guide with
//! the cases, and `pedantic.rs` runs clippy. Places and numbers of errors hold for every compiler; the texts
//! depend on its version, so the recordings are compared only with the version that recorded them.

mod broken;
mod cases;
mod outside;
mod pedantic;
mod spans;
mod table;

#[test]
fn every_form_compiles_and_runs() {
    trybuild::TestCases::new().pass("pass/*.rs");
}

/// To record them with another version: run `TRYBUILD=overwrite GUIDE=overwrite cargo test -p ui` with it, read
/// the difference, and change `RECORDED_WITH` in `build.rs`.
#[test]
#[cfg_attr(not(recorded), ignore = "needs rustc 1.95.0, which recorded the messages")]
fn every_mistake_has_its_recorded_message() {
    trybuild::TestCases::new().compile_fail("fail/*.rs");
}
