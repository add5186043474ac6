//! `cargo run -p tests --bin fault_table`: writes `tests/fault/results.md` from the list of faults
//! and from what the tests of `fault` kept when they ran last.

fn main() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fault/results.md");
    std::fs::write(path, support::fault_table::table()).expect("the table can be written");
}
