"""Records that can never succeed: what each policy does about them, and where each kind of destination has them afterwards."""

import json
import re
from pathlib import Path
from typing import Any

from tests.acceptance.local_aws import ACCOUNT, REGION, LocalAws, arn_of, local_aws
from tests.acceptance.stream_site import (
    Seen,
    checkpoints,
    on_failure,
    seen,
    stream_function,
    stream_mapping,
    stream_site,
)
from tests.acceptance.worker_process import Site, WorkerProcess, process_on

REPORTS: dict[str, Any] = {"FunctionResponseTypes": ["ReportBatchItemFailures"]}
BISECTS: dict[str, Any] = {"BisectBatchOnFunctionError": True}
RECORDS = ("good 1", "good 2", "poison", "good 3", "good 4")
DESTINATIONS = {
    "sns": f"arn:aws:sns:{REGION}:{ACCOUNT}:failed",
    "s3": "arn:aws:s3:::failed",
    "events": f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/failed",
    "lambda": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:failed",
}


async def wait_done(site: Site, worker: WorkerProcess, last: dict[str, str]) -> None:
    """Until every mapping's only checkpoint stands at the last record."""

    def done() -> bool:
        return all(sequence in checkpoints(site, mapping).values() for mapping, sequence in last.items())

    await worker.wait(done, "all is done with")


async def test_each_policy_gives_up_what_it_must_and_the_queue_is_told_of_it(tmp_path: Path) -> None:
    """COM-71, COM-75..77, KIN-50, DST-20..33, MET-05, MET-06, MET-23: retries alone, bisected, reported; both kinds of stream."""
    policies: dict[str, tuple[str, dict[str, Any]]] = {
        "retries": ("refuses_poison", {"MaximumRetryAttempts": 1}),
        "bisects": ("refuses_poison", {"MaximumRetryAttempts": 0, **BISECTS}),
        "reports": ("reports_poison", {"MaximumRetryAttempts": 1, **REPORTS}),
        "items": ("refuses_poison", {"MaximumRetryAttempts": 0, **BISECTS}),
    }
    async with local_aws() as aws:
        arn, table = await aws.make_stream("clicks"), await aws.make_table("orders")
        sequences = await aws.put("clicks", *RECORDS, key="k")
        await aws.put_items("orders", *RECORDS, key="k")
        items = [str(record.sequence) for record in only_shard_of(aws, table)]
        mappings = []
        for name, (_, policy) in policies.items():
            await aws.make_queue(f"{name}-failed")
            destination = on_failure(arn_of(f"{name}-failed"))
            source = table if name == "items" else arn
            mappings.append(stream_mapping(name, source, function=name, DestinationConfig=destination, **policy))
        functions = {name: stream_function(handler) for name, (handler, _) in policies.items()}
        site = stream_site(tmp_path, functions, mappings)
        async with process_on(site, aws.endpoint.url, WORKER="one") as worker:
            last = {name: items[-1] if name == "items" else sequences[-1] for name in policies}
            await wait_done(site, worker, last)
            for name, given_up in (("retries", 5), ("bisects", 1), ("reports", 3), ("items", 1)):
                assert await worker.metric("esm_on_failure_destination_delivered_events_total", mapping=name) == given_up
            assert await worker.metric("esm_dropped_events_total") == 0
            assert [line["records"] for line in worker.log("records_sent_away") if line["mapping"] == "retries"] == [5]
            assert await worker.stop() == 0
        bodies = {name: [json.loads(each["Body"]) for each in await aws.receive_all(f"{name}-failed")] for name in policies}
    told = {name: [_told(body) for body in each] for name, each in bodies.items()}
    assert told == {
        "retries": [("RetryAttemptsExhausted", 2, 5, sequences[0], sequences[4], "Unhandled")],
        "bisects": [("RetryAttemptsExhausted", 1, 1, sequences[2], sequences[2], "Unhandled")],
        # Without bisecting, all that is left of the batch shares the fate of its first record.
        "reports": [("RetryAttemptsExhausted", 2, 3, sequences[2], sequences[4], None)],
        "items": [("RetryAttemptsExhausted", 1, 1, items[2], items[2], "Unhandled")],
    }
    (reports,) = bodies["reports"]
    assert list(reports) == ["requestContext", "responseContext", "version", "timestamp", "KinesisBatchInfo"]
    assert reports["KinesisBatchInfo"]["streamArn"] == arn
    assert re.fullmatch(r"[-0-9T:]{19}Z", bodies["items"][0]["DDBStreamBatchInfo"]["approximateArrivalOfFirstRecord"])  # DST-32
    goods = [text for text in RECORDS if text != "poison"]
    assert [each.text for each in seen(site) if each.function == "bisects"] == goods
    assert [each.text for each in seen(site) if each.function == "items"] == goods
    assert [each.text for each in _batches(site, "reports")] == [*RECORDS, *RECORDS[2:], *RECORDS[2:]]


def only_shard_of(aws: LocalAws, table: str) -> list[Any]:
    (shard,) = aws.endpoint.dynamodb.stream(table).open_shards()
    return shard.records


def _told(body: dict[str, Any]) -> tuple[Any, ...]:
    request, info = body["requestContext"], body.get("KinesisBatchInfo") or body["DDBStreamBatchInfo"]
    return (
        request["condition"],
        request["approximateInvokeCount"],
        info["batchSize"],
        info["startSequenceNumber"],
        info["endSequenceNumber"],
        body["responseContext"]["functionError"],
    )


def _batches(site: Site, function: str) -> list[Seen]:
    return [each for each in seen(site, "began") if each.function == function]


async def test_topics_buckets_buses_and_functions_are_told_too(tmp_path: Path) -> None:
    """DST-20, DST-21, DST-36, DST-37; the bus and the function are beyond AWS."""
    async with local_aws() as aws:
        arn = await aws.make_stream("clicks")
        sinks = aws.endpoint.sinks
        sinks.topics.create("failed", account=ACCOUNT, region=REGION, fifo=False)
        sinks.buckets.create("failed", account=ACCOUNT)
        sinks.buses.create("failed", account=ACCOUNT, region=REGION)
        sinks.functions.declare("failed")
        policy: dict[str, Any] = {"MaximumRetryAttempts": 0, **BISECTS}
        mappings = [
            stream_mapping(name, arn, function=name, DestinationConfig=on_failure(destination), **policy)
            for name, destination in DESTINATIONS.items()
        ]
        sequences = await aws.put("clicks", *RECORDS, key="k")
        site = stream_site(tmp_path, dict.fromkeys(DESTINATIONS, stream_function("refuses_poison")), mappings)
        async with process_on(site, aws.endpoint.url, WORKER="one") as worker:
            await wait_done(site, worker, dict.fromkeys(DESTINATIONS, sequences[-1]))
            for name in DESTINATIONS:
                assert await worker.metric("esm_on_failure_destination_delivered_events_total", mapping=name) == 1, name
            assert await worker.stop() == 0
    (published,) = sinks.topics.received
    assert _poison_in(json.loads(published.message)) == sequences[2]
    (stored,) = sinks.buckets.objects("failed")
    body = json.loads(stored.body)
    assert _poison_in(body) == sequences[2]
    assert isinstance(body["payload"], str)
    assert [each["kinesis"]["sequenceNumber"] for each in json.loads(body["payload"])["Records"]] == [sequences[2]]
    uuid = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    day, second = body["timestamp"][:10], body["timestamp"][:19].replace(":", ".")
    key = rf"aws/lambda/{uuid}/shardId-000000000000/{day.replace('-', '/')}/{re.escape(second)}-{uuid}"
    assert re.fullmatch(key, stored.key), stored.key
    (event,) = sinks.buses.received
    assert _poison_in(json.loads(event.detail)) == sequences[2]
    assert event.bus == DESTINATIONS["events"]
    (invoked,) = sinks.functions.received
    assert _poison_in(json.loads(invoked.payload)) == sequences[2]
    assert (invoked.function, invoked.kind) == ("failed", "Event")


def _poison_in(body: dict[str, Any]) -> str:
    assert body["KinesisBatchInfo"]["batchSize"] == 1
    return str(body["KinesisBatchInfo"]["startSequenceNumber"])


async def test_what_no_destination_takes_is_dropped_counted_and_logged_with_its_positions(tmp_path: Path) -> None:
    """DST-13, MET-05, MET-23, MET-37: dropped + delivered = discarded; the shard goes on."""
    async with local_aws() as aws:
        arn = await aws.make_stream("clicks")
        sequences = await aws.put("clicks", *RECORDS, key="k")
        mappings = [
            stream_mapping("missing", arn, MaximumRetryAttempts=0, DestinationConfig=on_failure(arn_of("nowhere"))),
            stream_mapping("none", arn, function="g", MaximumRetryAttempts=0, **BISECTS),
        ]
        site = stream_site(tmp_path, dict.fromkeys("fg", stream_function("refuses_poison")), mappings)
        async with process_on(site, aws.endpoint.url, WORKER="one") as worker:
            await wait_done(site, worker, {"missing": sequences[-1], "none": sequences[-1]})
            for name, given_up, failed in (("missing", 5, 1), ("none", 1, 0)):
                assert await worker.metric("esm_dropped_events_total", mapping=name) == given_up
                assert await worker.metric("esm_on_failure_destination_delivered_events_total", mapping=name) == 0
                assert await worker.metric("esm_destination_delivery_failures_total", mapping=name) == failed
            dropped = {line["mapping"]: line for line in worker.log("records_dropped")}
            shard, exhausted = "shardId-000000000000", "RetryAttemptsExhausted"
            for name, first, last in (("missing", sequences[0], sequences[4]), ("none", sequences[2], sequences[2])):
                line = dropped[name]
                assert (line["shard"], line["first"], line["last"], line["condition"]) == (shard, first, last, exhausted)
            assert "nowhere" in dropped["missing"]["reason"]
            assert "NonExistentQueue" in dropped["missing"]["reason"]
            assert "poison" not in str(dropped)  # no payload in the log
            assert (await worker.page("/healthz")).status == 200
            assert await worker.stop() == 0


async def test_a_mapping_that_blocks_keeps_its_shard_until_the_destination_takes_the_record(tmp_path: Path) -> None:
    """`on_destination_failure: block`: nothing is dropped, `/mappings` says why; also over a restart."""
    async with local_aws() as aws:
        arn = await aws.make_stream("clicks")
        sequences = await aws.put("clicks", *RECORDS, key="k")
        mapping = stream_mapping("m", arn, MaximumRetryAttempts=0, DestinationConfig=on_failure(arn_of("later")), **BISECTS)
        functions = {"f": stream_function("refuses_poison")}
        site = stream_site(tmp_path, functions, [mapping], on_destination_failure="block")
        async with process_on(site, aws.endpoint.url, WORKER="one") as worker:
            await worker.wait_log("destination_failed")

            async def blocked() -> bool:
                (shard,) = (await worker.mapping("m"))["shards"]
                return shard["state"] == "blocked" and "the on-failure destination takes nothing (since 20" in shard["why"]

            await worker.wait(blocked, "the mapping says why")
            shown = await worker.mapping("m")
            assert "NonExistentQueue" in shown["why"]
            assert "since 20" in shown["shards"][0]["why"]
            assert await worker.metric("esm_shards", state="blocked") == 1
            assert await worker.metric("esm_dropped_events_total") == 0
            assert checkpoints(site, "m") == {"shardId-000000000000": sequences[1]}
            assert await worker.stop() == 0  # the drain ends the wait, and the record is still to be given up
        assert checkpoints(site, "m") == {"shardId-000000000000": sequences[1]}
        async with process_on(site, aws.endpoint.url, WORKER="one") as worker:
            await worker.wait_log("destination_failed")
            await aws.make_queue("later")
            await wait_done(site, worker, {"m": sequences[-1]})
            assert await worker.metric("esm_on_failure_destination_delivered_events_total") == 1
            assert await worker.metric("esm_dropped_events_total") == 0
            assert (await worker.mapping("m"))["why"] is None
            assert await worker.stop() == 0
        assert aws.counts("later") == (1, 0)
        assert [each.text for each in seen(site)] == ["good 1", "good 2", "good 3", "good 4"]
