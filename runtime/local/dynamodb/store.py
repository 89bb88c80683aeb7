"""Everything DynamoDB holds: the tables of every account and region, and their streams, those of the past day too. Pure."""

from collections.abc import Callable
from random import Random
from typing import Any
from uuid import UUID

from runtime.local.dynamodb.indexes import KeyAttribute
from runtime.local.dynamodb.refusals import in_use, invalid, not_found
from runtime.local.dynamodb.schemas import key_schema
from runtime.local.dynamodb.shards import RETENTION
from runtime.local.dynamodb.streams import Stream, View
from runtime.local.dynamodb.tables import Table

_MILLISECOND = 0.001
_REMEMBERED = 600.0
"""Seconds for which a transaction's token is known."""


class DynamoDB:
    """`clock` gives seconds since the epoch. Equal seeds and equal calls at equal times give equal ids. Raises Refused."""

    def __init__(self, *, seed: int, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.new_stream_shards = 1
        """How many shards a stream begins with that is enabled from now on."""
        self._seed = seed
        self._rng = self._seeded()
        self._tables: dict[tuple[str, str, str], Table] = {}
        self._streams: dict[str, tuple[Table, Stream]] = {}
        self._transactions: dict[tuple[str, str], tuple[float, object]] = {}

    def reset(self) -> None:
        """Back to the first moment, with the seed begun anew."""
        self.new_stream_shards = 1
        self._tables.clear()
        self._streams.clear()
        self._transactions.clear()
        self._rng = self._seeded()

    def _seeded(self) -> Random:
        return Random(f"dynamodb {self._seed}")  # noqa: S311 - ids that repeat by seed, not secrets

    def create(self, name: str, *, account: str, region: str, keys: tuple[KeyAttribute, ...], billing: dict[str, Any]) -> Table:
        if (account, region, name) in self._tables:
            raise in_use(f"Table already exists: {name}")
        table = Table(
            name=name,
            account=account,
            region=region,
            table_id=str(UUID(int=self._rng.getrandbits(128), version=4)),
            keys=keys,
            billing=billing,
            now=self.clock(),
        )
        self._tables[account, region, name] = table
        return table

    def delete(self, table: Table) -> None:
        """Its stream can still be read for a day."""
        if table.stream is not None and table.stream.enabled:
            table.stream.disable(self.clock())
        del self._tables[table.account, table.region, table.name]

    def find(self, name: str, *, account: str, region: str) -> Table | None:
        """By name or ARN, with everything that was due by now done."""
        if name.startswith("arn:"):
            region, account, name = [*name.split(":"), "", "", ""][3:6]
            name = name.removeprefix("table/")
        found = self._tables.get((account, region, name))
        if found is not None:
            found.advance(self.clock())
        return found

    def table(self, name: str, *, account: str = "000000000000", region: str = "us-east-1") -> Table:
        """For looking in from outside."""
        found = self.find(name, account=account, region=region)
        if found is None:
            raise not_found(f": Table: {name} not found")
        return found

    def tables(self, *, account: str, region: str) -> list[Table]:
        """The caller's tables by name."""
        found = [table for (of, where, _name), table in self._tables.items() if (of, where) == (account, region)]
        return sorted(found, key=lambda table: table.name)

    def every_table(self) -> list[Table]:
        """With everything that was due by now done."""
        for table in self._tables.values():
            table.advance(self.clock())
        return list(self._tables.values())

    def transact(self, account: str, token: str, what: object) -> None:
        """Remember a transaction that was carried out."""
        now = self.clock()
        self._transactions = {key: each for key, each in self._transactions.items() if each[0] > now}
        self._transactions[account, token] = (now + _REMEMBERED, what)

    def transacted(self, account: str, token: str) -> object | None:
        """What was carried out under this token in the last ten minutes."""
        until, what = self._transactions.get((account, token), (0.0, None))
        return what if until > self.clock() else None

    # Streams

    def enable_stream(self, table: Table, view: View) -> Stream:
        if table.stream is not None and table.stream.enabled:
            raise invalid(f"Table already has an enabled stream: TableName: {table.name}")
        now = self.clock()
        while (stream := self._new_stream(table, view, now)).arn in self._streams:
            now += _MILLISECOND
        table.stream = stream
        self._streams[stream.arn] = (table, stream)
        return stream

    def _new_stream(self, table: Table, view: View, now: float) -> Stream:
        return Stream(
            table_arn=table.arn,
            table=table.name,
            view=view,
            key_schema=key_schema(table.keys),
            shards=self.new_stream_shards,
            now=now,
            rng=self._rng,
        )

    def disable_stream(self, table: Table) -> None:
        if table.stream is None or not table.stream.enabled:
            raise invalid(f"Table has no stream to disable: TableName: {table.name}")
        table.stream.disable(self.clock())

    def stream(self, arn: str) -> Stream:
        """With everything that was due by now done."""
        self._forget()
        found = self._streams.get(arn)
        if found is None:
            raise not_found(f": Stream: {arn} not found")
        table, stream = found
        table.advance(self.clock())
        return stream

    def streams(self, *, account: str, region: str, table: str | None = None) -> list[Stream]:
        """The caller's streams by ARN, those of one table if it is named; disabled ones for a day."""
        self._forget()
        start = f"arn:aws:dynamodb:{region}:{account}:table/"
        found = [stream for arn, (_table, stream) in self._streams.items() if arn.startswith(start)]
        return sorted((stream for stream in found if table in (None, stream.table)), key=lambda stream: stream.arn)

    def _forget(self) -> None:
        now = self.clock()
        gone = [
            arn
            for arn, (_table, stream) in self._streams.items()
            if stream.disabled_at is not None and stream.disabled_at + RETENTION <= now
        ]
        for arn in gone:
            del self._streams[arn]
