//! Input that means harm: the claims of `tests/fuzz/bodies` over mutated seeds (`mutations.rs`),
//! the bodies that are known to hurt JSON parsers (`bodies_of_harm.rs`), headers that pretend
//! to be the listener's own (`copies.rs`), and texts that would fill a log (`log_lines.rs`). How much memory a body takes is `tests/bounded`'s.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../fuzz/bodies/mod.rs"]
mod bodies;
mod bodies_of_harm;
mod copies;
mod log_lines;
mod mutations;

#[test]
fn the_fuzz_targets_and_the_tests_look_for_one_secret() {
    assert_eq!(bodies::SECRET, support::SECRET);
}
