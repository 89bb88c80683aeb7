"""A worker to which records are pushed (KIN-11): many renewals under load, kills, trouble at the service, and who is told of it."""

import random
import signal
from pathlib import Path

import anyio
import pytest

from tests.acceptance.local_aws import LocalAws, local_aws
from tests.acceptance.stream_site import (
    assert_in_order,
    checkpoints,
    seen,
    stream_function,
    stream_mapping,
    stream_site,
    wait_seen,
)
from tests.acceptance.test_commands import esm
from tests.acceptance.worker_process import process_on

KEYS = tuple(f"key-{n}" for n in range(10))
PUT: dict[str, list[str]] = {key: [f"{key} {n}" for n in range(40)] for key in KEYS}


async def make_consumer(aws: LocalAws, stream: str, **settings: float) -> str:
    """A stream with a consumer, whose subscriptions are as the settings say; gives the consumer's ARN."""
    arn = await aws.make_stream(stream)
    await aws.control("kinesis/settings", **settings)
    answer = await aws.kinesis("RegisterStreamConsumer", StreamARN=arn, ConsumerName="app")
    return str(answer["Consumer"]["ConsumerARN"])


async def test_renewals_under_load_and_resharding_bring_every_record_once_and_in_order(tmp_path: Path) -> None:
    """KIN-11, KIN-40: subscriptions of half a second, two splits and a merge meanwhile, and not one poll."""
    async with local_aws() as aws:
        consumer = await make_consumer(aws, "clicks", subscription=0.5, subscribeEvery=0.1, keepAlive=0.1)
        site = stream_site(tmp_path, {"f": stream_function("takes_a_moment")}, [stream_mapping("m", consumer, BatchSize=10)])
        async with process_on(site, aws.endpoint.url, WORKER="one", FAN_OUT="BETWEEN=0.1") as worker:
            await worker.wait_ready()
            for part, change in enumerate((aws.split, None, aws.split, None, aws.merge, None, None, None)):
                await aws.put_keyed("clicks", {key: each[part * 5 : part * 5 + 5] for key, each in PUT.items()})
                if change is not None:
                    await change("clicks")
                await anyio.sleep(0.4)
            await wait_seen(site, 400, worker, seconds=60)
            assert await worker.stop() == 0
        assert aws.endpoint.state.requests["kinesis.SubscribeToShard"] > 8
        assert aws.endpoint.state.requests["kinesis.GetRecords"] == 0
    assert len(seen(site)) == 400
    assert_in_order(site, PUT)


async def test_a_killed_worker_goes_on_by_the_rules_of_aws_and_repeats_what_was_in_flight(tmp_path: Path) -> None:
    """COM-01: five seconds must lie between two subscriptions; whoever comes sooner waits, and nobody polls meanwhile."""
    chance = random.Random(7)  # noqa: S311  # the moments of the kills
    async with local_aws() as aws:
        consumer = await make_consumer(aws, "clicks")
        await aws.put_keyed("clicks", PUT)
        mapping = stream_mapping("m", consumer, BatchSize=10)
        site = stream_site(tmp_path, {"f": stream_function("takes_a_moment")}, [mapping])
        done = 0
        for _ in range(2):
            async with process_on(site, aws.endpoint.url, WORKER="one") as worker:
                await wait_seen(site, done + chance.randrange(10, 60), worker)
                worker.send_signal(signal.SIGKILL)
                await worker.wait_exit()
            done = len({each.id for each in seen(site)})
            assert done < 400, "it was done before the last kill"
        async with process_on(site, aws.endpoint.url, WORKER="one") as worker:
            await wait_seen(site, 400, worker, seconds=60)
            last = str(aws.stream("clicks").open_shards[0].records[-1].sequence)
            await worker.wait(lambda: last in checkpoints(site, "m").values(), "the checkpoint stands at the last record")
            assert await worker.stop() == 0
            assert "source_failed" not in worker.log_text()
        assert aws.endpoint.state.requests["kinesis.GetRecords"] == 0
    assert_in_order(site, PUT)
    assert len(seen(site, "began")) - 400 <= 2 * 10


async def test_a_shard_whose_subscriptions_fail_is_polled_and_the_log_and_a_metric_say_so_once(tmp_path: Path) -> None:
    async with local_aws() as aws:
        consumer = await make_consumer(aws, "clicks", subscription=1.0, subscribeEvery=0.1)
        site = stream_site(tmp_path, {"f": stream_function("works")}, [stream_mapping("m", consumer)])
        async with process_on(site, aws.endpoint.url, WORKER="one", FAN_OUT="BETWEEN=0.1 POLLING=4") as worker:
            await worker.wait_ready()
            await aws.put("clicks", "pushed", key="k")
            await wait_seen(site, 1, worker)
            assert await worker.metric("esm_fan_out_polled_shards") == 0
            aws.add_fault(fault="throttle", service="kinesis", operation="SubscribeToShard")
            await worker.wait(lambda: worker.log("fan_out_polled") != [], "the fall-back is told")
            await aws.put("clicks", "polled", key="k")
            await wait_seen(site, 2, worker)
            assert await worker.metric("esm_fan_out_polled_shards") == 1
            aws.clear_faults()
            await worker.wait(lambda: worker.log("fan_out_resumed") != [], "the way back is told")
            before = aws.endpoint.state.requests["kinesis.GetRecords"]
            await aws.put("clicks", "pushed again", key="k")
            await wait_seen(site, 3, worker)
            assert await worker.metric("esm_fan_out_polled_shards") == 0
            assert aws.endpoint.state.requests["kinesis.GetRecords"] == before
            assert await worker.stop() == 0
        assert len(worker.log("fan_out_polled")) == 1
    assert [each.text for each in seen(site)] == ["pushed", "polled", "pushed again"]


@pytest.mark.parametrize("fault", ["cut_frame", "bad_checksum", "early_end", "stalled"])
async def test_a_subscription_in_trouble_costs_time_and_no_record(tmp_path: Path, fault: str) -> None:
    async with local_aws() as aws:
        consumer = await make_consumer(aws, "clicks", subscribeEvery=0.1, keepAlive=0.2)
        site = stream_site(tmp_path, {"f": stream_function("works")}, [stream_mapping("m", consumer, BatchSize=10)])
        async with process_on(site, aws.endpoint.url, WORKER="one", FAN_OUT="BETWEEN=0.1 STALLED=2") as worker:
            await worker.wait_ready()
            for part in range(4):
                aws.add_fault(fault=fault, service="kinesis", operation="SubscribeToShard", times=1)
                await aws.put_keyed("clicks", {key: each[part * 10 : part * 10 + 10] for key, each in PUT.items()})
                await wait_seen(site, (part + 1) * 100, worker)
            assert await worker.stop() == 0
    assert len(seen(site)) == 400
    assert_in_order(site, PUT)


async def test_check_online_looks_at_the_consumer_and_takes_no_subscription_from_a_worker(tmp_path: Path) -> None:
    async with local_aws() as aws:
        consumer = await make_consumer(aws, "clicks")
        site = stream_site(tmp_path, {"f": stream_function("works")}, [stream_mapping("m", consumer)])
        good = await esm(site, "check", "--online", endpoint_url=aws.endpoint.url)
        assert (good.code, "SubscribeToShard" in good.out + good.err) == (0, True)
        assert aws.endpoint.state.requests["kinesis.SubscribeToShard"] == 0
        await aws.kinesis("DeregisterStreamConsumer", ConsumerARN=consumer)
        bad = await esm(site, "check", "--online", endpoint_url=aws.endpoint.url)
        assert bad.code == 1
        assert f"Consumer {consumer} not found" in bad.out + bad.err
