"""Streams from put to checkpoint, with the real worker: in order, from the starting position, and on from there after a restart."""

import signal
import time
from pathlib import Path

from tests.acceptance.local_aws import local_aws
from tests.acceptance.stream_site import (
    assert_in_order,
    checkpoints,
    owned,
    seen,
    stream_function,
    stream_mapping,
    stream_site,
    texts,
    wait_seen,
)
from tests.acceptance.worker_process import process_on

KEYS = tuple(f"key-{n}" for n in range(6))


async def test_records_arrive_in_order_and_a_restart_goes_on_after_the_last(tmp_path: Path) -> None:
    """COM-60, COM-66, DDB-10, KIN-22, MET-01, MET-03: nothing twice and nothing left out when the worker is stopped and started.

    The sequence numbers of the table's stream gain a digit on the way, so they are compared as numbers.
    """
    first = {key: [f"{key} {n}" for n in range(30)] for key in KEYS}
    later = {key: [f"{key} {n}" for n in range(30, 40)] for key in KEYS}
    async with local_aws() as aws:
        clicks, orders = await aws.make_stream("clicks", shards=2), await aws.make_table("orders", shards=2)

        async def put(texts: dict[str, list[str]]) -> None:
            await aws.put_keyed("clicks", texts)
            for key, each in texts.items():
                await aws.put_items("orders", *each, key=f"item-{key}")

        await put(first)
        mappings = [stream_mapping("k", clicks, BatchSize=30), stream_mapping("d", orders, BatchSize=7)]
        site = stream_site(tmp_path, {"f": stream_function("works")}, mappings)
        async with process_on(site, aws.endpoint.url, WORKER="one") as worker:
            await wait_seen(site, 360, worker)
            await worker.wait_ready()
            last = {shard.id: str(shard.records[-1].sequence) for shard in aws.stream("clicks").open_shards}
            await worker.wait(lambda: checkpoints(site, "k") == last, "both checkpoints stand at the last records")
            assert owned(site) == {"one": 4}
            for mapping, source in (("k", "kinesis"), ("d", "dynamodb")):
                assert await worker.metric("esm_polled_events_total", mapping=mapping, source=source) == 180
                assert await worker.metric("esm_invoked_events_total", mapping=mapping, source=source) == 180
                assert await worker.metric("esm_shards", mapping=mapping, source=source, state="reading") == 2
                assert await worker.metric("esm_lease_changes_total", mapping=mapping, source=source, change="taken") == 2
            told = (await worker.page("/metrics")).text
            for name in ("esm_iterator_age_seconds", "esm_checkpoint_age_seconds"):
                assert f'{name}{{mapping="k",source="kinesis"}} 0.0' in told  # nothing is in hand
            (shard, _) = (await worker.mapping("k"))["shards"]
            assert (shard["owner"], shard["state"], shard["why"], shard["unfinished"]) == ("one", "reading", None, 0)
            assert (shard["checkpoint"], shard["lag_seconds"]) == (last[shard["shard"]], 0)
            assert shard["seconds_since_read"] < 5
            assert (await worker.page("/healthz")).status == 200
            assert await worker.stop() == 0
            assert worker.log()[-1]["event"] == "worker_stopped"
        assert owned(site) == {"": 4}  # given up, so that another worker need not wait
        await put(later)
        async with process_on(site, aws.endpoint.url, WORKER="two") as worker:
            await wait_seen(site, 480, worker)
            assert await worker.metric("esm_polled_events_total") == 120
            assert await worker.stop() == 0
        assert len(seen(site)) == 480
        every = {key: [*first[key], *later[key]] for key in KEYS}
        assert_in_order(site, {**every, **{f"item-{key}": each for key, each in every.items()}})


async def test_a_mapping_starts_where_it_says_and_afterwards_only_its_checkpoint_counts(tmp_path: Path) -> None:
    """COM-64, COM-69: three mappings of one stream; a second process of each goes on, whatever its starting position."""
    async with local_aws() as aws:
        arn = await aws.make_stream("clicks")
        await aws.put("clicks", "old 1", "old 2", key="k")
        time.sleep(0.01)  # noqa: ASYNC251  # what is put next arrives in a later millisecond
        at = time.time()
        await aws.put("clicks", "old 3", key="k")
        mappings = [
            stream_mapping("oldest", arn, function="oldest"),
            stream_mapping("newest", arn, function="newest", StartingPosition="LATEST"),
            stream_mapping("since", arn, function="since", StartingPosition="AT_TIMESTAMP", StartingPositionTimestamp=at),
        ]
        names = ("oldest", "newest", "since")
        site = stream_site(tmp_path, {name: stream_function("works") for name in names}, mappings)
        async with process_on(site, aws.endpoint.url, WORKER="one") as worker:
            await worker.wait_ready()
            # From here on LATEST has its place: as a moment, so that a kill before the first batch loses nothing.
            await worker.wait(lambda: "AT_TIMESTAMP" in str(checkpoints(site, "newest")), "LATEST is pinned")
            await aws.put("clicks", "new 1", key="k")
            await worker.wait(lambda: len(texts(site)) == 7, "all is seen")
            assert await worker.stop() == 0
        await aws.put("clicks", "new 2", key="k")
        async with process_on(site, aws.endpoint.url, WORKER="two") as worker:
            await worker.wait(lambda: len(texts(site)) == 10, "all is seen")
            assert await worker.stop() == 0
        by_function = {name: [each.text for each in seen(site) if each.function == name] for name in names}
        assert by_function == {
            "oldest": ["old 1", "old 2", "old 3", "new 1", "new 2"],
            "newest": ["new 1", "new 2"],
            "since": ["old 3", "new 1", "new 2"],
        }


async def test_a_latest_mapping_that_is_killed_before_its_first_batch_loses_nothing(tmp_path: Path) -> None:
    """COM-65 of AWS warns that LATEST may miss records; ours misses none that came after it was ready."""
    async with local_aws() as aws:
        arn = await aws.make_stream("clicks")
        await aws.put("clicks", "before", key="k")
        site = stream_site(
            tmp_path, {"f": stream_function("holds")}, [stream_mapping("m", arn, StartingPosition="LATEST")], failover=1
        )
        async with process_on(site, aws.endpoint.url, WORKER="one") as worker:
            await worker.wait(lambda: "AT_TIMESTAMP" in str(checkpoints(site, "m")), "LATEST is pinned")
            await aws.put("clicks", "a", "b", key="k")
            worker.send_signal(signal.SIGKILL)
            await worker.wait_exit()
        site.open_gate()
        await aws.put("clicks", "c", key="k")
        async with process_on(site, aws.endpoint.url, WORKER="one") as worker:
            await wait_seen(site, 3, worker)
            assert texts(site) == ["a", "b", "c"]
            assert await worker.stop() == 0
