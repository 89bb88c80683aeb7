"""`esm redrive` as a user types it: messages of on-failure destinations and dead-letter queues, and what remains of them."""

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.acceptance.local_aws import LocalAws, arn_of, local_aws, stream_arn
from tests.acceptance.replaying import HEARD, acts, esm, journal, running, seen, shell, wait_began
from tests.acceptance.stream_site import on_failure, stream_mapping
from tests.acceptance.worker_process import Site, mapping, process_on, wait_until

ARN = stream_arn("clicks")
FAILED = arn_of("failed")
SHARD = "shardId-000000000000"
FUNCTION = "arn:aws:lambda:eu-west-1:123456789012:function:f"


def site_of(folder: Path, handler: str, **parameters: Any) -> Site:
    site = Site(folder)
    given = {"MaximumRetryAttempts": 0, "DestinationConfig": on_failure(FAILED), **parameters}
    site.write_config({"f": acts(handler)}, [stream_mapping("clicks", ARN, **given), mapping("orders"), mapping("orders.fifo")])
    return site


def body(sequences: Sequence[str], *, shard: str = SHARD, function: str = FUNCTION, arn: str = ARN, **more: Any) -> str:
    info = {
        "shardId": shard,
        "startSequenceNumber": sequences[0],
        "endSequenceNumber": sequences[-1],
        "approximateArrivalOfFirstRecord": "2026-01-01T00:00:00.000Z",
        "batchSize": len(sequences),
        "streamArn": arn,
    }
    context = {"functionArn": function, "condition": "RetryAttemptsExhausted"}
    return json.dumps({"requestContext": context, "KinesisBatchInfo": info, **more})


async def made(aws: LocalAws, *groups: Sequence[str]) -> list[list[str]]:
    """A stream of one shard, and a message in `failed` for each group of its texts; gives their sequence numbers."""
    await aws.make_stream("clicks")
    await aws.make_queue("failed")
    numbers = [await aws.put("clicks", *group) for group in groups]
    await aws.send("failed", *map(body, numbers))
    return numbers


async def redrive(aws: LocalAws, site: Site, *arguments: str, place: str = FAILED, **more: Any) -> Any:
    return await esm(site, "redrive", place, "-f", "f", *arguments, endpoint_url=aws.endpoint.url, **more)


async def test_what_a_worker_gave_up_is_run_again_and_deleted(tmp_path: Path) -> None:
    async with local_aws() as aws:
        await aws.make_stream("clicks", shards=2)
        await aws.make_queue("failed")
        await aws.put("clicks", *(f"poison-{n}" if n % 5 == 0 else f"text-{n}" for n in range(20)))
        site = site_of(tmp_path, "refuses_poison", BisectBatchOnFunctionError=True)
        async with process_on(site, aws.endpoint.url) as worker:
            await worker.wait(lambda: aws.counts("failed")[0] == 4, "four records are given up")
        listed = await redrive(aws, site, "--dry-run")
        assert listed.code == 0
        assert listed.out.startswith("4 messages: 4 listed\n")
        assert "1 record of shardId-00000000000" in listed.out
        assert "kept for about 24.0 hours more" in listed.out
        assert "the receive count of each goes up by one" in listed.err
        assert aws.counts("failed") == (4, 0)
        still = await redrive(aws, site)
        assert (still.code, still.out.splitlines()[0]) == (1, "4 messages: 4 failed")
        assert aws.counts("failed") == (4, 0)
        (command, *_) = [line.strip() for line in still.out.splitlines() if line.strip().startswith("esm replay")]
        site.journal_file.unlink()
        assert (await shell(site, command, endpoint_url=aws.endpoint.url)).code == 1
        assert len(seen(site)) == 1
        site.journal_file.unlink()
        config = json.loads((tmp_path / "esm.yaml").read_text())
        config["functions"]["f"]["Handler"] = "replay_acts.works"
        (tmp_path / "esm.yaml").write_text(json.dumps(config))
        done = await redrive(aws, site)
        assert (done.code, done.out.splitlines()[0]) == (0, "4 messages: 4 done")
        assert sorted(seen(site)) == [f"poison-{n}" for n in (0, 10, 15, 5)]
        assert aws.is_empty("failed")
        assert (await redrive(aws, site)).out == "0 messages: there is none\n"


async def test_only_messages_whose_records_succeeded_are_deleted(tmp_path: Path) -> None:
    async with local_aws() as aws:
        await made(aws, ["a", "b"], ["poison"], ["c"])
        await aws.send("failed", "garbage", body(["1"], function=FUNCTION + "-other"))
        site = site_of(tmp_path, "refuses_poison")
        ended = await redrive(aws, site, "--json")
        document = ended.json
        assert ended.code == 1
        assert document["messages"] == {"done": 2, "failed": 1, "kept": 2, "listed": 0}
        assert seen(site) == ["a", "b", "poison", "c"]
        assert aws.counts("failed") == (3, 0)
        whys = " ".join(entry["why"] for entry in document["entries"])
        assert "1 of its records failed" in whys
        assert "it is not JSON" in whys
        assert "of function f-other, not f" in whys


async def test_in_strict_order_what_comes_behind_a_failure_waits(tmp_path: Path) -> None:
    async with local_aws() as aws:
        await made(aws, ["a"], ["poison"], ["c"])
        site = site_of(tmp_path, "refuses_poison")
        ended = await redrive(aws, site, "--stop-on-failure")
        assert ended.out.splitlines()[0] == "3 messages: 1 done, 1 failed, 1 kept"
        assert seen(site) == ["a", "poison"]
        assert aws.counts("failed") == (2, 0)


async def test_records_that_are_gone_keep_their_messages(tmp_path: Path) -> None:
    async with local_aws() as aws:
        numbers = await made(aws, ["a", "b"], ["c", "d"], ["e"])
        await aws.control("kinesis/trim", stream="clicks", records=3)
        site = site_of(tmp_path, "works")
        ended = await redrive(aws, site)
        assert ended.code == 1
        assert ended.out.splitlines()[0] == "3 messages: 1 done, 2 kept"
        assert f"--shard {SHARD} --from {numbers[1][1]} --to {numbers[1][1]}" in ended.out
        assert seen(site) == ["e"]
        assert aws.counts("failed") == (2, 0)
        (line,) = [line for line in ended.out.splitlines() if "--from" in line]
        rest = line[line.index("esm replay") :].replace("FUNCTION", "f")
        assert (await shell(site, rest, endpoint_url=aws.endpoint.url)).code == 0
        assert seen(site) == ["e", "d"]


@pytest.mark.parametrize("anew", [False, True])
async def test_a_stream_that_is_gone_or_made_anew_keeps_its_messages(tmp_path: Path, anew: bool) -> None:
    async with local_aws() as aws:
        await made(aws, ["a"])
        await aws.delete_stream("clicks")
        if anew:
            await anyio.sleep(1.1)
            await aws.make_stream("clicks")
            await aws.put("clicks", "another")
        site = site_of(tmp_path, "works")
        ended = await redrive(aws, site)
        assert ended.code == 1
        assert ended.out.splitlines()[0] == "1 message: 1 kept"
        assert "mapping's positions" not in ended.out
        assert seen(site) == []
        assert aws.counts("failed") == (1, 0)


async def test_messages_of_other_lanes_between_are_not_run(tmp_path: Path) -> None:
    """As the worker itself gives them up, with a ParallelizationFactor."""
    async with local_aws() as aws:
        await aws.make_stream("clicks")
        await aws.make_queue("failed")
        for n in range(12):
            await aws.put("clicks", f"{'poison' if n % 3 else 'fine'}-{n}", key=f"key-{n % 3}")
        site = site_of(tmp_path, "refuses_poison", ParallelizationFactor=4, BatchSize=10)
        async with process_on(site, aws.endpoint.url) as worker:
            await worker.wait(lambda: aws.counts("failed")[0] >= 1 and len(seen(site)) >= 12, "records are given up")
            await anyio.sleep(0.5)
        given_up = await aws.receive_all("failed")
        count = sum(json.loads(each["Body"])["KinesisBatchInfo"]["batchSize"] for each in given_up)
        queue = aws.queue("failed")
        assert queue.in_flight == len(given_up)
        await aws.make_queue("again")
        await aws.send("again", *(each["Body"] for each in given_up))
        site.journal_file.unlink()
        ended = await redrive(aws, site, place=arn_of("again"))
        assert ended.code == 1
        assert len(seen(site)) == count
        assert aws.counts("again")[0] == len(given_up)


# what may go wrong on the way


async def test_an_interrupt_loses_nothing_and_gives_messages_back(tmp_path: Path) -> None:
    async with local_aws() as aws:
        await made(aws, ["a"], ["b"], ["c"])
        site = site_of(tmp_path, "waits_for_the_gate")
        async with running(site, "redrive", FAILED, "-f", "f", endpoint_url=aws.endpoint.url) as command:
            await wait_began(site)
            assert aws.counts("failed") == (0, 3)
            command.interrupt()
            await anyio.sleep(HEARD)
            site.open_gate()
            ended = await command.wait()
        assert ended.code == 1
        assert ended.out.splitlines()[0] == "3 messages: 1 done, 2 kept"
        assert seen(site) == ["a"]
        assert aws.counts("failed") == (2, 0)


async def test_a_second_interrupt_gives_messages_back_too(tmp_path: Path) -> None:
    async with local_aws() as aws:
        await made(aws, ["a"], ["b"])
        site = site_of(tmp_path, "waits_for_the_gate")
        async with running(site, "redrive", FAILED, "-f", "f", endpoint_url=aws.endpoint.url) as command:
            await wait_began(site)
            command.interrupt()
            await anyio.sleep(HEARD)
            command.interrupt()
            ended = await command.wait(seconds=15)
        assert ended.code == 1
        assert "2 messages: 2 kept" in ended.out
        assert aws.counts("failed") == (2, 0)


async def test_after_a_kill_messages_show_again_and_none_was_deleted_early(tmp_path: Path) -> None:
    async with local_aws() as aws:
        await made(aws, ["a"], ["b"])
        site = site_of(tmp_path, "waits_for_the_gate")
        async with running(site, "redrive", FAILED, "-f", "f", "--hide", "4", endpoint_url=aws.endpoint.url) as command:
            await wait_began(site)
            command.process.kill()
            command.process.wait()
        assert aws.counts("failed") == (0, 2)
        await wait_until(lambda: aws.counts("failed") == (2, 0), "both show again", seconds=8)


async def test_handlers_may_take_longer_than_messages_are_hidden(tmp_path: Path) -> None:
    async with local_aws() as aws:
        await made(aws, ["a"], ["b"])
        site = site_of(tmp_path, "waits_for_the_gate")
        async with running(site, "redrive", FAILED, "-f", "f", "--hide", "2", endpoint_url=aws.endpoint.url) as command:
            await wait_began(site)
            until = time.monotonic() + 5
            while time.monotonic() < until:
                assert aws.counts("failed") == (0, 2)
                await anyio.sleep(0.1)
            site.open_gate()
            assert (await command.wait()).code == 0
        assert aws.is_empty("failed")


@pytest.mark.parametrize(("fault", "times", "code"), [("error500", 1, 0), ("access_denied", 99, 1)])
async def test_a_delete_that_is_refused(tmp_path: Path, fault: str, times: int, code: int) -> None:
    async with local_aws() as aws:
        await made(aws, ["a"])
        aws.add_fault(fault=fault, operation="DeleteMessageBatch", times=times)
        site = site_of(tmp_path, "works")
        ended = await redrive(aws, site)
        assert ended.code == code
        assert ("could not be deleted" in ended.out) is bool(code)
        assert aws.is_empty("failed") is not bool(code)


async def test_a_queue_that_cannot_be_read_is_told_in_one_line(tmp_path: Path) -> None:
    async with local_aws() as aws:
        site = site_of(tmp_path, "works")
        ended = await redrive(aws, site)
        assert (ended.code, ended.out) == (1, "")
        assert len(ended.err.splitlines()) == 1
        assert "NonExistentQueue" in ended.err or "does not exist" in ended.err


async def test_a_handler_that_cannot_be_stopped_does_not_keep_the_command(tmp_path: Path) -> None:
    async with local_aws() as aws:
        await made(aws, ["a"])
        site = site_of(tmp_path, "hangs_async")
        ended = await redrive(aws, site, "--timeout", "1", seconds=30)
        assert ended.code == 1
        assert "Task timed out after 1.00 seconds" in ended.out
        assert aws.counts("failed") == (1, 0)


@pytest.mark.parametrize(
    ("place", "told"),
    [
        (ARN, "keeps no messages to redrive"),
        ("nothing", "nothing: the file cannot be read"),
        ("s3://nothing/prefix", "the objects cannot be listed"),
        ("arn:aws:sqs:eu", "arn:aws:sqs:eu"),
    ],
)
async def test_places_that_are_none(tmp_path: Path, place: str, told: str) -> None:
    async with local_aws() as aws:
        ended = await redrive(aws, site_of(tmp_path, "works"), place=place)
        assert (ended.code, ended.out) == (1, "")
        assert told in ended.err
        assert "Traceback" not in ended.err


# objects


async def test_the_objects_of_a_bucket_carry_their_records(tmp_path: Path) -> None:
    """No record is read from the stream, which may be gone."""
    async with local_aws() as aws:
        await aws.make_stream("clicks")
        await put_bucket(aws, "failures")
        await aws.put("clicks", "poison-1", "poison-2")
        site = site_of(tmp_path, "refuses_poison", BatchSize=1, DestinationConfig=on_failure("arn:aws:s3:::failures"))
        async with process_on(site, aws.endpoint.url) as worker:

            async def two() -> bool:
                return len(await keys(aws)) == 2

            await worker.wait(two, "two objects are there")
        await aws.delete_stream("clicks")
        await put_object(aws, "other/binary", b"\xff\xfe")
        await put_object(aws, "aws/binary", b"\xff\xfe")
        place = "s3://failures/aws/"
        failed = await redrive(aws, site, place=place)
        assert failed.out.splitlines()[0] == "3 messages: 2 failed, 1 kept"
        assert "the object is not UTF-8 text" in failed.out
        assert len(await keys(aws)) == 4
        site.journal_file.unlink()
        config = json.loads((tmp_path / "esm.yaml").read_text())
        config["functions"]["f"]["Handler"] = "replay_acts.works"
        (tmp_path / "esm.yaml").write_text(json.dumps(config))
        listed = await redrive(aws, site, "--dry-run", place=place)
        assert "carried with it" in listed.out
        done = await redrive(aws, site, place="arn:aws:s3:::failures/aws/")
        assert done.out.splitlines()[0] == "3 messages: 2 done, 1 kept"
        assert seen(site) == ["poison-1", "poison-2"]
        assert await keys(aws) == ["aws/binary", "other/binary"]


async def test_objects_that_may_not_be_read_are_kept_and_told(tmp_path: Path) -> None:
    async with local_aws() as aws:
        await put_bucket(aws, "failures")
        await put_object(aws, "one", b"{}")
        await aws.control("faults", fault="access_denied", service="s3", operation="GetObject")
        ended = await redrive(aws, site_of(tmp_path, "works"), place="s3://failures")
        assert ended.code == 1
        assert "the object cannot be read" in ended.out
        assert "AccessDenied" in ended.out


async def put_bucket(aws: LocalAws, name: str) -> None:
    async with aws.http.put(f"{aws.endpoint.url}/{name}", headers=SIGNED) as answer:
        assert answer.status == 200, await answer.text()


async def put_object(aws: LocalAws, key: str, content: bytes) -> None:
    async with aws.http.put(f"{aws.endpoint.url}/failures/{key}", data=content, headers=SIGNED) as answer:
        assert answer.status == 200, await answer.text()


async def keys(aws: LocalAws) -> list[str]:
    shown = await aws.control("s3/received")
    return sorted(each["key"] for each in shown["received"])


SIGNED = {
    "Authorization": "AWS4-HMAC-SHA256 Credential=123456789012/20260101/eu-west-1/s3/aws4_request, SignedHeaders=host, Signature=0"
}


# files


async def test_a_file_loses_what_succeeded(tmp_path: Path) -> None:
    async with local_aws() as aws:
        numbers = await made(aws, ["a"], ["poison"], ["c"])
        site = site_of(tmp_path, "refuses_poison")
        file = tmp_path / "failed.jsonl"
        lines = [body(each) + "\n" for each in numbers]
        file.write_text("".join([*lines, "garbage\n"]))
        file.chmod(0o640)
        listed = await redrive(aws, site, "--dry-run", place="failed.jsonl")
        assert listed.out.splitlines()[0] == "4 messages: 1 kept, 3 listed"
        assert file.read_text() == "".join([*lines, "garbage\n"])
        ended = await redrive(aws, site, place="failed.jsonl")
        assert ended.out.splitlines()[0] == "4 messages: 2 done, 1 failed, 1 kept"
        assert file.read_text() == lines[1] + "garbage\n"
        assert os.stat(file).st_mode & 0o777 == 0o640  # noqa: PTH116


async def test_an_interrupted_redrive_takes_out_of_a_file_what_was_done(tmp_path: Path) -> None:
    async with local_aws() as aws:
        numbers = await made(aws, ["a"], ["b"])
        site = site_of(tmp_path, "waits_for_the_gate")
        lines = [body(each) + "\n" for each in numbers]
        (tmp_path / "f").write_text("".join(lines))
        async with running(site, "redrive", "f", "-f", "f", endpoint_url=aws.endpoint.url) as command:
            await wait_began(site)
            command.interrupt()
            await anyio.sleep(HEARD)
            site.open_gate()
            await command.wait()
        assert (tmp_path / "f").read_text() == lines[1]


# dead-letter queues


async def dead(aws: LocalAws, name: str, bodies: Sequence[str], *, group: str | None = None) -> str:
    """Messages that the queue's own policy moved to its dead-letter queue; gives its ARN."""
    attributes = {"VisibilityTimeout": "0", **({"FifoQueue": "true"} if group else {})}
    letters = f"dead-{name}"
    await aws.ask("CreateQueue", QueueName=letters, Attributes={"FifoQueue": "true"} if group else {})
    policy = json.dumps({"deadLetterTargetArn": arn_of(letters), "maxReceiveCount": 1})
    await aws.ask("CreateQueue", QueueName=name, Attributes={**attributes, "RedrivePolicy": policy})
    await aws.send(name, *bodies, group=group)
    for _ in range(10 * len(bodies) + 10):
        if aws.counts(letters)[0] == len(bodies):
            return arn_of(letters)
        await aws.ask("ReceiveMessage", QueueUrl=aws.url_of(name), MaxNumberOfMessages=10, VisibilityTimeout=0)
    raise AssertionError(f"{aws.counts(letters)} of {len(bodies)} messages are dead")


async def test_dead_letters_run_as_messages_of_their_queue(tmp_path: Path) -> None:
    async with local_aws() as aws:
        place = await dead(aws, "orders", [f"text-{n}" for n in range(25)])
        site = site_of(tmp_path, "works")
        ended = await redrive(aws, site, place=place)
        assert ended.code == 0, ended.out + ended.err
        assert ended.out.splitlines()[0] == "25 messages: 25 done"
        assert sorted(map(len, journal(site))) == [5, 10, 10]
        arns = {arn for line in site.journal_file.read_text().splitlines() for arn in json.loads(line)["arns"]}
        assert arns == {arn_of("orders")}
        assert aws.is_empty("dead-orders")


async def test_dead_letters_that_fail_stay(tmp_path: Path) -> None:
    async with local_aws() as aws:
        place = await dead(aws, "orders", ["a", "poison", "c"])
        site = site_of(tmp_path, "names_poison")
        ended = await redrive(aws, site, "--item-failures", place=place)
        assert ended.code == 1
        assert ended.out.splitlines()[0] == "3 messages: 2 done, 1 failed"
        assert aws.counts("dead-orders") == (1, 0)


async def test_all_messages_of_a_fifo_group_are_run_in_order(tmp_path: Path) -> None:
    """The queue shows ten of a group at once, and the next ones when those are deleted."""
    async with local_aws() as aws:
        place = await dead(aws, "orders.fifo", [f"text-{n}" for n in range(23)], group="g")
        site = site_of(tmp_path, "works")
        listed = await redrive(aws, site, "--dry-run", place=place)
        assert "only the first messages of each group show" in listed.out
        ended = await redrive(aws, site, place=place)
        assert ended.out.splitlines()[0] == "23 messages: 23 done"
        assert seen(site) == [f"text-{n}" for n in range(23)]
        assert aws.is_empty("dead-orders.fifo")
