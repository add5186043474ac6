"""Sends notifications with the real oslo.messaging, one for each line of JSON on stdin.

A line is {"ctxt": {}, "publisher_id": "", "event_type": "", "priority": "info", "payload": any}.
Prints `ready` when it can send, then `sent` for each line once the call has returned. Whatever
oslo logs as an error ends it with code 1 and the text on stderr. `python_peer.rs` runs it.
"""

import argparse
import json
import logging
import os
import sys

import oslo_messaging

import peer


class Context:
    """Since 2023 the notifier drops a context that is a dict, and needs these methods of any other."""

    def __init__(self, values):
        self.values = values

    def redacted_copy(self):
        return self

    def to_dict(self):
        return dict(self.values)


def main():
    parser = argparse.ArgumentParser()
    peer.add_arguments(parser)
    parser.add_argument("--driver", choices=["messaging", "messagingv2"], default="messagingv2")
    args = parser.parse_args()
    errors = peer.watch_errors()

    transport = oslo_messaging.get_notification_transport(peer.configuration(args), url=args.url)
    notifier = oslo_messaging.Notifier(transport, driver=args.driver, topics=peer.topics(args))

    peer.say("ready")
    for line in peer.lines(on_end=lambda: peer.end_after(30)):
        message = json.loads(line)
        send = getattr(notifier.prepare(publisher_id=message["publisher_id"]), message["priority"])
        send(Context(message["ctxt"]), message["event_type"], message["payload"])
        if errors:
            # Otherwise the interpreter would wait for the pool's connections.
            logging.shutdown()
            os._exit(1)
        peer.say("sent")
    transport.cleanup()


if __name__ == "__main__":
    sys.exit(main())
