"""Parses transport URLs with the real oslo.messaging, without a broker.

Prints `ready`, then for each line on stdin, a URL, {"scheme", "hosts", "virtual_host", "query"} or null if
oslo.messaging refuses it. `python_peer.rs` runs it.
"""

import json
import sys

from oslo_config import cfg
from oslo_messaging import TransportURL

import peer


def parsed(text):
    try:
        url = TransportURL.parse(cfg.ConfigOpts(), text)
    except Exception:
        return None
    hosts = [[host.hostname, host.port, host.username, host.password] for host in url.hosts]
    return {
        "scheme": url.transport,
        "hosts": hosts,
        "virtual_host": url.virtual_host,
        "query": url.query,
    }


def main():
    peer.say("ready")
    for line in peer.lines(on_end=lambda: peer.end_after(30)):
        peer.say(json.dumps(parsed(line.decode().rstrip("\n"))))


if __name__ == "__main__":
    sys.exit(main())
