"""Listens with the real oslo.messaging and prints each notification as a line of JSON.

Prints `ready` once every queue is consumed from, then {"priority", "ctxt", "publisher_id",
"event_type", "payload", "metadata"} for each notification, in the order of the broker; with
--batch-size a list of them for each batch. Ends on SIGTERM and when stdin is closed, after the
acknowledgements went out. `python_peer.rs` runs it.
"""

import argparse
import collections
import json
import math
import re
import signal
import sys
import threading

import oslo_messaging
from oslo_messaging._drivers import impl_rabbit

import peer

PRIORITIES = ["audit", "debug", "info", "warn", "error", "critical", "sample"]


class Endpoint:
    """One method for each of the priorities, made in main()."""


def mapped(value):
    """How `listener` maps values that standard JSON cannot represent, see its wire.md:
    a float that is not finite is null, half a surrogate pair is the replacement character."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, str):
        return re.sub("[\ud800-\udfff]", "\ufffd", value)
    if isinstance(value, list):
        return [mapped(item) for item in value]
    if isinstance(value, dict):
        return {mapped(key): mapped(item) for key, item in value.items()}
    return value


def as_seen(priority, ctxt, publisher_id, event_type, payload, metadata):
    return {
        "priority": priority,
        "ctxt": ctxt,
        "publisher_id": publisher_id,
        "event_type": event_type,
        "payload": payload,
        "metadata": metadata,
    }


def printer(priority, change):
    def method(self, *arguments):
        seen = as_seen(priority, *arguments)
        peer.say(json.dumps(change(seen)))
        return outcome(seen)

    return method


def batch_printer(priority, change):
    def method(self, messages):
        peer.say(json.dumps([change(as_seen(priority, **message)) for message in messages]))

    return method


calls = collections.Counter()


def outcome(seen):
    """The payload {"id", "outcomes"} has the outcome of each call; after them it is handled."""
    payload = seen["payload"]
    if not isinstance(payload, dict) or "outcomes" not in payload:
        return None
    number, outcomes = calls[payload["id"]], payload["outcomes"]
    calls[payload["id"]] += 1
    chosen = outcomes[number] if number < len(outcomes) else "handled"
    if chosen == "error":
        raise RuntimeError("chosen by the payload")
    results = oslo_messaging.NotificationResult
    return results.REQUEUE if chosen == "requeue" else results.HANDLED


def call_when_consuming(queues, callback):
    """oslo subscribes in the background, after start() has returned, without a signal.

    Its consumer waits for the broker's answer to each basic.consume, so that a queue counts once
    the call has returned.
    """
    consumed = set()
    consume = impl_rabbit.Consumer.consume

    def watched(self, *args, **kwargs):
        consume(self, *args, **kwargs)
        before = len(consumed)
        consumed.add(self.queue_name)
        if before < len(consumed) == queues:
            callback()

    impl_rabbit.Consumer.consume = watched


def main():
    parser = argparse.ArgumentParser()
    peer.add_arguments(parser)
    parser.add_argument("--pool")
    parser.add_argument("--mapped", action="store_true")
    parser.add_argument("--allow-requeue", action="store_true")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--batch-timeout", type=float)
    args = parser.parse_args()
    make = batch_printer if args.batch_size else printer
    for name in PRIORITIES:
        setattr(Endpoint, name, make(name, mapped if args.mapped else lambda seen: seen))
    topics = peer.topics(args)

    end = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: end.set())

    def stop():
        peer.end_after(20)
        end.set()

    threading.Thread(target=lambda: list(peer.lines(on_end=stop)), daemon=True).start()

    queues = 1 if args.pool else len(topics) * len(PRIORITIES)
    call_when_consuming(queues, lambda: peer.say("ready"))
    transport = oslo_messaging.get_notification_transport(peer.configuration(args), url=args.url)
    arguments = (
        transport,
        [oslo_messaging.Target(topic=topic) for topic in topics],
        [Endpoint()],
    )
    options = {
        "executor": "threading",
        "allow_requeue": args.allow_requeue,
        "pool": args.pool,
    }
    if args.batch_size:
        listener = oslo_messaging.get_batch_notification_listener(
            *arguments,
            batch_size=args.batch_size,
            batch_timeout=args.batch_timeout,
            **options,
        )
    else:
        listener = oslo_messaging.get_notification_listener(*arguments, **options)
    # One worker keeps the order of the broker; several would mix it.
    listener.start(override_pool_size=1)
    end.wait()
    listener.stop()
    listener.wait()


if __name__ == "__main__":
    sys.exit(main())
