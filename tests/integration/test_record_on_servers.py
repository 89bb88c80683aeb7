"""The real `esm record` on every server: what was put is in the file, shard by shard, and a queue is as it was."""

import base64
import json
import signal
from pathlib import Path
from typing import Any

import pytest

from pollers.recording import Flaw, Recorded, RecordingReader
from tests.acceptance.command_process import command, esm
from tests.acceptance.worker_process import wait_until
from tests.servers.behaviour import Service
from tests.servers.queues import queue_on
from tests.servers.running import Server
from tests.servers.streams import StreamHandle, stream_on
from tests.servers.tables import TableHandle, table_on

INDEPENDENT = pytest.mark.on_servers("ministack", "kinesis-mock", "kinesalite", "moto", "elasticmq", "localstack")
"""The embedded endpoint has its own tests, in tests/acceptance."""


def recorded(path: Path) -> list[Recorded]:
    """Of a recording without a flaw."""
    items = list(RecordingReader(path))
    assert not [item for item in items if isinstance(item, Flaw)], items
    return [item for item in items if isinstance(item, Recorded)]


def so_far(path: Path) -> list[Recorded]:
    return [item for item in RecordingReader(path) if isinstance(item, Recorded)] if path.exists() else []


def shown(item: Recorded) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(item.of.record.content)
    return content


def text_of(item: Recorded) -> str:
    content = shown(item)
    if item.of.source == "kinesis":
        return base64.b64decode(content["kinesis"]["data"]).decode()
    return str(content["dynamodb"]["NewImage"]["text"]["S"])


def assert_each_shard_in_order(items: list[Recorded]) -> None:
    by_shard: dict[str, list[int]] = {}
    for item in items:
        by_shard.setdefault(item.of.shard, []).append(int(item.of.record.id))
    assert all(found == sorted(set(found)) for found in by_shard.values())


@INDEPENDENT
@pytest.mark.parametrize("ending", [".gz", ".zst"])
async def test_what_a_stream_holds_and_what_comes_is_recorded(
    stream_server: tuple[Service, Server], tmp_path: Path, ending: str
) -> None:
    service, server = stream_server
    path = tmp_path / f"a.jsonl{ending}"
    async with stream_on(server, shards=2) if service is Service.KINESIS else table_on(server) as handle:
        arn = handle.arn if isinstance(handle, StreamHandle) else handle.stream_arn
        before = [f"before-{n}" for n in range(20)]
        after = [f"after-{n}" for n in range(20)]
        for text in before:
            await handle.put(text, key=text)
        async with command(tmp_path, server.endpoint_url, "record", arn, "-o", path.name, "--from", "TRIM_HORIZON") as running:
            await running.wait_told("open\n")
            for text in after:
                await handle.put(text, key=text)
            await wait_until(lambda: len(so_far(path)) >= 40, f"all are recorded: {running.err}")
            ended = await running.ended(signal.SIGTERM)
        assert ended.code == 0, ended.err
        assert sorted(map(text_of, recorded(path))) == sorted(before + after)
        assert_each_shard_in_order(recorded(path))

        again = await esm(tmp_path, server.endpoint_url, "record", arn, "-o", "b", "--from", "TRIM_HORIZON", "--to", "now")
        assert again.code == 0, again.err
        assert sorted(map(text_of, recorded(tmp_path / "b"))) == sorted(before + after)


@INDEPENDENT
async def test_latest_begins_when_it_says_so(stream_server: tuple[Service, Server], tmp_path: Path) -> None:
    service, server = stream_server
    path = tmp_path / "a"
    async with stream_on(server) if service is Service.KINESIS else table_on(server) as handle:
        arn = handle.arn if isinstance(handle, StreamHandle) else handle.stream_arn
        await handle.put("old")
        async with command(tmp_path, server.endpoint_url, "record", arn, "-o", "a") as running:
            await running.wait_told("open\n")
            await handle.put("new", "newer")
            await wait_until(lambda: len(so_far(path)) >= 2, f"both are recorded: {running.err}")
            assert (await running.ended(signal.SIGINT)).code == 0
    assert list(map(text_of, recorded(path))) == ["new", "newer"]


@INDEPENDENT
@pytest.mark.like_aws("ends_split_shards", "child_shards")
async def test_kin_40_a_stream_that_is_split_and_merged_meanwhile(kinesis_server: Server, tmp_path: Path) -> None:
    path = tmp_path / "a"
    async with (
        stream_on(kinesis_server) as stream,
        command(tmp_path, kinesis_server.endpoint_url, "record", stream.arn, "-o", "a") as running,
    ):
        await running.wait_told("open\n")
        texts = [f"{n}" for n in range(60)]
        await stream.put_many(*texts[:20])
        low, high = await stream.split((await stream.open_shards())[0])
        await stream.put_many(*texts[20:40])
        child = await stream.merge(low, high)
        await stream.put_many(*texts[40:])
        await wait_until(lambda: len(so_far(path)) >= 60, f"all are recorded: {running.err}", seconds=45)
        assert (await running.ended(signal.SIGTERM)).code == 0
    items = recorded(path)
    assert sorted(map(text_of, items), key=int) == texts
    assert_each_shard_in_order(items)
    shards = [item.of.shard for item in items]
    assert shards.index(child) > max(place for place, shard in enumerate(shards) if shard in (low, high))


@INDEPENDENT
async def test_binary_values_of_a_table_are_kept(dynamodb_server: Server, tmp_path: Path) -> None:
    async with table_on(dynamodb_server) as table:
        assert isinstance(table, TableHandle)
        data = bytes(range(256))
        await table.put_item(
            pk={"S": "a"}, b={"B": data}, bs={"BS": [b"\0", b"\xff"]}, n={"N": "1.5"}, m={"M": {"x": {"NULL": True}}}
        )
        await table.delete("a")
        bounds = ("--from", "TRIM_HORIZON", "--to", "now")
        ended = await esm(tmp_path, dynamodb_server.endpoint_url, "record", table.stream_arn, "-o", "a", *bounds)
    assert ended.code == 0, ended.err
    put, removed = map(shown, recorded(tmp_path / "a"))
    image = put["dynamodb"]["NewImage"]
    assert base64.b64decode(image["b"]["B"]) == data
    assert sorted(map(base64.b64decode, image["bs"]["BS"])) == [b"\0", b"\xff"]
    assert (image["n"], image["m"]) == ({"N": "1.5"}, {"M": {"x": {"NULL": True}}})
    assert (removed["eventName"], removed["dynamodb"]["OldImage"]["n"]) == ("REMOVE", {"N": "1.5"})


@INDEPENDENT
async def test_a_queue_is_peeked_at_and_is_as_it_was_but_for_the_receive_counts(sqs_server: Server, tmp_path: Path) -> None:
    async with queue_on(sqs_server) as dead:
        redrive = json.dumps({"deadLetterTargetArn": dead.arn, "maxReceiveCount": 4})
        async with queue_on(sqs_server, attributes={"VisibilityTimeout": "60", "RedrivePolicy": redrive}) as queue:
            ids = await queue.send(*(f"m{n}" for n in range(35)))
            ended = await esm(tmp_path, sqs_server.endpoint_url, "record", queue.arn, "-o", "a.gz")
            assert ended.code == 0, ended.err
            assert "maxReceiveCount 4" in ended.err
            await queue.wait_counts(visible=35, seconds=10)
            (again, *_) = await queue.receive(limit=1, wait=2)
            assert again["Attributes"]["ApproximateReceiveCount"] == "2"
    items = recorded(tmp_path / "a.gz")
    assert sorted(item.of.record.id for item in items) == sorted(ids)
    assert {shown(item)["attributes"]["ApproximateReceiveCount"] for item in items} == {"1"}


@INDEPENDENT
@pytest.mark.like_aws("fifo_ok")
async def test_the_order_of_a_fifo_queue_outlives_a_peek(sqs_server: Server, tmp_path: Path) -> None:
    async with queue_on(sqs_server, fifo=True, attributes={"VisibilityTimeout": "60"}) as queue:
        ids = {group: await queue.send(*(f"{group}{n}" for n in range(4)), group=group) for group in "abc"}
        ended = await esm(tmp_path, sqs_server.endpoint_url, "record", queue.arn, "-o", "a")
        assert ended.code == 0, ended.err
        await queue.wait_counts(visible=12, seconds=10)
        found: dict[str, list[str]] = {}
        for item in recorded(tmp_path / "a"):
            found.setdefault(str(item.of.record.group), []).append(item.of.record.id)
        assert all(found[group] == ids[group][: len(found[group])] for group in found)
        again: dict[str, list[str]] = {group: [] for group in ids}
        while messages := await queue.receive(wait=1):
            for message in messages:
                again[message["Attributes"]["MessageGroupId"]].append(message["MessageId"])
                await queue.client.delete_message(QueueUrl=queue.url, ReceiptHandle=message["ReceiptHandle"])
        assert again == ids
