//! Programs of several crates, built with Cargo as a user builds them: which endpoints they have at run
//! time. Their sources are in `users`; `workshop.rs` builds them. Linker settings that could lose
//! endpoints are tested in `tests/linking_lto`. That the macro compiles in unusual places is also tested
//! in `tests/ui`; here the endpoints are found.
//!
//! Not tested: the target `x86_64-unknown-linux-musl`, whose standard library is not part of the default
//! toolchain.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod workshop;

use workshop::{DEV, INVOICES, REFUNDS, check_endpoints, run, run_with, two_registries};

const NOTHING: &str = "the listener cannot be built: no endpoint is registered; \
    write `#[notification_endpoint]` on an impl block, or pass one to \
    `Listener::builder().endpoint(..)`; endpoints of another crate are linked only if code \
    names that crate, as `listener::link!(that_crate);` does";

#[test]
#[ignore = "builds projects"]
fn endpoints_of_linked_crates_are_found_in_a_dev_build() {
    check_endpoints(&DEV);
}

#[test]
#[ignore = "builds projects"]
fn a_library_that_no_code_names_has_no_endpoints_without_link() {
    assert_eq!(run(&DEV, "binary"), ["binary::Counter"]);
    assert_eq!(run(&DEV, "unnamed"), [NOTHING]);
    assert_eq!(run(&DEV, "library"), [INVOICES, REFUNDS]);
    // By a path into the library, from the body of a function.
    assert_eq!(run(&DEV, "path"), [INVOICES, REFUNDS]);
}

#[test]
#[ignore = "builds projects"]
fn endpoints_in_function_bodies_and_macros_are_found() {
    assert_eq!(
        run(&DEV, "places"),
        [
            "places::InFunction",
            "places::InMacro",
            "places::AgainInMacro",
            // The name of the module as `module_path!` writes it.
            "places::r#mod::type",
        ]
    );
}

#[test]
#[ignore = "builds projects"]
fn a_feature_switches_endpoints_and_methods() {
    assert_eq!(run(&DEV, "configured"), ["configured::Quiet", "Quiet: info"]);
    assert_eq!(
        run_with(&DEV, "configured", &["--features", "shop/loud"]),
        ["configured::Quiet", "configured::Loud", "configured::Tuned", "Quiet: info, warn"]
    );
}

#[test]
#[ignore = "builds projects"]
fn unusual_crates_have_their_endpoints() {
    assert_eq!(run(&DEV, "renamed"), ["renamed::Renamed"]);
    assert_eq!(run(&DEV, "shadowed"), ["shadowed::Shadowed"]);
    assert_eq!(run(&DEV, "strict"), ["strict::Strict"]);
}

/// Features are unified in a program: any crate may enable `arbitrary_precision`.
#[test]
#[ignore = "builds projects"]
fn numbers_do_not_change_with_serde_json_s_arbitrary_precision() {
    let measured = "Measured { v: 1.5, w: 1e-5, n: -5, large: 1e300, wide: 18446744073709551615 }";
    let value = "value: Some(1.5) Some(1e-5) Some(-5) Some(1e300) Some(18446744073709551615)";
    let expected = [
        &format!("typed: {measured}, 5"),
        &format!("versioned: {measured}"),
        &format!("versioned: {measured}"),
        "versioned: payload: expected a versioned object \"Measured\" (`nova_object.name` and \
            `nova_object.data`, or another service's), found a number",
        value,
        r#"raw: {"v": 1.50, "w": 1e-05, "n": -5, "large": 1e300, "wide": 18446744073709551615}"#,
        "wrong: a string at line 1 column 4",
        &format!("typed: {measured}, now"),
        value,
    ];
    assert_eq!(run(&DEV, "numbers"), expected);
    assert_eq!(run_with(&DEV, "numbers", &["--features", "shop/precise"]), expected);
}

/// There would be two registries, each with some of the endpoints.
#[test]
#[ignore = "builds projects"]
fn cargo_refuses_two_versions_of_listener_in_one_program() {
    let refusal = two_registries();
    let library = "links to the native library `listener-registry`, but it conflicts";
    for expected in [library, "Only one package in the dependency graph may specify"] {
        assert!(refusal.contains(expected), "{expected:?} is missing:\n{refusal}");
    }
}
