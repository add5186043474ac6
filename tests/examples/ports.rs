//! The examples that do what programs with oslo.messaging do: which lines each prints.

use crate::{lines, run};

fn prints(example: &str, expected: &[&str]) {
    let output = run(example, &[]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(lines(&output.stdout), expected);
    assert_eq!(lines(&output.stderr), [""; 0]);
}

#[test]
fn identity_pool_shares_the_selected_events_and_leaves_the_others_to_the_audit() {
    prints(
        "identity_pool",
        &[
            "audit of identity.authenticate",
            "audit of identity.project.created",
            "audit of identity.user.created",
            "audit of identity.user.deleted",
            "pool fetches 4ce5c085e09a478ea4edcd667a92df78",
            "pool fetches 671da331c47d4e29bb6ea1d270154ec3",
            "pool removes 4ce5c085e09a478ea4edcd667a92df78",
        ],
    );
}

#[test]
fn event_engine_starts_the_workflows_of_the_triggers_that_exist() {
    prints(
        "event_engine",
        &[
            "0 listeners are left",
            "clean_up: compute.instance.delete.end of i-4",
            "clean_up: compute.instance.delete.end of i-6",
            "tag_vm: compute.instance.create.end of i-3",
        ],
    );
}

#[test]
fn metering_agent_publishes_events_and_samples_and_requeues_what_was_refused() {
    prints(
        "metering_agent",
        &[
            "event compute.instance.create.end: i-1",
            "event compute.instance.create.error: i-2",
            "event volume.create.end: v-1",
            "sample cpu 1.5 ns: i-1",
            "sample disk.root.size 1 GB: i-1",
        ],
    );
}
