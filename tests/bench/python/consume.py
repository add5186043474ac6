"""The contenders `oslo` and `oslo-batch`: oslo.messaging's listeners, in threads.

Called as `consume.py NAME URL QUEUE MESSAGES` by the driver; prints the line that
`src/contender.rs` reads. The clock stops when the last message is handled, because
oslo.messaging does not report acknowledgements.
"""

import sys
import threading

import oslo_messaging

import common


class Endpoint:
    def __init__(self, tally):
        self.tally = tally

    def info(self, ctxt, publisher_id, event_type, payload, metadata):
        self.tally.handled(payload["vcpus"])


class BatchEndpoint:
    def __init__(self, tally):
        self.tally = tally

    def info(self, messages):
        for message in messages:
            self.tally.handled(message["payload"]["vcpus"])


def main():
    name, url, queue, messages = sys.argv[1:]
    tally = common.Tally(int(messages))
    transport = oslo_messaging.get_notification_transport(common.configuration(queue), url=url)
    targets = [oslo_messaging.Target(topic="notifications")]
    if name == "oslo-batch":
        listener = oslo_messaging.get_batch_notification_listener(
            transport,
            targets,
            [BatchEndpoint(tally)],
            executor="threading",
            batch_size=100,
            batch_timeout=1,
        )
    else:
        listener = oslo_messaging.get_notification_listener(
            transport, targets, [Endpoint(tally)], executor="threading"
        )
    listener.start()
    tally.done.wait()
    tally.end()
    listener.stop()
    listener.wait()
    transport.cleanup()
    tally.say()


if __name__ == "__main__":
    sys.exit(main())
