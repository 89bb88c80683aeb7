"""Workers of ours (`esm run`) and of Java in one fleet on one stream, and the account of what was put, seen, and done to whom.

    async with mixed_fleet(kinesis, dynamodb, tmp_path) as fleet, fleet.producing():
        await fleet.start_java("java-1")
        await fleet.start_ours("ours-1")
        await fleet.wait_loads({"java-1": 2, "ours-1": 2}, "one of ours joins")

Every worker has a recorded way to the table of its own, so that it is known who wrote what. While records are put, all rows are
looked at again and again: `MixedFleet.objections` has what Java would not have written.
"""

import itertools
import logging
import signal
import sys
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio

from tests.acceptance.stream_site import seen, stream_function, stream_mapping, stream_site
from tests.acceptance.worker_process import Site, WorkerProcess, process_on
from tests.kcl.golden_rows import row_forms
from tests.kcl.java_worker import QUICK, Fleet, JavaWorker, java_worker
from tests.kcl.recording import Call, Wire, recording
from tests.servers.clients import dynamodb_client
from tests.servers.running import Server
from tests.servers.streams import StreamHandle, stream_on

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb.client import DynamoDBClient
    from types_aiobotocore_kinesis.type_defs import PutRecordsRequestEntryTypeDef

LOG: Final = logging.getLogger("mixed")
"""Tells how long things took: `--log-cli-level=INFO`."""
FAILOVER: Final = 3.0
"""Seconds, as in QUICK."""
Row = dict[str, Any]

_KEYS: Final = 40
_PUT_EVERY: Final = 0.3
_LOOK_EVERY: Final = 0.1
_UNSAVED: Final = 1.0
"""Seconds before a worker was killed from which on what it did may be done again."""
_PATIENCE: Final = 45.0
"""Seconds."""
_MONOTONIC: Final = time.time() - time.monotonic()
"""From the clock of our handlers to that of Java's."""
_PROMISES: Final = {"WORKER_METRIC_STATS": {"sup", "slu"}}
"""What we leave out of rows: we move no tables."""
_TOLD_LOAD: Final = Path(__file__).with_name("told_load.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """A record that a handler has done."""

    at: float
    """Seconds of the wall clock."""
    worker: str
    key: str
    text: str


@dataclass
class MixedFleet:
    stream: StreamHandle
    kinesis: Server
    dynamodb: Server
    site: Site
    stack: AsyncExitStack
    table: "DynamoDBClient"
    application: str
    settings: Mapping[str, str]
    """Of its Java workers, on top of QUICK."""
    put: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """By key, in order."""
    ours: dict[str, WorkerProcess] = field(default_factory=dict)
    """Those that run, by name; Java's too."""
    java: dict[str, JavaWorker] = field(default_factory=dict)
    wires: dict[str, Wire] = field(default_factory=dict)
    killed: dict[str, float] = field(default_factory=dict)
    """When, on the wall clock."""
    left: dict[str, float] = field(default_factory=dict)
    """When it was stopped or killed."""
    objections: set[str] = field(default_factory=set)
    last: dict[str, Row] = field(default_factory=dict)
    """Every row as it was seen last: Java deletes those of ended shards."""
    _every_java: list[JavaWorker] = field(default_factory=list)

    # what is done

    async def start_ours(self, name: str, *, load: Path | None = None) -> WorkerProcess:
        """`load`: a file like /proc/stat that stands for it."""
        wire = await self._wire(name)
        environment = {"AWS_ENDPOINT_URL_DYNAMODB": wire.endpoint_url, "AWS_REGION": self.kinesis.region, "WORKER": name}
        command = [sys.executable, "-m", "runtime"]
        if load is not None:
            command, environment["LOAD"] = [sys.executable, str(_TOLD_LOAD)], str(load)
        process = process_on(self.site, self.kinesis.endpoint_url, command=command, **environment)
        worker = self.ours[name] = await self.stack.enter_async_context(process)
        return worker

    async def start_java(self, name: str, **settings: str) -> JavaWorker:
        wire = await self._wire(name)
        fleet = Fleet(
            application=self.application,
            stream=self.stream.name,
            kinesis=self.kinesis.endpoint_url,
            dynamodb=wire.endpoint_url,
            settings={**QUICK, **self.settings, **settings},
        )
        worker = self.java[name] = await self.stack.enter_async_context(java_worker(self.site.folder, name, fleet))
        self._every_java.append(worker)
        return worker

    async def stop(self, name: str) -> None:
        """Each in its graceful way."""
        self.left[name] = time.time()
        if name in self.ours:
            assert await self.ours.pop(name).stop() == 0
        else:
            assert await self.java.pop(name).stop() == 143

    async def kill(self, name: str) -> None:
        self.killed[name] = self.left[name] = time.time()
        if name in self.ours:
            self.ours.pop(name).send_signal(signal.SIGKILL)
        else:
            await self.java.pop(name).kill()

    @asynccontextmanager
    async def producing(self) -> AsyncIterator[None]:
        """Beside the body records come and rows are looked at. Leaves when all of them were seen."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._run_producer, name="producer")
            tasks.start_soon(self._run_judge, name="judge")
            yield
            tasks.cancel_scope.cancel()
        await self.wait_all_seen()

    # what there is to see

    async def rows(self) -> dict[str, Row]:
        """By key; none before there is a table."""
        try:
            found = await self.table.scan(TableName=self.application, ConsistentRead=True)
        except self.table.exceptions.ResourceNotFoundException:
            return {}
        return {item["leaseKey"]["S"]: dict(item) for item in found["Items"]}

    async def leases(self) -> dict[str, Row]:
        return {key: row for key, row in (await self.rows()).items() if row["entityType"]["S"] == "LEASE"}

    async def owned(self) -> dict[str, str]:
        """The open shards, by who works on each; "" is nobody, or one that was given it and has not begun."""
        return {shard: _holder(row) for shard, row in (await self.leases()).items() if row["checkpoint"]["S"] != "SHARD_END"}

    async def leader(self) -> str:
        row = (await self.rows()).get("Leader", {})
        return str(row.get("ownerName", {"S": ""})["S"])

    async def wait_loads(self, wanted: Mapping[str, int], what: str, *, seconds: float = _PATIENCE) -> float:
        """Until each worker has so many open shards. Gives the seconds that it took."""
        return await self.wait_owned(lambda loads: dict(loads) == dict(wanted), f"{what}: {dict(wanted)}", seconds=seconds)

    async def wait_owned(self, check: Callable[[Counter[str]], bool], what: str, *, seconds: float = _PATIENCE) -> float:
        """The same, of a condition for how many each has."""
        began = anyio.current_time()
        while not check(loads := Counter((await self.owned()).values())):
            if anyio.current_time() - began > seconds:
                raise AssertionError(f"{what}: not within {seconds:g} s, but {dict(loads)}\n{self._logs()}")
            await anyio.sleep(_LOOK_EVERY)
        LOG.info("%s: %.1f s", what, took := anyio.current_time() - began)
        return took

    async def wait_cleaned(self) -> None:
        """Until there is no row of a shard that has ended."""
        began = anyio.current_time()
        while left := [shard for shard, row in (await self.leases()).items() if row["checkpoint"]["S"] == "SHARD_END"]:
            assert anyio.current_time() - began < _PATIENCE, f"rows of ended shards: {left}\n{self._logs()}"
            await anyio.sleep(_LOOK_EVERY)
        LOG.info("no row of an ended shard is left: %.1f s", anyio.current_time() - began)

    async def wait_all_seen(self, *, seconds: float = _PATIENCE) -> None:
        """Whatever was put until now, by whomever."""
        everything = set(itertools.chain.from_iterable(self.put.values()))
        until = anyio.current_time() + seconds
        while left := everything - {sight.text for sight in self.sights()}:
            if anyio.current_time() > until:
                raise AssertionError(f"{len(left)} records not seen: {sorted(left)[:5]}; {await self.owned()}\n{self._logs()}")
            await anyio.sleep(3 * _LOOK_EVERY)

    async def wait_replaced(self, name: str) -> None:
        """Until a record of every key was done by others since this worker was stopped or killed."""
        since = self.left[name]
        while len(back := {s.key: s.at for s in reversed(self.sights()) if s.worker != name and s.at > since}) < _KEYS:
            assert time.time() - since < _PATIENCE, f"{_KEYS - len(back)} keys stand still without {name}\n{self._logs()}"
            await anyio.sleep(_LOOK_EVERY)
        LOG.info(
            "%s is %s: all keys go on after %.1f s",
            name,
            "killed" if name in self.killed else "stopped",
            max(back.values()) - since,
        )

    def sights(self) -> list[Sight]:
        """In the order in which they were done."""
        found = [Sight(at=each.at + _MONOTONIC, worker=each.worker, key=each.key, text=each.text) for each in seen(self.site)]
        for worker in self._every_java:
            found += [
                Sight(at=line["at"] / 1000, worker=worker.name, key=line["partitionKey"], text=line["data"])
                for line in worker.events("record")
            ]
        return sorted(found, key=lambda sight: sight.at)

    def account(self) -> "Account":
        account = account_of(self.put, self.sights(), self.killed)
        LOG.info("%s", account)
        return account

    def written(self, *names: str) -> list[Call]:
        """What these workers wrote, in order."""
        calls = [call for name in names for call in self.wires[name].calls if call.ok]
        return sorted(calls, key=lambda call: call.at)

    def checkpoints(self, *names: str) -> set[str]:
        """All that these workers left in rows."""
        left = [call.after for call in self.written(*names) if call.after is not None]
        return {str(row["checkpoint"]["S"]) for row in left if "checkpoint" in row}

    # parts

    async def _wire(self, name: str) -> Wire:
        wire = self.wires[name] = await self.stack.enter_async_context(recording(self.dynamodb))
        return wire

    async def _run_producer(self) -> None:
        while True:
            records: list[PutRecordsRequestEntryTypeDef] = []
            for number in range(_KEYS):
                key = f"key-{number}"
                text = f"{key} {len(self.put[key])}"
                self.put[key].append(text)
                records.append({"Data": text.encode(), "PartitionKey": key})
            answer = await self.stream.client.put_records(StreamName=self.stream.name, Records=records)
            assert not answer.get("FailedRecordCount")
            await anyio.sleep(_PUT_EVERY)

    async def _run_judge(self) -> None:
        while True:
            for key, row in (await self.rows()).items():
                self.last[key] = row
                self.objections |= {f"{key}: {each}" for each in objections(row)}
            await anyio.sleep(_LOOK_EVERY)

    def _logs(self) -> str:
        ours = [f"--- {name}\n{worker.log_text()[-3000:]}" for name, worker in self.ours.items()]
        return "\n".join([*ours, *(f"--- {name}\n{worker.log_tail()}" for name, worker in self.java.items())])


def _holder(row: Row) -> str:
    """One that ours have assigned is nobody's until it is taken; of Java's rows that cannot be told."""
    if row.get("esmUnclaimed") == row["leaseCounter"]:
        return ""
    owner: Row = row.get("checkpointOwner") or row.get("leaseOwner") or {"S": ""}
    return str(owner["S"])


def objections(row: Row) -> list[str]:
    """What Java would not have written so, but for attributes of ours, which it passes over."""
    entity = row.get("entityType", {"S": "no entityType"})["S"]
    form = row_forms().get(entity)
    if form is None:
        return [f"{entity} is nothing that Java writes"]
    plain = {name: value for name, value in row.items() if not name.startswith("esm")}
    missing = {f"{name} is missing" for name in _PROMISES.get(entity, ())}
    return [each for each in form.objections(plain) if each not in missing]


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    put: int
    missing: int = 0
    out_of_order: tuple[str, ...] = ()
    """Keys whose records were not first seen in the order in which they were put."""
    repeated: int = 0
    unexplained: tuple[str, ...] = ()
    """Records that came again although whoever had done them was not killed just then."""

    @property
    def balanced(self) -> bool:
        """Nothing is wrong: what came again is explained."""
        return not (self.missing or self.out_of_order or self.unexplained)

    @property
    def nothing_amiss(self) -> bool:
        """Nor did anything come again."""
        return self.balanced and not self.repeated


def account_of(put: Mapping[str, Sequence[str]], sights: Sequence[Sight], killed: Mapping[str, float]) -> Account:
    first: dict[str, list[str]] = defaultdict(list)
    last: dict[str, Sight] = {}
    repeated, unexplained = 0, []
    for sight in sights:
        before = last.get(sight.text)
        if before is None:
            first[sight.key].append(sight.text)
        else:
            repeated += 1
            if not 0 <= killed.get(before.worker, 0.0) - before.at <= _UNSAVED:
                unexplained.append(f"{sight.text}: {before.worker} {before.at:.3f}, then {sight.worker} {sight.at:.3f}")
        last[sight.text] = sight
    everything = set(itertools.chain.from_iterable(put.values()))
    return Account(
        put=len(everything),
        missing=len(everything - last.keys()),
        out_of_order=tuple(key for key, texts in put.items() if first[key] != [text for text in texts if text in last]),
        repeated=repeated,
        unexplained=tuple(unexplained),
    )


@asynccontextmanager
async def mixed_fleet(kinesis: Server, dynamodb: Server, folder: Path, **settings: str) -> AsyncIterator[MixedFleet]:
    """On a new stream with four shards; nobody works on it yet. `settings`: of all Java workers, on top of QUICK."""
    application = f"mixed-{uuid.uuid4().hex}"
    async with stream_on(kinesis, shards=4) as stream, dynamodb_client(dynamodb) as table, AsyncExitStack() as stack:
        site = stream_site(
            folder,
            {"f": stream_function("takes_a_moment", Timeout=10)},
            [stream_mapping("m", stream.arn, BatchSize=20)],
            state=f"dynamodb://{application}",
            failover=FAILOVER,
        )
        yield MixedFleet(stream, kinesis, dynamodb, site, stack, table, application, settings)
