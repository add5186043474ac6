//! What every crate of ours takes from the workspace: its lints, and so the ban on unsafe code,
//! which no file can take back. cargo-fuzz's own workspace has only targets of one line; what they
//! call is compiled by `tests/hostile`, too.

use crate::tree;

const MEMBERS: [&str; 6] =
    ["listener", "listener-macros", "examples", "tests", "tests/runner", "tests/ui"];

#[test]
fn unsafe_code_is_forbidden_and_no_crate_opts_out() {
    let root = tree::text("Cargo.toml");
    assert!(root.contains("\n[workspace.lints.rust]\nunsafe_code = \"forbid\"\n"));
    let members = MEMBERS.map(|member| format!("\"{member}\"")).join(", ");
    assert!(root.contains(&format!("\nmembers = [{members}]\n")), "a member is not looked at");
    for member in MEMBERS {
        let manifest = tree::text(&format!("{member}/Cargo.toml"));
        assert!(manifest.contains("\n[lints]\nworkspace = true\n"), "{member} has other lints");
    }
}
