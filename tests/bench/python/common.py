"""Shared by the contenders in Python: the configuration of oslo.messaging, and counts and
measurements like those of `src/tally.rs` for Rust.
"""

import json
import resource
import tempfile
import threading
import time

from oslo_config import cfg


def configuration(queue):
    """The defaults of oslo.messaging, except for the type of the queue, which has to match."""
    text = "[oslo_messaging_rabbit]\namqp_durable_queues=true\n"
    if queue == "quorum":
        text += "rabbit_quorum_queue=true\n"
    conf = cfg.ConfigOpts()
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write(text)
        file.flush()
        conf([], project="bench", default_config_files=[file.name])
    return conf


class Tally:
    def __init__(self, messages):
        self.messages = messages
        self.count = 0
        self.sum = 0
        self.begun = None
        self.ended = None
        self.done = threading.Event()
        self.lock = threading.Lock()

    def begin(self):
        usage = resource.getrusage(resource.RUSAGE_SELF)
        self.begun = (time.monotonic(), time.time(), usage)

    def handled(self, number):
        with self.lock:
            if self.begun is None:
                self.begin()
            self.count += 1
            self.sum += number
            if self.count == self.messages:
                self.done.set()

    def end(self):
        self.ended = (time.monotonic(), resource.getrusage(resource.RUSAGE_SELF))

    def say(self):
        (begun, unix, before), (ended, after) = self.begun, self.ended
        measured = {
            "messages": self.messages,
            "seconds": ended - begun,
            "cpu_user_s": after.ru_utime - before.ru_utime,
            "cpu_sys_s": after.ru_stime - before.ru_stime,
            "peak_rss_kb": after.ru_maxrss,
            "sum": self.sum,
            "first_at": unix,
        }
        print(json.dumps(measured), flush=True)
