"""A stream in trouble: the worker says why, goes on by itself, and neither loses nor repeats a record."""

from pathlib import Path

from tests.acceptance.local_aws import local_aws, stream_arn
from tests.acceptance.stream_site import checkpoints, seen, stream_function, stream_mapping, stream_site
from tests.acceptance.worker_process import process_on

WORKS = {"f": stream_function("works")}
SHARD = "shardId-000000000000"
FAULTS = (
    ("throttle", "GetRecords"),
    ("error503", "GetRecords"),
    ("truncate", "GetRecords"),
    ("empty_page", "GetRecords"),
    ("duplicate_page", "GetRecords"),
    ("expired_iterator", "GetRecords"),
    ("error503", "GetShardIterator"),
)


async def test_no_fault_of_the_service_loses_or_repeats_a_record(tmp_path: Path) -> None:
    """KIN-12, KIN-30, DDB-11, DDB-12: one fault after another on both kinds of stream; an expired iterator is taken anew."""
    async with local_aws() as aws:
        mappings = [stream_mapping("k", await aws.make_stream("clicks")), stream_mapping("d", await aws.make_table("orders"))]
        site = stream_site(tmp_path, WORKS, mappings)
        put: list[str] = []
        async with process_on(site, aws.endpoint.url, WORKER="one") as worker:
            await worker.wait_ready()

            async def survive(fault: str, operation: str) -> None:
                added = [
                    aws.add_fault(service=service, fault=fault, operation=operation, times=1)
                    for service in ("kinesis", "dynamodbstreams")
                ]
                if operation == "GetShardIterator":  # which is only asked for when an iterator has expired
                    for service in ("kinesis", "dynamodbstreams"):
                        aws.add_fault(service=service, fault="expired_iterator", times=1)
                texts = [f"{fault} {len(put)}", f"{fault} {len(put) + 1}"]
                put.extend(texts)
                await aws.put("clicks", *texts, key="k")
                await aws.put_items("orders", *texts, key="k")
                await worker.wait(lambda: len(seen(site)) >= 2 * len(put), f"both go on after {fault} of {operation}")
                await worker.wait(lambda: all(each.fired == 1 for each in added), f"{fault} of {operation} struck")
                aws.clear_faults()

            for fault, operation in FAULTS:
                await survive(fault, operation)
            await worker.wait_ready()
            assert (await worker.page("/healthz")).status == 200
            for name in "kd":
                shown = await worker.mapping(name)
                assert (shown["why"], shown["error"], shown["restarts"]) == (None, None, 0)
                assert await worker.metric("esm_aws_requests_total", mapping=name, outcome="throttled") == 1
                assert await worker.metric("esm_position_gaps_total", mapping=name) == 0
            assert await worker.stop() == 0
        for source in ("clicks", "orders"):
            is_stream = source == "clicks"
            assert [each.text for each in seen(site) if bool(each.shard) is is_stream] == put


async def test_records_that_left_the_stream_unread_are_a_gap_that_is_counted_and_logged(tmp_path: Path) -> None:
    """DDB-12, KIN-33: the worker was away for too long; it goes on at TRIM_HORIZON and says what it could not read."""
    async with local_aws() as aws:
        mappings = [stream_mapping("k", await aws.make_stream("clicks")), stream_mapping("d", await aws.make_table("orders"))]
        site = stream_site(tmp_path, WORKS, mappings)
        await aws.put("clicks", "before", key="k")
        await aws.put_items("orders", "before", key="k")
        async with process_on(site, aws.endpoint.url, WORKER="one") as worker:
            await worker.wait(lambda: len(seen(site)) == 2, "both are read")
            assert await worker.stop() == 0
        kept = {name: next(iter(checkpoints(site, name).values())) for name in "kd"}
        await aws.put("clicks", "lost", key="k")
        await aws.put_items("orders", "lost", key="k")
        await aws.control("kinesis/trim", stream="clicks", records=2)
        await aws.control("kinesis/settings", stuckPositions=True)
        await aws.control("dynamodb/trim", table="orders")
        await aws.put("clicks", "after", key="k")
        await aws.put_items("orders", "after", key="k")
        async with process_on(site, aws.endpoint.url, WORKER="two") as worker:
            await worker.wait(lambda: len(seen(site)) == 4, "both go on")
            for name in "kd":
                assert await worker.metric("esm_position_gaps_total", mapping=name) == 1
            told = {line["mapping"]: (line["checkpoint"], line["goes_on"]) for line in worker.log("position_lost")}
            assert told == {name: (kept[name], "TRIM_HORIZON") for name in "kd"}
            assert await worker.stop() == 0
        assert sorted(each.text for each in seen(site)) == ["after", "after", "before", "before"]


async def test_a_stream_that_is_missing_at_the_start_is_found_once_it_is_made(tmp_path: Path) -> None:
    """KIN-06 has AWS refuse such a mapping; a worker that starts together with its stream waits instead, and others work on."""
    async with local_aws() as aws:
        mappings = [stream_mapping("m", stream_arn("clicks")), stream_mapping("other", await aws.make_stream("others"))]
        await aws.put("others", "a", key="k")
        site = stream_site(tmp_path, WORKS, mappings)
        async with process_on(site, aws.endpoint.url, WORKER="one") as worker:
            await worker.wait(lambda: len(seen(site)) == 1, "the mapping beside it works")
            await worker.wait_log("source_failed")
            page = await worker.page("/readyz")
            assert (page.status, page.json["status"], list(page.json["waiting"])) == (503, "waiting", ["m"])
            assert "ListShards on clicks: ResourceNotFoundException" in page.json["waiting"]["m"]
            assert (await worker.mapping("m"))["State"] == "Creating"
            assert await worker.metric("esm_mapping_ready", mapping="m") == 0
            assert (await worker.page("/healthz")).status == 200
            await aws.make_stream("clicks")
            await aws.put("clicks", "b", key="k")
            await worker.wait(lambda: len(seen(site)) == 2, "the stream is read")
            await worker.wait_ready()
            assert len(worker.log("source_failed")) == 1
            assert await worker.stop() == 0


async def test_a_stream_that_is_deleted_makes_its_mapping_unready_and_says_so(tmp_path: Path) -> None:
    async with local_aws() as aws:
        mappings = [
            stream_mapping("m", await aws.make_stream("clicks")),
            stream_mapping("other", await aws.make_stream("others")),
        ]
        site = stream_site(tmp_path, WORKS, mappings)
        async with process_on(site, aws.endpoint.url, WORKER="one") as worker:
            await worker.wait_ready()
            await aws.put("clicks", "a", key="k")
            await worker.wait(lambda: len(seen(site)) == 1, "the stream is read")
            await aws.delete_stream("clicks")

            async def unready() -> bool:
                return (await worker.page("/readyz")).status == 503

            await worker.wait(unready, "the worker is not ready")
            assert "ResourceNotFoundException" in (await worker.page("/readyz")).json["waiting"]["m"]
            shown = await worker.mapping("m")
            assert (shown["error"], shown["ready"]) == ("ResourceNotFoundException", False)
            assert shown["shards"][0]["state"] == "blocked"
            assert "ResourceNotFoundException" in shown["shards"][0]["why"]
            await aws.put("others", "b", key="k")
            await worker.wait(lambda: len(seen(site)) == 2, "the mapping beside it works")
            assert len(worker.log("source_failed")) == 1
            assert (await worker.page("/healthz")).status == 200

            await aws.make_stream("clicks")  # under its name, but another: the positions kept are not of it
            await worker.wait(lambda: len(worker.log("source_failed")) == 2, "it is told from the old one", seconds=15)
            assert worker.log("source_failed")[1]["code"] == "foreign_position"
            assert await worker.stop() == 0


async def test_a_stream_that_was_made_again_under_its_name_is_told_from_the_old_one(tmp_path: Path) -> None:
    """The positions kept are not of the new stream: nothing is guessed, and the mapping says what to do."""
    advice = "was probably deleted and made again under its name"
    async with local_aws() as aws:
        site = stream_site(tmp_path, WORKS, [stream_mapping("m", await aws.make_stream("clicks"))])
        async with process_on(site, aws.endpoint.url, WORKER="one") as worker:
            (old,) = await aws.put("clicks", "old", key="k")
            await worker.wait(lambda: checkpoints(site, "m") == {SHARD: old}, "the stream is read")
            assert await worker.stop() == 0
        await aws.delete_stream("clicks")
        await aws.make_stream("clicks")
        await aws.put("clicks", "new", key="k")
        async with process_on(site, aws.endpoint.url, WORKER="one") as worker:
            told = await worker.wait_log("source_failed")
            assert told["code"] == "foreign_position"
            page = await worker.page("/readyz")
            assert page.status == 503
            assert advice in page.json["waiting"]["m"]
            assert await worker.stop() == 0
        assert checkpoints(site, "m") == {SHARD: old}
        assert [each.text for each in seen(site)] == ["old"]
