"""`esm import --from-account` against servers that keep event source mappings, which we did not write."""

import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from aiobotocore.session import get_session

from tests.servers.queues import queue_on
from tests.servers.running import Server

PYTHON = "python3.12"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


def code() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("app.py", "def handler(event, context): ...\n")
    return content.getvalue()


def client(server: Server, service: str) -> Any:
    return get_session().create_client(
        service,
        region_name=server.region,
        endpoint_url=server.endpoint_url,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
    )


def import_account(server: Server, folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    environment = {**kept, "HOME": str(folder), **server.environment()}
    command = [sys.executable, "-m", "runtime", "import", "--from-account", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60)


async def make_function(server: Server, name: str) -> None:
    async with client(server, "iam") as iam, client(server, "lambda") as functions:
        role = await iam.create_role(RoleName=f"role-of-{name}", AssumeRolePolicyDocument=json.dumps(TRUST))
        await functions.create_function(
            FunctionName=name,
            Runtime=PYTHON,
            Role=role["Role"]["Arn"],
            Handler="app.handler",
            Code={"ZipFile": code()},
            Timeout=30,
            MemorySize=256,
            Environment={"Variables": {"TABLE": "orders"}},
        )


async def tie(server: Server, name: str, source: str, **parameters: Any) -> str:
    """Disabled: an enabled one polls by itself in some servers. Gives the identifier."""
    async with client(server, "lambda") as functions:
        made = await functions.create_event_source_mapping(FunctionName=name, EventSourceArn=source, Enabled=False, **parameters)
        return str(made["UUID"])


@pytest.mark.on_servers("ministack", "moto")
async def test_the_mappings_of_a_live_account_come_over(sqs_server: Server, tmp_path: Path) -> None:
    name = f"imported-{sqs_server.name}"
    await make_function(sqs_server, name)
    async with queue_on(sqs_server) as queue, queue_on(sqs_server) as other:
        first = await tie(sqs_server, name, queue.arn, BatchSize=7, FunctionResponseTypes=["ReportBatchItemFailures"])
        second = await tie(sqs_server, name, other.arn)
        ended = import_account(sqs_server, tmp_path, "--function", name, "-o", "esm.yaml", "--json")
        text = import_account(sqs_server, tmp_path, "--function", name)
        async with client(sqs_server, "lambda") as functions:
            for each in (first, second):
                await functions.delete_event_source_mapping(UUID=each)
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert {each["source"] for each in found["carried"]} == {queue.arn, other.arn}
    assert {each["function"] for each in found["carried"]} == {name}
    assert [each["what"] for each in found["left_out"]] == [f"function {name}, CodeUri"]
    assert found["problems"] == []
    written = (tmp_path / "esm.yaml").read_text()
    assert written == text.stdout
    assert f"  {name}:\n    Handler: app.handler\n    Timeout: 30\n    MemorySize: 256\n" in written
    assert "Variables:\n        TABLE: orders\n" in written
    assert (
        f"  - FunctionName: {name}\n    EventSourceArn: {queue.arn}\n    Enabled: false\n    BatchSize: 7\n"
        "    FunctionResponseTypes: [ReportBatchItemFailures]\n"
    ) in written


@pytest.mark.on_servers("ministack", "moto")
async def test_a_function_without_mappings_is_nothing_to_carry_over(sqs_server: Server, tmp_path: Path) -> None:
    ended = import_account(sqs_server, tmp_path, "--function", "nobody-of-that-name")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == f"account, {sqs_server.region}: 0 mappings carried over\n"


@pytest.mark.on_servers("localstack")
async def test_what_the_account_refuses_is_one_line(sqs_server: Server, tmp_path: Path) -> None:
    """LocalStack without a container engine serves no functions."""
    ended = import_account(sqs_server, tmp_path)
    assert (ended.returncode, ended.stdout) == (1, "")
    (line,) = ended.stderr.splitlines()
    assert line.startswith("listing event source mappings: InternalFailure: ")
