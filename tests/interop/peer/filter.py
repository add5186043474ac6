"""Applies the filters of the real oslo.messaging, without a broker.

A line on stdin is {"rule": {}, "ctxt": {}, "publisher_id", "event_type", "metadata", "payload"}, where
the rule has the arguments of NotificationFilter. Prints `ready`, then `true`, `false` or the name of the
exception for each line. `python_peer.rs` runs it.
"""

import json
import sys

from oslo_messaging import NotificationFilter

import peer


def matches(line):
    message = json.loads(line)
    rule = NotificationFilter(**message["rule"])
    parts = ["ctxt", "publisher_id", "event_type", "metadata", "payload"]
    try:
        return json.dumps(rule.match(*[message[part] for part in parts]))
    except Exception as error:
        return type(error).__name__


def main():
    peer.say("ready")
    for line in peer.lines(on_end=lambda: peer.end_after(30)):
        peer.say(matches(line))


if __name__ == "__main__":
    sys.exit(main())
