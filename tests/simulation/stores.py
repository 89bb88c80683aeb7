"""Where the leases of a simulation are kept: in memory, or in an in-memory DynamoDB table with the real conditions."""

from collections.abc import Mapping
from typing import Protocol

from runtime.leases import Lease, LeaseStore
from runtime.local.dynamodb.store import DynamoDB
from runtime.stores.dynamodb.leases import lease_of
from runtime.stores.dynamodb.rows import parse_lease
from runtime.stores.memory import MemoryStore
from tests.fakes.dynamodb_table import FakeDynamodb, fake_store

Rows = Mapping[tuple[str, str], Lease]


class Stores(Protocol):
    """What all lives share."""

    together: bool
    """Several renewals are one step. Else each is one, so that no freeze comes between it and its line in the journal."""

    def of(self, life: str, scope: str) -> LeaseStore:
        """A life's way to it."""
        ...

    def rows(self) -> Rows:
        """As they are now, by scope and shard."""
        ...


class InMemory:
    together = True

    def __init__(self) -> None:
        self._store = MemoryStore()

    def of(self, _life: str, _scope: str) -> LeaseStore:
        return self._store

    def rows(self) -> Rows:
        return self._store._rows


class InTable:
    """Each life has a store of its own, which knows nothing of what the others have seen."""

    together = False

    def __init__(self) -> None:
        self._client = FakeDynamodb(DynamoDB(seed=0, clock=lambda: 0.0))
        self._stores: dict[str, LeaseStore] = {}
        self._scope = ""

    def of(self, life: str, scope: str) -> LeaseStore:
        self._scope = scope
        if life not in self._stores:
            self._stores[life] = fake_store(self._client, table="esm", worker=life)
        return self._stores[life]

    def rows(self) -> Rows:
        if not self._client.store.every_table():
            return {}
        found = [row for item in self._client.items("esm").values() if (row := parse_lease(item)) is not None]
        return {(self._scope, row.shard): lease_of(row, self._scope, start=None) for row in found}
