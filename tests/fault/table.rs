//! Writes `tests/fault/results.md` from the list of faults and the records of the last run of the tests
//! in `fault`: `cargo run -p tests --bin fault_table`.

fn main() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fault/results.md");
    std::fs::write(path, support::fault_table::table()).expect("the table can be written");
}
