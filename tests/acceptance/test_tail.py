"""`esm tail` with real processes: a worker on the three sources and somebody who watches it; and a source without a worker."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import aiohttp
import anyio

from tests.acceptance.local_aws import arn_of, local_aws, stream_arn
from tests.acceptance.stream_site import on_failure, stream_function, stream_mapping, stream_site
from tests.acceptance.worker_process import Site, WorkerProcess, function, mapping, process_on, wait_until

PAYLOAD: Final = "the words of a customer"


class Tail:
    """A running `esm tail`; what it prints goes to files."""

    def __init__(self, process: "subprocess.Popen[bytes]", out: Path, err: Path) -> None:
        self._process = process
        self._out = out
        self._err = err

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    def lines(self, event: str) -> list[dict[str, Any]]:
        """Of JSON; a line that is not finished yet is left out."""
        text = self.out
        lines = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
        return [line for line in lines if line["event"] == event]

    async def wait_line(self, event: str, **facts: Any) -> dict[str, Any]:
        def found() -> list[dict[str, Any]]:
            return [line for line in self.lines(event) if facts.items() <= line.items()]

        await self.wait(lambda: bool(found()), f"{event} {facts}")
        return found()[0]

    async def wait(self, check: Any, what: str) -> None:
        try:
            await wait_until(check, what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.out}\n{self.err}") from None

    async def wait_text(self, text: str) -> None:
        await self.wait(lambda: text in self.out, f"{text!r} is printed")

    async def interrupt(self) -> int:
        self._process.send_signal(signal.SIGINT)
        return await self.wait_exit()

    async def wait_exit(self) -> int:
        await self.wait(lambda: self._process.poll() is not None, "the tail ends")
        return self._process.returncode


@contextmanager
def tailing(site: Site, endpoint_url: str, *arguments: str) -> Iterator[Tail]:
    number = len(list(site.folder.glob("tail-*.out")))
    out, err = site.folder / f"tail-{number}.out", site.folder / f"tail-{number}.err"
    with out.open("wb") as to_out, err.open("wb") as to_err:
        process = subprocess.Popen(
            [sys.executable, "-m", "runtime", "tail", *arguments],
            cwd=site.folder,
            env=site.environment(endpoint_url, {}),
            stdin=subprocess.DEVNULL,
            stdout=to_out,
            stderr=to_err,
            start_new_session=True,
        )
    try:
        yield Tail(process, out, err)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def queue_site(folder: Path, *, act: str = "works", grace: int = 1, **of_mapping: Any) -> Site:
    site = Site(folder)
    site.write_config({"f": function(act)}, [mapping("orders", **of_mapping)], http=f"127.0.0.1:{free_port()}", grace=grace)
    return site


async def ready(tail: Tail, worker: WorkerProcess) -> None:
    await worker.wait_ready()
    await tail.wait_line("standing", state="Enabled")


async def test_a_queue_s_batches_failures_and_timeouts_are_seen_as_they_happen(tmp_path: Path) -> None:
    async with local_aws() as aws:
        await aws.make_queue("orders", visibility=30)
        site = queue_site(tmp_path, act="fails_as_told", FunctionResponseTypes=["ReportBatchItemFailures"])
        async with process_on(site, aws.endpoint.url) as worker:
            await worker.wait_ready()
            with tailing(site, aws.endpoint.url, "orders", "--json", "-v") as tail:
                await ready(tail, worker)
                assert tail.lines("watching")[0]["arn"] == arn_of("orders")
                (fine,) = await aws.send("orders", "{}")
                ended = await tail.wait_line("invocation_ended", outcome="succeeded", done=1)
                assert [(each["id"], each["fate"]) for each in ended["details"]] == [(fine, "done")]
                assert ended["duration"] > 0
                await aws.send("orders", '{"fail": 1}')
                assert (await tail.wait_line("invocation_ended", returned=1))["outcome"] == "succeeded"
                await aws.send("orders", '{"raise": 1}')
                failed = await tail.wait_line("invocation_ended", outcome="failed")
                assert failed["error_type"]
                invoked = {line["request_id"] for line in tail.lines("invoked")}
                assert {line["request_id"] for line in tail.lines("invocation_ended")} <= invoked
                assert await tail.interrupt() == 0
                assert tail.err.splitlines()[-1].startswith("3 batches, 3 records, 2 failures")


async def test_a_handler_past_its_time_limit_shows_as_such(tmp_path: Path) -> None:
    async with local_aws() as aws:
        await aws.make_queue("orders", visibility=30)
        site = Site(tmp_path)
        site.write_config({"f": function("holds_async", Timeout=1)}, [mapping("orders")], http=f"127.0.0.1:{free_port()}")
        async with process_on(site, aws.endpoint.url) as worker:
            await worker.wait_ready()
            with tailing(site, aws.endpoint.url, "orders", "--batches", "1") as tail:
                await tail.wait_text("Enabled")
                await aws.send("orders", "{}")
                assert await tail.wait_exit() == 0
        line, summary = tail.out.splitlines()[-2:]
        assert "1.0" in line
        assert line.endswith("timed out: back to the queue  Sandbox.Timedout: Task timed out after 1.00 seconds")
        assert summary == "1 batch, 1 record, 1 failure, 0 filtered out"


async def test_a_stream_s_bisected_batches_and_what_is_sent_away(tmp_path: Path) -> None:
    """COM-75, MET-06: the poison record ends alone, and is told as sent to the destination."""
    async with local_aws() as aws:
        await aws.make_queue("failed")
        arn = await aws.make_stream("clicks")
        parameters: dict[str, Any] = {
            "BisectBatchOnFunctionError": True,
            "MaximumRetryAttempts": 1,
            "DestinationConfig": on_failure(arn_of("failed")),
        }
        site = stream_site(
            tmp_path,
            {"f": stream_function("refuses_poison")},
            [stream_mapping("k", arn, **parameters)],
            http=f"127.0.0.1:{free_port()}",
        )
        async with process_on(site, aws.endpoint.url) as worker:
            await worker.wait_ready()
            with tailing(site, aws.endpoint.url, "k", "--json") as tail:
                await ready(tail, worker)
                await tail.wait_line("standing", shards={"shardId-000000000000": "reading"})
                numbers = await aws.put("clicks", "a", "b", "poison", "d", key="one")
                sent = await tail.wait_line("given_up", fate="sent")
                assert (sent["first"], sent["last"], sent["condition"]) == (numbers[2], numbers[2], "RetryAttemptsExhausted")
                assert sent["destination"] == arn_of("failed")
                assert any(line["again"] == [2, 2] for line in tail.lines("invocation_ended") if "again" in line)
                assert [line["attempt"] for line in tail.lines("invocation_ended") if line.get("attempt")][-1] == 2
                await tail.wait(
                    lambda: sum(line.get("done", 0) for line in tail.lines("invocation_ended")) == 3, "the others are done"
                )
                assert "details" not in tail.out


async def test_a_table_s_changes_are_seen_with_their_positions(tmp_path: Path) -> None:
    async with local_aws() as aws:
        arn = await aws.make_table("stock")
        site = stream_site(tmp_path, {"f": stream_function("works")}, [stream_mapping("d", arn)], http=f"127.0.0.1:{free_port()}")
        async with process_on(site, aws.endpoint.url) as worker:
            await worker.wait_ready()
            with tailing(site, aws.endpoint.url, "d", "--json", "-v") as tail:
                await ready(tail, worker)
                await aws.put_items("stock", "1", "2", "3")
                await tail.wait(
                    lambda: sum(line.get("done", 0) for line in tail.lines("invocation_ended")) == 3, "three changes are done"
                )
                seen = [each["id"] for line in tail.lines("invocation_ended") for each in line["details"]]
                assert seen == sorted(seen, key=int)
                assert len(set(seen)) == 3


async def test_nothing_of_a_payload_a_key_or_a_group_is_on_the_port(tmp_path: Path) -> None:
    """Neither with a detail for each record, nor where the handler fails."""
    async with local_aws() as aws:
        await aws.make_queue("orders.fifo")
        clicks, stock = await aws.make_stream("clicks"), await aws.make_table("stock")
        site = stream_site(
            tmp_path,
            {"q": function("works"), "f": stream_function("reports_poison")},
            [
                mapping("orders.fifo", "q"),
                stream_mapping("k", clicks, FunctionResponseTypes=["ReportBatchItemFailures"], MaximumRetryAttempts=0),
                stream_mapping("d", stock, FunctionResponseTypes=["ReportBatchItemFailures"], MaximumRetryAttempts=0),
            ],
        )
        async with process_on(site, aws.endpoint.url) as worker:
            await worker.wait_ready()
            port = (await worker.wait_log("worker_started"))["http"]
            async with aiohttp.ClientSession() as http, anyio.create_task_group() as readers:
                heard: dict[str, bytes] = {}

                async def read(name: str) -> None:
                    async with http.get(f"http://127.0.0.1:{port}/mappings/{name}/tail?records=1") as answer:
                        async for chunk in answer.content.iter_any():
                            heard[name] = heard.get(name, b"") + chunk

                for name in ("orders-fifo", "k", "d"):
                    readers.start_soon(read, name)
                await wait_until(lambda: len(heard) == 3, "all are listened to")
                await aws.send("orders.fifo", f"{PAYLOAD} 1", f"{PAYLOAD} 2", group=PAYLOAD.replace(" ", "-"))
                await aws.put("clicks", f"{PAYLOAD} 1", f"poison {PAYLOAD}", key=PAYLOAD)
                await aws.put_items("stock", f"{PAYLOAD} 1", f"poison {PAYLOAD}", key=PAYLOAD)
                await wait_until(lambda: heard["orders-fifo"].count(b'"fate":"done"') == 2, "the messages are done")
                await wait_until(
                    lambda: all(b'"event":"given_up"' in heard[name] for name in ("k", "d")), "both streams gave one up"
                )
                readers.cancel_scope.cancel()
        told = b"".join(heard.values())
        assert PAYLOAD.encode() not in told
        assert PAYLOAD.replace(" ", "-").encode() not in told
        assert b"customer" not in told
        assert b"Handle" not in told


async def test_a_worker_that_is_killed_is_waited_for_and_told_once(tmp_path: Path) -> None:
    async with local_aws() as aws:
        await aws.make_queue("orders")
        site = queue_site(tmp_path)
        with_address = (
            "--worker",
            f"127.0.0.1:{json.loads((tmp_path / 'esm.yaml').read_text())['worker']['http'].split(':')[1]}",
        )
        async with process_on(site, aws.endpoint.url) as worker:
            await worker.wait_ready()
            with tailing(site, aws.endpoint.url, "orders", *with_address) as tail:
                await tail.wait_text("Enabled")
                worker.send_signal(signal.SIGKILL)
                await worker.wait_exit()
                await tail.wait_text("the worker is gone: the connection broke off; waiting until it is back")
                await anyio.sleep(2.5)
                async with process_on(site, aws.endpoint.url) as second:
                    await second.wait_ready()
                    await tail.wait_text("the worker is back: worker ")
                    await aws.send("orders", "{}")
                    await tail.wait_text("done")
                    assert tail.out.count("the worker is gone") == 1
                    assert await second.stop() == 0
                    await tail.wait_text("the worker has stopped")
                assert await tail.interrupt() == 0
                assert tail.out.splitlines()[-1] == "1 batch, 1 record, 0 failures, 0 filtered out"


async def test_what_is_in_flight_when_the_worker_drains_is_followed_to_its_end(tmp_path: Path) -> None:
    async with local_aws() as aws:
        await aws.make_queue("orders")
        site = queue_site(tmp_path, act="holds", grace=20)
        async with process_on(site, aws.endpoint.url) as worker:
            await worker.wait_ready()
            with tailing(site, aws.endpoint.url, "orders", "--json") as tail:
                await ready(tail, worker)
                await aws.send("orders", "{}")
                await tail.wait_line("invoked")
                worker.send_signal(signal.SIGTERM)
                await tail.wait_line("standing", state="Disabling")
                assert tail.lines("invocation_ended") == []
                site.open_gate()
                assert await worker.wait_exit() == 0
                await tail.wait_line("invocation_ended", outcome="succeeded")
                await tail.wait_line("closed")


def all_done(tail: Tail) -> bool:
    return bool(sum(line.get("done", 0) for line in tail.lines("invocation_ended")) == 30)


async def test_two_who_watch_see_the_same(tmp_path: Path) -> None:
    async with local_aws() as aws:
        await aws.make_queue("orders")
        site = queue_site(tmp_path)
        async with process_on(site, aws.endpoint.url) as worker:
            await worker.wait_ready()
            with (
                tailing(site, aws.endpoint.url, "orders", "--json") as one,
                tailing(site, aws.endpoint.url, "orders", "--json") as two,
            ):
                for tail in (one, two):
                    await ready(tail, worker)
                await aws.send("orders", *map(str, range(30)))
                for tail in (one, two):
                    await tail.wait(partial(all_done, tail), "all are done")
                assert one.lines("invocation_ended") == two.lines("invocation_ended")


async def test_without_a_worker_it_says_what_to_do(tmp_path: Path) -> None:
    site = queue_site(tmp_path)
    with tailing(site, "http://127.0.0.1:9", "orders") as tail:
        assert await tail.wait_exit() == 1
    assert tail.out == ""
    assert tail.err.startswith("no worker answers at http://127.0.0.1:")
    assert f"esm tail {arn_of('orders')}" in tail.err
    assert len(tail.err.splitlines()) == 1


async def test_an_unknown_mapping_names_the_known_ones(tmp_path: Path) -> None:
    async with local_aws() as aws:
        await aws.make_queue("orders")
        site = queue_site(tmp_path)
        async with process_on(site, aws.endpoint.url) as worker:
            await worker.wait_ready()
            with tailing(site, aws.endpoint.url, "odrers") as tail:
                assert await tail.wait_exit() == 1
    assert tail.err.endswith("has no mapping odrers: it has orders\n")


async def test_a_stream_is_read_without_a_worker_and_nothing_is_kept_of_it(tmp_path: Path) -> None:
    """New children are followed, data is shown here, and no state file is made."""
    async with local_aws() as aws:
        await aws.make_stream("clicks")
        await aws.put("clicks", "before", key="one")
        with tailing(Site(tmp_path), aws.endpoint.url, stream_arn("clicks"), "-v") as tail:
            await tail.wait_text("1 of 1 shard to read, from LATEST")
            await aws.put("clicks", f"{PAYLOAD} \x1b[31m", key="one")
            await tail.wait_text(f"one  {PAYLOAD} \\x1b[31m")
            await aws.split("clicks")
            await aws.put("clicks", "after the split", key="one")
            await tail.wait_text("after the split")
            assert await tail.interrupt() == 0
        assert "before" not in tail.out
        assert "shard 0 has ended" in tail.out
        assert tail.out.splitlines()[-1] == "2 pages, 2 records"
        assert not (tmp_path / ".esm").exists()


async def test_a_table_is_read_from_its_beginning_as_json(tmp_path: Path) -> None:
    async with local_aws() as aws:
        arn = await aws.make_table("stock")
        await aws.put_items("stock", "1", "2")
        with tailing(Site(tmp_path), aws.endpoint.url, arn, "-v", "--json", "--from", "TRIM_HORIZON", "--batches", "1") as tail:
            assert await tail.wait_exit() == 0
        assert tail.lines("page")[0]["records"] == 2
        first, second = tail.lines("record")
        assert (first["key"], second["key"]) == ('{"pk": {"S": "key"}}',) * 2
        assert first["data"].startswith("INSERT")
        assert second["data"].startswith("MODIFY")


async def test_a_queue_is_peeked_at_only_when_that_is_said(tmp_path: Path) -> None:
    async with local_aws() as aws:
        await aws.make_queue("orders", visibility=60)
        await aws.send("orders", "one", "two")
        with tailing(Site(tmp_path), aws.endpoint.url, arn_of("orders")) as tail:
            assert await tail.wait_exit() == 1
            assert "--peek" in tail.err
        assert aws.requests("ReceiveMessage") == 0
        with tailing(Site(tmp_path), aws.endpoint.url, arn_of("orders"), "--peek", "-v", "--batches", "1") as tail:
            assert await tail.wait_exit() == 0
        assert "each look counts as a receive" in tail.out
        assert "one\n" in tail.out
        assert aws.counts("orders") == (2, 0)  # given back at once, nothing deleted


async def test_whoever_reads_may_have_seen_enough(tmp_path: Path) -> None:
    """As `| head -1`: no traceback, and no error."""
    async with local_aws() as aws:
        await aws.make_stream("clicks")
        read, write = os.pipe()
        process = subprocess.Popen(  # noqa: ASYNC220  # it comes back at once
            [sys.executable, "-m", "runtime", "tail", stream_arn("clicks")],
            env=Site(tmp_path).environment(aws.endpoint.url, {}),
            cwd=tmp_path,
            stdout=write,
            stderr=subprocess.PIPE,
        )
        os.close(write)
        try:
            assert await anyio.to_thread.run_sync(os.read, read, 10)
            os.close(read)

            async def put_until_it_ends() -> bool:
                await aws.put("clicks", "x")
                return process.poll() is not None

            await wait_until(put_until_it_ends, "the tail ends")
        finally:
            process.kill()
            _, err = process.communicate()
        assert (process.returncode, err) == (0, b"")
