"""One call of one table: bounded in time, counted, and with errors as StateErrors.

The law: a call that has begun is not cut off by cancellation, because nobody would know what it did; it ends within
`LONGEST_CALL`, the client's own tries included. The first one may take longer: it makes the client, and nobody has a lease yet.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import anyio
import anyio.lowlevel

from runtime.leases import StateError
from runtime.stores.dynamodb.api import Answer, CapacityUsed, DynamodbApi
from runtime.stores.dynamodb.errors import CONDITION_FAILED, TRANSACTION_CANCELED, code_of, to_state_error
from runtime.stores.dynamodb.limits import Limits, current_series

LONGEST_CALL: Final = 5.0
"""Seconds. Half of the usual failover time: a lease is not yet lost then, and there is time for one more try."""
LONGEST_START: Final = 20.0
"""Seconds for a call that has to make the client, which reads files and may ask for credentials."""
_READS: Final = frozenset({"GetItem", "Scan", "Query"})
_UNCOUNTED: Final = frozenset({"DescribeTable", "CreateTable", "UpdateTable"})
_COUNTED: Final = {"ReturnConsumedCapacity": "TOTAL"}
_EXPECTED: Final = frozenset({CONDITION_FAILED, TRANSACTION_CANCELED})
_METHODS: Final[Mapping[str, str]] = {
    "DescribeTable": "describe_table",
    "CreateTable": "create_table",
    "UpdateTable": "update_table",
    "GetItem": "get_item",
    "PutItem": "put_item",
    "UpdateItem": "update_item",
    "DeleteItem": "delete_item",
    "TransactWriteItems": "transact_write_items",
    "Scan": "scan",
    "Query": "query",
}
"""As the client calls them."""

Connect = Callable[[], Awaitable[DynamodbApi]]
"""Gives the client, made on first use. Raises what making it raises."""


class TableCalls:
    def __init__(self, connect: Connect, *, table: str, region: str, capacity_used: CapacityUsed) -> None:
        self.table = table
        self.region = region
        self.connect = connect
        self._client: DynamodbApi | None = None
        self.capacity_used = capacity_used
        self._limits = Limits(LONGEST_CALL)

    async def call(self, operation: str, request: Mapping[str, Any], *, expected: frozenset[str] = frozenset()) -> Answer:
        """Raises StateError; of the codes of `expected`, and of conditions that failed, the client's own error."""
        series = current_series()
        if series is None:
            await anyio.lowlevel.checkpoint_if_cancelled()
        counted = operation not in _UNCOUNTED
        asked = {**request, **(_COUNTED if counted else {})}
        if operation != "TransactWriteItems":
            asked["TableName"] = self.table
        try:
            if series is None or self._client is None:
                answer = await self._ask(operation, asked)
            else:
                answer = await self._limits.within(getattr(self._client, _METHODS[operation])(**asked))
                await series.gathered()
        except Exception as error:
            code = code_of(error)
            if code in _EXPECTED:  # the units of a refused write are not told; a row of ours has less than a kilobyte
                self.capacity_used("write", operation, 1.0)
            if code is not None and code in _EXPECTED | expected:
                raise
            raise self.failed(error, operation) from error
        if counted:
            self._count(operation, answer)
        return answer

    async def _ask(self, operation: str, asked: Mapping[str, Any]) -> Answer:
        longest = LONGEST_START if self._client is None else LONGEST_CALL
        with anyio.CancelScope(shield=True, deadline=anyio.current_time() + longest):
            return await self._answer(operation, asked)
        raise TimeoutError(f"nothing for {longest:.0f} seconds")

    async def _answer(self, operation: str, asked: Mapping[str, Any]) -> Answer:
        if self._client is None:
            self._client = await self.connect()
        answer: Answer = await getattr(self._client, _METHODS[operation])(**asked)
        return answer

    def failed(self, error: Exception, operation: str) -> StateError:
        if isinstance(error, StateError):
            return error
        return to_state_error(error, operation=operation, table=self.table, region=self.region)

    def _count(self, operation: str, answer: Answer) -> None:
        told = answer.get("ConsumedCapacity") or {}
        if isinstance(told, list):  # of a transaction, by table
            units = sum(float(each.get("CapacityUnits", 0)) for each in told)
        else:
            units = float(told.get("CapacityUnits", 0))
        self.capacity_used("read" if operation in _READS else "write", operation, units)
