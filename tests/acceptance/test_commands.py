"""The commands as a user types them: what they print, where, and how they end."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import aiohttp
import anyio
import pytest

from tests.acceptance.local_aws import arn_of, local_aws
from tests.acceptance.worker_process import Site, function, mapping, process_on, wait_until, worker_on

NOWHERE = "http://127.0.0.1:9"
ESM = Path(sys.executable).with_name("esm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    code: int
    out: str
    err: str


async def esm(site: Site, *arguments: str, endpoint_url: str = NOWHERE, more: Mapping[str, str] = MappingProxyType({})) -> Ended:
    """Runs a command to its end. `more`: of the environment."""
    environment = {**site.environment(endpoint_url, {}), **more}
    with anyio.fail_after(60):
        done = await anyio.run_process(
            [sys.executable, "-m", "runtime", *arguments], cwd=site.folder, env=environment, check=False
        )
    return Ended(code=done.returncode, out=done.stdout.decode(), err=done.stderr.decode())


@contextmanager
def started(site: Site, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """Runs a command that goes on; it is gone when the block is left."""
    process = subprocess.Popen(
        [sys.executable, "-m", "runtime", *arguments],
        cwd=site.folder,
        env=site.environment(NOWHERE, {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def broken_in_three_places(site: Site) -> None:
    site.write_config(
        {"f": function("works", Timeout=901)},
        [mapping("orders", BatchSize=20), {**mapping("returns"), "FunctionName": "nobody"}],
    )


def assert_lines_without_traceback(ended: Ended, *parts: str) -> None:
    """One line for each part, in any order, and nothing else."""
    assert ended.code == 1
    lines = ended.err.splitlines()
    assert len(lines) == len(parts), ended.err
    assert all(any(part in line for line in lines) for part in parts), ended.err
    assert "Traceback" not in ended.err
    assert ended.out == ""


async def test_run_with_a_broken_file_tells_every_problem_and_its_line(tmp_path: Path) -> None:
    site = Site(tmp_path)
    broken_in_three_places(site)
    ended = await esm(site, "run", "-c", "esm.yaml")
    assert_lines_without_traceback(ended, "Timeout is 901", "BatchSize is 20", "nobody")
    assert all("esm.yaml:" in line for line in ended.err.splitlines())


async def test_run_without_a_file_says_so(tmp_path: Path) -> None:
    assert_lines_without_traceback(await esm(Site(tmp_path), "run"), "esm.yaml")


async def test_run_with_handlers_that_cannot_be_imported_names_each(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import nothing_of_that_name\n")
    (tmp_path / "empty.py").write_text("")
    (tmp_path / "unreadable.py").write_text("def handler(:\n")
    site = Site(tmp_path)
    names = {"a": "broken.handler", "b": "empty.handler", "c": "unreadable.handler", "d": "absent.handler"}
    functions = {name: {"Handler": handler} for name, handler in names.items()}
    site.write_config(functions, [mapping("orders", name) | {"name": name} for name in names])
    ended = await esm(site, "run", "-c", "esm.yaml")
    assert_lines_without_traceback(
        ended,
        "function a (esm.yaml:4): Runtime.ImportModuleError: Unable to import module 'broken': No module named 'nothing_of_that_name'",
        "function b (esm.yaml:7): Runtime.HandlerNotFound: Handler 'handler' missing on module 'empty'",
        "function c (esm.yaml:10): Runtime.UserCodeSyntaxError: Syntax error in module 'unreadable'",
        "function d (esm.yaml:13): Runtime.ImportModuleError: Unable to import module 'absent'",
    )


async def test_run_on_an_occupied_port_says_which(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = int(taken.getsockname()[1])
        site = Site(tmp_path)
        site.write_config({"f": function("works")}, [mapping("orders")], http=f"127.0.0.1:{port}")
        ended = await esm(site, "run", "-c", "esm.yaml")
    assert_lines_without_traceback(ended, f"cannot serve metrics and health on 127.0.0.1:{port}")


async def test_check_tells_all_problems_and_their_number(tmp_path: Path) -> None:
    site = Site(tmp_path)
    broken_in_three_places(site)
    ended = await esm(site, "check", "-c", "esm.yaml")
    assert_lines_without_traceback(ended, "Timeout is 901", "BatchSize is 20", "nobody", "esm.yaml: 3 problems")
    as_json = await esm(site, "check", "-c", "esm.yaml", "--json")
    assert (as_json.code, as_json.err) == (1, "")
    assert len(json.loads(as_json.out)["problems"]) == 3


async def test_check_imports_the_handlers(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.write_config({"f": function("absent")}, [mapping("orders")])
    ended = await esm(site, "check", "-c", "esm.yaml")
    assert_lines_without_traceback(ended, "Handler 'absent' missing on module 'acts'", "esm.yaml: 1 problem")


async def test_check_of_a_right_file_ends_well_and_asks_nobody(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.write_config({"f": function("works")}, [mapping("orders")])
    ended = await esm(site, "check", "-c", "esm.yaml")
    assert (ended.code, ended.out, ended.err) == (0, "esm.yaml is right\n", "")


async def test_check_online_finds_a_missing_queue_and_a_short_visibility_timeout(tmp_path: Path) -> None:
    """SQS-06, SQS-10."""
    site = Site(tmp_path)
    site.write_config(
        {"f": function("works", Timeout=60)}, [mapping(name) for name in ("short", "missing", "full", "closed", "good")], grace=25
    )
    async with local_aws() as aws:
        await aws.make_queue("short", visibility=30, dead_after=5)
        for name in ("full", "closed", "good"):
            await aws.make_queue(name, visibility=360, dead_after=5)
        await aws.send("full", "a")
        aws.add_fault(fault="access_denied", operation="ReceiveMessage", queue="closed")
        ended = await esm(site, "check", "-c", "esm.yaml", "--online", "--json", endpoint_url=aws.endpoint.url)
        (message,) = await aws.receive_all("full")
        assert message["Attributes"]["ApproximateReceiveCount"] == "1"  # a check takes no message from anybody
    assert ended.code == 1
    found = json.loads(ended.out)
    missing, closed = found["problems"]
    assert missing.startswith("mapping missing (esm.yaml:")
    assert "The specified queue does not exist" in missing
    assert closed.startswith("mapping closed (esm.yaml:")
    assert "ReceiveMessage on closed: AccessDenied" in closed
    short, full = found["warnings"]
    assert short.startswith("mapping short (esm.yaml:")
    assert "Queue visibility timeout: 30 seconds is less than Function timeout: 60 seconds" in short
    assert full.startswith("mapping full (esm.yaml:")
    assert "was not tried" in full


async def test_check_online_without_an_endpoint_says_so_without_a_traceback(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.write_config({"f": function("works")}, [mapping("orders")], grace=25)
    ended = await esm(site, "check", "-c", "esm.yaml", "--online")
    assert_lines_without_traceback(ended, "GetQueueAttributes on orders: no answer", "esm.yaml: 1 problem")


async def test_the_demo_accounts_for_every_record(tmp_path: Path) -> None:
    ended = await esm(Site(tmp_path), "demo", "--seconds", "10", "--json")
    assert ended.code == 0, ended.err
    account = json.loads(ended.out)
    assert account["balanced"] is True
    assert [source["source"] for source in account["sources"]] == ["sqs", "sqs", "sqs", "kinesis", "dynamodb"]
    for source in account["sources"]:
        assert source["produced"] == source["succeeded"] + source["given_up"] + source["waiting"]
        assert source["succeeded"] > 0
    assert ended.err == ""


async def test_a_demo_that_is_interrupted_still_accounts_for_every_record(tmp_path: Path) -> None:
    with started(Site(tmp_path), "demo", "--seconds", "60") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        with anyio.fail_after(30):
            lines = [await anyio.to_thread.run_sync(process.stdout.readline, abandon_on_cancel=True) for _ in range(7)]
        assert lines[0].startswith("endpoint http://127.0.0.1:")  # then one line for each source, again and again
        process.send_signal(signal.SIGINT)
        await wait_until(lambda: process.poll() is not None, "the demo ends")
        assert (process.returncode, process.stderr.read()) == (0, "")
        assert process.stdout.read().count(": accounted for") == 5


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_endpoint_prints_its_url_answers_and_ends_on_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    with started(Site(tmp_path), "endpoint", "--port", "0") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        with anyio.fail_after(30):
            line = await anyio.to_thread.run_sync(process.stdout.readline, abandon_on_cancel=True)
        assert line.startswith("export AWS_ENDPOINT_URL=http://127.0.0.1:")
        url = line.strip().partition("=")[2]
        async with aiohttp.ClientSession() as http, http.get(f"{url}/_local/health") as answer:
            assert await answer.json() == {
                "status": "ok",
                "services": ["dynamodb", "dynamodbstreams", "events", "kinesis", "lambda", "s3", "sns", "sqs"],
            }
        process.send_signal(number)
        await wait_until(lambda: process.poll() is not None, "the endpoint ends")
        assert (process.returncode, process.stderr.read()) == (0, "")


def test_a_signal_right_after_the_endpoint_told_its_url_ends_it_well(tmp_path: Path) -> None:
    """Whoever starts it in a script waits for that line and may stop it at any moment from then on. No loop here: it would be late."""
    with started(Site(tmp_path), "endpoint", "--port", "0") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


async def test_an_occupied_port_of_the_endpoint_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = int(taken.getsockname()[1])
        ended = await esm(Site(tmp_path), "endpoint", "--port", str(port))
    assert_lines_without_traceback(ended, f"cannot listen on 127.0.0.1:{port}")


PACKAGES = {
    "handlers/__init__.py": "from handlers.shop import handler\n",
    "handlers/shop.py": "import os\nimport runtime\nfrom pollers import NAME\n\n\n"
    "def handler(event, context):\n"
    "    with open(os.environ['JOURNAL'], 'a') as file:\n"
    "        print(runtime.VERSION, NAME, len(event['Records']), file=file)\n",
    "runtime/__init__.py": "VERSION = 'of the user'\n",
    "runtime/cli.py": "from runtime import VERSION\n\n\ndef handler(event, context):\n    raise RuntimeError(VERSION)\n",
    "pollers.py": "NAME = 'a poller of the user'\n",
}


async def test_packages_of_the_users_may_be_called_like_ours(tmp_path: Path) -> None:
    """DESIGN section 2. The worker is started as users do, by the `esm` command in the folder of their code."""
    for name, text in PACKAGES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    site = Site(tmp_path)
    functions: dict[str, Any] = {"f": {"Handler": "handlers.handler"}, "g": {"Handler": "runtime/cli.py:handler"}}
    site.write_config(functions, [mapping("orders"), mapping("returns", "g")])
    async with local_aws() as aws:
        await aws.make_queue("orders")
        await aws.make_queue("returns", visibility=1, dead_after=1)
        await aws.send("orders", "a", "b")
        await aws.send("returns", "a")
        async with process_on(site, aws.endpoint.url, command=[str(ESM)]) as worker:
            await wait_until(lambda: aws.is_empty("orders", "returns"), "both queues are empty")
            (failed,) = worker.log("function_failed")
            assert failed["error"] == "of the user"
            assert await worker.stop() == 0
    assert site.journal_file.read_text() == "of the user a poller of the user 2\n"


async def test_the_warnings_of_a_file_are_told_at_the_start_and_do_not_stop_the_worker(tmp_path: Path) -> None:
    """SQS-06, SQS-07: what AWS says of the queue comes as a log line."""
    async with local_aws() as aws:
        await aws.make_queue("orders", visibility=1)
        functions = {"f": function("works", Timeout=30)}
        async with worker_on(aws, tmp_path, functions=functions, mappings=[mapping("orders")]) as worker:
            await worker.wait_ready()
            warnings = [line["warning"] for line in worker.log("source_warned")]
            assert any("is less than Function timeout: 30 seconds" in text for text in warnings)
            assert any("no redrive policy" in text and arn_of("orders") in text for text in warnings)


async def test_where_logs_are_json_a_warning_about_the_file_is_a_log_line_like_any_other(tmp_path: Path) -> None:
    """INTERFACE, worker.log.format: whoever reads the log line by line as JSON must be able to read all of it."""
    site = Site(tmp_path)
    site.write_config({"f": function("works")}, [mapping("orders", Enabled=False)])
    async with process_on(site, NOWHERE) as worker:
        await wait_until(lambda: "worker_started" in worker.log_text(), "the worker has started")
        assert await worker.stop() == 0
    lines = [json.loads(line) for line in worker.log_text().splitlines()]
    assert any("Enabled: false" in json.dumps(line) and line["level"] == "warning" for line in lines)
