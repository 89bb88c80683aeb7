"""How many records a second the filters of a mapping judge on one core, and how many bodies are parsed for them.

In this process, without a worker: what a filter costs beside that is in no other figure.
"""

import json
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pollers import SPECS
from pollers.record import RecordId
from pollers.sqs_record import SqsRecord
from runtime.core.filtering import FilterCriteria

_BODY_BYTES: Final = 500
_RECORDS: Final = 1000
_FIELDS: Final = '{"body":{"kind":["order","return"],"total":[{"numeric":[">",100]}],"customer":{"country":["DE","FR"]}}}'
_IN_A_LIST: Final = '{"body":{"kind":["order","return"],"items":{"sku":[{"prefix":"a-"}],"count":[{"numeric":[">",5]}]}}}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Records per CPU second, medians of the rounds."""

    matched: float
    """Three fields of a body of 500 bytes that is parsed already; a third of the records matches."""
    matched_in_lists: float
    """One field, and two in the same member of a list of three."""
    parsed: float
    """Such bodies from text to a view."""


def measure_filters(*, rounds: int, seconds: float) -> Filters:
    """`seconds`: of each figure in a round."""
    chance = random.Random(1)  # noqa: S311  # the same records in every run
    records = [_record(number, chance) for number in range(_RECORDS)]
    view = SPECS["sqs"].filter_view
    read = view.reader(frozenset({"body", "body.kind"}))
    views = [read(record) for record in records]
    fields, lists = (FilterCriteria.compile([pattern], data=view).matches for pattern in (_FIELDS, _IN_A_LIST))
    return Filters(
        matched=_rate(fields, views, rounds, seconds),
        matched_in_lists=_rate(lists, views, rounds, seconds),
        parsed=_rate(read, records, rounds, seconds),
    )


def _record(number: int, chance: random.Random) -> SqsRecord:
    body: dict[str, Any] = {
        "kind": chance.choice(["order", "order", "order", "refund"]),
        "id": f"{number:08}",
        "total": chance.randint(0, 400),
        "customer": {"name": "somebody", "country": chance.choice(["DE", "FR", "IT", "ES"])},
        "items": [{"sku": f"{chance.choice('abc')}-{item}", "count": chance.randint(1, 9)} for item in range(3)],
        "note": "",
    }
    body["note"] = "x" * (_BODY_BYTES - len(json.dumps(body)))
    return SqsRecord(id=RecordId(str(number)), handle="", body=json.dumps(body))


def _rate(judge: Callable[[Any], object], each: Sequence[Any], rounds: int, seconds: float) -> float:
    rates = []
    for _ in range(rounds):
        began, done = time.process_time(), 0
        while (used := time.process_time() - began) < seconds:
            for one in each:
                judge(one)
            done += len(each)
        rates.append(done / used)
    return statistics.median(rates)
