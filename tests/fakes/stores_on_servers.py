"""DynamoDB stores of the product on a running server."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial

import pytest

from runtime.config.worker import DynamodbState
from runtime.stores.dynamodb.client import dynamodb_client
from runtime.stores.dynamodb.opening import dynamodb_store
from runtime.stores.dynamodb.store import DynamodbStore
from tests.fakes.roads import aws_clients
from tests.servers.running import Server


def point_at(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clients of the product ask this server."""
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)


@asynccontextmanager
async def store_over_http(
    state: DynamodbState,
    worker: str = "w1",
    *,
    used: Callable[[str, str, float], None] = lambda _kind, _operation, _units: None,
    starts: Mapping[str, float] | None = None,
) -> AsyncIterator[DynamodbStore]:
    """With a client of its own, on the server that the environment names."""
    async with aws_clients() as clients:
        yield dynamodb_store(state, partial(dynamodb_client, clients), worker=worker, capacity_used=used, starts=starts or {})
