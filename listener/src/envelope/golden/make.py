#!/usr/bin/env python3
"""Writes the samples beside this file with the Python libraries themselves.

Needs oslo.messaging (which brings kombu): pip install oslo.messaging. The samples are
what a notifier hands to its broker, byte for byte. Run it to see what a new release of
those libraries writes; the tests of `envelope` read the files.
"""

import bz2
import datetime
import decimal
import pathlib
import uuid
import zlib

from kombu.utils import json
from oslo_messaging._drivers import common

HERE = pathlib.Path(__file__).parent

PLAIN = {
    "bool": [True, False, None],
    "deep": {"a": {"b": [{"c": []}, {}]}},
    "empty": "",
    "floats": [0.0, -0.0, 0.1, 1.5, 100000.0, 123456789.123, 1e-4, 1.5e-5, 1e-7, 9999999999999998.0,
               1e16, 1.25e22, -3.5e-10, -1e-5,
               2.0**-25, 5e-324, 1.7976931348623157e308, 3.141592653589793],
    "ints": [0, -1, 18446744073709551615, -9223372036854775808],
    "text": "\u00e9 \u4e2d \U0001f600 \x00 \x1f \x7f \u2028 \b\f\n\r\t \" \\ / <'>",
}
SPECIAL = {
    "big": [123456789012345678901234567890, -170141183460469231731687303715884105728],
    "half": ["\ud800", "x\udc00", "\ud83d\ude00"],
    "inf": [float("inf"), float("-inf")],
    "nan": float("nan"),
    "text": "NaN \\ud800 -Infinity",
}
TAGGED = {
    "base64": b"\xff\xfe\xfd",
    "bytes": "\u00e9".encode(),
    "date": datetime.date(2026, 5, 9),
    "datetime": datetime.datetime(2026, 5, 9, 1, 2, 3, 4),
    "decimal": decimal.Decimal("1.10"),
    "deep": [{"at": [datetime.datetime(2026, 5, 9, 1, 2, 3, tzinfo=datetime.timezone.utc)]}],
    "number": 1.50,
    "time": datetime.time(1, 2, 3),
    "uuid": uuid.UUID("7c5f2f4e2d0c4b539d5d5f0b4a1b2c3d"),
}
CONTEXT = {"is_admin": True, "project_id": "p\u00e9", "roles": ["a", "b"], "user_id": None}


def message(payload, context, **changes):
    fields = {
        "message_id": "7c5f2f4e-2d0c-4b53-9d5d-5f0b4a1b2c3d",
        "publisher_id": "compute.host1",
        "event_type": "compute.instance.create.end",
        "priority": "INFO",
        "payload": payload,
        "timestamp": "2026-05-09 07:29:33.123456",
        "_unique_id": "0123456789abcdef0123456789abcdef",
    }
    fields.update(changes)
    fields.update(("_context_" + key, value) for key, value in context.items())
    return fields


def write(name, fields):
    v1 = json.dumps(fields).encode()
    v2 = json.dumps(common.serialize_msg(fields)).encode()
    (HERE / f"v1{name}.json").write_bytes(v1)
    (HERE / f"v2{name}.json").write_bytes(v2)
    return v1


body = write("", message(PLAIN, CONTEXT))
(HERE / "v1.json.zlib").write_bytes(zlib.compress(body))
(HERE / "v1.json.bz2").write_bytes(bz2.compress(body))
write("-special", message(SPECIAL, {"limit": float("inf"), "name": "\udfff"}))
tagged = message(TAGGED, {"at": TAGGED["datetime"], "id": TAGGED["uuid"]})
(HERE / "v1-tagged.json").write_text(json.dumps(tagged))
write("-list", message([{"n": 1}], {}, priority="SAMPLE", publisher_id=None))
write("-text", message("text", {}, priority="ERROR"))
write("-null", message(None, {}, priority="AUDIT"))
