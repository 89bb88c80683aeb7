"""A clock that is wrong and credentials that are replaced while the worker runs: requests go on, on the lean road and on the SDK's."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import formatdate
from pathlib import Path
from typing import Final

import pytest

from pollers.aws.clients import AwsClients
from pollers.aws.hot import KINESIS_PAGE
from pollers.errors import SourceError, SourceRejected
from pollers.record import Record, RecordId
from pollers.sqs import SqsQueue
from tests.fakes.aws_environment import without_aws
from tests.fakes.raw_server import Asked, RawServer, Say, raw_server
from tests.fakes.wire import http

ARN: Final = "arn:aws:sqs:eu-west-1:123456789012:orders"
RECORD: Final = Record(id=RecordId("m"), content={}, size=2, arrived=0.0, group=None, handle="h")
ANSWERS: Final = {
    "ReceiveMessage": b"{}",
    "DeleteMessageBatch": b'{"Successful":[{"Id":"0"}]}',
    "ChangeMessageVisibilityBatch": b'{"Successful":[{"Id":"0"}]}',
    "GetQueueAttributes": b'{"Attributes":{"VisibilityTimeout":"30"}}',
    "GetRecords": b'{"Records":[]}',
}


def right(asked: Asked) -> bytes:
    return http(body=ANSWERS[asked.operation])


def refusal(code: str, **headers: str) -> bytes:
    return http(403, json.dumps({"__type": f"com.amazon#{code}", "message": "no"}).encode(), **headers)


def key_of(asked: Asked) -> str:
    return asked.headers["authorization"].partition("Credential=")[2].partition("/")[0]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    without_aws(monkeypatch, tmp_path)


@asynccontextmanager
async def queue_on(say: Say, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[SqsQueue, RawServer, AwsClients]]:
    async with raw_server(say) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        async with AwsClients() as clients:
            yield SqsQueue(clients, ARN, windowed=False, observe=lambda *_: None), server, clients


async def receive(queue: SqsQueue) -> None:
    assert await queue.receive(limit=1, wait=0, visibility=None) == []


# the clock


def service_ahead(seconds: float, code: str) -> Say:
    """A service whose clock is that far from ours, and that refuses what is more than five minutes off."""

    def say(asked: Asked) -> bytes:
        now = time.time() + seconds
        signed = datetime.strptime(asked.headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
        return refusal(code, Date=formatdate(now, usegmt=True)) if abs(signed - now) > 300 else right(asked)

    return say


@pytest.mark.parametrize("hours", [-9, 3])
@pytest.mark.parametrize("code", ["RequestTimeTooSkewed", "InvalidSignatureException", "SignatureDoesNotMatch"])
async def test_a_worker_with_a_wrong_clock_goes_on(code: str, hours: int, monkeypatch: pytest.MonkeyPatch) -> None:
    async with queue_on(service_ahead(hours * 3600, code), monkeypatch) as (queue, server, clients):
        await receive(queue)
        assert len(server.asked) == 2
        await receive(queue)
        assert await queue.delete([RECORD]) == []
        assert await queue.extend([RECORD], 30) == []
        assert len(server.asked) == 5  # they knew
        body = {"ShardIterator": "A", "StreamARN": "arn:aws:kinesis:eu-west-1:123456789012:stream/s"}
        page = await clients.operation(KINESIS_PAGE, "eu-west-1", body)
        assert await page.ask(json.dumps(body).encode()) == b'{"Records":[]}'
        assert len(server.asked) == 7  # another service, another clock


async def test_a_service_that_refuses_for_ever_is_asked_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    later = [0.0]

    def never(_: Asked) -> bytes:
        later[0] += 86_400
        return refusal("RequestTimeTooSkewed", Date=formatdate(time.time() + later[0], usegmt=True))

    async with queue_on(never, monkeypatch) as (queue, server, _):
        with pytest.raises(SourceError, match="RequestTimeTooSkewed"):
            await receive(queue)
        assert len(server.asked) == 2


async def test_thirty_deletes_under_a_wrong_clock_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with queue_on(service_ahead(3600, "InvalidSignatureException"), monkeypatch) as (queue, _, _clients):
        assert await asyncio.gather(*(queue.delete([RECORD]) for _ in range(30))) == [[]] * 30


# credentials


class Keys:
    """Where the credentials come from, and which ones the service takes."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        self.folder = folder
        self.taken = "AKIDONE"
        self.code = "ExpiredToken"

    def say(self, asked: Asked) -> bytes:
        return right(asked) if key_of(asked) == self.taken else refusal(self.code)

    def in_a_file(self, key: str) -> None:
        text = f"[default]\naws_access_key_id = {key}\naws_secret_access_key = s\naws_session_token = t\n"
        (self.folder / "credentials").write_text(text)

    def by_a_process(self, *, lasting: bool) -> None:
        """It tells what `processed` last wrote, and notes each time that it runs."""
        expires = {"Expiration": "2999-01-01T00:00:00Z"} if lasting else {}
        told = {"Version": 1, "SecretAccessKey": "s", "SessionToken": "t", **expires}
        program = self.folder / "process.py"
        program.write_text(
            "import json, pathlib\n"
            f"folder = pathlib.Path({str(self.folder)!r})\n"
            "with (folder / 'runs').open('a') as runs:\n    runs.write('x')\n"
            f"print(json.dumps({{**{told!r}, 'AccessKeyId': (folder / 'key').read_text()}}))\n"
        )
        (self.folder / "config").write_text(f"[default]\ncredential_process = {sys.executable} -S {program}\n")

    def processed(self, key: str) -> None:
        (self.folder / "key").write_text(key)

    @property
    def runs(self) -> int:
        return len((self.folder / "runs").read_text())


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Keys:
    return Keys(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    "code", ["ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId"]
)
async def test_a_credentials_file_that_is_rewritten_costs_no_batch(
    code: str, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys.in_a_file("AKIDONE")
    keys.code = code
    async with queue_on(keys.say, monkeypatch) as (queue, server, _):
        assert (await queue.describe()).visibility_timeout == 30
        await receive(queue)
        keys.in_a_file("AKIDTWO")
        keys.taken = "AKIDTWO"
        assert await queue.delete([RECORD]) == []
        await receive(queue)
        assert (await queue.describe()).visibility_timeout == 30  # the SDK's own client
        assert [key_of(asked) for asked in server.asked] == ["AKIDONE"] * 3 + ["AKIDTWO"] * 3


@pytest.mark.parametrize("lasting", [False, True])
async def test_a_process_that_gives_new_credentials_costs_no_batch(
    lasting: bool, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys.processed("AKIDONE")
    keys.by_a_process(lasting=lasting)
    async with queue_on(keys.say, monkeypatch) as (queue, server, _):
        await receive(queue)
        assert (await queue.describe()).visibility_timeout == 30
        keys.processed("AKIDTWO")
        keys.taken = "AKIDTWO"
        runs = keys.runs
        await asyncio.gather(*(receive(queue) for _ in range(50)))
        assert keys.runs == runs + 1
        assert (await queue.describe()).visibility_timeout == 30
        assert await queue.delete([RECORD]) == []
        assert key_of(server.asked[-1]) == "AKIDTWO"


async def test_the_clients_of_the_sdk_heal_themselves(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their refused request is an error; the next one is right, and so is what the lean client does."""
    keys.processed("AKIDONE")
    keys.by_a_process(lasting=True)
    async with queue_on(keys.say, monkeypatch) as (queue, server, _):
        await queue.describe()
        await receive(queue)
        keys.processed("AKIDTWO")
        keys.taken = "AKIDTWO"
        with pytest.raises(SourceRejected, match="ExpiredToken"):
            await queue.describe()
        assert (await queue.describe()).visibility_timeout == 30
        await receive(queue)
        assert [key_of(asked) for asked in server.asked] == ["AKIDONE"] * 3 + ["AKIDTWO"] * 2


async def test_credentials_that_stay_as_they_are_are_asked_for_seldom_and_the_refusal_is_told(
    keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys.processed("AKIDONE")
    keys.by_a_process(lasting=False)
    async with queue_on(keys.say, monkeypatch) as (queue, server, _):
        await receive(queue)
        keys.taken, runs = "nobody's", keys.runs
        for _ in range(10):
            with pytest.raises(SourceRejected, match="ExpiredToken: no"):
                await receive(queue)
        (refused,) = await queue.delete([RECORD])
        assert (refused.code, refused.gone) == ("ExpiredToken", False)
        assert keys.runs == runs + 1
        assert len(server.asked) == 12


async def test_a_process_that_fails_is_told(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    keys.processed("AKIDONE")
    keys.by_a_process(lasting=False)
    async with queue_on(keys.say, monkeypatch) as (queue, _, _clients):
        await receive(queue)
        keys.taken = "nobody's"
        (keys.folder / "key").unlink()
        with pytest.raises(SourceRejected, match="no usable AWS credentials"):
            await receive(queue)
