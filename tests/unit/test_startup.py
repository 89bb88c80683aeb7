"""What a command loads: nearly all of the time that it takes to start (docs/design.md, Start-up). Modules are counted, not seconds."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# fmt: off
LIBRARIES = {
    "aiobotocore", "aiohttp", "anyio", "asyncio", "botocore", "importlib.metadata", "msgspec", "prometheus_client", "rich", "sqlite3",
    "structlog", "yaml",
}
# fmt: on
FOR_THE_SHOW = {"pygments", "rich", "handlers.examples", "runtime.demo", "runtime.local"}
"""What a worker has no use for."""
FOR_TEMPLATES = {"boto3", "jsonschema", "pydantic", "runtime.importing", "samtranslator"}
"""Nor for these, while it runs on a file of ours."""
TELLING = """
import sys
from pathlib import Path
Path(__file__).with_name("loaded").write_text("\\n".join(sys.modules))
raise RuntimeError("seen enough")
"""
CONFIG = """
functions: {f: {Handler: app.handler}}
mappings: [{FunctionName: f, EventSourceArn: "arn:aws:sqs:eu-west-1:123456789012:orders"}]
worker: {state: "memory://", log: {format: FORMAT}}
"""


def python(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=cwd, env=environment, check=False)


def loaded_by(code: str) -> set[str]:
    shown = python("-c", f"import sys\n{code}\nprint(*sys.modules)")
    assert shown.returncode == 0, shown.stderr
    return set(shown.stdout.split())


def loaded_before_the_handler(command: str, folder: Path, *, log_format: str = "json") -> set[str]:
    """What the real command has loaded when it comes to the user's code. The code then fails, which ends it."""
    (folder / "app.py").write_text(TELLING)
    (folder / "esm.yaml").write_text(CONFIG.replace("FORMAT", log_format))
    ended = python("-m", "runtime", command, cwd=folder)
    assert ended.returncode == 1, ended.stderr
    return set((folder / "loaded").read_text().splitlines())


def test_the_command_line_loads_no_library() -> None:
    assert loaded_by("import runtime.cli\nruntime.cli._parser()") & LIBRARIES == set()


@pytest.mark.parametrize("command", ["run", "check"])
def test_neither_rich_nor_the_demo_nor_the_endpoint_is_loaded_for_a_worker(command: str, tmp_path: Path) -> None:
    assert loaded_before_the_handler(command, tmp_path) & (FOR_THE_SHOW | FOR_TEMPLATES) == set()


def test_tracebacks_on_a_console_are_still_drawn_by_rich(tmp_path: Path) -> None:
    assert "rich.traceback" in loaded_before_the_handler("run", tmp_path, log_format="console")


def test_rich_can_be_loaded_by_whoever_wants_it_later() -> None:
    code = "from runtime.logs import load_structlog\nload_structlog(console=False)\nassert 'rich' not in sys.modules\nimport rich.console"
    assert {"structlog.dev", "rich.console"} <= loaded_by(code)


@pytest.mark.parametrize("command", ["run", "check"])
def test_what_a_worker_takes_is_loaded_before_code_of_the_users(command: str, tmp_path: Path) -> None:
    """Code that brings libraries of its own stands in front of `sys.path`: they must not become those of the worker."""
    needed = {"aiobotocore.session", "aiohttp.web", "botocore.client", "prometheus_client", "sqlite3", "structlog"}
    ours = {"handlers.destinations.aws", "runtime.http", "runtime.stores.sqlite", "runtime.stream_mapping", "runtime.telemetry"}
    assert needed | ours <= loaded_before_the_handler(command, tmp_path)
