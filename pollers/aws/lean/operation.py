"""One hot operation on the lean road: sign, send, judge the answer.

Everything beyond a 200 is the slow path: it corrects the clock, asks for new credentials, or asks the retry settings. None of
that repeats a request that may have been acted on, except where the caller said `retries`.
"""

import time
from collections.abc import Callable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from http.client import responses
from typing import Any, Final

import anyio
import msgspec
from botocore import exceptions as boto

from pollers.aws.credentials import REFUSED, SessionCredentials
from pollers.aws.lean.answer_head import NotHttp
from pollers.aws.lean.connection import Answer, Content
from pollers.aws.lean.pool import Pool
from pollers.aws.lean.retrying import RetrySettings
from pollers.aws.lean.signing import Credentials
from pollers.aws.lean.template import Template

_OK: Final = 200
_OF_A_SERVER: Final = 500
_SKEWED: Final = frozenset({
    "RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture", "InvalidSignatureException", "SignatureDoesNotMatch",
    "AuthFailure",
})  # fmt: skip
"""Codes that a clock far from the service's leads to. Other SDKs have the same list, and the same limit below."""
_MOST_SKEW: Final = 240.0
"""Seconds; the service allows 300 or 900."""


_OF_EVERY_ERROR: Final = frozenset({"__type", "message", "Message", "Error", "ResponseMetadata"})
"""What else an error says is its own: the item of a condition that failed."""


class Clock:
    """The time of a service: ours, and the difference that it last complained of."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._ahead = 0.0

    def time(self) -> float:
        return self._now() + self._ahead

    def correct(self, date: str | None, *, signed: float) -> bool:
        """Whether the Date header of a refusal shows that our clock was the reason; then it is corrected.

        `signed`: what the clock said when the request was signed. Another refusal may have corrected it since.
        """
        try:
            read = parsedate_to_datetime(date or "")
            told = (read.replace(tzinfo=UTC) if read.tzinfo is None else read).timestamp()
        except (TypeError, ValueError, OverflowError):
            return False
        if abs(told - signed) <= _MOST_SKEW:
            return False
        self._ahead = told - self._now()
        return True


class LeanOperation:
    """A `HotOperation`. Safe for concurrent calls."""

    lean = True

    def __init__(
        self,
        template: Template,
        pool: Pool,
        credentials: SessionCredentials,
        clock: Clock,
        *,
        name: str,
        repeatable: bool,
        retries: RetrySettings | None,
    ) -> None:
        """`name`: as the service calls it. `repeatable`: it may be acted on twice. `retries`: None for one try only."""
        self._signer = template.signer
        self._pool = pool
        self._credentials = credentials
        self._clock = clock
        self._name = name
        self._repeatable = repeatable
        self._retries = retries

    async def ask(self, body: bytes, *, repeatable: bool = False) -> Content:
        """The content of a successful answer. Raises botocore's ClientError for any other, what the pool raises, and NotHttp.

        `repeatable`: this request may be acted on twice, whatever the operation.
        """
        credentials = self._credentials.fresh or await self._credentials.current()
        if credentials is None:
            raise boto.NoCredentialsError
        repeatable = repeatable or self._repeatable
        if self._retries is not None:
            return await self._ask_with_retries(self._retries, body, credentials, repeatable=repeatable)
        moment = self._clock.time()
        answer = await self._pool.ask(self._signer.request(body, credentials, moment), repeatable=repeatable)
        if answer.head.status == _OK:
            return answer.content
        return await self._ask_again_if_refused(body, credentials, moment, answer, repeatable=repeatable)

    async def _ask_with_retries(
        self, settings: RetrySettings, body: bytes, credentials: Credentials, *, repeatable: bool
    ) -> Content:
        context: dict[str, Any] = {}
        attempt = 1
        while True:
            moment = self._clock.time()
            try:
                answer = await self._pool.ask(self._signer.request(body, credentials, moment), repeatable=repeatable)
                if answer.head.status == _OK:
                    if settings.owed:
                        await settings.succeeded(context)
                    return answer.content
                return await self._ask_again_if_refused(body, credentials, moment, answer, repeatable=repeatable)
            except (boto.ClientError, boto.HTTPClientError, boto.ConnectionError, NotHttp) as error:
                known = boto.HTTPClientError(error=error) if isinstance(error, NotHttp) else error
                pause = await settings.pause(attempt, context, known)
                if pause is None:
                    raise
            await anyio.sleep(pause)
            attempt += 1
            credentials = await self._credentials.current() or credentials

    async def _ask_again_if_refused(
        self, body: bytes, credentials: Credentials, signed: float, answer: Answer, *, repeatable: bool
    ) -> Content:
        """Once more, when the clock or the credentials were the reason: such a request was not acted on."""
        error = service_error(answer, self._name)
        code = error.response["Error"]["Code"]
        corrected = code in _SKEWED and self._clock.correct(answer.head.headers.get("date"), signed=signed)
        fresh = credentials if corrected else await self._credentials.renewed(credentials) if code in REFUSED else None
        if fresh is None:
            raise error
        again = await self._pool.ask(self._signer.request(body, fresh, self._clock.time()), repeatable=repeatable)
        if again.head.status != _OK:
            raise service_error(again, self._name)
        return again.content


def service_error(answer: Answer, operation: str) -> boto.ClientError:
    """The error that an answer tells, as botocore reads it: its code without a namespace, or SQS's older one from the header."""
    status, headers = answer.head.status, answer.head.headers
    if status >= _OF_A_SERVER and _says_nothing(bytes(answer.content)):
        return _client_error(operation, status, headers, code=str(status), message=responses.get(status, ""))
    try:
        body = msgspec.json.decode(answer.content) if answer.content else {}
    except (msgspec.DecodeError, UnicodeDecodeError):
        body = {"message": bytes(answer.content[:500]).decode(errors="replace")}
    if not isinstance(body, dict):
        body = {}
    code = str(body.get("__type") or status).partition(":")[0].rpartition("#")[2]
    older = headers.get("x-amzn-query-error", "").split(";")
    if len(older) == 2 and older[0]:  # noqa: PLR2004  # code and type
        code = older[0]
    message = str(body.get("message") or body.get("Message") or "")
    error = _client_error(operation, status, headers, code=code, message=message)
    error.response.update({name: value for name, value in body.items() if name not in _OF_EVERY_ERROR})
    return error


def _says_nothing(content: bytes) -> bool:
    """As from a load balancer that has no server left."""
    content = content.strip()
    return not content or content.startswith(b"<html>")


def _client_error(operation: str, status: int, headers: Mapping[str, str], *, code: str, message: str) -> boto.ClientError:
    metadata = {"HTTPStatusCode": status, "HTTPHeaders": headers, "RetryAttempts": 0, "RequestId": "", "HostId": ""}
    return boto.ClientError({"Error": {"Code": code, "Message": message}, "ResponseMetadata": metadata}, operation)
