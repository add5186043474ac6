"""The contender `oslo-notifier`: oslo.messaging's notifier, which waits for each confirm.

Called as `publish.py NAME URL QUEUE MESSAGES` by the driver; prints the line that
`src/contender.rs` reads. Its payload has the fields of `src/notification.rs`.
"""

import logging
import sys

import oslo_messaging

import common

CONTEXT = {
    "request_id": "req-5bef6a23-2e14-4b3f-9eb1-1be293b75fb7",
    "user_id": "953f8394fa044302b7d42f47228e427d",
    "project_id": "33a88272e06a49c1a0f653abc374b56b",
    "user_name": "ada",
    "project_name": "engines",
    "roles": ["member", "admin"],
    "is_admin": True,
    "read_deleted": "no",
    "remote_address": "192.0.2.1",
    "timestamp": "2026-03-21T17:54:27.320555",
}

PAYLOAD = {
    "tenant_id": "33a88272e06a49c1a0f653abc374b56b",
    "user_id": "953f8394fa044302b7d42f47228e427d",
    "reservation_id": "r-1ekblkfw",
    "instance_type": "m1.small",
    "instance_type_id": 2,
    "instance_flavor_id": "2",
    "architecture": None,
    "memory_mb": 2048,
    "disk_gb": 20,
    "root_gb": 20,
    "ephemeral_gb": 0,
    "host": "compute-017",
    "node": "compute-017.example.org",
    "availability_zone": "zone-2",
    "cell_name": "",
    "created_at": "2026-03-21T17:54:27.000000",
    "terminated_at": "",
    "deleted_at": "",
    "launched_at": "2026-03-21T17:54:29.000000",
    "image_ref_url": "http://192.0.2.98:9292/images/e52f1321-fb9e-40fb-8057-555a850462e8",
    "image_name": "ubuntu-24.04",
    "os_type": "linux",
    "kernel_id": "",
    "ramdisk_id": "",
    "image_meta": {
        "base_image_ref": "e52f1321-fb9e-40fb-8057-555a850462e8",
        "min_disk": "20",
        "min_ram": "0",
        "disk_format": "qcow2",
        "container_format": "bare",
        "os_distro": "ubuntu",
    },
    "state": "active",
    "state_description": "",
    "old_state": "building",
    "old_task_state": "spawning",
    "new_task_state": None,
    "progress": "",
    "access_ip_v4": None,
    "access_ip_v6": None,
    "metadata": {"role": "worker", "team": "engines"},
    "audit_period_beginning": "2026-03-21T17:00:00.000000",
}


class Context:
    """The notifier drops a context that is a dict, and needs these methods of any other."""

    def redacted_copy(self):
        return self

    def to_dict(self):
        return dict(CONTEXT)


def payload(index):
    return PAYLOAD | {
        "instance_id": f"3e301a55-fbbe-478d-92d0-{index:012x}",
        "display_name": f"worker-{index}",
        "hostname": f"worker-{index}",
        "vcpus": 1 + index % 64,
    }


def main():
    _name, url, queue, messages = sys.argv[1:]
    # What it could not send it only logs.
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    transport = oslo_messaging.get_notification_transport(common.configuration(queue), url=url)
    notifier = oslo_messaging.Notifier(
        transport,
        driver="messagingv2",
        topics=["notifications"],
        publisher_id="compute.compute-017.example.org",
    )
    context = Context()
    notifier.info(context, "compute.instance.update", payload(0))
    tally = common.Tally(int(messages))
    tally.begin()
    for index in range(tally.messages):
        notifier.info(context, "compute.instance.update", payload(index))
    tally.end()
    transport.cleanup()
    tally.say()


if __name__ == "__main__":
    sys.exit(main())
