"""A worker of streams stops without killing or forgetting work (DESIGN section 4)."""

import signal
from itertools import takewhile
from pathlib import Path

import pytest

from tests.acceptance.local_aws import local_aws
from tests.acceptance.stream_site import Row, owned, rows, seen, stream_function, stream_mapping, stream_site, texts
from tests.acceptance.worker_process import process_on

SHARD = "shardId-000000000000"


@pytest.mark.parametrize("lanes", [1, 4])
async def test_a_slow_invocation_is_finished_checkpointed_and_its_lease_given_up(tmp_path: Path, *, lanes: int) -> None:
    async with local_aws() as aws:
        arn = await aws.make_stream("clicks")
        sequences = await aws.put("clicks", *(str(n) for n in range(40)))
        mapping = stream_mapping("m", arn, BatchSize=40 // lanes, ParallelizationFactor=lanes)
        later = await aws.put("clicks", *(f"later {n}" for n in range(20)))
        site = stream_site(tmp_path, {"f": stream_function("holds")}, [mapping])
        async with process_on(site, aws.endpoint.url, WORKER="one") as worker:
            await worker.wait(lambda: len({each.call for each in seen(site, "began")}) == lanes, "every lane has a batch in hand")
            worker.send_signal(signal.SIGTERM)
            await worker.wait_log("drain_began")
            page = await worker.page("/readyz")
            assert (page.status, page.json["status"]) == (503, "draining")
            assert (await worker.page("/healthz")).status == 200
            assert owned(site) == {"one": 1}
            begun = texts(site, "began")
            site.open_gate()
            assert await worker.wait_exit() == 0
            last = worker.log()[-1]
            assert (last["event"], last["finished"], last["abandoned"]) == ("worker_stopped", len(begun), 0)
        assert sorted(texts(site)) == sorted(begun)
        ended = {each.id for each in seen(site)}
        prefix = list(takewhile(ended.__contains__, [*sequences, *later]))  # COM-63
        assert rows(site) == [Row(mapping="m", shard=SHARD, checkpoint=prefix[-1], owner=None, window=None)]


async def test_work_that_outlasts_the_grace_period_is_abandoned_and_comes_again(tmp_path: Path) -> None:
    async with local_aws() as aws:
        arn = await aws.make_stream("clicks")
        await aws.put("clicks", *"abcde", key="k")
        site = stream_site(tmp_path, {"f": stream_function("holds")}, [stream_mapping("m", arn)], grace=1)
        async with process_on(site, aws.endpoint.url, WORKER="one") as worker:
            await worker.wait(lambda: len(seen(site, "began")) == 5, "a batch is in hand")
            worker.send_signal(signal.SIGTERM)
            assert await worker.wait_exit() == 3
            last = worker.log()[-1]
            assert (last["event"], last["finished"], last["abandoned"]) == ("worker_stopped", 0, 5)
            assert [line["records"] for line in worker.log("records_abandoned")] == [5]
        # Given up all the same: whoever comes next need not wait for the failover time.
        assert rows(site) == [Row(mapping="m", shard=SHARD, checkpoint="TRIM_HORIZON", owner=None, window=None)]
        site.open_gate()
        async with process_on(site, aws.endpoint.url, WORKER="two") as worker:
            await worker.wait(lambda: texts(site) == list("abcde"), "the batch comes again")
            assert await worker.stop() == 0


async def test_a_shard_that_retries_does_not_hold_up_the_end(tmp_path: Path) -> None:
    """COM-70: unlimited retries; the drain ends the pause between two of them, and the mapping says which record it is at."""
    async with local_aws() as aws:
        arn = await aws.make_stream("clicks")
        _, poison = await aws.put("clicks", "good", "poison", key="k")
        mapping = stream_mapping("m", arn, BatchSize=1)
        site = stream_site(tmp_path, {"f": stream_function("refuses_poison")}, [mapping], grace=60)
        async with process_on(site, aws.endpoint.url, WORKER="one") as worker:
            await worker.wait(lambda: texts(site, "began").count("poison") == 4, "it is tried again and again")

            async def says_why() -> bool:
                (shard,) = (await worker.mapping("m"))["shards"]
                return shard["state"] == "blocked" and all(
                    word in shard["why"] for word in ("retrying", poison, "attempt 5", "since 20")
                )

            await worker.wait(says_why, "the mapping says what it is doing")
            assert await worker.metric("esm_iterator_age_seconds") > 1
            assert await worker.metric("esm_checkpoint_age_seconds") > 1
            assert (await worker.mapping("m"))["LastProcessingResult"] == "PROBLEM: Function call failed"
            worker.send_signal(signal.SIGTERM)
            assert await worker.wait_exit(seconds=5) == 0
        (row,) = rows(site)
        assert row.owner is None
        assert texts(site) == ["good"]
        assert int(row.checkpoint) < int(poison)
