//! The account of the fault tests finds lost, unexpected and duplicate messages.

use std::collections::BTreeSet;

use support::Account;
use support::account::id_of;

fn account() -> Account {
    Account {
        sent: (0..10).collect(),
        confirmed: (0..8).collect(),
        handled: [(0, 1), (1, 2), (2, 1), (8, 1)].into(),
        dead: [(3, 1), (2, 1)].into(),
        queued: [(4, 1), (5, 3)].into(),
        ..Account::default()
    }
}

#[test]
fn a_confirmed_message_that_is_nowhere_is_lost() {
    assert_eq!(account().lost(), BTreeSet::from([6, 7]));
    assert_eq!(account().unexpected(), BTreeSet::new());
}

#[test]
fn a_message_that_was_not_sent_is_unexpected() {
    let mut account = account();
    account.queued.insert(77, 1);
    assert_eq!(account.unexpected(), BTreeSet::from([77]));
}

#[test]
fn every_copy_beyond_the_first_is_a_duplicate_wherever_it_is() {
    // 1 handled again, 2 handled and dead, 5 queued three times.
    assert_eq!(account().duplicates(), 4);
}

#[test]
fn a_report_names_what_is_lost() {
    let report = "sent 10, confirmed 8, handled 4, dead 2, queued 2, duplicates 4, \
                  at most 0 calls; lost 2: [6, 7]";
    assert_eq!(account().to_string(), report);
}

#[test]
fn an_id_is_read_from_both_versions_and_from_other_bodies() {
    let message = r#"{"payload": {"id": 7, "act": "Handle"}, "priority": "INFO"}"#;
    let envelope = serde_json::json!({"oslo.version": "2.0", "oslo.message": message});
    let bodies = [envelope.to_string(), message.to_owned(), "unreadable 7".to_owned()];
    assert_eq!(bodies.map(|body| id_of(body.as_bytes())), [7; 3]);
}
