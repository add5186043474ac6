//! The table of the records of the tests in `fault`, in Markdown: a row for each fault, a column for
//! each version of the broker. The program `fault_table` writes it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

use crate::account::Record;
use crate::fault_list::{FAULTS, Shown};

const INTRODUCTION: &str = "# The account of each message under each fault

Written by `cargo run -p tests --bin fault_table` from the records of the last run of the tests \
in `fault` with each version of RabbitMQ (`tests/run --broker 4.3 ..`).

In each column: sent; confirmed = handled + dead + queued; lost; duplicates (and how many were \
allowed), which are copies beyond the first, in any queue or call; the most calls for one \
message; the longest time from the end of the fault to readiness; CPU time of the program and \
its running time (a debug build).

";

/// The records of one fault, by version of the broker.
type ByBroker<'r> = BTreeMap<(u32, u32), &'r Record>;

/// The whole page: the records of the last runs, and the faults without tests.
pub fn table() -> String {
    table_of(&Record::all())
}

fn table_of(records: &[Record]) -> String {
    let brokers: BTreeSet<(u32, u32)> = records.iter().map(|record| record.broker).collect();
    let mut rows: BTreeMap<(u8, &str), ByBroker> = BTreeMap::new();
    for record in records {
        rows.entry((record.row, &record.fault)).or_default().insert(record.broker, record);
    }
    let mut text = INTRODUCTION.to_owned();
    let heads: String =
        brokers.iter().map(|(major, minor)| format!(" RabbitMQ {major}.{minor} |")).collect();
    writeln!(text, "| # | fault |{heads}").unwrap();
    writeln!(text, "|--:|--|{}", "--|".repeat(brokers.len())).unwrap();
    for ((row, fault), found) in &rows {
        let number = if *row == 0 { "-".to_owned() } else { row.to_string() };
        write!(text, "| {number} | {fault} |").unwrap();
        for broker in &brokers {
            let result = found.get(broker).map_or("-".to_owned(), |record| result(record));
            write!(text, " {result} |").unwrap();
        }
        text.push('\n');
    }
    let kept: BTreeSet<u8> = rows.keys().map(|(row, _)| *row).collect();
    text.push_str(&rest(&kept));
    text
}

fn result(record: &Record) -> String {
    let Record { sent, confirmed, handled, dead, queued, lost, duplicates, bound, calls, .. } =
        record;
    let ready = record.attached_ms.map(|ms| format!("; ready after {}", seconds(ms)));
    let (ready, calls_word) =
        (ready.unwrap_or_default(), if *calls == 1 { "call" } else { "calls" });
    let (cpu, ran) = (seconds(record.cpu_ms), seconds(record.ran_ms));
    format!(
        "{sent}; {confirmed} = {handled} + {dead} + {queued}; lost {lost}; duplicates {duplicates} ({bound}); {calls} {calls_word}{ready}; CPU {cpu} of {ran}"
    )
}

/// The faults that are not in the table.
fn rest(kept: &BTreeSet<u8>) -> String {
    let mut others = Vec::new();
    let mut not_run = String::new();
    for fault in &FAULTS {
        match fault.shown {
            Shown::By(_) if !kept.contains(&fault.number) => {
                others.push(format!("{} ({})", fault.number, fault.what));
            }
            Shown::By(_) => {}
            Shown::Not(reason) => {
                writeln!(not_run, "- {}, {}: {reason}.", fault.number, fault.what).unwrap();
            }
        }
    }
    let others = if others.is_empty() { "none".to_owned() } else { others.join(", ") };
    format!("\nShown by tests that keep no account: {others}.\n\nNot run:\n\n{not_run}")
}

fn seconds(milliseconds: u64) -> String {
    format!("{:.1} s", Duration::from_millis(milliseconds).as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(broker: (u32, u32), fault: &str, handled: usize) -> Record {
        Record {
            broker,
            row: 1,
            fault: fault.to_owned(),
            sent: 9,
            confirmed: 8,
            handled,
            dead: 0,
            queued: 0,
            lost: 0,
            duplicates: 2,
            bound: 3,
            calls: 2,
            attached_ms: None,
            cpu_ms: 100,
            ran_ms: 2000,
        }
    }

    #[test]
    fn each_version_is_a_column_with_a_dash_for_missing_runs() {
        let records = [record((4, 3), "a", 7), record((3, 10), "a", 8), record((3, 10), "b", 8)];
        let text = table_of(&records);
        let lines: Vec<&str> = text.lines().filter(|line| line.starts_with('|')).collect();
        let cell = |handled| {
            format!(
                "9; 8 = {handled} + 0 + 0; lost 0; duplicates 2 (3); 2 calls; CPU 0.1 s of 2.0 s"
            )
        };
        let expected = [
            "| # | fault | RabbitMQ 3.10 | RabbitMQ 4.3 |".to_owned(),
            "|--:|--|--|--|".to_owned(),
            format!("| 1 | a | {} | {} |", cell(8), cell(7)),
            format!("| 1 | b | {} | - |", cell(8)),
        ];
        assert_eq!(lines, expected);
    }
}
