"""What a handler's answer says about the records of its batch.

The law: ignorance is failure. An answer that cannot be understood, or that names a record which the batch does not have, fails
the whole batch; a record is only settled when the answer leaves no doubt about it.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from handlers.invoker import NOT_JSON
from pollers.record import RecordId

_KEY: Final = "batchItemFailures"
_ITEM: Final = "itemIdentifier"


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemFailures:
    """Which records of a batch failed, by their ids."""

    failed: frozenset[RecordId]
    problem: str | None = None
    """Why the answer could not be used and the whole batch failed; for the log."""


def failed_items(response: Any, ids: Collection[RecordId]) -> ItemFailures:
    """Judge the answer of a handler that reports item failures (SQS-60..6D). `response` is decoded JSON, or NOT_JSON."""
    if response is None or response in ({}, "", []):
        return ItemFailures(failed=frozenset())
    if response is NOT_JSON:
        return _whole_batch(ids, "the answer is not JSON")
    if not isinstance(response, dict):
        return _whole_batch(ids, f"the answer is a {type(response).__name__}, not an object")
    listed = response.get(_KEY)
    if listed is None:
        return ItemFailures(failed=frozenset())
    if not isinstance(listed, list):
        return _whole_batch(ids, f"{_KEY} is a {type(listed).__name__}, not a list")
    return _judge_items(listed, ids)


def _judge_items(listed: list[Any], ids: Collection[RecordId]) -> ItemFailures:
    known = frozenset(ids)
    failed: set[RecordId] = set()
    for number, item in enumerate(listed):
        name = item.get(_ITEM) if isinstance(item, dict) else None
        if not isinstance(name, str) or not name:
            return _whole_batch(ids, f"entry {number} of {_KEY} has no {_ITEM}")
        if name not in known:  # user records of an aggregate share a sequence number: the first of them in the batch is meant
            name = next((each for each in ids if each.startswith(f"{name}:")), None)
        if name is None:
            return _whole_batch(ids, f"entry {number} of {_KEY} names a record that is not in the batch")
        failed.add(RecordId(name))
    return ItemFailures(failed=frozenset(failed))


def _whole_batch(ids: Collection[RecordId], problem: str) -> ItemFailures:
    return ItemFailures(failed=frozenset(ids), problem=problem)


def state_problem(response: Any) -> str | None:
    """Why the answer of a handler with a tumbling window is a failure: it must carry the window's state (COM-94)."""
    if not isinstance(response, dict) or "state" not in response:
        return "the answer has no state, which a tumbling window needs"
    state = response["state"]
    if not isinstance(state, dict):
        return f"state is a {type(state).__name__}, not an object"
    try:
        json.dumps(state)
    except RecursionError:
        return "state is nested too deeply"
    return None
