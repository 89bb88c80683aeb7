"""Java KCL workers on test servers: that the harness works, and that the golden rows and requests are still what KCL writes."""

import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.kcl.golden_rows import golden_request, request_kinds, row_forms
from tests.kcl.java_worker import PATIENCE, QUICK, Fleet, JavaWorker, java_worker
from tests.kcl.kinds import form_of, kind_of
from tests.kcl.recording import Call, Wire, recording
from tests.servers.running import Server
from tests.servers.streams import StreamHandle, stream_on

pytestmark = [pytest.mark.kcl, pytest.mark.timeout(170)]


async def test_a_killed_worker_is_replaced_and_every_row_and_request_is_golden(
    kinesis: Server, dynamodb: Server, tmp_path: Path
) -> None:
    async with stream_on(kinesis, shards=4) as stream, recording(dynamodb) as wire:
        fleet = fleet_on(stream, kinesis, wire)
        first, second = texts("before", 40), texts("after", 40)
        await stream.put_many(*first)
        async with java_worker(tmp_path, "java-1", fleet) as one:
            await one.wait("leader", leader=True)
            await one.wait("record", count=40)
            async with java_worker(tmp_path, "java-2", fleet) as two:
                await two.wait("worker", state="STARTED")
                await one.kill()
                await stream.put_many(*second)
                await two.wait("leader", leader=True)
                await two.wait("initialized", count=4)
                await two.wait("record", count=40)
                assert await two.stop() == 143
        assert data(one) >= set(first)
        assert data(two) >= set(second)
        assert len({line["shard"] for line in two.events("initialized")}) == 4
    assert not objections(wire.calls)


async def test_a_shard_is_handed_over_in_the_middle_of_a_batch_without_a_duplicate(
    kinesis: Server, dynamodb: Server, tmp_path: Path
) -> None:
    async with stream_on(kinesis, shards=4) as stream, recording(dynamodb) as wire:
        fleet = replace(fleet_on(stream, kinesis, wire), settings=QUICK | {"KCL_SLOW_MS": "100", "KCL_MAX_RECORDS": "30"})
        put = texts("slow", 800)
        await stream.put_many(*put)
        async with java_worker(tmp_path, "java-1", fleet) as one:
            await one.wait("checkpointed", count=4)
            async with java_worker(tmp_path, "java-2", fleet) as two:
                await two.wait("initialized")
                await all_read(put, one, two)
                lost = one.events("shutdownRequested")[0]["shard"]
                ended, began = one.events("leaseLost", shard=lost)[0], two.events("initialized", shard=lost)[0]
                last = [line for line in one.events("record", shard=lost) if line["at"] < ended["at"]][-1]
                assert began["checkpoint"] == last["sequenceNumber"]
                assert ended["at"] < two.events("record", shard=lost)[0]["at"]
        read = [line["data"] for worker in (one, two) for line in worker.events("record")]
        assert len(read) == len(set(read)) == len(put)
    assert not objections(wire.calls)


def fleet_on(stream: StreamHandle, kinesis: Server, wire: Wire) -> Fleet:
    return Fleet(
        application=f"fleet-{uuid.uuid4().hex}", stream=stream.name, kinesis=kinesis.endpoint_url, dynamodb=wire.endpoint_url
    )


def texts(prefix: str, count: int) -> list[str]:
    return [f"{prefix}-{index}" for index in range(count)]


def data(worker: JavaWorker) -> set[str]:
    return {line["data"] for line in worker.events("record")}


async def all_read(put: list[str], *workers: JavaWorker, seconds: float = PATIENCE) -> None:
    """Until the records of all together are what was put into the stream, whichever of them reads the last."""
    deadline = anyio.current_time() + seconds
    while missing := set(put).difference(*(data(worker) for worker in workers)):
        logs = (f"{worker.name}, {len(data(worker))} records:\n{worker.log_tail()}" for worker in workers)
        assert anyio.current_time() < deadline, "\n".join((f"{len(missing)} of {len(put)} not read after {seconds:g} s", *logs))
        await anyio.sleep(0.05)


def objections(calls: list[Call]) -> list[str]:
    """What in these calls is not as in the golden rows and requests."""
    known = request_kinds()
    found: dict[str, None] = {}
    for call in calls:
        kind = kind_of(call)
        if kind not in known and not kind.endswith("-refused"):
            found[f"{kind} is no golden request: {call.request}"] = None
        elif kind in known and form(call.request) != form(golden_request(kind)["request"]):
            found[f"{kind} is now {call.request}"] = None
        if call.after is not None:
            form_of_entity = row_forms()[call.after["entityType"]["S"]]
            found |= {f"after {kind}: {each}": None for each in form_of_entity.objections(call.after)}
    return list(found)


def form(request: dict[str, Any]) -> Any:
    return form_of({name: value for name, value in request.items() if name != "TableName"})
