//! Every mistake in an endpoint, with the compiler's message and its help. Generated from the cases of
//! `tests/ui/fail` by `tests/ui/table.rs`.

#![doc = include_str!("mistakes.md")]
