//! Nothing to build: Cargo asks a package with a `links` key for a build script.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
}
