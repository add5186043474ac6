//! The macros of `listener`.
