//! Hostile input: the claims of `tests/fuzz/bodies` over mutated seeds (`mutations.rs`), bodies that are
//! known to break JSON parsers (`json.rs`), headers that imitate those of the listener (`copies.rs`),
//! and texts that would fill a log (`log_lines.rs`). The memory of a body is tested in `tests/bounded`.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../fuzz/bodies/mod.rs"]
mod bodies;
mod copies;
mod json;
mod log_lines;
mod mutations;

#[test]
fn the_fuzz_targets_and_the_tests_share_one_secret() {
    assert_eq!(bodies::SECRET, support::SECRET);
}
