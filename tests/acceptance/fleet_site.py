"""A fleet of worker processes on one table, with a wire of its own for each, and the account of what they were given and what they did."""

import signal
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import anyio

from tests.acceptance.cut_wire import Wire, wire_to
from tests.acceptance.local_aws import ACCOUNT, REGION, LocalAws
from tests.acceptance.stream_site import Seen, seen, stream_function, stream_mapping, stream_site
from tests.acceptance.worker_process import Site, WorkerProcess, process_on, wait_until

STREAM: Final = "clicks"
STATE: Final = "dynamodb://esm-{mapping}"
_HORIZON: Final = 1.0
"""Seconds before a fault from which on the victim's checkpoints may be missing."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something was done to a worker that may repeat what it had in hand."""

    worker: str
    began: float
    ended: float


@dataclass
class Fleet:
    aws: LocalAws
    site: Site
    stack: AsyncExitStack
    failover: float
    keys: int
    put: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    workers: dict[str, WorkerProcess] = field(default_factory=dict)
    wires: dict[str, Wire] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    async def start(self, *names: str) -> None:
        port = int(self.aws.endpoint.url.rpartition(":")[2])
        for name in names:
            wire = self.wires[name] = await self.stack.enter_async_context(wire_to(port))
            process = process_on(self.site, self.aws.endpoint.url, WORKER=name, AWS_ENDPOINT_URL_DYNAMODB=wire.url)
            self.workers[name] = await self.stack.enter_async_context(process)

    async def produce(self) -> None:
        """One record of each key."""
        new = {f"key-{n}": [f"key-{n} {len(self.put[f'key-{n}'])}"] for n in range(self.keys)}
        for key, texts in new.items():
            self.put[key] += texts
        await self.aws.put_keyed(STREAM, new)

    async def run_producer(self, every: float) -> None:
        while True:
            await self.produce()
            await anyio.sleep(every)

    # what is done to them

    def kill(self, name: str) -> None:
        self.workers.pop(name).send_signal(signal.SIGKILL)
        self._note(name, 0.0)

    async def pause(self, name: str, seconds: float) -> None:
        worker, began = self.workers[name], anyio.current_time()
        worker.send_signal(signal.SIGSTOP)
        await anyio.sleep(seconds)
        worker.send_signal(signal.SIGCONT)
        self.faults.append(Fault(name, began, anyio.current_time()))

    async def cut(self, name: str, seconds: float, *, hang: bool) -> None:
        wire, began = self.wires[name], anyio.current_time()
        (wire.hang if hang else wire.cut)()
        await anyio.sleep(seconds)
        wire.mend()
        self.faults.append(Fault(name, began, anyio.current_time()))

    async def stop(self, name: str) -> None:
        worker = self.workers.pop(name)
        assert await worker.stop() == 0

    def _note(self, name: str, seconds: float) -> None:
        self.faults.append(Fault(name, anyio.current_time(), anyio.current_time() + seconds))

    # what there is to see

    def rows(self) -> dict[str, dict[str, Any]]:
        table = self.aws.endpoint.dynamodb.find("esm-m", account=ACCOUNT, region=REGION)
        items = [] if table is None else table.scan(limit=None, after=None).items
        return {item["leaseKey"]["S"]: item for item in items}

    def loads(self) -> Counter[str]:
        """Open shards by who works on them; "" has those of nobody."""
        found: Counter[str] = Counter()
        for row in self.rows().values():
            if row["entityType"]["S"] == "LEASE" and row["checkpoint"]["S"] != "SHARD_END":
                free = row.get("esmUnclaimed") == row["leaseCounter"]
                found["" if free else row.get("checkpointOwner", row.get("leaseOwner", {"S": ""}))["S"]] += 1
        return found

    @property
    def leader(self) -> str | None:
        row = self.rows().get("Leader")
        return None if row is None else str(row["ownerName"]["S"])

    def is_level(self, shards: int) -> bool:
        loads = self.loads()
        counts = [loads[name] for name in self.workers]
        return sum(counts) == shards == loads.total() and max(counts) - min(counts) <= 1

    async def wait_level(self, shards: int, *, seconds: float) -> float:
        """Gives the seconds that it took."""
        began = anyio.current_time()
        try:
            await wait_until(lambda: self.is_level(shards), "the shards are level", seconds=seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.loads()}, {len(self.workers)} workers") from None
        return anyio.current_time() - began

    async def wait_all_seen(self, *, seconds: float) -> None:
        wanted = sum(map(len, self.put.values()))

        def count() -> int:
            return len({each.text for each in seen(self.site)})

        until = anyio.current_time() + seconds
        while count() < wanted:
            if anyio.current_time() > until:
                logs = "\n".join(worker.log_text()[-3000:] for worker in self.workers.values())
                raise AssertionError(f"{count()} of {wanted} records seen; {self.loads()}\n{logs}")
            await anyio.sleep(1)  # to read the journal takes time, in which the endpoint answers nobody


@dataclass(frozen=True, slots=True)
class Account:
    """What was put against what was seen."""

    put: int
    missing: int
    out_of_order: int
    repeated: int
    unexplained: tuple[str, ...]
    """Records that came again although nothing had happened to whoever had done them."""


def account(put: Mapping[str, Sequence[str]], site: Site, faults: Collection[Fault]) -> Account:
    """Judges what handlers wrote down, by nothing but that and what was done to the workers."""
    first: dict[str, list[str]] = defaultdict(list)
    ended: dict[str, Seen] = {}
    repeated, unexplained = 0, []
    for each in sorted([*seen(site, "began"), *seen(site)], key=lambda each: (each.at, each.what)):
        before = ended.get(each.text)
        if each.what == "ended":
            if before is None:
                first[each.key].append(each.text)
            ended[each.text] = each
        elif before is not None:
            repeated += 1
            hit = any(f.worker == before.worker and f.began - _HORIZON <= before.at <= f.ended + _HORIZON for f in faults)
            if not hit:
                unexplained.append(
                    f"{each.text} of {each.shard}: ended by {before.worker} at {before.at:.3f}, {each.worker} {each.at:.3f}"
                )
    everything = {text for texts in put.values() for text in texts}
    wrong = sum(first[key] != [text for text in texts if text in ended] for key, texts in put.items())
    return Account(sum(map(len, put.values())), len(everything - ended.keys()), wrong, repeated, tuple(unexplained))


async def fleet_on(
    stack: AsyncExitStack, aws: LocalAws, folder: Path, *, shards: int, keys: int, failover: float, batch: int = 10
) -> Fleet:
    arn = await aws.make_stream(STREAM, shards=shards)
    functions = {"f": stream_function("takes_a_moment", Timeout=10)}
    site = stream_site(folder, functions, [stream_mapping("m", arn, BatchSize=batch)], state=STATE, failover=failover)
    return Fleet(aws, site, stack, failover, keys)
