//! The programs of `tests/linking`, which also builds them, with linker settings that could lose an
//! endpoint: fat LTO, with one codegen unit and with sixteen.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

#[path = "../linking/workshop.rs"]
#[allow(dead_code, reason = "shared with `tests/linking`, which has the rest")]
mod workshop;

use workshop::{Profile, check_endpoints};

/// With `lto = "fat"`, as in the Cargo.toml of `users`. Only the crates with endpoints differ in codegen
/// units, so that the other dependencies are built once.
const RELEASE_IN_SIXTEEN_UNITS: Profile = Profile {
    options: &[
        "--release",
        "--config=profile.release.codegen-units=16",
        "--config=profile.release.package.'*'.codegen-units=16",
        "--config=profile.release.package.listener.codegen-units=16",
        "--config=profile.release.package.inventory.codegen-units=16",
    ],
};

const RELEASE_IN_ONE_UNIT: Profile = Profile {
    options: &[
        "--release",
        "--config=profile.release.codegen-units=1",
        "--config=profile.release.package.'*'.codegen-units=16",
        "--config=profile.release.package.listener.codegen-units=1",
        "--config=profile.release.package.inventory.codegen-units=1",
    ],
};

#[test]
#[ignore = "builds projects"]
fn endpoints_are_the_same_after_fat_lto_with_one_codegen_unit() {
    check_endpoints(&RELEASE_IN_ONE_UNIT);
}

#[test]
#[ignore = "builds projects"]
fn endpoints_are_the_same_after_fat_lto_with_sixteen_codegen_units() {
    check_endpoints(&RELEASE_IN_SIXTEEN_UNITS);
}
