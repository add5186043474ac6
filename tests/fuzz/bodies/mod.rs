//! The claims about every input, shared by the targets of cargo-fuzz and by `tests/hostile`, which
//! mutates the same seeds in each test run. A body panics if a claim does not hold; for any bytes it
//! must return.
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

/// A secret that must never be shown: the bodies look for it in every error and every `Debug`. Tests
/// that need a secret use it as well, and `tests/run` looks for it in everything that they print.
pub const SECRET: &str = "s3cr3t!canary";

/// The longest error with its causes: it must fit a log line and a header of a dead letter. An error
/// that lists several mistakes has this length for each.
const LONGEST: usize = 1024;

/// Asserts that neither an error, its causes nor its `Debug` shows the secret.
fn tells_no_secret(error: &(dyn Error + 'static)) {
    let mut told = format!("{error:?}");
    let mut next = Some(error);
    while let Some(error) = next {
        told = format!("{told}\n{error}");
        next = error.source();
    }
    assert!(!told.contains(SECRET), "the secret is shown: {told}");
    let longest = LONGEST * told.matches("\n- ").count().clamp(1, 22);
    assert!(told.len() <= longest, "the error is too long: {} bytes: {told}", told.len());
}
