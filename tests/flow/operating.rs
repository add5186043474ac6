//! What the page for operators says, held to the names of queues and to the broker.

use listener::Priority;
use listener::queues::{dead_letter_queue, quarantine_journal, quarantine_queue, routing_key};

const PAGE: &str = include_str!("../../listener/src/guide/operating.md");

/// The regular expression in quotes behind `before` in a line of the page.
fn pattern(before: &str) -> regex::Regex {
    let (_, rest) = PAGE.split_once(before).unwrap();
    let pattern = rest.split('\'').nth(1).unwrap();
    regex::Regex::new(pattern).unwrap()
}

/// The queues that a listener keeps beside one that it consumes.
fn beside(queue: &str, pool_or_topic: &str) -> [String; 5] {
    [
        dead_letter_queue(queue),
        quarantine_queue(queue),
        quarantine_journal(pool_or_topic),
        format!("{queue}.retry.1s"),
        format!("{queue}.retry.64s"),
    ]
}

#[test]
fn the_policy_of_the_page_takes_work_queues_and_none_beside_them() {
    let policy = pattern("set_policy --apply-to queues work");
    for priority in Priority::ALL {
        let queue = routing_key("notifications", priority);
        assert!(policy.is_match(&queue), "{queue}");
        for side in beside(&queue, "notifications") {
            assert!(!policy.is_match(&side), "{side}");
        }
    }
}

#[test]
fn the_account_of_the_page_may_configure_a_pool_and_its_side_queues_alone() {
    let configure = pattern("set_permissions -p /");
    assert!(configure.is_match("billing"));
    for side in beside("billing", "billing") {
        assert!(configure.is_match(&side), "{side}");
    }
    for other in ["billings", "notifications.info", "nova", ""] {
        assert!(!configure.is_match(other), "{other}");
    }
}

#[test]
fn the_journal_of_the_page_has_its_name_up_to_the_length_that_the_page_says() {
    assert!(PAGE.contains("Of names with more than 131"));
    for name in ["billing".to_owned(), "b".repeat(131)] {
        assert_eq!(quarantine_journal(&name), format!("{name}.quarantine.journal"));
    }
    let long = "b".repeat(132);
    assert_ne!(quarantine_journal(&long), format!("{long}.quarantine.journal"));
}
