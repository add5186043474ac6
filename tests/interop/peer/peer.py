"""What notify.py and listen.py share: arguments, oslo's configuration, lines in and out."""

import logging
import os
import queue
import sys
import tempfile
import threading

from oslo_config import cfg

_out = threading.Lock()


def add_arguments(parser):
    parser.add_argument("--url", required=True)
    parser.add_argument("--topic", action="append", help="repeatable; default: notifications")
    parser.add_argument("--exchange", help="control_exchange; default: oslo's")
    parser.add_argument("--durable", action="store_true", help="amqp_durable_queues")
    parser.add_argument(
        "--rabbit",
        action="append",
        default=[],
        metavar="OPTION=VALUE",
        help="an option of [oslo_messaging_rabbit]; repeatable",
    )


def topics(args):
    return args.topic or ["notifications"]


def configuration(args):
    """oslo reads options from a file; all others keep their defaults."""
    rabbit = list(args.rabbit)
    if args.durable:
        rabbit.append("amqp_durable_queues=true")
    text = ["[DEFAULT]"]
    if args.exchange:
        text.append(f"control_exchange={args.exchange}")
    text += ["[oslo_messaging_rabbit]", *rabbit]
    conf = cfg.ConfigOpts()
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write("\n".join(text) + "\n")
        file.flush()
        conf([], project="peer", default_config_files=[file.name])
    return conf


def watch_errors():
    """The errors logged from now on. Warnings and above go to stderr, with their tracebacks."""
    errors = []

    class Collect(logging.Handler):
        def emit(self, record):
            errors.append(record)

    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    logging.getLogger().addHandler(Collect(level=logging.ERROR))
    return errors


def say(line):
    with _out:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def lines(on_end):
    """The lines of stdin. Its end is noticed at once, also while a line is processed."""
    waiting = queue.Queue()

    def read():
        for line in sys.stdin.buffer:
            waiting.put(line)
        on_end()
        waiting.put(None)

    threading.Thread(target=read, daemon=True).start()
    return iter(waiting.get, None)


def end_after(seconds):
    """Stdin has ended: anything that still hangs then must not outlive the test."""
    timer = threading.Timer(seconds, lambda: os._exit(1))
    timer.daemon = True
    timer.start()
