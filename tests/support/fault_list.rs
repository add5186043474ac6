//! The list of faults, each with its tests, or the reason why it has none. `fault` checks that each of
//! these tests exists; `fault_table.rs` makes the table of their results.

pub struct Fault {
    pub number: u8,
    pub what: &'static str,
    pub shown: Shown,
}

pub enum Shown {
    /// By these tests: file in `tests/`, and name.
    By(&'static [&'static str]),
    /// Not tested, for this reason.
    Not(&'static str),
}

use Shown::{By, Not};

const fn fault(number: u8, what: &'static str, shown: Shown) -> Fault {
    Fault { number, what, shown }
}

pub const FAULTS: [Fault; 42] = [
    fault(
        1,
        "broker killed under load",
        By(&[
            "fault/broker.rs a_broker_killed_under_load_loses_nothing",
            "fault/broker_killed.rs confirmed_notifications_are_handled_across_broker_faults",
            "rabbit/faults.rs every_message_is_delivered_across_a_killed_broker",
        ]),
    ),
    fault(
        2,
        "broker suspended",
        By(&[
            "fault/broker.rs a_briefly_suspended_broker_costs_no_session",
            "fault/broker.rs a_long_suspended_broker_is_given_up_and_attached_again_once",
        ]),
    ),
    fault(
        3,
        "broker stopped and started cleanly",
        By(&["fault/broker.rs a_cleanly_restarted_broker_is_attached_again"]),
    ),
    fault(
        4,
        "all connections closed, each second",
        By(&["fault/broker.rs connections_closed_each_second_cause_no_reconnect_storm"]),
    ),
    fault(
        5,
        "one channel closed by the broker",
        By(&["fault/broker.rs a_channel_closed_by_the_broker_ends_only_its_session"]),
    ),
    fault(
        6,
        "queue deleted while it is consumed",
        By(&["fault/queues.rs a_queue_deleted_under_its_consumer_is_declared_and_consumed_again"]),
    ),
    fault(
        7,
        "queue redeclared with other arguments",
        By(&["fault/queues.rs a_queue_redeclared_with_other_arguments_is_reported_and_waited_for"]),
    ),
    fault(
        8,
        "exchange deleted, binding taken away",
        By(&["fault/queues.rs a_deleted_exchange_and_a_lost_binding_are_restored"]),
    ),
    fault(9, "queue purged", By(&["fault/queues.rs a_purge_removes_only_waiting_messages"])),
    fault(
        10,
        "memory alarm",
        By(&["fault/alarms.rs a_memory_alarm_is_waited_for_with_deliveries_unacknowledged"]),
    ),
    fault(
        11,
        "disk alarm",
        By(&["fault/alarms.rs a_disk_alarm_is_waited_for_with_deliveries_unacknowledged"]),
    ),
    fault(
        12,
        "policy changed: max-length, TTL, dead letter exchange",
        By(&["fault/queues.rs messages_dropped_by_a_policy_are_accounted_for"]),
    ),
    fault(
        13,
        "consumer timeout",
        By(&[
            "fault/broker.rs a_handler_slower_than_the_consumer_timeout_loses_its_session_and_no_message",
        ]),
    ),
    fault(
        14,
        "handlers that panic, always or once, or hang",
        By(&[
            "fault/endpoints.rs methods_that_panic_or_hang_are_retried_and_given_up_without_effect_on_others",
        ]),
    ),
    fault(
        15,
        "process killed, by a message or at random",
        By(&[
            "fault/poison.rs poison_among_fifty_is_given_up_and_the_others_are_handled",
            "fault/poison.rs poison_among_fifty_in_a_quorum_queue_is_given_up",
            "fault/poison.rs poison_that_ends_the_process_at_once_is_one_dead_letter",
            "fault/poison.rs poison_that_ends_the_process_while_others_are_in_work_is_one_dead_letter",
            "fault/poison.rs poison_is_given_up_when_its_queue_and_the_quarantine_queue_differ_in_type",
            "fault/killed.rs a_process_killed_twenty_five_times_loses_none_of_fifty_thousand",
        ]),
    ),
    fault(
        16,
        "delivery limit without a dead letter exchange",
        By(&[
            "fault/poison.rs poison_is_quarantined_before_the_broker_s_own_limit_drops_it",
            "fault/poison.rs a_delivery_limit_that_would_drop_messages_is_refused",
        ]),
    ),
    fault(
        17,
        "dead letter queue full, then deleted",
        By(&[
            "fault/queues.rs deliveries_with_a_full_dead_letter_queue_are_kept_without_a_hot_loop",
        ]),
    ),
    fault(
        18,
        "confirmations never arrive",
        By(&[
            "fault/network.rs notifications_whose_confirms_never_arrive_are_sent_again",
            "fault/network.rs dead_letters_whose_confirms_never_arrive_are_sent_again",
        ]),
    ),
    fault(
        19,
        "half-open TCP",
        By(&["fault/network.rs a_black_hole_is_given_up_after_two_heartbeats"]),
    ),
    fault(
        20,
        "reset in the middle of a frame",
        By(&["fault/network.rs a_link_reset_after_any_number_of_bytes_is_reconnected"]),
    ),
    fault(
        21,
        "pieces of 1 byte, latency, little bandwidth",
        By(&["fault/network.rs slow_links_only_slow_down_delivery"]),
    ),
    fault(
        22,
        "silence, garbage, wrong protocol header",
        By(&[
            "fault/network.rs hosts_that_are_not_brokers_are_skipped",
            "rabbit/hosts.rs a_silent_host_costs_a_timeout_and_no_thread",
        ]),
    ),
    fault(
        23,
        "dead hosts, all hosts down at the start",
        By(&[
            "fault/network.rs a_program_started_before_its_brokers_waits_for_the_first_of_them",
            "fault/mistakes.rs an_unreachable_host_is_named_after_the_start_timeout",
        ]),
    ),
    fault(
        24,
        "password, permissions, virtual host taken away",
        By(&[
            "fault/broker.rs revoked_credentials_and_permissions_are_waited_for",
            "fault/broker.rs a_deleted_virtual_host_is_waited_for",
        ]),
    ),
    fault(
        25,
        "malformed bodies",
        By(&["fault/input.rs malformed_bodies_are_dead_lettered_unchanged"]),
    ),
    fault(
        26,
        "huge bodies and headers",
        By(&["fault/input.rs huge_bodies_and_headers_stay_within_the_bytes_in_flight"]),
    ),
    fault(
        27,
        "odd properties",
        By(&["fault/input.rs odd_properties_do_not_keep_a_body_from_being_read"]),
    ),
    fault(28, "duplicates", By(&["fault/input.rs duplicates_have_one_effect_with_an_inbox"])),
    fault(
        29,
        "settled in any order, one bad of a hundred",
        By(&[
            "fault/endpoints.rs of_a_hundred_calls_ending_in_any_order_only_the_failed_one_is_retried",
        ]),
    ),
    fault(
        30,
        "slow handler, large backlog (10,000 for a million)",
        By(&[
            "fault/endpoints.rs a_slow_handler_on_a_large_backlog_holds_no_more_than_its_prefetch",
        ]),
    ),
    fault(
        31,
        "SIGTERM idle, busy, reconnecting, with dead letters under way; twice",
        By(&[
            "fault/signals.rs sigterm_while_idle_reconnecting_or_starting_exits_with_success",
            "fault/signals.rs sigterm_while_a_dead_letter_queue_is_full_releases_the_delivery",
            "fault/stopped.rs sigterm_finishes_running_calls_and_leaves_the_rest_to_the_next_program",
            "fault/stopped.rs a_second_signal_exits_at_once_and_loses_nothing",
        ]),
    ),
    fault(
        32,
        "program suspended past its heartbeats",
        By(&[
            "fault/signals.rs a_program_suspended_past_its_heartbeats_settles_nothing_with_old_tags",
        ]),
    ),
    fault(
        33,
        "clock jumps",
        By(&["fault/clock.rs a_clock_that_jumps_and_runs_slowly_has_no_effect"]),
    ),
    fault(
        34,
        "no descriptors left",
        By(&["fault/signals.rs a_program_without_file_descriptors_waits_until_some_are_free"]),
    ),
    fault(
        35,
        "one of two programs crashes; single active consumer",
        By(&[
            "fault/signals.rs the_deliveries_of_a_killed_program_go_to_another",
            "fault/signals.rs a_killed_single_active_consumer_is_succeeded_in_order",
        ]),
    ),
    fault(
        36,
        "cluster: follower, leader, majority stopped; member deleted, rebalanced, drained",
        By(&["fault/cluster.rs a_cluster_whose_nodes_come_and_go_loses_nothing"]),
    ),
    fault(
        37,
        "cluster: a node that does not answer the others",
        By(&["fault/cluster.rs a_cluster_whose_nodes_come_and_go_loses_nothing"]),
    ),
    fault(38, "management API absent", By(&["fault/broker.rs the_management_api_is_not_needed"])),
    fault(
        39,
        "counts of nack and reject in RabbitMQ 4.3",
        By(&[
            "rabbit/consume.rs a_quorum_queue_counts_failures_and_not_orderly_closes_from_4_3_on",
        ]),
    ),
    fault(40, "stream truncated", Not("a listener does not consume from streams")),
    fault(
        41,
        "transient queues denied (RabbitMQ 4)",
        By(&[
            "fault/durable_only.rs a_broker_that_denies_transient_queues_is_reported_and_waited_for",
            "rabbit/mistakes.rs a_broker_that_denies_transient_queues_is_reported_with_the_option_to_set",
        ]),
    ),
    fault(
        42,
        "peers restart with other options",
        By(&["fault/queues.rs peers_that_restart_with_other_options_do_not_disturb_a_listener"]),
    ),
];
