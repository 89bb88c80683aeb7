"""`deaggregate: true` with the real worker: user records as records of their own, and what a stream can know of them."""

import base64
import json
import signal
from hashlib import md5
from pathlib import Path
from typing import Any

import pytest

from pollers.kpl import _AGGREGATE, MAGIC
from tests.acceptance.local_aws import LocalAws, local_aws
from tests.acceptance.stream_site import (
    checkpoints,
    on_failure,
    seen,
    stream_function,
    stream_mapping,
    stream_site,
)
from tests.acceptance.test_commands import esm
from tests.acceptance.worker_process import process_on

ROOT = Path(__file__).resolve().parents[2]
ARN_OF_QUEUE = "arn:aws:sqs:eu-west-1:123456789012:failed"


def packed(*texts: str, keys: int = 1) -> str:
    """One aggregate of these user records, whose keys take turns, as base64."""
    message: Any = _AGGREGATE()
    message.partition_key_table.extend(f"k{number}" for number in range(keys))
    for number, text in enumerate(texts):
        message.records.add(partition_key_index=number % keys, data=text.encode())
    body = message.SerializeToString()
    return base64.b64encode(MAGIC + body + md5(body, usedforsecurity=False).digest()).decode()


async def put_packed(aws: LocalAws, stream: str, *aggregates: str) -> list[str]:
    records = [{"PartitionKey": "of the producer", "Data": data} for data in aggregates]
    answer = await aws.kinesis("PutRecords", StreamName=stream, Records=records)
    return [record["SequenceNumber"] for record in answer["Records"]]


def words(part: str, count: int) -> list[str]:
    return [f"{part} {number}" for number in range(count)]


async def test_user_records_come_one_by_one_in_batches_of_user_records_and_ordinary_ones_between(tmp_path: Path) -> None:
    async with local_aws() as aws:
        arn = await aws.make_stream("clicks")
        one, other = words("a", 25), words("b", 5)
        first, *_ = await put_packed(aws, "clicks", packed(*one, keys=2))
        await aws.put("clicks", "plain", key="p")
        await put_packed(aws, "clicks", packed(*other))
        mapping = stream_mapping("m", arn, BatchSize=10, deaggregate=True)
        site = stream_site(tmp_path, {"f": stream_function("works")}, [mapping])
        async with process_on(site, aws.endpoint.url, WORKER="one") as worker:
            await worker.wait(lambda: len(seen(site)) == 31, "all user records are seen")
            last = str(aws.stream("clicks").open_shards[0].records[-1].sequence)
            await worker.wait(lambda: last in checkpoints(site, "m").values(), "the checkpoint stands at the last record")
            assert await worker.metric("esm_polled_events_total") == 31
            assert await worker.stop() == 0
    found = seen(site)
    assert [each.text for each in found] == [*one, "plain", *other]
    assert [each.key for each in found[:4]] == ["k0", "k1", "k0", "k1"]
    assert {each.id for each in found[:25]} == {first}
    assert [len([each for each in found if each.call == call]) for call in dict.fromkeys(each.call for each in found)] == [
        10,
        10,
        10,
        1,
    ]


async def test_without_the_key_an_aggregate_comes_as_it_is_kin_19(tmp_path: Path) -> None:
    async with local_aws() as aws:
        arn = await aws.make_stream("clicks")
        await put_packed(aws, "clicks", packed("a", "b"))
        site = stream_site(tmp_path, {"f": stream_function("counts")}, [stream_mapping("m", arn)])
        async with process_on(site, aws.endpoint.url, WORKER="one") as worker:
            await worker.wait(lambda: site.journal_file.exists() and "1 records" in site.journal_file.read_text(), "it came")
            assert await worker.stop() == 0


async def test_a_killed_worker_repeats_the_aggregate_that_was_not_done_and_none_before_it(tmp_path: Path) -> None:
    """COM-01, COM-63: a position is that of an aggregate, so all of its user records come again."""
    async with local_aws() as aws:
        arn = await aws.make_stream("clicks")
        parts = [words("a", 20), words("b", 20), ["hold", *words("c", 4)]]
        sequences = await put_packed(aws, "clicks", *(packed(*part) for part in parts))
        mapping = stream_mapping("m", arn, BatchSize=8, deaggregate=True)
        site = stream_site(tmp_path, {"f": stream_function("holds_at_hold")}, [mapping])
        async with process_on(site, aws.endpoint.url, WORKER="one") as worker:
            # batches of 8: the fifth has the last 8 of b, the sixth is held
            await worker.wait(lambda: any(each.text == "hold" for each in seen(site, "began")), "the third aggregate is in hand")
            assert set(checkpoints(site, "m").values()) == {sequences[1]}
            worker.send_signal(signal.SIGKILL)
            await worker.wait_exit()
        site.open_gate()
        async with process_on(site, aws.endpoint.url, WORKER="one") as worker:
            await worker.wait(lambda: set(checkpoints(site, "m").values()) == {sequences[2]}, "all is done")
            assert await worker.stop() == 0
    began = [each.text for each in seen(site, "began")]
    assert began == [*parts[0], *parts[1], *parts[2], *parts[2]]


@pytest.mark.parametrize("report", ["exact", "sequence"])
async def test_kin_50_failures_within_an_aggregate_are_retried_and_given_up_alone(tmp_path: Path, report: str) -> None:
    """Named by `sequence:place`, exactly; by the sequence number that they share, from the first of them in the batch on."""
    async with local_aws() as aws:
        arn = await aws.make_stream("clicks")
        await aws.make_queue("failed")
        (sequence,) = await put_packed(aws, "clicks", packed("a", "b", "poison", "c"))
        mapping = stream_mapping(
            "m", arn, deaggregate=True, MaximumRetryAttempts=0, FunctionResponseTypes=["ReportBatchItemFailures"],
            DestinationConfig=on_failure(ARN_OF_QUEUE),
        )  # fmt: skip
        site = stream_site(tmp_path, {"f": stream_function(f"reports_by_{report}")}, [mapping])
        async with process_on(site, aws.endpoint.url, WORKER="one") as worker:
            await worker.wait(lambda: set(checkpoints(site, "m").values()) == {sequence}, "the aggregate is done")
            assert await worker.stop() == 0
        (message,) = await aws.receive_all("failed")
    info = json.loads(message["Body"])["KinesisBatchInfo"]
    assert (info["startSequenceNumber"], info["endSequenceNumber"]) == (sequence, sequence)
    tries = [
        [each.text for each in seen(site, "began") if each.call == call]
        for call in dict.fromkeys(each.call for each in seen(site, "began"))
    ]
    if report == "exact":
        assert tries == [["a", "b", "poison", "c"], ["poison", "c"]]
        assert info["batchSize"] == 2
    else:
        assert tries == [["a", "b", "poison", "c"]]
        assert info["batchSize"] == 4


async def test_a_worker_without_protobuf_says_what_to_install(tmp_path: Path) -> None:
    site = stream_site(
        tmp_path,
        {"f": stream_function("works")},
        [stream_mapping("m", "arn:aws:kinesis:eu-west-1:123456789012:stream/s", deaggregate=True)],
    )
    hidden = tmp_path / "hidden"
    (hidden / "google").mkdir(parents=True)
    (hidden / "google" / "__init__.py").write_text("")
    for command in ("run", "check"):
        ended = await esm(site, command, more={"PYTHONPATH": f"{hidden}:{ROOT}"})
        assert ended.code == 1
        assert "deaggregate needs protobuf" in ended.err
        assert "pip install 'esm-runtime[kpl]'" in ended.err
