"""`esm replay` of retained streams and `esm redrive`, on servers that we did not write."""

import base64
import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from handlers.destinations import FailureRecord, open_destination
from pollers.aws.clients import AwsClients
from tests.acceptance.replaying import acts, esm, seen, shell
from tests.acceptance.stream_site import stream_mapping
from tests.acceptance.worker_process import Site, mapping
from tests.fakes.aws_environment import without_aws
from tests.integration.test_streams_on_servers import INDEPENDENT, arn_of, stream_like
from tests.servers.behaviour import Service
from tests.servers.queues import queue_on
from tests.servers.running import Server

TEXTS = [f"{'poison' if n % 4 == 3 else 'text'}-{n}" for n in range(12)]
POISON = [text for text in TEXTS if text.startswith("poison")]


def stream_site(folder: Path, handler: str, arn: str) -> Site:
    site = Site(folder)
    policy: dict[str, Any] = {"MaximumRetryAttempts": 0, "BisectBatchOnFunctionError": True}
    site.write_config({"f": acts(handler)}, [stream_mapping("m", arn, **policy)])
    return site


def failure(found: dict[str, Any], arn: str, service: Service) -> dict[str, Any]:
    """The message of an on-failure destination about one record that failed."""
    info = {
        "shardId": found["shard"],
        "startSequenceNumber": found["position"],
        "endSequenceNumber": found["position"],
        "approximateArrivalOfFirstRecord": "2026-01-01T00:00:00Z",
        "batchSize": 1,
        "streamArn": arn,
    }
    context = {"functionArn": "arn:aws:lambda:eu-west-1:123456789012:function:f", "condition": "RetryAttemptsExhausted"}
    key = "KinesisBatchInfo" if service is Service.KINESIS else "DDBStreamBatchInfo"
    return {"requestContext": context, key: info}


@INDEPENDENT
async def test_a_stream_is_replayed_one_record_alone_and_failures_redriven(
    stream_server: tuple[Service, Server], tmp_path: Path
) -> None:
    service, server = stream_server
    async with stream_like(service, server) as handle:
        await handle.put(*TEXTS)
        arn = arn_of(handle)
        site = stream_site(tmp_path, "refuses_poison", arn)
        ended = await esm(site, "replay", arn, "-f", "f", "--json", endpoint_url=server.endpoint_url)
        document = ended.json
        assert ended.code == 1, ended.err
        assert (document["records"]["read"], document["records"]["failed"]) == (12, 3)
        assert document["problems"] == []
        first, *_ = failures = document["failures"]
        assert list(dict.fromkeys(seen(site))) == TEXTS

        site.journal_file.unlink()
        alone = await shell(site, first["command"], endpoint_url=server.endpoint_url)
        assert alone.code == 1, alone.err
        assert "1 record = 0 succeeded + 1 failed" in alone.out
        assert seen(site) == POISON[:1]

        site.journal_file.unlink()
        file = tmp_path / "failed.jsonl"
        file.write_text("".join(json.dumps(failure(each, arn, service)) + "\n" for each in failures[::-1]))
        stream_site(tmp_path, "works", arn)
        redriven = await esm(site, "redrive", "failed.jsonl", "-f", "f", endpoint_url=server.endpoint_url)
        assert redriven.code == 0, redriven.out + redriven.err
        assert redriven.out.splitlines()[0] == "3 messages: 3 done"
        assert seen(site) == POISON
        assert file.read_text() == ""


@pytest.mark.on_servers("ministack", "moto", "elasticmq", "localstack")
async def test_messages_that_succeed_are_deleted_and_the_others_show_again(sqs_server: Server, tmp_path: Path) -> None:
    async with queue_on(sqs_server) as queue:
        await queue.send(*TEXTS)
        site = Site(tmp_path)
        site.write_config({"f": acts("names_poison")}, [mapping("orders")])
        ended = await esm(site, "redrive", queue.arn, "-f", "f", "--item-failures", endpoint_url=sqs_server.endpoint_url)
        assert ended.code == 1, ended.err
        assert ended.out.splitlines()[0] == "12 messages: 9 done, 3 failed"
        await queue.wait_counts(visible=3)
        assert sorted(seen(site)) == sorted(TEXTS)


@pytest.mark.like_aws("fifo_ok")
@pytest.mark.on_servers("ministack", "localstack", "elasticmq")
async def test_a_fifo_queue_is_emptied_in_order(sqs_server: Server, tmp_path: Path) -> None:
    async with queue_on(sqs_server, fifo=True) as queue:
        await queue.send(*(f"a-{n}" for n in range(14)), group="a")
        await queue.send(*(f"b-{n}" for n in range(3)), group="b")
        site = Site(tmp_path)
        site.write_config({"f": acts("works")}, [mapping("orders")])
        ended = await esm(site, "redrive", queue.arn, "-f", "f", endpoint_url=sqs_server.endpoint_url)
        assert ended.code == 0, ended.out + ended.err
        for group, count in (("a", 14), ("b", 3)):
            assert [text for text in seen(site) if text.startswith(group)] == [f"{group}-{n}" for n in range(count)]
        await queue.wait_counts()


@pytest.mark.on_servers("ministack", "moto")
async def test_objects_as_our_own_destination_writes_them_are_redriven(
    sqs_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any of these servers has S3, too; the prefix decides which objects are meant."""
    arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/gone"
    bucket = f"t-{uuid.uuid4().hex}"
    site = stream_site(tmp_path, "works", arn)
    without_aws(monkeypatch, tmp_path)
    for name, value in site.environment(sqs_server.endpoint_url, {}).items():
        monkeypatch.setenv(name, value)
    async with AwsClients() as clients:
        s3 = await clients.client("s3", sqs_server.region, retries=False)
        await s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": sqs_server.region})
        destination = open_destination(f"arn:aws:s3:::{bucket}", clients, region=sqs_server.region)
        for number, text in enumerate(POISON, start=1):
            found = {"shard": "shardId-000000000000", "position": str(number)}
            body = {**failure(found, arn, Service.KINESIS), "timestamp": "2026-01-01T00:00:00.000Z"}
            event = {"Records": [shown(number, text, arn)]}
            await destination.send(FailureRecord(body=body, event=event, mapping="m", shard="shardId-000000000000"))
        await s3.put_object(Bucket=bucket, Key="notes/readme.txt", Body=b"hello")
        place = f"s3://{bucket}/aws/lambda/"
        ended = await esm(site, "redrive", place, "-f", "f", endpoint_url=sqs_server.endpoint_url)
        assert ended.code == 0, ended.out + ended.err
        assert ended.out.splitlines()[0] == "3 messages: 3 done"
        assert seen(site) == POISON
        left = (await s3.list_objects_v2(Bucket=bucket)).get("Contents", [])
        assert [each["Key"] for each in left] == ["notes/readme.txt"]


def shown(number: int, text: str, arn: str) -> dict[str, Any]:
    inner = {
        "partitionKey": "k",
        "sequenceNumber": str(number),
        "data": base64.b64encode(text.encode()).decode(),
        "approximateArrivalTimestamp": 1.0,
    }
    return {"kinesis": inner, "eventSource": "aws:kinesis", "eventID": f"s:{number}", "eventSourceARN": arn}
