//! No endpoint of its own; the library is listed in Cargo.toml, and never named.

fn main() {
    shown::print();
}
