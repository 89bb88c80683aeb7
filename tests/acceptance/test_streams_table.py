"""Worker processes that share nothing but a DynamoDB table: shards move between them, and positions outlive them."""

import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio

from tests.acceptance.local_aws import ACCOUNT, REGION, LocalAws, local_aws
from tests.acceptance.stream_site import (
    FAILOVER,
    ROUND,
    assert_in_order,
    seen,
    stream_function,
    stream_mapping,
    stream_site,
    wait_seen,
)
from tests.acceptance.worker_process import Site, process_on, wait_until

KEYS = tuple(f"key-{n}" for n in range(24))
STATE = "dynamodb://esm-{mapping}"
SLACK = 2.0
"""Seconds that a busy machine may take beside the times that the settings name."""


def table(aws: LocalAws, name: str = "esm-m") -> dict[str, dict[str, Any]]:
    """The lease rows by shard; none before there is a table."""
    found = aws.endpoint.dynamodb.find(name, account=ACCOUNT, region=REGION)
    items = [] if found is None else found.scan(limit=None, after=None).items
    return {item["leaseKey"]["S"]: item for item in items if item["entityType"]["S"] == "LEASE"}


def owned(aws: LocalAws) -> dict[str, int]:
    """How many shards each worker works on; "" has those that nobody does."""
    counts: dict[str, int] = {}
    for row in table(aws).values():
        unclaimed = row.get("esmUnclaimed") == row["leaseCounter"]
        owner = "" if unclaimed else row.get("checkpointOwner", row.get("leaseOwner", {"S": ""}))["S"]
        counts[owner] = counts.get(owner, 0) + 1
    return counts


async def wait_owned(aws: LocalAws, wanted: dict[str, int], seconds: float = 15.0) -> float:
    """Gives the seconds that it took."""
    began = anyio.current_time()
    try:
        await wait_until(lambda: owned(aws) == wanted, f"the shards are shared as {wanted}", seconds=seconds)
    except AssertionError as error:
        raise AssertionError(f"{error}, but {owned(aws)}") from None
    return anyio.current_time() - began


async def test_two_machines_share_a_stream_through_a_table_and_one_takes_over_from_the_other(tmp_path: Path) -> None:
    """Eight shards; `kill -9`: within failover and a round; a hand-over without waiting for it; positions hold over restarts."""
    put: dict[str, list[str]] = {key: [] for key in KEYS}
    async with local_aws() as aws, AsyncExitStack() as stack:
        arn = await aws.make_stream("clicks", shards=8)
        functions = {"f": stream_function("takes_a_moment")}
        site = stream_site(tmp_path, functions, [stream_mapping("m", arn, BatchSize=5)], state=STATE)

        async def produce(each: int) -> None:
            more = {key: [f"{key} {len(put[key]) + n}" for n in range(each)] for key in KEYS}
            for key in KEYS:
                put[key] += more[key]
            await aws.put_keyed("clicks", more)

        first = await stack.enter_async_context(process_on(site, aws.endpoint.url, WORKER="a"))
        await wait_owned(aws, {"a": 8})
        await produce(5)
        second = await stack.enter_async_context(process_on(site, aws.endpoint.url, WORKER="b"))
        await wait_owned(aws, {"a": 4, "b": 4})
        await produce(5)
        await wait_seen(site, 240, first, second)
        assert len(seen(site, "began")) == 240, "a shard that is handed over is begun by its new owner where the old one ended"
        assert {each.worker for each in seen(site)} == {"a", "b"}

        first.send_signal(signal.SIGKILL)
        await produce(5)
        assert await wait_owned(aws, {"b": 8}) < FAILOVER + 2 * ROUND + SLACK
        await wait_seen(site, 360, second)
        units = await second.metric("esm_state_capacity_units_total", kind="write", operation="UpdateItem")
        assert units > 20
        assert await second.stop() == 0
        assert owned(aws) == {"": 8}

        began = len(seen(site, "began"))
        third = await stack.enter_async_context(process_on(site, aws.endpoint.url, WORKER="a"))
        await wait_owned(aws, {"a": 8})
        await produce(5)
        await wait_seen(site, 480, third)
        assert len(seen(site, "began")) - began == 120, "nothing that was done comes again"
        assert await third.stop() == 0
    assert_in_order(site, put)
    assert_java_could_read(table(aws))


def assert_java_could_read(rows: dict[str, dict[str, Any]]) -> None:
    """Java takes what has no entity type, or LEASE, for a lease, and each of these with just this type."""
    for shard, row in rows.items():
        kinds = {name: next(iter(value)) for name, value in row.items() if not name.startswith("esm")}
        assert kinds | {"throughputKBps": "N"} == {  # there once something was read
            "leaseKey": "S",
            "leaseCounter": "N",
            "checkpoint": "S",
            "checkpointSubSequenceNumber": "N",
            "ownerSwitchesSinceCheckpoint": "N",
            "entityType": "S",
            "startingHashKey": "S",
            "endingHashKey": "S",
            "throughputKBps": "N",
        }, shard
        assert row["checkpoint"]["S"].isdecimal()


async def test_a_worker_whose_table_is_of_something_else_does_not_start(tmp_path: Path) -> None:
    async with local_aws() as aws:
        arn = await aws.make_stream("clicks")
        await aws.make_table("esm-m")
        site: Site = stream_site(tmp_path, {"f": stream_function("works")}, [stream_mapping("m", arn)], state=STATE)
        async with process_on(site, aws.endpoint.url, WORKER="a") as worker:
            assert await worker.wait_exit() == 1
            assert "state table esm-m in eu-west-1: its key is pk (HASH), not leaseKey (HASH)" in worker.log_text()
            assert "Traceback" not in worker.log_text()
