//! The list of faults is complete: each row has existing tests, or a reason.

use std::path::Path;

use support::fault_list::{FAULTS, Shown};

#[test]
fn every_fault_has_a_test_or_a_reason_for_none() {
    let numbers: Vec<u8> = FAULTS.iter().map(|fault| fault.number).collect();
    assert_eq!(numbers, (1..=42).collect::<Vec<u8>>());
    for fault in &FAULTS {
        match fault.shown {
            Shown::Not(reason) => assert!(reason.len() > 20, "{} has no reason", fault.number),
            Shown::By(tests) => {
                assert!(!tests.is_empty(), "{} has no test", fault.number);
                tests.iter().for_each(|test| assert_exists(fault.number, test));
            }
        }
    }
}

fn assert_exists(number: u8, test: &str) {
    let (file, name) = test.split_once(' ').unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let declared = format!("async fn {name}()");
    let at = text.find(&declared).unwrap_or_else(|| panic!("{number}: no test {name} in {file}"));
    let before: Vec<&str> = text[..at].lines().rev().take(2).collect();
    assert!(
        before.iter().any(|line| line.contains("tokio::test")) || before[0].contains("ignore"),
        "{number}: {name} is not a test"
    );
}
