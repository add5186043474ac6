//! Every mistake in an endpoint, what the compiler says of it, and the fix. Made from the
//! cases of `tests/ui/fail`, and held to them by `tests/ui/table.rs`.

#![doc = include_str!("mistakes.md")]
