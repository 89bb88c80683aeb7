"""Tumbling windows in real time: their state goes from batch to batch, also over a `kill -9`, and every record counts once."""

import signal
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import anyio

from tests.acceptance.local_aws import LocalAws, local_aws
from tests.acceptance.stream_site import rows, seen, stream_function, stream_mapping, stream_site, wait_seen, windows
from tests.acceptance.worker_process import Site, process_on


async def test_every_record_counts_in_one_window_also_when_the_worker_is_killed_in_the_middle_of_it(tmp_path: Path) -> None:
    """COM-91..94, COM-96, COM-97: a window ends with the first record of a later one, and its state is kept beside the checkpoint."""
    async with local_aws() as aws:
        arn = await aws.make_stream("clicks")
        mapping = stream_mapping("m", arn, TumblingWindowInSeconds=2, BatchSize=3)
        site = stream_site(tmp_path, {"f": stream_function("sums")}, [mapping], failover=1)
        async with process_on(site, aws.endpoint.url, WORKER="one") as worker:
            await worker.wait_ready()
            await put_evenly(aws, "a", until=lambda: len(windows(site)) >= 1)
            await aws.put("clicks", *(f"b {n}" for n in range(4)), key="k")
            await worker.wait(lambda: _is_open(site, aws), "the window is open, with all records that came counted in its state")
            worker.send_signal(signal.SIGKILL)
            await worker.wait_exit()
        async with process_on(site, aws.endpoint.url, WORKER="one") as worker:
            await put_evenly(aws, "c", until=lambda: len(windows(site)) >= 3)
            await wait_seen(site, _put(aws), worker)
            shown = windows(site)
            assert await worker.metric("esm_errors_total") == 0
            assert await worker.stop() == 0
    assert len(seen(site)) == _put(aws)
    starts = [_second(window["start"]) for window in shown]
    assert all(_second(window["end"]) - start == 2 and start % 2 == 0 for window, start in zip(shown, starts, strict=True))
    assert sorted(set(starts)) == starts
    by_window: dict[float, int] = {}
    for record in aws.stream("clicks").shards["shardId-000000000000"].records:
        start = record.arrived // 2000 * 2
        by_window[start] = by_window.get(start, 0) + 1
    counted = list(by_window.values())
    assert [window["count"] for window in shown] == counted[: len(shown)]
    assert any(window["calls"] > 1 for window in shown)


async def put_evenly(aws: LocalAws, prefix: str, *, until: Callable[[], bool]) -> None:
    number = 0
    with anyio.fail_after(30):
        while not until():
            number += 1
            await aws.put("clicks", f"{prefix} {number}", key="k")
            await anyio.sleep(0.2)


def _put(aws: LocalAws) -> int:
    return len(aws.stream("clicks").shards["shardId-000000000000"].records)


def _is_open(site: Site, aws: LocalAws) -> bool:
    (row,) = rows(site)
    last = str(aws.stream("clicks").shards["shardId-000000000000"].records[-1].sequence)
    return row.window is not None and row.checkpoint == last


def _second(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


async def test_the_end_of_a_shard_ends_its_window(tmp_path: Path) -> None:
    """COM-97, COM-98: nothing is carried over to the children."""
    async with local_aws() as aws:
        arn = await aws.make_stream("clicks")
        await aws.put("clicks", "1", "2", "3", key="k")
        await aws.split("clicks")
        mapping = stream_mapping("m", arn, TumblingWindowInSeconds=900)
        site = stream_site(tmp_path, {"f": stream_function("sums")}, [mapping])
        async with process_on(site, aws.endpoint.url, WORKER="one") as worker:
            await worker.wait(lambda: len(windows(site)) == 1, "the window ends")
            await aws.put("clicks", "4", key="k")
            await wait_seen(site, 4, worker)
            assert await worker.stop() == 0
    (window,) = windows(site)
    assert (window["shard"], window["count"]) == ("shardId-000000000000", 3)
    assert {row.shard: row.window for row in rows(site) if row.shard == "shardId-000000000000"} == {"shardId-000000000000": None}
    assert ['"state":{"count":1,"calls":1}' in (row.window or "") for row in rows(site)].count(True) == 1
