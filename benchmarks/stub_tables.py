"""What the stub endpoint answers for DynamoDB, without a socket: the embedded endpoint's tables, conditions and units.

They cost the stub's core a few hundred microseconds a request: enough for the upkeep of leases, not for a race.
"""

import time
from collections import Counter
from typing import Any, Final

import msgspec

from benchmarks.stub_queues import ACCOUNT, REGION
from runtime.local.dynamodb.call import Call
from runtime.local.dynamodb.service import ITEMS, TABLES
from runtime.local.dynamodb.store import DynamoDB
from runtime.local.errors import Refused
from runtime.local.state import Caller

_CALLER: Final = Caller(ACCOUNT, REGION)
_OPERATIONS: Final = TABLES | ITEMS
_NAMESPACE: Final = "com.amazonaws.dynamodb.v20120810#"


class TableRefused(Exception):
    """Carries the body of the answer."""

    def __init__(self, body: bytes) -> None:
        super().__init__(body)
        self.body = body


class StubTables:
    operations: Final = tuple(_OPERATIONS)

    def __init__(self) -> None:
        self._store = DynamoDB(seed=0, clock=time.time)
        self._asked: Counter[str] = Counter()

    def reset(self) -> None:
        """No table is there any more."""
        self._store.reset()
        self._asked.clear()

    def answer(self, operation: str, body: bytes) -> bytes:
        """Raises TableRefused."""
        self._asked[operation] += 1
        call = Call(store=self._store, caller=_CALLER, operation=operation, body=msgspec.json.decode(body))
        try:
            return msgspec.json.encode(_OPERATIONS[operation](call))
        except Refused as refused:
            told = {"__type": _NAMESPACE + refused.shape, "message": refused.message, **refused.more}
            raise TableRefused(msgspec.json.encode(told)) from None

    def stats(self) -> dict[str, Any]:
        return dict(self._asked)
