"""The lines of a worker's `/mappings/NAME/tail`, over its restarts."""

import json
import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

import aiohttp
import anyio
import msgspec

from runtime.errors import UserError
from runtime.tap_events import Closed, Told, from_line

CONTENT_TYPE: Final = "application/x-ndjson"
_CONNECT: Final = 5.0
_SILENCE: Final = 45.0
"""Seconds without a line after which the worker is taken for gone: it sends one every 15."""
_AGAIN: Final = 1.0
"""Seconds between tries to reach a worker that is gone."""
_LONGEST_LINE: Final = 32 * 1024 * 1024


class NoWorkerError(UserError):
    """Nobody answers. The message says only why."""


class TailRefusedError(UserError):
    """Somebody answers, and not with a tail of this mapping. The message is complete."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedLine:
    raw: bytes
    """As it came, without the line's end."""
    event: Told | None
    """None for what this version does not know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone:
    """The worker went away. It is tried again until it is back, and then its first line comes again."""

    reason: str | None
    """None where its own last line said so."""


class WorkerFeed:
    """Of one mapping."""

    def __init__(self, address: str, mapping: str, *, records: bool) -> None:
        """`address`: `http://HOST:PORT`. `records`: ask for details of each record."""
        self._address = address
        self._mapping = mapping
        self._url = f"{address}/mappings/{quote(mapping, safe='')}/tail{'?records=1' if records else ''}"

    async def lines(self) -> AsyncGenerator[FeedLine | Gone]:
        """For ever. Raises NoWorkerError if the worker cannot be reached at first, and TailRefusedError also later."""
        reached = False
        told = False
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT, sock_read=_SILENCE)
        async with aiohttp.ClientSession(timeout=timeout) as http:
            while True:
                reason: str | None = "the connection ended"
                try:
                    async with aclosing(self._read(http)) as lines:
                        async for line in lines:
                            reached, told = True, False
                            if isinstance(line.event, Closed):
                                reason = None
                            yield line
                except (aiohttp.ClientError, TimeoutError, OSError) as error:
                    reason = _shown(error)
                    if not reached:
                        raise NoWorkerError(reason) from error
                if not told:
                    told = True
                    yield Gone(reason=reason)
                await anyio.sleep(_AGAIN)

    async def _read(self, http: aiohttp.ClientSession) -> AsyncGenerator[FeedLine]:
        async with http.get(self._url, allow_redirects=False) as answer:
            await self._check(answer)
            rest = b""
            async for chunk in answer.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in filter(None, lines):
                    yield FeedLine(raw=line, event=_understood(line))
                if len(rest) > _LONGEST_LINE:
                    raise TailRefusedError(f"{self._address} sends a line without an end: is it the worker's address?")

    async def _check(self, answer: aiohttp.ClientResponse) -> None:
        if answer.status == HTTPStatus.OK and answer.content_type == CONTENT_TYPE:
            return
        text = (await answer.content.read(_LONGEST_LINE)).decode(errors="replace")
        if answer.status == HTTPStatus.SERVICE_UNAVAILABLE:
            said = _json(text).get("error", answer.reason)
            raise TailRefusedError(f"the worker at {self._address} refuses: {said}")
        known = _json(text).get("mappings")
        if answer.status == HTTPStatus.NOT_FOUND and isinstance(known, list):
            names = ", ".join(map(str, known))
            raise TailRefusedError(f"the worker at {self._address} has no mapping {self._mapping}: it has {names}")
        raise TailRefusedError(
            f"{self._address} answers, but not with a tail ({answer.status} {answer.reason}, {answer.content_type}): it is no"
            " worker, or one of an earlier version. The address is `worker: {http: ...}` of its esm.yaml; --worker names another"
        )


def _understood(line: bytes) -> Told | None:
    try:
        return from_line(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _json(text: str) -> dict[str, object]:
    try:
        document = json.loads(text)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _shown(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno
        return os.strerror(number) if number and number > 0 else str(error.os_error)
    if isinstance(error, aiohttp.ClientPayloadError):
        return "the connection broke off"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return str(error) or type(error).__name__
