//! The programs of `tests/linking` with the linker settings that could lose an endpoint: fat LTO,
//! which optimises the whole program anew for each.

#![allow(clippy::unwrap_used, reason = "a test that fails may say so by panicking")]

#[path = "../linking/workshop.rs"]
#[allow(dead_code, reason = "shared with `tests/linking`, which has the rest")]
mod workshop;

use workshop::{Profile, check_endpoints};

/// With `lto = "fat"`, as the users' Cargo.toml has it. Only what the endpoints go through is
/// divided otherwise, so that the other dependencies are built once for both.
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
