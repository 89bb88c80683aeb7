"""Several worker processes share the shards of one mapping through one state file: one owner each, and others when one is gone."""

import signal
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import anyio

from tests.acceptance.local_aws import LocalAws, arn_of, local_aws
from tests.acceptance.stream_site import (
    FAILOVER,
    ROUND,
    assert_in_order,
    checkpoints,
    on_failure,
    owned,
    rows,
    seen,
    stream_function,
    stream_mapping,
    stream_site,
    wait_seen,
)
from tests.acceptance.worker_process import Site, WorkerProcess, process_on, wait_until

KEYS = tuple(f"key-{n}" for n in range(24))
SLACK = 2.0
"""Seconds that a busy machine may take beside the times that the settings name."""


async def start(stack: AsyncExitStack, aws: LocalAws, site: Site, *names: str) -> dict[str, WorkerProcess]:
    return {name: await stack.enter_async_context(process_on(site, aws.endpoint.url, WORKER=name)) for name in names}


async def wait_owned(site: Site, wanted: Mapping[str, int], *, seconds: float = 15.0) -> float:
    """Gives the seconds that it took."""
    began = anyio.current_time()
    try:
        await wait_until(lambda: owned(site) == wanted, f"the shards are shared as {wanted}", seconds=seconds)
    except AssertionError as error:
        raise AssertionError(f"{error}, but {owned(site)}") from None
    return anyio.current_time() - began


async def test_workers_share_the_shards_and_the_rest_take_over_from_one_that_dies_or_leaves(tmp_path: Path) -> None:
    """One owner per shard, spread evenly, whoever came first; `kill -9`: within failover and a round; SIGTERM: within a round. Order and count hold."""
    put: dict[str, list[str]] = {key: [] for key in KEYS}
    async with local_aws() as aws, AsyncExitStack() as stack:
        arn = await aws.make_stream("clicks", shards=6)
        functions = {"f": stream_function("takes_a_moment")}
        site = stream_site(tmp_path, functions, [stream_mapping("m", arn, BatchSize=5)])

        async def produce(each: int) -> None:
            more = {key: [f"{key} {len(put[key]) + n}" for n in range(each)] for key in KEYS}
            for key in KEYS:
                put[key] += more[key]
            await aws.put_keyed("clicks", more)

        workers = await start(stack, aws, site, "a")
        await wait_owned(site, {"a": 6})
        await produce(5)
        workers |= await start(stack, aws, site, "b", "c")
        await wait_owned(site, {"a": 2, "b": 2, "c": 2})  # asked for, and handed over after the batch in flight
        assert await workers["a"].metric("esm_lease_changes_total", change="handed_over") >= 4
        await produce(5)
        await wait_seen(site, 240, *workers.values())
        assert len(seen(site, "began")) == 240  # so nothing came twice
        assert {each.worker for each in seen(site)} == {"a", "b", "c"}
        shown = (await workers["a"].mapping("m"))["shards"]
        elsewhere = [shard for shard in shown if shard["state"] == "elsewhere"]
        assert len(elsewhere) == 4
        assert {shard["why"] for shard in elsewhere} == {"lease held by worker b", "lease held by worker c"}
        assert await workers["a"].metric("esm_shards", state="elsewhere") == 4
        assert await workers["a"].metric("esm_shards", state="reading") == 2

        workers["b"].send_signal(signal.SIGKILL)
        await produce(5)
        assert await wait_owned(site, {"a": 3, "c": 3}) < FAILOVER + 2 * ROUND + SLACK
        await wait_seen(site, 360, workers["a"], workers["c"])

        workers["c"].send_signal(signal.SIGTERM)
        await produce(5)
        assert await wait_owned(site, {"a": 6}) < FAILOVER / 2 + 2 * ROUND  # nobody waits for the failover time
        assert await workers["c"].wait_exit() == 0
        await wait_seen(site, 480, workers["a"])
        assert await workers["a"].metric("esm_lease_changes_total", change="taken") >= 6
        assert await workers["a"].stop() == 0
    assert owned(site) == {"": 6}
    assert_in_order(site, put)
    assert_one_worker_at_a_time(site, ("b",))


async def test_a_paused_worker_does_nothing_as_owner_once_another_has_its_lease(tmp_path: Path) -> None:
    """SIGSTOP for longer than the failover time, in the middle of an invocation: no checkpoint, no failure record; then it goes on."""
    async with local_aws() as aws, AsyncExitStack() as stack:
        arn = await aws.make_stream("clicks")
        await aws.make_queue("failed")
        mapping = stream_mapping("m", arn, MaximumRetryAttempts=0, DestinationConfig=on_failure(arn_of("failed")))
        site = stream_site(tmp_path, {"f": stream_function("holds_poison")}, [mapping])
        workers = await start(stack, aws, site, "a")
        await wait_owned(site, {"a": 1})
        workers |= await start(stack, aws, site, "b")
        await workers["b"].wait_ready()
        await aws.put("clicks", "poison", key="k")
        await wait_until(lambda: len(seen(site, "began")) == 1, "a has the poison in hand")
        workers["a"].send_signal(signal.SIGSTOP)
        try:
            await wait_owned(site, {"b": 1}, seconds=FAILOVER + 2 * ROUND + SLACK)
            await wait_until(lambda: len(seen(site, "began")) == 2, "b has the poison in hand")
            site.open_gate()
            await wait_until(lambda: aws.counts("failed") == (1, 0), "b has told the destination")
            await aws.put("clicks", "good", key="k")
            await wait_seen(site, 1, workers["b"])
            (good,) = await aws.put("clicks", "better", key="k")
            await wait_until(lambda: checkpoints(site, "m") == {"shardId-000000000000": good}, "b goes on")
        finally:
            workers["a"].send_signal(signal.SIGCONT)
        await workers["a"].wait_log("lease_lost")
        (row,) = rows(site)
        assert (row.owner, row.checkpoint) == ("b", good)
        await anyio.sleep(ROUND)
        assert aws.counts("failed") == (1, 0)
        assert await workers["a"].metric("esm_on_failure_destination_delivered_events_total") == 0
        assert await workers["a"].metric("esm_dropped_events_total") == 0
        assert await workers["a"].metric("esm_lease_changes_total", change="lost") == 1

        assert await workers["b"].stop() == 0
        await wait_owned(site, {"a": 1})
        await aws.put("clicks", "best", key="k")
        await wait_seen(site, 3, workers["a"])
        assert [(each.worker, each.text) for each in seen(site)] == [("b", "good"), ("b", "better"), ("a", "best")]
        assert await workers["a"].stop() == 0


async def test_a_drained_worker_hands_over_after_the_batch_in_flight(tmp_path: Path) -> None:
    """A drained worker keeps its lease until the handler has answered; then the other begins behind that batch."""
    async with local_aws() as aws, AsyncExitStack() as stack:
        arn = await aws.make_stream("clicks")
        site = stream_site(tmp_path, {"f": stream_function("holds")}, [stream_mapping("m", arn, BatchSize=2)])
        workers = await start(stack, aws, site, "a")
        await wait_owned(site, {"a": 1})
        workers |= await start(stack, aws, site, "b")
        await aws.put("clicks", "1", "2", "3", key="k")
        await wait_until(lambda: len(seen(site, "began")) == 2, "a has a batch in hand")
        await workers["b"].wait_ready()
        workers["a"].send_signal(signal.SIGTERM)
        await anyio.sleep(FAILOVER + ROUND)  # longer than a silent owner is waited for
        assert owned(site) == {"a": 1}
        site.open_gate()
        assert await workers["a"].wait_exit() == 0
        await wait_seen(site, 3, workers["b"])
        assert [(each.worker, each.text) for each in seen(site)] == [("a", "1"), ("a", "2"), ("b", "3")]
        assert await workers["b"].stop() == 0


def assert_one_worker_at_a_time(site: Site, killed: tuple[str, ...]) -> None:
    """Of every shard the records that a worker ended lie together; only one that was killed may leave a batch begun."""
    ended = {each.id: each.worker for each in seen(site)}
    for each in seen(site, "began"):
        assert each.worker == ended[each.id] or each.worker in killed, each
