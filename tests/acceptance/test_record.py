"""`esm record` as a user types it, on the embedded endpoint: what it says, what is in the file, and how it ends."""

import asyncio
import base64
import json
import os
import resource
import signal
import time
from pathlib import Path
from typing import Any, Final

import anyio
import pytest

from pollers.recording import Flaw, Lineage, Recorded, RecordingReader
from tests.acceptance.command_process import command, esm
from tests.acceptance.local_aws import arn_of, local_aws, stream_arn
from tests.acceptance.worker_process import wait_until

ENDINGS: Final = ("", ".gz", ".zst")
ALL: Final = ("--from", "TRIM_HORIZON", "--to", "now")
OPEN: Final = "open\n"


def shown(path: Path) -> list[dict[str, Any]]:
    """The records of a recording that has no flaw."""
    items = list(RecordingReader(path))
    assert not [item for item in items if isinstance(item, Flaw)], items
    return [json.loads(item.of.record.content) for item in items if isinstance(item, Recorded)]


def numbers(path: Path) -> dict[str, list[str]]:
    """The sequence numbers by shard, in the order of the file."""
    found: dict[str, list[str]] = {}
    for item in RecordingReader(path):
        if isinstance(item, Recorded):
            found.setdefault(item.of.shard, []).append(item.of.record.id)
    return found


def flat(path: Path) -> list[str]:
    return [number for found in numbers(path).values() for number in found]


def texts(path: Path) -> list[str]:
    return [base64.b64decode(each["kinesis"]["data"]).decode() for each in shown(path)]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# streams


@pytest.mark.parametrize("ending", ["", ".gz"])
async def test_what_a_stream_holds_is_recorded(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"clicks.jsonl{ending}"
    async with local_aws() as aws:
        await aws.make_stream("clicks", shards=2)
        put = await aws.put("clicks", *map(str, range(1200)))
        ended = await esm(tmp_path, aws.endpoint.url, "record", stream_arn("clicks"), "-o", path.name, *ALL)
    assert ended.code == 0, ended.err
    assert ended.out.startswith(f"1,200 records in {path.name}, arrived from 20")
    assert ended.err.endswith("from the oldest record on: 2 shards open\n")
    assert sorted(map(int, flat(path))) == sorted(map(int, put))
    assert all(found == sorted(found, key=int) for found in numbers(path).values())


async def test_the_result_is_json_where_that_is_asked_for(tmp_path: Path) -> None:
    async with local_aws() as aws:
        await aws.make_stream("clicks")
        await aws.put("clicks", "a", "b")
        ended = await esm(tmp_path, aws.endpoint.url, "record", stream_arn("clicks"), "-o", "a.jsonl", *ALL, "--json")
    result = json.loads(ended.out)
    assert (ended.code, result["file"], result["records"], result["problems"]) == (0, "a.jsonl", 2, [])
    assert result["arrived"]["first"] <= result["arrived"]["last"]


async def test_a_recording_goes_to_stdout_and_what_is_said_of_it_to_stderr(tmp_path: Path) -> None:
    async with local_aws() as aws:
        await aws.make_stream("clicks")
        await aws.put("clicks", "a", "b")
        ended = await esm(tmp_path, aws.endpoint.url, "record", stream_arn("clicks"), "-o", "-", *ALL)
    assert [min(json.loads(line)) for line in ended.out.splitlines()] == ["began", "parents", "arrived", "arrived", "ended"]
    assert "2 records in -" in ended.err


@pytest.mark.parametrize(("number", "ending"), [(signal.SIGINT, ""), (signal.SIGTERM, ".gz"), (signal.SIGTERM, ".zst")])
async def test_a_signal_ends_it_well_and_what_was_put_after_it_said_so_is_recorded(
    tmp_path: Path, number: signal.Signals, ending: str
) -> None:
    path = tmp_path / f"a.jsonl{ending}"
    async with local_aws() as aws:
        await aws.make_stream("clicks", shards=3)
        await aws.put("clicks", *(f"old-{n}" for n in range(20)))
        async with command(tmp_path, aws.endpoint.url, "record", stream_arn("clicks"), "-o", path.name) as running:
            await running.wait_told(OPEN)
            await aws.put("clicks", *(f"new-{n}" for n in range(20)))
            await wait_until(lambda: path.exists() and len(flat(path)) == 20, "all are in the file")
            ended = await running.ended(number)
    assert ended.code == 0
    assert ended.out.startswith("20 records in")
    assert sorted(texts(path)) == sorted(f"new-{n}" for n in range(20))


@pytest.mark.parametrize("ending", ENDINGS)
async def test_one_that_is_killed_leaves_all_that_it_had_written(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.jsonl{ending}"
    async with local_aws() as aws:
        await aws.make_stream("clicks")
        async with command(tmp_path, aws.endpoint.url, "record", stream_arn("clicks"), "-o", path.name) as running:
            await running.wait_told(OPEN)
            for text in "abc":
                await aws.put("clicks", text)
                await wait_until(lambda: path.exists() and bool(numbers(path)), "it is in the file")
                await asyncio.sleep(0)
            await wait_until(lambda: len(flat(path)) == 3, "all are in the file")
            assert (await running.ended(signal.SIGKILL)).code == -signal.SIGKILL
    *items, flaw = RecordingReader(path)
    assert isinstance(flaw, Flaw)
    assert "cut off" in flaw.message
    assert [type(item) for item in items] == [Lineage, Recorded, Recorded, Recorded]


async def test_it_ends_after_so_many_records_or_so_many_seconds(tmp_path: Path) -> None:
    async with local_aws() as aws:
        await aws.make_stream("clicks", shards=2)
        await aws.put("clicks", *map(str, range(100)))
        arn = stream_arn("clicks")
        some = await esm(tmp_path, aws.endpoint.url, "record", arn, "-o", "a", "--from", "TRIM_HORIZON", "--records", "7")
        none = await esm(tmp_path, aws.endpoint.url, "record", arn, "-o", "b", "--seconds", "1")
    assert (some.code, len(shown(tmp_path / "a"))) == (0, 7)
    assert (none.code, shown(tmp_path / "b"), none.out) == (0, [], "0 records in b\n")


async def test_from_and_to_a_record_and_a_time(tmp_path: Path) -> None:
    async with local_aws() as aws:
        await aws.make_stream("clicks")
        put = await aws.put("clicks", *"abcdef")
        bounds = ("--from", put[1], "--to", put[3], "--shard", "shardId-000000000000")
        by_number = await esm(tmp_path, aws.endpoint.url, "record", stream_arn("clicks"), "-o", "a", *bounds)
        await anyio.sleep(0.1)
        moment = f"{time.time():.3f}"
        await aws.put("clicks", *"gh")
        by_time = await esm(
            tmp_path, aws.endpoint.url, "record", stream_arn("clicks"), "-o", "b", "--from", moment, "--to", "now"
        )
        wrong = await esm(tmp_path, aws.endpoint.url, "record", stream_arn("clicks"), "-o", "c", "--from", put[1])
    assert (by_number.code, texts(tmp_path / "a")) == (0, list("bcd"))
    assert (by_time.code, texts(tmp_path / "b")) == (0, list("gh"))
    assert (wrong.code, wrong.err) == (1, "--from is a sequence number, which is of one shard: say of which, with --shard\n")


async def test_kin_40_shards_that_split_and_merge_meanwhile_are_complete_and_parents_come_first(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    put: list[str] = []
    async with local_aws() as aws:
        await aws.make_stream("clicks", shards=2)
        async with command(tmp_path, aws.endpoint.url, "record", stream_arn("clicks"), "-o", path.name) as running:
            await running.wait_told(OPEN)
            for step in range(4):
                put += await aws.put("clicks", *(f"{step}-{n}" for n in range(100)))
                await (aws.merge("clicks") if step == 2 else aws.split("clicks"))
                put += await aws.put("clicks", *(f"{step}+{n}" for n in range(100)))
            await wait_until(lambda: path.exists() and len(flat(path)) >= 800, "all are in the file")
            held = {shard.id: [record.sequence for record in shard.records] for shard in aws.stream("clicks").shards.values()}
            ended = await running.ended(signal.SIGTERM)
    assert ended.code == 0, ended.err
    assert numbers(path) == {shard: list(map(str, found)) for shard, found in held.items() if found}
    finished: set[str] = set()
    begun: list[str] = []
    for item in RecordingReader(path):
        if isinstance(item, Lineage):
            finished |= set(item.parents)
            begun.append(item.shard)
        elif isinstance(item, Recorded):
            assert item.of.shard not in finished, "a record of a parent behind its child's beginning"
    assert len(begun) == len(held)


@pytest.mark.parametrize(
    "fault",
    [
        {"fault": "throttle", "operation": "GetRecords", "times": 3},
        {"fault": "error503", "operation": "ListShards", "times": 3},
        {"fault": "throttle", "operation": "GetShardIterator", "times": 3},
        {"fault": "expired_iterator", "operation": "GetRecords", "times": 2},
        {"fault": "duplicate_page", "operation": "GetRecords", "times": 2},
        {"fault": "garbage", "operation": "GetRecords", "times": 2},
    ],
    ids=lambda fault: f"{fault['fault']}-{fault['operation']}",
)
async def test_trouble_on_the_way_loses_and_repeats_nothing(tmp_path: Path, fault: dict[str, Any]) -> None:
    async with local_aws() as aws:
        await aws.make_stream("clicks")
        put = await aws.put("clicks", *map(str, range(300)), key="k")
        aws.add_fault(service="kinesis", **fault)
        ended = await esm(tmp_path, aws.endpoint.url, "record", stream_arn("clicks"), "-o", "a", *ALL)
    assert (ended.code, numbers(tmp_path / "a")) == (0, {"shardId-000000000000": put}), ended.err


async def test_a_stream_that_is_deleted_meanwhile_ends_it_and_what_was_recorded_stays(tmp_path: Path) -> None:
    path = tmp_path / "a"
    async with local_aws() as aws:
        await aws.make_stream("clicks")
        async with command(tmp_path, aws.endpoint.url, "record", stream_arn("clicks"), "-o", "a") as running:
            await running.wait_told(OPEN)
            await aws.put("clicks", "a", "b")
            await wait_until(lambda: path.exists() and len(flat(path)) == 2, "both are in the file")
            await aws.delete_stream("clicks")
            ended = await running.ended()
    assert ended.code == 1
    assert "ResourceNotFoundException" in ended.err
    assert "unhandled errors" not in ended.err
    assert texts(path) == ["a", "b"]


async def test_trimmed_records_are_told_and_the_rest_is_recorded(tmp_path: Path) -> None:
    async with local_aws() as aws:
        await aws.make_stream("clicks")
        put = await aws.put("clicks", *map(str, range(50)), key="k")
        await aws.control("kinesis/settings", stuckPositions=True)
        await aws.control("kinesis/trim", stream="clicks", records=10)
        bounds = ("--from", put[3], "--to", "now", "--shard", "shardId-000000000000")
        ended = await esm(tmp_path, aws.endpoint.url, "record", stream_arn("clicks"), "-o", "a", *bounds)
    assert texts(tmp_path / "a") == list(map(str, range(10, 50)))
    assert ended.code == 1
    assert "recorded from the oldest record that is left" in ended.err


async def test_binary_and_enormous_records_and_the_encryption_are_kept(tmp_path: Path) -> None:
    data = [bytes(range(256)), b"", os.urandom(700_000), "\ud800".encode("utf-8", "surrogatepass")]
    async with local_aws() as aws:
        await aws.make_stream("clicks")
        for each in data:
            await aws.kinesis("PutRecord", StreamName="clicks", Data=base64.b64encode(each).decode(), PartitionKey="ü\u2028")
        ended = await esm(tmp_path, aws.endpoint.url, "record", stream_arn("clicks"), "-o", "a.zst", *ALL)
    assert ended.code == 0, ended.err
    assert [base64.b64decode(each["kinesis"]["data"]) for each in shown(tmp_path / "a.zst")] == data


async def test_ddb_20_a_table_with_every_kind_of_value_through_a_roll_over(tmp_path: Path) -> None:
    path = tmp_path / "a"
    binary = base64.b64encode(bytes(range(256))).decode()
    async with local_aws() as aws:
        arn = await aws.make_table("orders")
        async with command(tmp_path, aws.endpoint.url, "record", arn, "-o", "a", "--from", "TRIM_HORIZON") as running:
            await running.wait_told(OPEN)
            item = {
                "pk": {"S": "a"},
                "b": {"B": binary},
                "bs": {"BS": [binary]},
                "ns": {"NS": ["1", "2.5"]},
                "l": {"L": [{"NULL": True}]},
            }
            await aws._dynamodb("PutItem", TableName="orders", Item=item)
            await aws.control("dynamodb/rollover", table="orders")
            await aws.put_items("orders", "x", key="b")
            await aws.control("dynamodb/expire", table="orders", key={"pk": {"S": "a"}})
            await wait_until(lambda: path.exists() and len(flat(path)) == 3, "all are in the file")
            ended = await running.ended(signal.SIGINT)
    assert ended.code == 0, ended.err
    put, other, expired = shown(path)
    assert put["dynamodb"]["NewImage"] == item
    assert other["dynamodb"]["Keys"] == {"pk": {"S": "b"}}
    assert expired["userIdentity"] == {"principalId": "dynamodb.amazonaws.com", "type": "Service"}
    assert len(numbers(path)) == 2


# what goes wrong before there is a record


async def test_what_cannot_be_recorded_is_one_line_and_leaves_nothing_behind(tmp_path: Path) -> None:
    async with local_aws() as aws:
        await aws.make_stream("clicks")

        async def told(source: str, *more: str, url: str = aws.endpoint.url) -> str:
            ended = await esm(tmp_path, url, "record", source, "-o", "a", *more)
            assert (ended.code, ended.out) == (1, "")
            assert "Traceback" not in ended.err
            return ended.err

        assert "ResourceNotFoundException" in await told(stream_arn("missing"))
        assert "NonExistentQueue" in await told(arn_of("missing"))
        assert "the stream has no shard x: it has shardId-000000000000" in await told(stream_arn("clicks"), "--shard", "x")
        assert "is not an ARN" in await told("clicks")
        assert "not supported yet" in await told("arn:aws:kafka:eu-west-1:123456789012:cluster/x/y")
        assert "still to come" in await told(stream_arn("clicks"), "--from", "2100-01-01")
        assert "nothing lies between --from 1h and --to 2h" in await told(stream_arn("clicks"), "--from", "1h", "--to", "2h")
        assert "--from is for streams" in await told(arn_of("orders"), "--from", "1h")
        assert "43200 seconds at most" in await told(arn_of("orders"), "--hide", "99999")
        assert "Could not connect" in await told(stream_arn("clicks"), url="http://127.0.0.1:9")
    assert names_in(tmp_path) == ["stderr.txt", "stdout.txt"]


async def test_a_file_that_is_there_is_replaced_only_by_force_and_only_by_records(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    async with local_aws() as aws:
        await aws.make_stream("clicks")
        await aws.put("clicks", "x")
        refused = await esm(tmp_path, aws.endpoint.url, "record", stream_arn("clicks"), "-o", "a", *ALL)
        failed = await esm(tmp_path, aws.endpoint.url, "record", stream_arn("missing"), "-o", "a", "--force")
        assert path.read_text() == "old"
        ended = await esm(tmp_path, aws.endpoint.url, "record", stream_arn("clicks"), "-o", "a", "--force", *ALL)
    assert (refused.code, refused.err) == (1, "a is there already: give another -o, or --force to replace it\n")
    assert (failed.code, ended.code) == (1, 0)
    assert texts(path) == ["x"]
    assert names_in(tmp_path) == ["a", "stderr.txt", "stdout.txt"]


async def test_a_place_that_cannot_be_written_to_is_one_line(tmp_path: Path) -> None:
    async with local_aws() as aws:
        await aws.make_stream("clicks")
        await aws.put("clicks", "x")
        nowhere = await esm(tmp_path, aws.endpoint.url, "record", stream_arn("clicks"), "-o", "no/a", *ALL)
        folder = await esm(tmp_path, aws.endpoint.url, "record", stream_arn("clicks"), "-o", ".", *ALL)
        full = await esm(tmp_path, aws.endpoint.url, "record", stream_arn("clicks"), "-o", "/dev/full", *ALL)
    assert (nowhere.code, nowhere.err) == (1, "no/a cannot be written: No such file or directory\n")
    assert (folder.code, folder.err) == (1, ". cannot be written: Is a directory\n")
    assert full.code == 1
    assert "/dev/full cannot be written on: No space left on device; nothing is in it\n" in full.err
    assert "Traceback" not in full.err


@pytest.mark.parametrize("ending", ENDINGS)
async def test_a_disk_that_fills_up_keeps_what_was_written_and_says_how_much_that_is(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"

    def small_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    async with local_aws() as aws:
        await aws.make_stream("clicks")
        for _ in range(40):
            await aws.put("clicks", base64.b64encode(os.urandom(15_000)).decode(), key="k")
        ended = await esm(tmp_path, aws.endpoint.url, "record", stream_arn("clicks"), "-o", path.name, *ALL, before=small_disk)
    assert ended.code == 1
    assert f"{path.name} cannot be written on: File too large" in ended.err
    assert "Traceback" not in ended.err


# queues


@pytest.mark.parametrize("fifo", [False, True], ids=["standard", "fifo"])
async def test_a_queue_is_peeked_at_and_nothing_is_deleted(tmp_path: Path, fifo: bool) -> None:
    name = "orders.fifo" if fifo else "orders"
    async with local_aws() as aws:
        await aws.make_queue(name, dead_after=None if fifo else 5)
        ids = [each for n in range(7) for each in await aws.send(name, *map(str, range(9)), group=f"g{n}" if fifo else None)]
        ended = await esm(tmp_path, aws.endpoint.url, "record", arn_of(name), "-o", "a.gz")
        assert aws.counts(name) == (63, 0)
        again = await aws.receive_all(name)
    assert ended.code == 0, ended.err
    assert ("nothing is moved" if fifo else "maxReceiveCount 5") in ended.err
    assert "About 63 wait" in ended.err
    found = [each["messageId"] for each in shown(tmp_path / "a.gz")]
    if fifo:  # of each group the first messages: the rest waits for those
        assert "of a FIFO group only the first messages show" in ended.err
        for start in range(0, 63, 9):
            of_group = [each for each in found if each in ids[start : start + 9]]
            assert of_group
            assert of_group == ids[start : start + len(of_group)]
    else:
        assert sorted(found) == sorted(ids)
    counts = {each["MessageId"]: each["Attributes"]["ApproximateReceiveCount"] for each in again}
    assert all(count == ("2" if each in found else "1") for each, count in counts.items())
    if fifo:
        places = [ids.index(each["MessageId"]) for each in again]
        assert all(sorted(of_group := [p for p in places if p // 9 == group]) == of_group for group in range(7))


async def test_a_signal_in_the_middle_of_a_peek_gives_everything_back(tmp_path: Path) -> None:
    async with local_aws() as aws:
        await aws.make_queue("orders")
        await aws.send("orders", *map(str, range(50)))
        aws.add_fault(fault="slow", service="sqs", operation="ReceiveMessage", seconds=0.5)
        async with command(tmp_path, aws.endpoint.url, "record", arn_of("orders"), "-o", "a") as running:
            await wait_until(lambda: aws.counts("orders")[1] >= 20, "some are in flight")
            ended = await running.ended(signal.SIGINT)
        assert aws.counts("orders") == (50, 0)
    assert ended.code == 0, ended.err
    assert 20 <= len(shown(tmp_path / "a")) < 50


async def test_sqs_55_a_queue_whose_messages_would_all_go_to_its_dead_letter_queue_is_left_alone(tmp_path: Path) -> None:
    async with local_aws() as aws:
        await aws.make_queue("orders", dead_after=1)
        await aws.send("orders", "a")
        ended = await esm(tmp_path, aws.endpoint.url, "record", arn_of("orders"), "-o", "a")
        assert aws.requests("ReceiveMessage") == 0
        forced = await esm(tmp_path, aws.endpoint.url, "record", arn_of("orders"), "-o", "b", "--last-receives")
    assert (ended.code, forced.code) == (1, 0)
    assert "nothing was received: the queue's redrive policy allows one receive (maxReceiveCount 1)" in ended.err
    assert "for 1 of these messages that was the last receive which the queue allows" in forced.err


async def test_what_cannot_be_given_back_is_told(tmp_path: Path) -> None:
    async with local_aws() as aws:
        await aws.make_queue("orders")
        await aws.send("orders", "a", "b")
        aws.add_fault(fault="access_denied", service="sqs", operation="ChangeMessageVisibilityBatch")
        ended = await esm(tmp_path, aws.endpoint.url, "record", arn_of("orders"), "-o", "a", "--hide", "45")
    assert ended.code == 1
    assert (
        "2 messages could not be given back at once: they show again within 45 s (ChangeMessageVisibilityBatch on orders"
        in ended.err
    )
    assert len(shown(tmp_path / "a")) == 2
