"""The contract of LeaseStore over HTTP: every test of `test_lease_store.py` on each server that speaks DynamoDB."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from runtime.config.worker import DynamodbState
from tests.contract import test_lease_store as contract
from tests.contract.test_lease_store import Open, Two
from tests.fakes.stores_on_servers import point_at, store_over_http
from tests.servers.running import Server

globals().update({name: test for name, test in vars(contract).items() if name.startswith("test_")})


@pytest.fixture
def two_stores(dynamodb_server: Server, monkeypatch: pytest.MonkeyPatch) -> Open:
    """A table that no other test knows, and two clients of the product."""
    point_at(dynamodb_server, monkeypatch)
    state = DynamodbState(table=f"esm-{uuid.uuid4().hex}-{{mapping}}")

    @asynccontextmanager
    async def opened() -> AsyncIterator[Two]:
        async with store_over_http(state, "w1") as first, store_over_http(state, "w2") as second:
            yield first, second

    return opened


@pytest.mark.like_aws("atomic_writes")
async def test_of_many_who_take_a_lease_at_once_one_has_it(two_stores: Open) -> None:
    await contract.test_of_many_who_take_a_lease_at_once_one_has_it(two_stores)
