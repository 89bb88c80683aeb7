"""Faults that are made on request: which there are, how one is described, when it fires. Pure; the server carries them out.

A fault matches requests by service, operation and what they are about (a queue, a stream, a shard: `AIMS`). `times` bounds how
often it fires, `probability` (by the seed) how likely each time. `when` says whether it strikes before the work or after:
the work is then done, and the client does not know.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from random import Random
from typing import Any, Final

MOST_SECONDS: Final = 3600.0


class Kind(StrEnum):
    THROTTLE = "throttle"
    ERROR500 = "error500"
    ERROR503 = "error503"
    ACCESS_DENIED = "access_denied"
    EXPIRED_TOKEN = "expired_token"  # noqa: S105 - the name of a fault
    DROP = "drop"
    SLOW = "slow"
    TRUNCATE = "truncate"
    GARBAGE = "garbage"
    DELAYED_DELETE = "delayed_delete"
    DUPLICATE = "duplicate"
    REFUSE_ENTRY = "refuse_entry"
    EXPIRED_ITERATOR = "expired_iterator"
    DUPLICATE_PAGE = "duplicate_page"
    EMPTY_PAGE = "empty_page"
    TRIMMED = "trimmed"
    EARLY_END = "early_end"
    STALLED = "stalled"
    CUT_FRAME = "cut_frame"
    BAD_CHECKSUM = "bad_checksum"


class When(StrEnum):
    BEFORE = "before"
    AFTER = "after"


_DELETES: Final = frozenset({"DeleteMessage", "DeleteMessageBatch"})
_BATCHES: Final = frozenset({"SendMessageBatch", "DeleteMessageBatch", "ChangeMessageVisibilityBatch"})
_READS: Final = frozenset({"GetRecords"})
_PUSHES: Final = frozenset({"SubscribeToShard"})
_ONLY: Final[dict[Kind, dict[str, frozenset[str]]]] = {
    Kind.DELAYED_DELETE: {"sqs": _DELETES},
    Kind.DUPLICATE: {"sqs": frozenset({"ReceiveMessage"})},
    Kind.REFUSE_ENTRY: {"sqs": _BATCHES},
    Kind.EXPIRED_ITERATOR: {"kinesis": _READS, "dynamodbstreams": _READS},
    Kind.DUPLICATE_PAGE: {"kinesis": _READS, "dynamodbstreams": _READS},
    Kind.EMPTY_PAGE: {"kinesis": _READS, "dynamodbstreams": _READS},
    Kind.TRIMMED: {"dynamodbstreams": _READS | {"GetShardIterator"}},
    Kind.EARLY_END: {"kinesis": _PUSHES},
    Kind.STALLED: {"kinesis": _PUSHES},
    Kind.CUT_FRAME: {"kinesis": _PUSHES},
    Kind.BAD_CHECKSUM: {"kinesis": _PUSHES},
}
"""Kinds that not every operation knows: the service -> its operations that do."""
_INSIDE: Final = frozenset({
    Kind.DELAYED_DELETE, Kind.DUPLICATE, Kind.REFUSE_ENTRY, Kind.DUPLICATE_PAGE, Kind.EMPTY_PAGE,
    Kind.EARLY_END, Kind.STALLED, Kind.CUT_FRAME, Kind.BAD_CHECKSUM,
})  # fmt: skip
"""Kinds that act inside an operation, which asks for them; all others are the server's."""
_TIMED: Final = frozenset({Kind.SLOW, Kind.DELAYED_DELETE})
AIMS: Final[dict[str, tuple[str, ...]]] = {
    "sqs": ("queue",),
    "kinesis": ("stream", "shard"),
    "dynamodb": ("table",),
    "dynamodbstreams": ("table", "shard"),
    "sns": ("topic",),
    "s3": ("bucket",),
    "events": ("bus",),
    "lambda": ("function",),
}
"""What the faults of a service can be aimed at: fields of a fault, and keys of `service.Asked.about`."""


class BadFault(ValueError):
    """A description of a fault that makes no sense; the text names the field and what is wrong with it."""


@dataclass(slots=True, kw_only=True)
class Fault:
    """One fault. Times in seconds."""

    fault: Kind
    service: str = "sqs"
    operation: str = "*"
    about: dict[str, str] = field(default_factory=dict)
    """What it is aimed at; what is not named matches everything."""
    times: int | None = None
    """How often it fires at most; None is without end."""
    probability: float = 1.0
    seconds: float = 0.0
    when: When = When.BEFORE
    code: str = "InternalError"
    """Of a refused entry."""
    id: str = ""
    fired: int = 0

    def as_json(self) -> dict[str, Any]:
        """The fields, with those of `about` beside the others, as they are given."""
        shown = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "about"}
        return {**shown, **{name: self.about.get(name) for name in AIMS.get(self.service, ())}}


def parse_fault(given: object, *, services: Mapping[str, frozenset[str]]) -> Fault:
    """Reads a description; raises BadFault. `services` lists the operations of each service."""
    if not isinstance(given, dict):
        raise BadFault("a fault is a JSON object")
    aims = {name for names in AIMS.values() for name in names}
    known = {item.name for item in fields(Fault)} - {"id", "fired", "about"} | aims
    for name in given:
        if name not in known:
            raise BadFault(f"unknown field {name!r}; there are {', '.join(sorted(known))}")
    kind = _choice(given, "fault", Kind)
    service = given.get("service", "sqs")
    if service not in services:
        raise BadFault(f"service {service!r} is not one of {', '.join(sorted(services))}")
    fault = Fault(
        fault=kind,
        service=service,
        operation=_operation(given, kind, service, services[service]),
        about=_about(given, service, aims),
        times=_times(given),
        probability=_number(given, "probability", 1.0, 1.0),
        seconds=_number(given, "seconds", 0.0, MOST_SECONDS),
        when=_when(given, kind),
        code=_text(given, "code", "InternalError") or "InternalError",
    )
    if kind in _TIMED and fault.seconds <= 0:
        raise BadFault(f"seconds must be given and above 0 for {kind}")
    for name, kinds in (("seconds", _TIMED), ("code", {Kind.REFUSE_ENTRY})):
        if name in given and kind not in kinds:
            raise BadFault(f"{name} has no meaning for {kind}")
    return fault


def _choice(given: Mapping[str, Any], name: str, choices: type[Kind]) -> Kind:
    value = given.get(name)
    if not isinstance(value, str) or value not in set(choices):
        raise BadFault(f"{name} {value!r} is not one of {', '.join(choices)}")
    return choices(value)


def _operation(given: Mapping[str, Any], kind: Kind, service: str, operations: frozenset[str]) -> str:
    possible = _ONLY[kind].get(service) if kind in _ONLY else operations
    if possible is None:
        raise BadFault(f"{kind} has no meaning for {service}; there it is one of {', '.join(_ONLY[kind])}")
    value = given.get("operation", "*")
    if not isinstance(value, str) or (value != "*" and value not in possible):
        raise BadFault(f"operation {value!r} is not one of *, {', '.join(sorted(possible))} (for {kind})")
    return value


def _about(given: Mapping[str, Any], service: str, aims: set[str]) -> dict[str, str]:
    possible = AIMS.get(service, ())
    about = {}
    for name in sorted(aims & given.keys()):
        if name not in possible:
            raise BadFault(f"{name} has no meaning for {service}")
        value = _text(given, name, None)
        if value is not None:
            about[name] = value
    return about


def _when(given: Mapping[str, Any], kind: Kind) -> When:
    value = given.get("when")
    if value is None:
        return When.AFTER if kind in (Kind.TRUNCATE, Kind.GARBAGE) else When.BEFORE
    if value not in set(When):
        raise BadFault(f"when {value!r} is not one of {', '.join(When)}")
    if kind in _INSIDE:
        raise BadFault(f"when has no meaning for {kind}")
    if kind is Kind.TRUNCATE and value == When.BEFORE:
        raise BadFault("when must be after for truncate: there is no answer to cut before the operation acted")
    return When(value)


def _times(given: Mapping[str, Any]) -> int | None:
    value = given.get("times")
    if value is not None and (type(value) is not int or value < 1):
        raise BadFault(f"times {value!r} is not a positive integer or null")
    return value


def _number(given: Mapping[str, Any], name: str, default: float, high: float) -> float:
    value = given.get(name, default)
    if type(value) not in (int, float) or not 0 <= value <= high:
        raise BadFault(f"{name} {value!r} is not a number from 0 to {high:g}")
    return float(value)


def _text(given: Mapping[str, Any], name: str, default: str | None) -> str | None:
    value = given.get(name, default)
    if value is not None and (not isinstance(value, str) or not value):
        raise BadFault(f"{name} {value!r} is not a non-empty string")
    return value


class Faults:
    """The faults that are set. Also what the operations ask (`call.Effects`, `kinesis.reading.Effects`)."""

    def __init__(self, *, seed: int) -> None:
        self._rng = Random(f"faults {seed}")  # noqa: S311 - chance that repeats by seed
        self._faults: dict[str, Fault] = {}
        self._count = 0

    def add(self, fault: Fault) -> Fault:
        self._count += 1
        fault.id = f"fault-{self._count}"
        self._faults[fault.id] = fault
        return fault

    def remove(self, fault_id: str) -> bool:
        return self._faults.pop(fault_id, None) is not None

    def clear(self) -> None:
        self._faults.clear()

    def every(self) -> list[Fault]:
        """All that were set and not removed, those that are used up as well: their counts are of interest."""
        return list(self._faults.values())

    def fire(self, when: When, *, service: str, operation: str, **about: str | None) -> list[Fault]:
        """The faults that strike this request now, counted; at most one of them ends it, and that one comes last."""
        struck: list[Fault] = []
        for fault in self._faults.values():
            if fault.fault in _INSIDE or fault.when is not when or not self._strikes(fault, service, operation, about):
                continue
            struck.append(fault)
            if fault.fault is not Kind.SLOW:
                break
        return struck

    def inside(self, kind: Kind, *, service: str, operation: str, **about: str | None) -> Fault | None:
        """The first fault of a kind that acts inside operations, if one strikes this request, counted."""
        candidates = (fault for fault in self._faults.values() if fault.fault is kind)
        return next((fault for fault in candidates if self._strikes(fault, service, operation, about)), None)

    def delete_delay(self, operation: str, queue: str) -> float:
        found = self.inside(Kind.DELAYED_DELETE, service="sqs", operation=operation, queue=queue)
        return 0.0 if found is None else found.seconds

    def duplicates(self, operation: str, queue: str) -> bool:
        return self.inside(Kind.DUPLICATE, service="sqs", operation=operation, queue=queue) is not None

    def refused_entry(self, operation: str, queue: str) -> dict[str, Any] | None:
        found = self.inside(Kind.REFUSE_ENTRY, service="sqs", operation=operation, queue=queue)
        if found is None:
            return None
        return {"SenderFault": False, "Code": found.code, "Message": f"Refused by {found.id}."}

    def _strikes(self, fault: Fault, service: str, operation: str, about: Mapping[str, str | None]) -> bool:
        matches = (
            fault.service == service
            and fault.operation in ("*", operation)
            and operation in _ONLY.get(fault.fault, {}).get(service, {operation})
            and all(about.get(name) == value for name, value in fault.about.items())
            and (fault.times is None or fault.fired < fault.times)
        )
        if not matches or (fault.probability < 1 and self._rng.random() >= fault.probability):
            return False
        fault.fired += 1
        return True
