"""Handlers for the acceptance tests of replays and redrives: they write down what they got, and do things that handlers do.

A record is known by its text: the data of a Kinesis record, the body of a message, the attribute `text` of an item.
"""

import asyncio
import base64
import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

Event = dict[str, Any]
_JOURNAL = os.open(os.environ["JOURNAL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
_GATE = Path(os.environ["GATE"])


def text_of(record: Event) -> str:
    if "kinesis" in record:
        return base64.b64decode(record["kinesis"]["data"]).decode()
    if "dynamodb" in record:
        return str(record["dynamodb"]["NewImage"]["text"]["S"])
    return str(record["body"])


def note(event: Event, what: str = "ended") -> list[str]:
    texts = [text_of(record) for record in event["Records"]]
    line = {"what": what, "texts": texts, "at": time.monotonic(), "arns": [each["eventSourceARN"] for each in event["Records"]]}
    os.write(_JOURNAL, (json.dumps(line) + "\n").encode())
    return texts


def works(event: Event, _context: Any) -> None:
    note(event)


async def works_async(event: Event, _context: Any) -> None:
    note(event)


def refuses_poison(event: Event, _context: Any) -> None:
    for text in note(event):
        if text.startswith("poison"):
            raise ValueError(f"cannot take {text}")


def names_poison(event: Event, _context: Any) -> Event:
    texts = note(event)
    ids = [each["kinesis"]["sequenceNumber"] if "kinesis" in each else each["messageId"] for each in event["Records"]]
    return {
        "batchItemFailures": [
            {"itemIdentifier": name} for name, text in zip(ids, texts, strict=True) if text.startswith("poison")
        ]
    }


def takes_half_a_second(event: Event, _context: Any) -> None:
    note(event, "began")
    time.sleep(0.5)
    note(event)


def waits_for_the_gate(event: Event, _context: Any) -> None:
    note(event, "began")
    while not _GATE.exists():
        time.sleep(0.01)
    note(event)


def prints(event: Event, _context: Any) -> None:
    note(event)
    print("printed by the handler")  # noqa: T201  # what the test is about
    sys.stdout.write("written by the handler\n")
    os.write(1, b"straight to 1\n")
    subprocess.run(["echo", "by a process of the handler"], check=True)
    logging.getLogger().warning("logged by the handler")


def exits(_event: Event, _context: Any) -> None:
    sys.exit(3)


def hangs(event: Event, _context: Any) -> None:
    note(event, "began")
    time.sleep(3600)


async def hangs_async(event: Event, _context: Any) -> None:
    note(event, "began")
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            continue


def spoils(event: Event, _context: Any) -> str:
    seen = str(sorted(event["Records"][0]))
    event["Records"].clear()
    return seen


def says_where(_event: Event, context: Any) -> Event:
    return {"region": os.environ.get("AWS_REGION"), "table": os.environ.get("TABLE"), "arn": context.invoked_function_arn}


def says_elsewhere(_event: Event, _context: Any) -> Event:
    return {"region": "elsewhere"}
