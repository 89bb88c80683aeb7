"""Handlers for the acceptance tests: each writes what it did with every record to the file `JOURNAL`, so that a test sees it.

One line per record, appended with one write per batch: what was written survives a `kill -9`. `GATE` is a file; as long as it is
not there, the handlers that hold their batch do not return.
"""

import asyncio
import json
import os
import sys
import time
import zlib
from pathlib import Path
from typing import Any

Event = dict[str, Any]
_JOURNAL = os.open(os.environ["JOURNAL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
_GATE = Path(os.environ["GATE"])
_LOOK_EVERY = 0.01


def _note(what: str, records: list[Event], context: Any) -> None:
    now = time.monotonic()
    lines = [
        {
            "what": what,
            "call": context.aws_request_id,
            "at": now,
            "id": record["messageId"],
            "body": record["body"],
            "queue": record["eventSourceARN"].rpartition(":")[2],
            "group": record["attributes"].get("MessageGroupId"),
            "receives": int(record["attributes"]["ApproximateReceiveCount"]),
            "handle": record["receiptHandle"],
        }
        for record in records
    ]
    os.write(_JOURNAL, "".join(json.dumps(line) + "\n" for line in lines).encode())


def _chance(record: Event) -> int:
    """0 to 99, by message and receive: the same every time the test runs on the same ids."""
    return zlib.crc32(f"{record['messageId']} {record['attributes']['ApproximateReceiveCount']}".encode()) % 100


def _answer(failed: list[Event]) -> Event:
    return {"batchItemFailures": [{"itemIdentifier": record["messageId"]} for record in failed]}


def works(event: Event, context: Any) -> None:
    _note("began", event["Records"], context)
    _note("ended", event["Records"], context)


def takes_a_moment(event: Event, context: Any) -> None:
    _note("began", event["Records"], context)
    time.sleep(0.02)
    _note("ended", event["Records"], context)


def holds(event: Event, context: Any) -> None:
    _note("began", event["Records"], context)
    while not _GATE.exists():
        time.sleep(_LOOK_EVERY)
    _note("ended", event["Records"], context)


async def holds_async(event: Event, context: Any) -> None:
    _note("began", event["Records"], context)
    try:
        while not _GATE.exists():  # noqa: ASYNC110, ASYNC240 - another process makes the file
            await asyncio.sleep(_LOOK_EVERY)
    except asyncio.CancelledError:
        _note("cancelled", event["Records"], context)
        raise
    _note("ended", event["Records"], context)


def fails_as_told(event: Event, context: Any) -> Event:
    """A body `{"fail": 2}` fails the item at its first two receives, `{"raise": 1}` the invocation at its first."""
    records = event["Records"]
    _note("began", records, context)
    failed = []
    for record in records:
        told = json.loads(record["body"])
        receives = int(record["attributes"]["ApproximateReceiveCount"])
        if receives <= told.get("raise", 0):
            raise RuntimeError(f"told to fail at receive {receives}")
        if receives <= told.get("fail", 0):
            failed.append(record)
    _note("ended", [record for record in records if record not in failed], context)
    return _answer(failed)


def fails_at_random(event: Event, context: Any) -> Event:
    """5 % of the invocations raise, 15 % of the items fail, and what says `poison` always does."""
    records = event["Records"]
    if _chance(records[0]) < 5:
        raise RuntimeError("chance would have it")
    failed = [record for record in records if _chance(record) < 20 or record["body"] == "poison"]
    _note("ended", [record for record in records if record not in failed], context)
    return _answer(failed)


def keeps_order(event: Event, context: Any) -> Event:
    """Stops at the first failure and reports it and everything after it (SQS-68); 1 of 16 raises instead."""
    records = event["Records"]
    _note("began", records, context)
    try:
        for number, record in enumerate(records):
            time.sleep(0.003)
            chance = _chance(record)
            if chance < 6:
                raise RuntimeError("chance would have it")
            if chance < 14:
                return _answer(records[number:])
            _note("ended", [record], context)
        return _answer([])
    finally:
        _note("left", records, context)


def misbehaves(event: Event, context: Any) -> Any:
    """What a body names happens; anything else is well done."""
    _note("began", event["Records"], context)
    answer = _misbehave(event["Records"][0]["body"])
    _note("ended", event["Records"], context)
    return answer


async def misbehaves_async(event: Event, context: Any) -> Any:
    await asyncio.sleep(0)
    return misbehaves(event, context)


def _misbehave(how: str) -> Any:
    match how:
        case "exits":
            sys.exit(3)
        case "exits with success":
            sys.exit()
        case "interrupts":
            raise KeyboardInterrupt
        case "gives up":
            raise GeneratorExit
        case "answers with an object":
            return object()
        case "answers with a set":
            return {1, 2}
        case _:
            return None
