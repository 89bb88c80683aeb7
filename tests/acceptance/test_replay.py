"""`esm replay` as a user types it: recordings and streams through handlers that do what handlers do."""

import json
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.acceptance.local_aws import LocalAws, arn_of, local_aws, stream_arn
from tests.acceptance.replaying import HEARD, acts, esm, journal, running, seen, shell, wait_began, write_recording
from tests.acceptance.stream_site import on_failure, stream_mapping
from tests.acceptance.worker_process import CODE, Site

ARN = stream_arn("clicks")


def site_of(folder: Path, handler: str, **parameters: Any) -> Site:
    """With function `f` and a mapping for it."""
    site = Site(folder)
    site.write_config({"f": acts(handler)}, [stream_mapping("clicks", ARN, **({"BatchSize": 10} | parameters))])
    return site


def texts(count: int, *poison: int) -> list[str]:
    return [f"poison-{n}" if n in poison else f"text-{n}" for n in range(count)]


async def test_a_recording_is_replayed_and_accounted_for(tmp_path: Path) -> None:
    site = site_of(tmp_path, "works")
    write_recording(tmp_path / "r.jsonl.gz", texts(25), arn=ARN)
    ended = await esm(site, "replay", "r.jsonl.gz", "-f", "f")
    assert ended.code == 0, ended.err
    assert ended.out.startswith("25 records = 25 succeeded + 0 failed\n3 batches in 3 invocations, ")
    assert journal(site) == [texts(25)[:10], texts(25)[10:20], texts(25)[20:]]


async def test_what_failed_is_told_with_a_command_that_runs_it_alone(tmp_path: Path) -> None:
    """Also with blanks and quotes in the names of files, and from a shell."""
    folder = tmp_path / 'it\'s a "folder"'
    folder.mkdir()
    site = site_of(folder, "refuses_poison", BisectBatchOnFunctionError=True, MaximumRetryAttempts=0)
    (folder / "esm.yaml").rename(folder / "my esm.yaml")
    write_recording(folder / "my $HOME.jsonl", texts(30, 17), shards=2, arn=ARN)
    ended = await esm(site, "replay", "my $HOME.jsonl", "-f", "f", "-c", "my esm.yaml")
    assert ended.code == 1
    assert "30 records = 29 succeeded + 1 failed" in ended.out
    assert "1017 (my $HOME.jsonl:21): ValueError: cannot take poison-17" in ended.out
    (command,) = [line.strip() for line in ended.out.splitlines() if line.strip().startswith("esm replay")]
    site.journal_file.unlink()
    again = await shell(site, command)
    assert again.code == 1, again.err
    assert journal(site) == [["poison-17"]]
    assert "30 records = 0 succeeded + 1 failed + 29 not selected" in again.out


async def test_item_failures_of_the_command_line_come_with_the_command_for_one_record(tmp_path: Path) -> None:
    site = site_of(tmp_path, "names_poison")
    write_recording(tmp_path / "r", texts(5, 2), arn=ARN)
    ended = await esm(site, "replay", "r", "-f", "f", "--item-failures")
    assert "5 records = 4 succeeded + 1 failed" in ended.out
    (command,) = [line.strip() for line in ended.out.splitlines() if line.strip().startswith("esm replay")]
    assert (await shell(site, command)).code == 1


@pytest.mark.parametrize("arguments", [(), ("--json",)])
async def test_what_handlers_print_is_not_among_the_result(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    site = site_of(tmp_path, "prints")
    write_recording(tmp_path / "r", texts(2), arn=ARN)
    ended = await esm(site, "replay", "r", "-f", "f", *arguments)
    assert ended.code == 0
    for printed in ("printed by", "written by", "straight to 1", "by a process of", "logged by"):
        assert printed in ended.err
        assert printed not in ended.out
    assert ended.json["records"]["succeeded"] == 2 if arguments else ended.out.startswith("2 records = 2 succeeded")


async def test_the_result_for_machines_has_all_failures(tmp_path: Path) -> None:
    site = site_of(tmp_path, "refuses_poison", BatchSize=1)
    write_recording(tmp_path / "r", texts(60, *range(40)), arn=ARN)
    ended = await esm(site, "replay", "r", "-f", "f", "--json")
    document = ended.json
    assert (ended.code, document["right"], len(document["failures"])) == (1, False, 40)
    assert document["failures"][0]["command"].endswith("--only 1000")


async def test_a_handler_that_exits_fails_like_any_other(tmp_path: Path) -> None:
    site = site_of(tmp_path, "exits")
    write_recording(tmp_path / "r", texts(2), arn=ARN)
    ended = await esm(site, "replay", "r", "-f", "f")
    assert ended.code == 1
    assert "Runtime.ExitError: Runtime exited with error: exit status 3" in ended.out
    assert "2 records = 0 succeeded + 2 failed" in ended.out


@pytest.mark.parametrize("handler", ["hangs", "hangs_async"])
async def test_a_handler_that_hangs_ends_at_its_time_limit_and_the_command_ends_too(tmp_path: Path, handler: str) -> None:
    site = site_of(tmp_path, handler)
    write_recording(tmp_path / "r", texts(2), arn=ARN)
    began = time.monotonic()
    ended = await esm(site, "replay", "r", "-f", "f", "--timeout", "1", seconds=30)
    assert time.monotonic() - began < 20
    assert ended.code == 1
    assert "Sandbox.Timedout: Task timed out after 1.00 seconds" in ended.out
    assert "1 handler ran on past the time limit" in ended.out


async def test_events_are_a_handlers_own_to_change(tmp_path: Path) -> None:
    site = site_of(tmp_path, "spoils")
    write_recording(tmp_path / "r", texts(4), arn=ARN)
    ended = await esm(site, "replay", "r", "-f", "f", "--compare", f"{CODE}/replay_acts.py:spoils")
    assert ended.code == 0, ended.out
    assert "differences none" in ended.out


async def test_two_handlers_that_differ_are_told_apart(tmp_path: Path) -> None:
    """Two of one module, with the environment of the function and the region of its mapping."""
    site = Site(tmp_path)
    function = acts("says_where", Environment={"Variables": {"TABLE": "orders"}})
    site.write_config({"f": function, "g": acts("says_elsewhere")}, [stream_mapping("clicks", ARN)])
    write_recording(tmp_path / "r", texts(4), arn=ARN)
    ended = await esm(site, "replay", "r", "-f", "f", "--compare", "g", "--json")
    assert ended.code == 1
    (difference,) = ended.json["comparison"]["examples"]
    assert difference["kind"] == "result"
    told = "returned {'region': 'eu-west-1', 'table': 'orders', 'arn': 'arn:aws:lambda:eu-west-1:123456789012:function:f'}"
    assert (difference["ours"], difference["theirs"]) == (told, "returned {'region': 'elsewhere'}")


async def test_a_dry_run_shows_batches_and_calls_nothing(tmp_path: Path) -> None:
    site = site_of(tmp_path, "works")
    write_recording(tmp_path / "r", texts(25), arn=ARN)
    ended = await esm(site, "replay", "r", "-f", "f", "--dry-run", "--where", "partitionKey!=text-3")
    assert ended.code == 0
    assert ended.out.startswith("3 batches of 24 records would be invoked\nof 25 records that were read: 1 not selected\n")
    assert journal(site) == []


async def test_the_original_rhythm_is_kept(tmp_path: Path) -> None:
    site = site_of(tmp_path, "works", BatchSize=1)
    write_recording(tmp_path / "r", texts(5), shards=5, seconds=2.0, arn=ARN)
    ended = await esm(site, "replay", "r", "-f", "f", "--speed", "4")
    assert ended.code == 0
    at = [json.loads(line)["at"] for line in site.journal_file.read_text().splitlines()]
    assert len(at) == 5
    assert all(0.3 < second - first < 0.9 for first, second in pairwise(at)), at


async def test_a_recording_that_was_cut_off_is_replayed_to_there(tmp_path: Path) -> None:
    site = site_of(tmp_path, "works")
    write_recording(tmp_path / "whole", texts(20), arn=ARN)
    content = (tmp_path / "whole").read_bytes()
    (tmp_path / "cut").write_bytes(content[: len(content) // 2])
    ended = await esm(site, "replay", "cut", "-f", "f", "--json")
    document = ended.json
    assert ended.code == 1
    assert document["records"]["read"] == document["records"]["succeeded"] == len(seen(site)) > 5
    assert document["problems"][0].startswith(f"cut:{len(seen(site)) + 3}: ")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("nothing", "-f", "f"), "nothing: the recording cannot be read: No such file"),
        (("r", "-f", "nobody"), "-f nobody: no such function: the functions are f"),
        (("r", "-f", "f", "--from", "1005"), "--from 1005: "),
        (("r", "-f", "f", "--from", "20260131"), "write 2026-01-31"),
        (("r", "-f", "f", "--where", "x"), "NAME=VALUE"),
        (("r", "-f", "f", "--mapping", "click"), "did you mean"),
        (("r", "-f", "f", "--from", "LATEST"), "a file has no such position"),
        (("r", "-f", "f", "--send-failures"), "no on-failure destination"),
        (("r", "-f", "f", "--dry-run", "--compare", "f"), "leave one of them out"),
        (("r", "-f", "app.py"), "say which function of the file"),
        (("r", "-f", "nothere.handler"), "handler nothere.handler: Runtime.ImportModuleError"),
        ((ARN, "-f", "f", "--from", "49680575744471022916126193731732216826933889343659442178"), "say of which, with --shard"),
        ((arn_of("q"), "-f", "f"), "is a queue, which keeps nothing"),
        (("arn:aws:s3:::bucket", "-f", "f"), "'s3' is no source"),
    ],
)
async def test_nonsense_is_told_in_one_line(tmp_path: Path, arguments: tuple[str, ...], told: str) -> None:
    site = site_of(tmp_path, "works")
    write_recording(tmp_path / "r", texts(3), shards=2, arn=ARN)
    ended = await esm(site, "replay", *arguments)
    if told.startswith("--from 1005"):
        assert (ended.code, ended.out[:9]) == (0, "3 records"), "ten digits and fewer are a time"
        return
    assert (ended.code, ended.out) == (1, "")
    assert told in ended.err
    assert len(ended.err.splitlines()) == 1


async def test_a_broken_configuration_tells_all_of_its_problems(tmp_path: Path) -> None:
    site = site_of(tmp_path, "works", BatchSize=20_000, MaximumRetryAttempts=-7)
    write_recording(tmp_path / "r", texts(3), arn=ARN)
    ended = await esm(site, "replay", "r", "-f", "f")
    assert ended.code == 1
    assert "BatchSize" in ended.err
    assert "MaximumRetryAttempts" in ended.err


async def test_an_empty_recording_is_no_failure(tmp_path: Path) -> None:
    site = site_of(tmp_path, "works")
    write_recording(tmp_path / "r", [], arn=ARN)
    ended = await esm(site, "replay", "r", "-f", "f")
    assert (ended.code, ended.out) == (0, "0 records = 0 succeeded + 0 failed\n")


# signals


async def test_an_interrupt_finishes_what_runs_and_accounts_for_all(tmp_path: Path) -> None:
    site = site_of(tmp_path, "waits_for_the_gate")
    write_recording(tmp_path / "r", texts(50), arn=ARN)
    async with running(site, "replay", "r", "-f", "f", "--json") as command:
        await wait_began(site)
        command.interrupt()
        await anyio.sleep(HEARD)
        site.open_gate()
        ended = await command.wait()
    records = ended.json["records"]
    assert (ended.code, ended.json["stopped"]) == (1, True)
    assert records["succeeded"] == 10
    assert records["read"] == records["succeeded"] + records["notRun"]
    assert seen(site) == texts(50)[:10]


async def test_a_second_interrupt_cuts_it_short(tmp_path: Path) -> None:
    site = site_of(tmp_path, "waits_for_the_gate")
    write_recording(tmp_path / "r", texts(50), arn=ARN)
    async with running(site, "replay", "r", "-f", "f", "--json") as command:
        await wait_began(site)
        command.interrupt()
        await anyio.sleep(HEARD)  # signals of one kind that come together are one
        command.interrupt()
        ended = await command.wait(seconds=15)
    records = ended.json["records"]
    assert (ended.code, records["succeeded"]) == (1, 0)
    assert records["read"] == records["notRun"]


# streams


async def filled(aws: LocalAws, count: int, *poison: int, shards: int = 2) -> None:
    await aws.make_stream("clicks", shards=shards)
    await aws.put("clicks", *texts(count, *poison))


async def state_of(aws: LocalAws) -> dict[str, object]:
    """Everything that the endpoint holds, without what readers leave behind."""
    async with aws.http.get(f"{aws.endpoint.url}/_local/") as answer:
        shown: dict[str, object] = await answer.json()
    return {key: value for key, value in shown.items() if key != "requests"}


async def test_a_retained_stream_is_replayed_and_nothing_is_changed(tmp_path: Path) -> None:
    """Neither stream nor destination, and there is no state file even."""
    async with local_aws() as aws:
        await filled(aws, 60, 3, 44)
        await aws.split("clicks")
        await aws.put("clicks", *[f"late-{n}" for n in range(20)])
        await aws.make_queue("failed")
        site = site_of(
            tmp_path, "refuses_poison", MaximumRetryAttempts=0, BatchSize=1, DestinationConfig=on_failure(arn_of("failed"))
        )
        before = await state_of(aws)
        ended = await esm(site, "replay", ARN, "-f", "f", endpoint_url=aws.endpoint.url)
        assert ended.code == 1, ended.err
        assert "80 records = 78 succeeded + 2 failed" in ended.out
        assert sorted(seen(site)) == sorted([*texts(60, 3, 44), *[f"late-{n}" for n in range(20)]])
        assert await state_of(aws) == before
        assert aws.is_empty("failed")
        assert not (tmp_path / ".esm").exists()


async def test_one_record_of_a_stream_is_run_without_reading_the_rest(tmp_path: Path) -> None:
    async with local_aws() as aws:
        await filled(aws, 3000, 1500, shards=1)
        site = site_of(tmp_path, "refuses_poison", MaximumRetryAttempts=0, BatchSize=1000, BisectBatchOnFunctionError=True)
        ended = await esm(site, "replay", ARN, "-f", "f", endpoint_url=aws.endpoint.url)
        (command,) = [line.strip() for line in ended.out.splitlines() if line.strip().startswith("esm replay")]
        assert "--shard shardId-000000000000 --only" in command
        site.journal_file.unlink()
        again = await shell(site, command, endpoint_url=aws.endpoint.url)
        assert again.code == 1
        assert seen(site) == ["poison-1500"]
        assert "1 record = 0 succeeded + 1 failed" in again.out  # nothing else was read


async def test_failures_are_sent_only_when_asked(tmp_path: Path) -> None:
    async with local_aws() as aws:
        await filled(aws, 10, 3, shards=1)
        await aws.make_queue("failed")
        site = site_of(
            tmp_path, "refuses_poison", MaximumRetryAttempts=0, BatchSize=1, DestinationConfig=on_failure(arn_of("failed"))
        )
        await esm(site, "replay", ARN, "-f", "f", endpoint_url=aws.endpoint.url)
        assert aws.counts("failed") == (0, 0)
        await esm(site, "replay", ARN, "-f", "f", "--send-failures", endpoint_url=aws.endpoint.url)
        (told,) = await aws.receive_all("failed")
        body = json.loads(told["Body"])
        assert body["requestContext"]["condition"] == "RetryAttemptsExhausted"
        assert body["KinesisBatchInfo"]["batchSize"] == 1


async def test_a_stretch_of_a_stream_by_time_and_by_position(tmp_path: Path) -> None:
    async with local_aws() as aws:
        await aws.make_stream("clicks")
        numbers = await aws.put("clicks", *texts(30))
        site = site_of(tmp_path, "works")
        where = ("--shard", "shardId-000000000000", "--from", numbers[5], "--to", numbers[9])
        ended = await esm(site, "replay", ARN, "-f", "f", *where, endpoint_url=aws.endpoint.url)
        assert ended.out.startswith("5 records = 5 succeeded")
        assert seen(site) == texts(30)[5:10]
        ended = await esm(site, "replay", ARN, "-f", "f", "--from", "1h", "--to", "30m", endpoint_url=aws.endpoint.url)
        assert (ended.code, ended.out[:9]) == (0, "0 records")


@pytest.mark.parametrize(("fault", "told"), [("access_denied", "AccessDenied"), ("error500", "InternalFailure")])
async def test_trouble_at_the_stream_in_the_middle_keeps_what_was_done(tmp_path: Path, fault: str, told: str) -> None:
    async with local_aws() as aws:
        await filled(aws, 40, shards=1)
        await aws.split("clicks")
        await aws.put("clicks", *[f"late-{n}" for n in range(20)])
        aws.add_fault(fault=fault, service="kinesis", operation="GetRecords", shard="shardId-000000000001")
        aws.add_fault(fault=fault, service="kinesis", operation="GetRecords", shard="shardId-000000000002")
        site = site_of(tmp_path, "works")
        ended = await esm(site, "replay", ARN, "-f", "f", "--json", endpoint_url=aws.endpoint.url, seconds=60)
        document = ended.json
        assert ended.code == 1
        assert (document["records"]["read"], document["records"]["succeeded"]) == (40, 40)
        assert told in document["problems"][0]


async def test_a_table_is_replayed_too(tmp_path: Path) -> None:
    async with local_aws() as aws:
        arn = await aws.make_table("orders")
        await aws.put_items("orders", *texts(5))
        site, where = Site(tmp_path), "dynamodb.NewImage.text.S!=text-2"
        handler = f"{CODE}/replay_acts.py:works"
        ended = await esm(site, "replay", arn, "-f", handler, "--where", where, endpoint_url=aws.endpoint.url)
        assert ended.code == 0, ended.err
        assert seen(site) == [text for text in texts(5) if text != "text-2"]
