"""A DynamoDB client without a network, for stories in virtual time: the embedded endpoint's tables behind the client's own methods.

The conditions are the real ones, parsed and judged as the endpoint does over HTTP. A call gives way once, before it looks at
anything, and then does all it does in one step. `before` and `after` may raise or wait for a call: a lost request, a lost answer.
"""

import time
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from itertools import count
from typing import Any

import anyio.lowlevel
from botocore.exceptions import ClientError
from msgspec import Raw
from msgspec.json import encode as as_json

from runtime.config.worker import DynamodbState
from runtime.local.dynamodb.call import Call
from runtime.local.dynamodb.service import ITEMS, TABLES
from runtime.local.dynamodb.store import DynamoDB
from runtime.local.errors import Refused
from runtime.local.state import Caller
from runtime.stores.dynamodb.opening import dynamodb_store
from runtime.stores.dynamodb.store import DynamodbStore

ME = Caller("123456789012", "eu-west-1")
Step = Callable[[str, Mapping[str, Any]], Awaitable[None]]


async def nothing(_operation: str, _request: Mapping[str, Any]) -> None:
    pass


class FakeDynamodb:
    """The client. One may be shared by any number of stores; the tables are in `store`."""

    def __init__(self, store: DynamoDB | None = None) -> None:
        self.store = store or DynamoDB(seed=0, clock=time.time)
        self.before: Step = nothing
        self.after: Step = nothing
        self.alter: Callable[[str, Any], Any] = lambda _operation, answer: answer
        """Makes another answer of one, for what the endpoint's tables never are."""
        self.twice: set[str] = set()
        """Operations whose first answer is lost on the way, so that the client asks again; the second answer arrives."""
        self.asked: list[str] = []

    def __getattr__(self, method: str) -> Callable[..., Awaitable[Any]]:
        operation = "".join(word.title() for word in method.split("_"))
        if operation not in TABLES | ITEMS:
            raise AttributeError(method)

        async def call(**request: Any) -> Any:
            await anyio.lowlevel.checkpoint()
            self.asked.append(operation)
            await self.before(operation, request)
            if operation in self.twice:
                with suppress(ClientError):
                    self.carry_out(operation, request)
            answer = self.carry_out(operation, request)
            await self.after(operation, request)
            return as_text(operation, self.alter(operation, answer))

        return call

    def carry_out(self, operation: str, request: Mapping[str, Any]) -> Any:
        """At once, without giving way."""
        call = Call(store=self.store, caller=ME, operation=operation, body=_converted(dict(request), encode=True))
        try:
            return _converted((TABLES | ITEMS)[operation](call), encode=False)
        except Refused as refused:
            answer = {"Error": {"Code": refused.shape, "Message": refused.message}, **refused.more}
            raise ClientError(_converted(answer, encode=False), operation) from None

    def items(self, table: str) -> dict[str, dict[str, Any]]:
        """By `leaseKey`, with binary as base64."""
        found = self.store.table(table, account=ME.account, region=ME.region).scan(limit=None, after=None).items
        return {item["leaseKey"]["S"]: item for item in found}


def as_text(operation: str, answer: Any) -> Any:
    """The rows that the product's client leaves as they came."""
    if operation == "Scan":
        return {**answer, "Items": [Raw(as_json(item)) for item in answer["Items"]]}
    if operation == "UpdateItem" and "Attributes" in answer:
        return {**answer, "Attributes": Raw(as_json(answer["Attributes"]))}
    return answer


def _converted(value: Any, *, encode: bool) -> Any:
    """Binary is base64 on the wire, and bytes for users of the client."""
    if isinstance(value, dict):
        if set(value) == {"B"}:
            return {"B": b64encode(value["B"]).decode() if encode else b64decode(value["B"])}
        return {name: _converted(part, encode=encode) for name, part in value.items()}
    return [_converted(part, encode=encode) for part in value] if isinstance(value, list) else value


def fake_store(
    client: FakeDynamodb,
    *,
    table: str = "esm-{mapping}",
    create: bool = True,
    worker: str = "w1",
    starts: Mapping[str, float] | None = None,
    used: Callable[[str, str, float], None] = lambda _kind, _operation, _units: None,
) -> DynamodbStore:
    """Tokens are counted, so that a story told twice is the same."""

    async def connect(_region: str) -> Any:
        return client

    numbers = count(1)
    return dynamodb_store(
        DynamodbState(table=table, create=create),
        connect,
        worker=worker,
        capacity_used=used,
        starts=starts or {},
        clock=lambda: 1_800_000_000.0,
        tokens=lambda: f"{worker}-{next(numbers)}-{id(numbers)}",
    )
