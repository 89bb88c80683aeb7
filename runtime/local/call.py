"""One request on its way through an operation: what was asked, by whom, and the typed reading of its parameters."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from runtime.local.errors import Refused, invalid_value, missing
from runtime.local.queues import LONGEST_HIDING, Queue
from runtime.local.state import Caller, LocalState

Request = Mapping[str, Any]
Answer = dict[str, Any]
_ENTRY_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,80}")
_MOST_ENTRIES: Final = 10
_WRONG_ENTRY_ID: Final = (
    "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long."
)


class Effects(Protocol):
    """What faults do inside an operation."""

    def delete_delay(self, operation: str, queue: str) -> float: ...

    def duplicates(self, operation: str, queue: str) -> bool: ...

    def refused_entry(self, operation: str, queue: str) -> Answer | None:
        """Code, message and fault of an entry that is to be refused."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request on its way through an operation."""

    state: LocalState
    caller: Caller
    host: str
    """What stands before the account in a queue URL: scheme and authority."""
    operation: str
    request: Request
    effects: Effects

    def queue(self) -> Queue:
        return self.state.by_url(self.caller, self.text("QueueUrl"))

    def url(self, queue: Queue) -> str:
        return f"{self.host}/{queue.account}/{queue.name}"

    def text(self, parameter: str) -> str:
        found = self.maybe_text(parameter)
        if not found:
            raise missing(parameter)
        return found

    def maybe_text(self, parameter: str) -> str | None:
        found = self.request.get(parameter)
        if found is not None and not isinstance(found, str):
            raise Refused("SerializationException", f"{parameter} must be a string")
        return found

    def whole(self, parameter: str, low: int, high: int, reason: str) -> int | None:
        found = self.request.get(parameter)
        if found is not None and type(found) is not int:
            raise Refused("SerializationException", f"{parameter} must be an integer")
        if found is not None and not low <= found <= high:
            raise invalid_value(found, parameter, reason)
        return found

    def visibility(self) -> int | None:
        return self.whole("VisibilityTimeout", 0, LONGEST_HIDING, "Must be >= 0 and <= 43200, if provided.")

    def names(self, parameter: str) -> list[str]:
        found = self.request.get(parameter) or []
        if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
            raise Refused("SerializationException", f"{parameter} must be a list of strings")
        return found


def batch_entries(call: Call, shape: str) -> list[Request]:
    """The entries of a batch, checked as a whole: 1 to 10, ids well formed and distinct."""
    entries = call.request.get("Entries")
    if not isinstance(entries, list) or not entries:
        raise Refused("EmptyBatchRequest", f"There should be at least one {shape} in the request.")
    if len(entries) > _MOST_ENTRIES:
        message = f"Maximum number of entries per request are {_MOST_ENTRIES}. You have sent {len(entries)}."
        raise Refused("TooManyEntriesInBatchRequest", message)
    seen: set[str] = set()
    for entry in entries:
        entry_id = entry.get("Id") if isinstance(entry, dict) else None
        if not isinstance(entry_id, str) or _ENTRY_ID.fullmatch(entry_id) is None:
            raise Refused("InvalidBatchEntryId", _WRONG_ENTRY_ID)
        if entry_id in seen:
            raise Refused("BatchEntryIdsNotDistinct", f"Id {entry_id} repeated.")
        seen.add(entry_id)
    return entries


def run_batch(call: Call, queue: Queue, entries: list[Request], one: Callable[[Request], Answer]) -> Answer:
    """Runs a batch entry by entry; one that fails does not stop the others. An empty list is left out, as AWS does (recorded)."""
    successful, failed = [], []
    for entry in entries:
        refused = call.effects.refused_entry(call.operation, queue.name)
        if refused is not None:
            failed.append({"Id": entry["Id"], **refused})
            continue
        try:
            successful.append({"Id": entry["Id"], **one(entry)})
        except Refused as error:
            failed.append({"Id": entry["Id"], "SenderFault": error.sender, "Code": error.code, "Message": error.message})
    lists: Answer = {"Successful": successful, "Failed": failed}
    return {name: entries for name, entries in lists.items() if entries}


def entry_text(entry: Request, parameter: str) -> str:
    found = entry.get(parameter)
    if not isinstance(found, str) or not found:
        raise missing(parameter)
    return found
