//! The patterns in the guide for operators match the names of the queues.

use listener::Priority;
use listener::queues::{dead_letter_queue, quarantine_journal, quarantine_queue, routing_key};

const GUIDE: &str = include_str!("../../listener/src/guide/operating.md");

/// The quoted regular expression that follows `before` in the guide.
fn pattern(before: &str) -> regex::Regex {
    let (_, rest) = GUIDE.split_once(before).unwrap();
    let pattern = rest.split('\'').nth(1).unwrap();
    regex::Regex::new(pattern).unwrap()
}

/// The side queues that a listener declares for a queue that it consumes.
fn side_queues(queue: &str, pool_or_topic: &str) -> [String; 5] {
    [
        dead_letter_queue(queue),
        quarantine_queue(queue),
        quarantine_journal(pool_or_topic),
        format!("{queue}.retry.1s"),
        format!("{queue}.retry.64s"),
    ]
}

#[test]
fn the_policy_of_the_guide_matches_work_queues_and_no_side_queues() {
    let policy = pattern("set_policy --apply-to queues work");
    for priority in Priority::ALL {
        let queue = routing_key("notifications", priority);
        assert!(policy.is_match(&queue), "{queue}");
        for side in side_queues(&queue, "notifications") {
            assert!(!policy.is_match(&side), "{side}");
        }
    }
}

#[test]
fn the_account_of_the_guide_may_configure_only_a_pool_and_its_side_queues() {
    let configure = pattern("set_permissions -p /");
    assert!(configure.is_match("billing"));
    for side in side_queues("billing", "billing") {
        assert!(configure.is_match(&side), "{side}");
    }
    for other in ["billings", "notifications.info", "nova", ""] {
        assert!(!configure.is_match(other), "{other}");
    }
}

#[test]
fn journal_names_are_literal_up_to_the_length_that_the_guide_states() {
    assert!(GUIDE.contains("than 131 bytes"));
    for name in ["billing".to_owned(), "b".repeat(131)] {
        assert_eq!(quarantine_journal(&name), format!("{name}.quarantine.journal"));
    }
    let long = "b".repeat(132);
    assert_ne!(quarantine_journal(&long), format!("{long}.quarantine.journal"));
}
