//! The list of faults, each with the tests that show it or the reason why none does. `fault` holds
//! that each of these tests is there; the table of their results is `fault_table.rs`.

pub struct Fault {
    pub number: u8,
    pub what: &'static str,
    pub shown: Shown,
}

pub enum Shown {
    /// By these tests: folder or file of `tests/`, and name.
    By(&'static [&'static str]),
    /// Not, for this reason.
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
            "fault/broker_killed.rs what_was_confirmed_is_handled_whatever_happens_to_the_broker",
            "rabbit/faults.rs every_message_is_delivered_through_a_killed_broker",
        ]),
    ),
    fault(
        2,
        "broker suspended",
        By(&[
            "fault/broker.rs a_broker_suspended_for_a_moment_costs_no_session",
            "fault/broker.rs a_broker_suspended_for_long_is_given_up_and_attached_once",
        ]),
    ),
    fault(
        3,
        "broker stopped and started cleanly",
        By(&["fault/broker.rs a_broker_stopped_and_started_cleanly_is_attached_again"]),
    ),
    fault(
        4,
        "all connections closed, each second",
        By(&["fault/broker.rs connections_closed_each_second_start_no_storm"]),
    ),
    fault(
        5,
        "one channel closed by the broker",
        By(&["fault/broker.rs a_channel_that_the_broker_closes_ends_the_session_and_nothing_else"]),
    ),
    fault(
        6,
        "queue deleted while it is consumed",
        By(&["fault/queues.rs a_queue_deleted_under_its_consumer_is_declared_and_consumed_again"]),
    ),
    fault(
        7,
        "queue made anew with other arguments",
        By(&["fault/queues.rs a_queue_made_anew_with_other_arguments_is_told_of_and_waited_for"]),
    ),
    fault(
        8,
        "exchange deleted, binding taken away",
        By(&["fault/queues.rs a_deleted_exchange_and_a_lost_binding_are_made_again"]),
    ),
    fault(
        9,
        "queue purged",
        By(&["fault/queues.rs a_purge_takes_what_waits_and_harms_nothing_else"]),
    ),
    fault(
        10,
        "memory alarm",
        By(&[
            "fault/alarms.rs a_broker_short_of_memory_is_waited_for_with_the_source_unacknowledged",
        ]),
    ),
    fault(
        11,
        "disk alarm",
        By(&[
            "fault/alarms.rs a_broker_short_of_disk_is_waited_for_with_the_source_unacknowledged",
        ]),
    ),
    fault(
        12,
        "policy changed: max-length, TTL, dead letter exchange",
        By(&["fault/queues.rs a_policy_that_drops_messages_sends_them_where_they_are_counted"]),
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
            "fault/endpoints.rs methods_that_panic_or_hang_are_called_again_and_given_up_and_harm_no_neighbour",
        ]),
    ),
    fault(
        15,
        "process killed, by a message or at random",
        By(&[
            "fault/poison.rs poison_among_fifty_is_recognised_and_the_others_are_handled",
            "fault/poison.rs poison_among_fifty_is_recognised_in_a_quorum_queue_too",
            "fault/poison.rs poison_that_ends_the_process_at_once_is_one_dead_letter",
            "fault/poison.rs poison_that_ends_the_process_while_others_are_in_work_is_one_dead_letter",
            "fault/poison.rs poison_is_recognised_where_its_queue_and_the_quarantine_are_of_different_types",
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
            "fault/queues.rs dead_letters_that_find_no_place_keep_their_source_and_nothing_spins",
        ]),
    ),
    fault(
        18,
        "confirmations never arrive",
        By(&[
            "fault/network.rs confirmations_that_never_arrive_are_asked_for_again",
            "fault/network.rs dead_letters_whose_confirmations_never_arrive_are_sent_again",
        ]),
    ),
    fault(
        19,
        "half-open TCP",
        By(&["fault/network.rs a_link_that_leads_nowhere_is_given_up_after_two_heartbeats"]),
    ),
    fault(
        20,
        "reset in the middle of a frame",
        By(&["fault/network.rs a_link_reset_after_any_number_of_bytes_is_made_again"]),
    ),
    fault(
        21,
        "pieces of 1 byte, latency, little bandwidth",
        By(&["fault/network.rs slow_links_are_slow_and_nothing_else"]),
    ),
    fault(
        22,
        "silence, garbage, wrong protocol header",
        By(&[
            "fault/network.rs hosts_that_are_no_broker_are_passed_by",
            "rabbit/faults.rs a_host_that_accepts_and_is_silent_costs_its_deadline_and_no_thread",
        ]),
    ),
    fault(
        23,
        "dead hosts, all hosts down at the start",
        By(&[
            "fault/network.rs a_program_started_before_its_brokers_waits_for_the_first_of_them",
            "fault/mistakes.rs a_host_that_does_not_answer_is_named_after_the_start_timeout",
        ]),
    ),
    fault(
        24,
        "password, permissions, virtual host taken away",
        By(&[
            "fault/broker.rs a_user_who_may_not_do_it_any_more_waits_until_it_is_fixed",
            "fault/broker.rs a_virtual_host_that_is_gone_is_waited_for",
        ]),
    ),
    fault(25, "malformed bodies", By(&["fault/input.rs malformed_bodies_are_set_aside_untouched"])),
    fault(
        26,
        "huge bodies and headers",
        By(&[
            "fault/input.rs huge_bodies_and_headers_find_their_place_within_the_bytes_that_are_held",
        ]),
    ),
    fault(
        27,
        "odd properties",
        By(&["fault/input.rs odd_properties_do_not_hide_what_can_be_read"]),
    ),
    fault(
        28,
        "duplicates",
        By(&["fault/input.rs the_same_notification_several_times_has_one_effect_with_an_inbox"]),
    ),
    fault(
        29,
        "settled in any order, one bad of a hundred",
        By(&[
            "fault/endpoints.rs one_bad_among_a_hundred_that_end_in_any_order_is_the_only_one_called_again",
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
            "fault/signals.rs sigterm_while_idle_while_reconnecting_and_before_the_start_ends_well",
            "fault/signals.rs sigterm_while_a_dead_letter_finds_no_place_gives_its_source_back",
            "fault/stopped.rs sigterm_finishes_what_began_and_leaves_the_rest_to_the_next",
            "fault/stopped.rs a_second_signal_ends_at_once_and_loses_nothing",
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
        By(&["fault/clock.rs a_clock_that_jumps_and_runs_slowly_changes_nothing"]),
    ),
    fault(
        34,
        "no descriptors left",
        By(&["fault/signals.rs a_program_without_descriptors_waits_until_there_are_some"]),
    ),
    fault(
        35,
        "one of two programs dies; single active consumer",
        By(&[
            "fault/signals.rs when_one_of_two_programs_dies_the_other_takes_what_it_held",
            "fault/signals.rs a_single_active_consumer_that_dies_is_followed_in_order",
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
    fault(
        38,
        "management API absent",
        By(&["fault/broker.rs nothing_asks_for_the_management_api"]),
    ),
    fault(
        39,
        "counts of nack and reject in RabbitMQ 4.3",
        By(&[
            "rabbit/consume.rs a_quorum_queue_counts_what_failed_and_no_orderly_close_where_it_can_tell_them_apart",
        ]),
    ),
    fault(40, "stream truncated", Not("a listener does not consume from streams")),
    fault(
        41,
        "transient queues denied (RabbitMQ 4)",
        By(&[
            "fault/durable_only.rs a_broker_that_denies_transient_queues_is_told_of_and_waited_for",
            "rabbit/mistakes.rs a_broker_that_takes_no_transient_queues_is_answered_with_the_option_to_set",
        ]),
    ),
    fault(
        42,
        "peers restart with other options",
        By(&["fault/queues.rs peers_that_declare_otherwise_and_restart_do_not_disturb_a_listener"]),
    ),
];
