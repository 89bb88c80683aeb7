"""A hot operation on the lean road: what it makes of refusals, of a clock that is wrong, of credentials and of throttling."""

import asyncio
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime, formatdate
from typing import Any, Final

import pytest
from botocore import exceptions as boto

from pollers.aws.clients import AwsClients
from pollers.aws.credentials import SessionCredentials
from pollers.aws.errors import to_source_error
from pollers.aws.lean.answer_head import AnswerHead, NotHttp
from pollers.aws.lean.connection import Answer
from pollers.aws.lean.operation import Clock, LeanOperation, service_error
from pollers.aws.lean.pool import Pool
from pollers.aws.lean.retrying import RetrySettings
from pollers.aws.lean.signing import Credentials, Signer
from pollers.aws.lean.template import Template
from tests.fakes.virtual_time import START, run_virtual, virtual_time

NOW: Final = 1_753_920_000.0
HOUR: Final = 3600.0


def answer(status: int = 200, body: Any = "", **headers: str) -> Answer:
    content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return Answer(AnswerHead(f"HTTP/1.1 {status} x\r\nContent-Length: {len(content)}\r\n{lines}".encode()), content)


def refusal(code: str, *, service_ahead: float | None = None, status: int = 400) -> Answer:
    date = {} if service_ahead is None else {"Date": formatdate(NOW + service_ahead, usegmt=True)}
    return answer(status, {"__type": f"com.amazon#{code}", "message": "no"}, **date)


class ScriptedPool(Pool):
    """Gives the answers in turn, the last one for ever."""

    def __init__(self, *answers: Answer | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[tuple[bytes, bool]] = []
        self.gate: asyncio.Event | None = None

    async def ask(self, request: bytes, *, repeatable: bool) -> Answer:
        self.requests.append((request, repeatable))
        given = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if self.gate is not None:
            await self.gate.wait()
        if isinstance(given, Exception):
            raise given
        return given

    @property
    def dates(self) -> list[str]:
        return [request.split(b"X-Amz-Date: ")[1][:16].decode() for request, _ in self.requests]


class Chain:
    """A session of the SDK as far as credentials are concerned."""

    def __init__(self, *frozen: Credentials) -> None:
        self.frozen = list(frozen)
        self.questions = 0

    def get_component(self, _name: str) -> "Chain":
        return self

    async def load_credentials(self) -> "Chain":
        self.questions += 1
        await asyncio.sleep(0)
        if len(self.frozen) > 1:
            self.frozen.pop(0)
        return self

    async def get_credentials(self) -> "Chain | None":
        return self if self.frozen else None

    async def get_frozen_credentials(self) -> Credentials:
        return self.frozen[0]


OLD, NEW = Credentials("AKIDOLD", "s", None), Credentials("AKIDNEW", "s", "token")


def operation(
    pool: Pool,
    chain: Chain | None = None,
    *,
    repeatable: bool = False,
    retries: RetrySettings | None = None,
    clock: Clock | None = None,
) -> LeanOperation:
    signer = Signer(method="POST", path="/", host="h", signed={}, unsigned={}, region="r", service="sqs")
    template = Template(signer=signer, url="http://h/", host="h", port=80, tls=False)
    credentials = SessionCredentials(chain or Chain(OLD), clock=lambda: NOW)
    clock = clock or Clock(lambda: NOW)
    return LeanOperation(template, pool, credentials, clock, name="ReceiveMessage", repeatable=repeatable, retries=retries)


# polls


@virtual_time
async def test_a_poll_is_asked_once_whatever_the_answer() -> None:
    for status, body in ((500, ""), (503, "<html>"), (400, {"__type": "ThrottlingException"}), (302, ""), (429, "{}")):
        pool = ScriptedPool(answer(status, body))
        with pytest.raises(boto.ClientError):
            await operation(pool, repeatable=True).ask(b"{}")
        assert len(pool.requests) == 1


@pytest.mark.parametrize(("kind", "this", "told"), [(False, False, False), (True, False, True), (False, True, True)])
def test_whether_a_request_may_be_acted_on_twice_is_told_by_the_kind_or_for_this_one(kind: bool, this: bool, told: bool) -> None:
    async def run() -> None:
        pool = ScriptedPool(answer(body="{}"))
        await operation(pool, repeatable=kind).ask(b"{}", repeatable=this)
        assert [repeatable for _, repeatable in pool.requests] == [told]

    run_virtual(run())


@pytest.mark.parametrize("code", ["RequestTimeTooSkewed", "ExpiredToken"])
@pytest.mark.parametrize("this", [False, True])
def test_a_refused_receive_that_is_asked_again_is_still_one_that_may_not_be_acted_on_twice(code: str, this: bool) -> None:
    async def run() -> None:
        pool = ScriptedPool(refusal(code, service_ahead=HOUR), answer(body="{}"))
        await operation(pool, Chain(OLD, NEW)).ask(b"{}", repeatable=this)
        assert [repeatable for _, repeatable in pool.requests] == [this, this]

    run_virtual(run())


@virtual_time
async def test_without_credentials_nothing_is_sent() -> None:
    pool = ScriptedPool(answer(body="{}"))
    with pytest.raises(boto.NoCredentialsError):
        await operation(pool, Chain()).ask(b"{}")
    assert pool.requests == []


# the clock

SKEWED: Final = (
    "RequestTimeTooSkewed",
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "RequestExpired",
    "RequestInTheFuture",
    "AuthFailure",
)


@pytest.mark.parametrize("code", SKEWED)
@pytest.mark.parametrize("ahead", [-7 * HOUR, -241.0, 241.0, 7 * HOUR, 20 * 365 * 24 * HOUR])
def test_a_clock_that_is_wrong_is_corrected_and_the_request_repeated_once(code: str, ahead: float) -> None:
    async def run() -> None:
        chain, pool = Chain(OLD), ScriptedPool(refusal(code, service_ahead=ahead), answer(body="{}"))
        asked = operation(pool, chain)
        assert await asked.ask(b"{}") == b"{}"
        await asked.ask(b"{}")
        right = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(NOW + ahead))
        assert pool.dates == ["20250731T000000Z", right, right]
        assert chain.questions == 0

    run_virtual(run())


@pytest.mark.parametrize("code", SKEWED)
@pytest.mark.parametrize("ahead", [-239.0, 0.0, 239.0, None])
def test_a_clock_that_is_less_than_four_minutes_off_was_not_the_reason(code: str, ahead: float | None) -> None:
    async def run() -> None:
        pool = ScriptedPool(refusal(code, service_ahead=ahead))
        asked = operation(pool)
        for _ in range(3):
            with pytest.raises(boto.ClientError, match=code):
                await asked.ask(b"{}")
        assert pool.dates == ["20250731T000000Z"] * 3

    run_virtual(run())


@virtual_time
async def test_a_service_that_refuses_the_corrected_clock_too_is_believed() -> None:
    pool = ScriptedPool(refusal("RequestTimeTooSkewed", service_ahead=HOUR), refusal("RequestTimeTooSkewed", service_ahead=-HOUR))
    with pytest.raises(boto.ClientError):
        await operation(pool).ask(b"{}")
    assert len(pool.requests) == 2


@virtual_time
async def test_fifty_requests_that_a_wrong_clock_signed_are_all_repeated() -> None:
    """They were in the air together: that the first refusal corrected the clock does not make the others right."""
    pool = ScriptedPool(*[refusal("InvalidSignatureException", service_ahead=HOUR)] * 50, answer(body="{}"))
    pool.gate = asyncio.Event()
    asked = operation(pool)
    waiting = [asyncio.ensure_future(asked.ask(b"{}")) for _ in range(50)]
    await asyncio.sleep(0.1)
    pool.gate.set()
    assert await asyncio.gather(*waiting) == [b"{}"] * 50
    assert sorted(set(pool.dates)) == ["20250731T000000Z", "20250731T010000Z"]


@virtual_time
async def test_a_code_that_has_nothing_to_do_with_time_leaves_the_clock_alone() -> None:
    clock = Clock(lambda: NOW)
    with pytest.raises(boto.ClientError):
        await operation(ScriptedPool(refusal("AccessDenied", service_ahead=HOUR)), clock=clock).ask(b"{}")
    assert clock.time() == NOW


@pytest.mark.parametrize(
    ("date", "ahead"),
    [
        (formatdate(NOW + HOUR, usegmt=True), HOUR),
        (formatdate(NOW + HOUR), HOUR),
        (format_datetime(datetime.fromtimestamp(NOW + HOUR, timezone(timedelta(hours=5)))), HOUR),
        (datetime.fromtimestamp(NOW + HOUR, UTC).strftime("%a %b %d %H:%M:%S %Y"), HOUR),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 253_402_300_799 - NOW),
        *[
            (text, None)
            for text in (
                None,
                "",
                "now",
                "0",
                "Thu, 99 Jul 2025 00:00:00 GMT",
                "Thu, 31 Jul 99999999999999999999 00:00:00 GMT",
                "1" * 400,
            )
        ],
    ],
)
def test_the_date_of_a_refusal_is_read_in_any_form_that_http_knows(
    date: str | None, ahead: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever we are: a date without a zone is one of Greenwich."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        clock = Clock(lambda: NOW)
        assert clock.correct(date, signed=NOW) is (ahead is not None)
        assert clock.time() == NOW + (ahead or 0)
    finally:
        monkeypatch.undo()
        time.tzset()


# credentials

REFUSALS: Final = ("ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidSignatureException", "RequestExpired")  # fmt: skip


@pytest.mark.parametrize("code", REFUSALS)
def test_credentials_that_are_refused_are_looked_for_anew_and_the_request_is_repeated(code: str) -> None:
    async def run() -> None:
        chain, pool = Chain(OLD, NEW), ScriptedPool(refusal(code, status=403), answer(body="{}"))
        asked = operation(pool, chain)
        assert await asked.ask(b"{}") == b"{}"
        await asked.ask(b"{}")
        keys = [b"AKIDNEW/" in request for request, _ in pool.requests]
        assert (keys, chain.questions) == ([False, True, True], 1)
        assert b"X-Amz-Security-Token: token\r\n" in pool.requests[1][0]

    run_virtual(run())


@virtual_time
async def test_new_credentials_that_are_refused_too_are_not_tried_for_ever() -> None:
    chain, pool = Chain(OLD, NEW), ScriptedPool(refusal("ExpiredToken"))
    with pytest.raises(boto.ClientError, match="ExpiredToken"):
        await operation(pool, chain).ask(b"{}")
    assert (len(pool.requests), chain.questions) == (2, 1)


@virtual_time
async def test_fifty_refusals_at_one_time_are_one_question() -> None:
    for chain, ends in ((Chain(OLD, NEW), 0), (Chain(OLD), 50)):
        pool = ScriptedPool(*[refusal("ExpiredToken")] * 50, answer(body="{}"))
        pool.gate = asyncio.Event()
        asked = operation(pool, chain)
        waiting = [asyncio.ensure_future(asked.ask(b"{}")) for _ in range(50)]
        await asyncio.sleep(0.1)
        pool.gate.set()
        ended = await asyncio.gather(*waiting, return_exceptions=True)
        assert sum(isinstance(each, boto.ClientError) for each in ended) == ends
        assert chain.questions == 1


@virtual_time
async def test_other_refusals_ask_for_no_credentials() -> None:
    chain = Chain(OLD, NEW)
    with pytest.raises(boto.ClientError):
        await operation(ScriptedPool(refusal("AccessDeniedException")), chain).ask(b"{}")
    assert chain.questions == 0


# retries


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_MAX_ATTEMPTS", "AWS_RETRY_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "made-up")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "made-up")


def with_retries(use: Callable[[RetrySettings], Any]) -> None:
    """Run with the settings of the environment, in virtual time."""

    async def run() -> None:
        async with AwsClients() as clients:
            client = await clients.client("sqs", "eu-west-1", retries=True)
            await use(RetrySettings(client, "DeleteMessageBatch"))

    run_virtual(run())


TROUBLE: Final = {
    "throttled": answer(400, {"__type": "ThrottlingException"}),
    "too many": answer(400, {"__type": "X"}, x_amzn_query_error="RequestThrottledException;Sender"),
    "500": answer(500, {"__type": "InternalFailure"}),
    "503": answer(503, "<html></html>"),
    "dropped": boto.ConnectionClosedError(endpoint_url="http://h/", error="x"),
    "silent": boto.ReadTimeoutError(endpoint_url="http://h/"),
    "unreachable": boto.EndpointConnectionError(endpoint_url="http://h/", error="x"),
}


@pytest.mark.parametrize(("mode", "attempts", "expected"), [("legacy", None, 5), ("legacy", "2", 2), ("standard", None, 3), ("standard", "1", 1), ("legacy", "1", 1)])  # fmt: skip
@pytest.mark.parametrize("trouble", TROUBLE.values(), ids=TROUBLE)
def test_trouble_is_met_by_the_retry_settings(
    mode: str, attempts: str | None, expected: int, trouble: Answer | Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_RETRY_MODE", mode)
    if attempts:
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", attempts)

    async def use(retries: RetrySettings) -> None:
        pool = ScriptedPool(trouble)
        with pytest.raises((boto.ClientError, boto.BotoCoreError)):
            await operation(pool, retries=retries).ask(b"{}")
        assert len(pool.requests) == expected
        passed = asyncio.get_running_loop().time() - START
        assert (passed > 0) is (expected > 1)
        assert passed < 60

        pool = ScriptedPool(trouble, answer(body="{}"))
        if expected > 1:
            assert await operation(pool, retries=retries).ask(b"{}") == b"{}"
            assert len(pool.requests) == 2

    with_retries(use)


@pytest.mark.parametrize("mode", ["legacy", "standard"])
def test_what_will_not_pass_is_not_retried(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_RETRY_MODE", mode)

    async def use(retries: RetrySettings) -> None:
        pool = ScriptedPool(refusal("AccessDenied"))
        with pytest.raises(boto.ClientError, match="AccessDenied"):
            await operation(pool, retries=retries).ask(b"{}")
        assert len(pool.requests) == 1

    with_retries(use)


@pytest.mark.parametrize(("mode", "expected"), [("legacy", 1), ("standard", 3)])
def test_what_is_not_http_is_told_as_such_whatever_the_settings_make_of_it(
    mode: str, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_RETRY_MODE", mode)

    async def use(retries: RetrySettings) -> None:
        pool = ScriptedPool(NotHttp("it is not"))
        with pytest.raises(NotHttp):
            await operation(pool, retries=retries).ask(b"{}")
        assert len(pool.requests) == expected

    with_retries(use)


def test_a_quota_that_is_used_up_ends_the_retries_and_successes_fill_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mode standard has 500 in store for all requests of a client; a retry takes 5."""
    monkeypatch.setenv("AWS_RETRY_MODE", "standard")

    async def tries(retries: RetrySettings) -> int:
        pool = ScriptedPool(answer(503))
        with pytest.raises(boto.ClientError):
            await operation(pool, retries=retries).ask(b"{}")
        return len(pool.requests)

    async def use(retries: RetrySettings) -> None:
        counts = [await tries(retries) for _ in range(80)]
        assert (counts[0], counts[-1]) == (3, 1)
        works = operation(ScriptedPool(answer(body="{}")), retries=retries)
        for _ in range(60):
            await works.ask(b"{}")
        assert await tries(retries) == 3

    with_retries(use)


def test_a_retry_is_signed_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_RETRY_MODE", "standard")

    async def use(retries: RetrySettings) -> None:
        loop = asyncio.get_running_loop()
        pool = ScriptedPool(answer(503), answer(503), answer(body="{}"))
        clock = Clock(lambda: NOW + 100_000 * (loop.time() - START))
        await operation(pool, retries=retries, clock=clock).ask(b"{}")
        assert len(set(pool.dates)) == 3

    with_retries(use)


# errors


@pytest.mark.parametrize(
    ("told", "code", "message"),
    [
        (answer(400, {"__type": "com.amazonaws.kinesis#ExpiredIteratorException", "message": "m"}), "ExpiredIteratorException", "m"),
        (answer(400, {"__type": "a#b#Code:http://x", "Message": "M"}), "Code", "M"),
        (answer(403, ""), "403", ""),
        (answer(503, "<html>x</html>"), "503", "Service Unavailable"),
        (answer(502, " \r\n"), "502", "Bad Gateway"),
        (answer(599, ""), "599", ""),
        (answer(503, "upstream is gone"), "503", "upstream is gone"),
        (answer(404, "<html>x</html>"), "404", "<html>x</html>"),
        (answer(400, [1]), "400", ""),
        (answer(400, {"__type": "New", "message": "m"}, x_amzn_query_error="Old;Sender"), "Old", "m"),
        (answer(400, {"__type": "New", "message": "m"}, x_amzn_query_error="Old"), "New", "m"),
        (answer(400, {"__type": "New", "message": "m"}, x_amzn_query_error=";Sender"), "New", "m"),
        (answer(500, "", x_amzn_query_error="Old;Sender"), "500", "Internal Server Error"),
    ],
)  # fmt: skip
def test_an_error_is_told_as_botocore_tells_it(told: Answer, code: str, message: str) -> None:
    """`tests/contract/test_lean_roads.py` compares the two."""
    error = service_error(told, "GetRecords")
    assert error.response["Error"] == {"Code": code, "Message": message}
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == told.head.status
    assert f"GetRecords on s: {code}" in str(to_source_error(error, doing="GetRecords on s"))
