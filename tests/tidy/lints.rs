//! Every crate uses the lints of the workspace, and so forbids unsafe code, which no file can override.
//! The workspace of cargo-fuzz has only targets of one line; the code that they call is also compiled by
//! `tests/hostile`.

use crate::tree;

const MEMBERS: [&str; 7] =
    ["listener", "listener-macros", "examples", "tests", "tests/api", "tests/runner", "tests/ui"];

#[test]
fn unsafe_code_is_forbidden_and_no_crate_opts_out() {
    let root = tree::text("Cargo.toml");
    assert!(root.contains("\n[workspace.lints.rust]\nunsafe_code = \"forbid\"\n"));
    let members = MEMBERS.map(|member| format!("\"{member}\"")).join(", ");
    assert!(root.contains(&format!("\nmembers = [{members}]\n")), "a member is not checked");
    for member in MEMBERS {
        let manifest = tree::text(&format!("{member}/Cargo.toml"));
        assert!(manifest.contains("\n[lints]\nworkspace = true\n"), "{member} has other lints");
    }
}
