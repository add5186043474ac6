//! What is asked of every input, whoever makes it: the targets of cargo-fuzz beside this folder,
//! and `tests/hostile`, which mutates the same seeds in each run of the tests. A body panics
//! where a claim does not hold; whatever bytes it is given, it must return.
#![allow(
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub,
    reason = "a panic is how a claim fails, and the tests include it as a module"
)]

mod config;
mod delivery;
mod envelope;
mod headers;
mod round_trip;
mod source;
mod url;

use std::error::Error;

pub use self::config::config;
pub use self::delivery::delivery;
pub use self::envelope::envelope;
pub use self::headers::headers;
pub use self::round_trip::round_trip;
pub use self::url::url;

/// What must never be told: the bodies look for it in every error and every `Debug`. Tests that
/// need a secret use it too, and `tests/run` looks for it in all that they print.
pub const SECRET: &str = "s3cr3t!canary";

/// No error is longer, with its causes: it must fit a log line and a dead letter's header. One that
/// lists several mistakes has as much for each.
const LONGEST: usize = 1024;

/// An error, its causes and its `Debug`, none of which may tell the secret.
fn tells_no_secret(error: &(dyn Error + 'static)) {
    let mut told = format!("{error:?}");
    let mut next = Some(error);
    while let Some(error) = next {
        told = format!("{told}\n{error}");
        next = error.source();
    }
    assert!(!told.contains(SECRET), "the secret is told: {told}");
    let longest = LONGEST * told.matches("\n- ").count().clamp(1, 22);
    assert!(told.len() <= longest, "too long an error: {} bytes: {told}", told.len());
}
