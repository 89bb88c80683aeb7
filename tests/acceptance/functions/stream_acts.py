"""Handlers for the acceptance tests of streams: like `acts.py`, with what only records of streams have.

A record is known by its text: the data of a Kinesis record, the attribute `text` of the new image of an item. One whose text
begins with `poison` is refused for ever by those who refuse.
"""

import base64
import json
import os
import time
from pathlib import Path
from typing import Any

from pollers import kinesis_fan_out

Event = dict[str, Any]
_JOURNAL = os.open(os.environ["JOURNAL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
_GATE = Path(os.environ["GATE"])
_WORKER = os.environ.get("WORKER", "")
_LOOK_EVERY = 0.01

for name, seconds in (pair.split("=") for pair in os.environ.get("FAN_OUT", "").split()):  # as AWS has them, no test has the time
    setattr(kinesis_fan_out, name, float(seconds))


def _note(what: str, event: Event, context: Any) -> None:
    now = time.monotonic()
    lines = [
        {
            "what": what,
            "call": context.aws_request_id,
            "at": now,
            "worker": _WORKER,
            "function": context.function_name,
            **_shown(each),
        }
        for each in event["Records"]
    ]
    os.write(_JOURNAL, "".join(json.dumps(line) + "\n" for line in lines).encode())


def _shown(record: Event) -> Event:
    if "kinesis" in record:
        sent, shard = record["kinesis"], record["eventID"].partition(":")[0]
        return {"id": sent["sequenceNumber"], "text": _text(record), "key": sent["partitionKey"], "shard": shard}
    sent = record["dynamodb"]
    return {"id": sent["SequenceNumber"], "text": _text(record), "key": sent["Keys"]["pk"]["S"], "shard": ""}


def _text(record: Event) -> str:
    if "kinesis" in record:
        return base64.b64decode(record["kinesis"]["data"]).decode()
    return str(record["dynamodb"]["NewImage"]["text"]["S"])


def _is_poison(record: Event) -> bool:
    return _text(record).startswith("poison")


def works(event: Event, context: Any) -> None:
    _note("ended", event, context)


def takes_a_moment(event: Event, context: Any) -> None:
    _note("began", event, context)
    time.sleep(0.02)
    _note("ended", event, context)


def holds(event: Event, context: Any) -> None:
    _note("began", event, context)
    _wait_gate()
    _note("ended", event, context)


def refuses_poison(event: Event, context: Any) -> None:
    """As a whole: the batch fails."""
    _note("began", event, context)
    if any(map(_is_poison, event["Records"])):
        raise RuntimeError("poison")
    _note("ended", event, context)


def reports_poison(event: Event, context: Any) -> Event:
    """Says which, and answers for the rest."""
    _note("began", event, context)
    failed = [record for record in event["Records"] if _is_poison(record)]
    return {"batchItemFailures": [{"itemIdentifier": _shown(record)["id"]} for record in failed]}


def reports_by_exact(event: Event, context: Any) -> Event:
    """What shares a sequence number is named by its place, too: the end of its event id."""
    _note("began", event, context)
    failed = [record["eventID"].partition(":")[2] for record in event["Records"] if _is_poison(record)]
    return {"batchItemFailures": [{"itemIdentifier": name} for name in failed]}


def reports_by_sequence(event: Event, context: Any) -> Event:
    return reports_poison(event, context)


def counts(event: Event, context: Any) -> None:
    os.write(_JOURNAL, (json.dumps({"counted": f"{len(event['Records'])} records"}) + "\n").encode())


def holds_at_hold(event: Event, context: Any) -> None:
    _note("began", event, context)
    if any(_text(record) == "hold" for record in event["Records"]):
        _wait_gate()
    _note("ended", event, context)


def holds_poison(event: Event, context: Any) -> None:
    """Ponders over poison until the gate opens, and refuses it then."""
    _note("began", event, context)
    if any(map(_is_poison, event["Records"])):
        _wait_gate()
        raise RuntimeError("poison")
    _note("ended", event, context)


def sums(event: Event, context: Any) -> Event:
    """Counts the records of a tumbling window in its state; the last invocation of a window writes down what it came to."""
    _note("ended", event, context)
    state = {"count": event["state"].get("count", 0) + len(event["Records"]), "calls": event["state"].get("calls", 0) + 1}
    if event["isFinalInvokeForWindow"]:
        window = event["window"]
        line = {"start": window["start"], "end": window["end"], "shard": event["shardId"], "worker": _WORKER, **event["state"]}
        os.write(_JOURNAL, (json.dumps({"window": line}) + "\n").encode())
    return {"state": state}


def _wait_gate() -> None:
    while not _GATE.exists():
        time.sleep(_LOOK_EVERY)
