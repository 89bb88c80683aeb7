"""`kill -9` in the middle of deliveries: nothing is lost, and what comes again is what was in flight."""

import random
import signal
from pathlib import Path

import pytest

from tests.acceptance.local_aws import local_aws
from tests.acceptance.stream_site import (
    assert_in_order,
    checkpoints,
    seen,
    stream_function,
    stream_mapping,
    stream_site,
    wait_seen,
)
from tests.acceptance.worker_process import Site, process_on

KEYS = tuple(f"key-{n}" for n in range(12))
BATCH = 10
KILLS = 2


@pytest.mark.parametrize("lanes", [1, 4])
async def test_a_killed_worker_loses_nothing_and_repeats_what_was_in_flight(tmp_path: Path, *, lanes: int) -> None:
    """COM-01, COM-63: per kill and lane the batch in flight comes again; with several lanes also what was done before the others."""
    chance = random.Random(lanes)  # noqa: S311  # the moments of the kills
    put = {key: [f"{key} {n}" for n in range(40)] for key in KEYS}
    async with local_aws() as aws:
        arn = await aws.make_stream("clicks")
        await aws.put_keyed("clicks", put)
        mapping = stream_mapping("m", arn, BatchSize=BATCH, ParallelizationFactor=lanes)
        site = stream_site(tmp_path, {"f": stream_function("takes_a_moment")}, [mapping])
        for _ in range(KILLS):
            before = _ended(site)
            async with process_on(site, aws.endpoint.url, WORKER="one") as worker:
                enough = before + chance.randrange(10, 60)
                await wait_seen(site, enough, worker)
                worker.send_signal(signal.SIGKILL)
                await worker.wait_exit()
            assert _ended(site) < 480, "it was done before the last kill"
        async with process_on(site, aws.endpoint.url, WORKER="one") as worker:
            await wait_seen(site, 480, worker)
            last = str(aws.stream("clicks").open_shards[0].records[-1].sequence)
            await worker.wait(lambda: last in checkpoints(site, "m").values(), "the checkpoint stands at the last record")
            assert await worker.stop() == 0
    assert_in_order(site, put)
    repeated = len(seen(site, "began")) - 480
    # One batch in flight per lane. The checkpoint stands at the slowest lane: others may have ended one or two batches beyond it.
    assert repeated <= KILLS * BATCH * (1 if lanes == 1 else 3 * lanes)


def _ended(site: Site) -> int:
    return len({each.id for each in seen(site)})
