//! Sets `cfg(recorded)` if this compiler recorded the messages in `fail`.

use std::env;
use std::process::Command;

/// The compiler that recorded the `.stderr` files.
const RECORDED_WITH: &str = "1.95.0";

fn main() {
    println!("cargo::rustc-check-cfg=cfg(recorded)");
    println!("cargo::rerun-if-changed=build.rs");
    let rustc = env::var_os("RUSTC").expect("cargo sets RUSTC");
    let output = Command::new(rustc).arg("--version").output().expect("rustc runs");
    let said = String::from_utf8_lossy(&output.stdout);
    if said.split_whitespace().nth(1) == Some(RECORDED_WITH) {
        println!("cargo::rustc-cfg=recorded");
    }
}
