"""Every selected server starts and does the little that all other integration tests build upon."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.servers.catalogue import LOCAL, SERVERS
from tests.servers.queues import QueueHandle, queue_on
from tests.servers.running import RunningServers, Server, ServerDidNotStart, ServerNotInstalled, running, stop
from tests.servers.spec import Launch, Place, PythonPackages


async def test_a_standard_queue_works_by_its_constructed_url(sqs_server: Server) -> None:
    async with queue_on(sqs_server, attributes={"VisibilityTimeout": "60"}) as queue:
        await send_receive_delete_and_give_back(queue)


@pytest.mark.like_aws("fifo_ok")
async def test_a_fifo_queue_works_by_its_constructed_url(sqs_server: Server) -> None:
    async with queue_on(sqs_server, fifo=True, attributes={"VisibilityTimeout": "60"}) as queue:
        await send_receive_delete_and_give_back(queue)


async def send_receive_delete_and_give_back(queue: QueueHandle) -> None:
    assert queue.url == f"{queue.server.endpoint_url}/{queue.arn.split(':')[4]}/{queue.name}"
    attributes = await queue.client.get_queue_attributes(QueueUrl=queue.url, AttributeNames=["QueueArn", "VisibilityTimeout"])
    assert attributes["Attributes"] == {"QueueArn": queue.arn, "VisibilityTimeout": "60"}

    sent = await queue.send("a", "b", "c")
    first = await queue.receive(wait=2)
    assert sorted(record["MessageId"] for record in first) == sorted(sent)
    assert {record["Attributes"]["ApproximateReceiveCount"] for record in first} == {"1"}
    if queue.fifo:
        assert [record["Body"] for record in first] == ["a", "b", "c"]

    gone, *kept = first
    await queue.client.delete_message(QueueUrl=queue.url, ReceiptHandle=gone["ReceiptHandle"])
    for record in kept:
        await queue.client.change_message_visibility(
            QueueUrl=queue.url, ReceiptHandle=record["ReceiptHandle"], VisibilityTimeout=0
        )
    again = await queue.receive(wait=2)
    assert sorted(record["Body"] for record in again) == sorted(record["Body"] for record in kept)
    assert {record["Attributes"]["ApproximateReceiveCount"] for record in again} == {"2"}

    before = time.monotonic()
    assert await queue.receive(wait=1) == []
    assert 0.9 < time.monotonic() - before < 1 + queue.server.behaviour.visibility_slack_seconds


async def test_a_record_is_seen_again_after_its_visibility_timeout(sqs_server: Server) -> None:
    async with queue_on(sqs_server) as queue:
        await queue.send("a")
        assert len(await queue.receive(visibility=1)) == 1
        before = time.monotonic()
        assert len(await queue.receive(wait=5)) == 1
        assert 0.8 < time.monotonic() - before < 1.2 + sqs_server.behaviour.visibility_slack_seconds


async def test_a_record_received_too_often_moves_to_the_dead_letter_queue(sqs_server: Server) -> None:
    async with queue_on(sqs_server) as dead:
        policy = json.dumps({"deadLetterTargetArn": dead.arn, "maxReceiveCount": 1})
        async with queue_on(sqs_server, attributes={"RedrivePolicy": policy}) as queue:
            await queue.send("poison")
            assert len(await queue.receive(visibility=0)) == 1
            assert await queue.receive(wait=1) == []
            (record,) = await dead.receive(wait=2)
            assert record["Body"] == "poison"


@pytest.mark.like_aws("fifo_ok", "expires_fifo_handles")
async def test_an_expired_fifo_handle_deletes_nothing(sqs_server: Server) -> None:
    async with queue_on(sqs_server, fifo=True) as queue:
        await queue.send("a")
        (record,) = await queue.receive(visibility=1)
        # Another receive would make the handle a stale one, which is another case.
        await queue.wait_counts(visible=1, seconds=2 + sqs_server.behaviour.visibility_slack_seconds)
        with pytest.raises(queue.client.exceptions.ClientError):
            await queue.client.delete_message(QueueUrl=queue.url, ReceiptHandle=record["ReceiptHandle"])
        (again,) = await queue.receive(wait=2)
        assert again["MessageId"] == record["MessageId"]


async def test_two_queues_are_strangers(sqs_server: Server) -> None:
    async with queue_on(sqs_server) as one, queue_on(sqs_server) as other:
        await one.send("a")
        assert await other.receive() == []
        assert await one.counts() == (1, 0, 0)


def test_a_server_that_ends_early_is_an_error_that_shows_its_output(tmp_path: Path) -> None:
    script = "print('cannot go on'); raise SystemExit(7)"
    broken = replace(LOCAL, name="broken", launch=lambda _place: Launch(command=(sys.executable, "-c", script)))
    with (
        pytest.raises(ServerDidNotStart, match=r"broken ended with status 7(?s:.*)cannot go on"),
        running(broken, tmp_path / "run"),
    ):
        pytest.fail("it cannot run")


def test_a_server_that_keeps_silent_is_an_error_and_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.servers.running.START_SECONDS", 0.5)
    script = "import os, time; open('pid', 'w').write(str(os.getpid())); print('thinking', flush=True); time.sleep(100)"
    silent = replace(LOCAL, name="silent", launch=lambda _place: Launch(command=(sys.executable, "-c", script)))
    with (
        pytest.raises(ServerDidNotStart, match=r"silent was not ready after 0.5 s(?s:.*)thinking"),
        running(silent, tmp_path / "run"),
    ):
        pytest.fail("it cannot run")
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "run" / "pid").read_text()), 0)


def test_a_server_deaf_to_sigterm_is_killed() -> None:
    script = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(100)"
    with subprocess.Popen((sys.executable, "-c", script), stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        stop(child, patience=0.2)
        assert child.returncode == -signal.SIGKILL


def test_a_server_that_failed_is_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    starts = []

    def launch(_place: Place) -> Launch:
        starts.append(1)
        return Launch(command=(sys.executable, "-c", "raise SystemExit(1)"))

    monkeypatch.setitem(SERVERS, "broken", replace(LOCAL, name="broken", launch=launch))
    with RunningServers(tmp_path) as servers:
        for _ in range(2):
            with pytest.raises(ServerDidNotStart):
                servers.get("broken")
    assert len(starts) == 1


def test_a_server_that_is_not_installed_is_an_error_that_names_the_command(tmp_path: Path) -> None:
    missing = replace(LOCAL, name="missing", version="1", install=PythonPackages(requirements=("nothing==1",)))
    with pytest.raises(ServerNotInstalled, match=r"python -m tests.servers install missing"), running(missing, tmp_path / "run"):
        pytest.fail("it cannot run")
