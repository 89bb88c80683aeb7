"""What a service is to the server: one value that says how its requests are known, read, carried out, refused and looked into.

A JSON service (`X-Amz-Target`) is made by `json_service` from a table of operations. A service that speaks otherwise (by path, by
form) makes its `Service` itself: its functions see the aiohttp request. Either way the model behind it stays pure.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from aiohttp import web

from runtime.local.errors import Refused
from runtime.local.faults import Kind
from runtime.local.state import Caller

JSON_1_0: Final = "application/x-amz-json-1.0"
JSON_1_1: Final = "application/x-amz-json-1.1"
_BAD_REQUEST: Final = 400
_SERVER_ERROR: Final = 500

Answer = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request that was understood as an operation of a service."""

    operation: str
    about: Mapping[str, str]
    """What faults can be aimed at (`faults.AIMS`): `{"queue": "orders"}`, `{"stream": "s", "shard": "shardId-000000000000"}`."""
    caller: Caller
    request: web.Request
    request_id: str
    raw: bytes
    body: Mapping[str, Any]
    """Of a JSON request; empty for services that read `raw` and `request` themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ByTarget:
    """Requests whose `X-Amz-Target` is `<prefix>.<operation>`."""

    prefix: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ByScope:
    """Requests without a known `X-Amz-Target` that were signed for this service (`s3`, `lambda`, `sns`)."""

    signed_for: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service. `read` and `act` raise Refused, which `refuse` makes an answer of."""

    name: str
    """In faults and in the counts of requests."""
    route: ByTarget | ByScope
    content: str
    """Content-Type of its answers."""
    operations: frozenset[str]
    read: Callable[[web.Request, bytes, Caller, str], Asked]
    """From the request, its body, who asks and the request's id. A name that is no operation may pass; `act` refuses it."""
    act: Callable[[Asked], Awaitable[web.StreamResponse]]
    refuse: Callable[[Refused, str], web.Response]
    """From a refusal and the request's id."""
    fault: Callable[[Kind, Asked], Refused | None]
    """What a fault that answers with an error answers with; None for kinds that do something else."""
    reset: Callable[[], None]
    inspect: Callable[[], Answer]
    """Its part of `GET /_local/`: keys that no other service uses."""
    controls: Mapping[str, Callable[[Mapping[str, Any]], Answer]] = field(default_factory=dict)
    """`POST /_local/<name>/<key>` with a JSON object; raises BadControl."""


class BadControl(ValueError):
    """A control call that makes no sense; the text says what is wrong with it."""


def check_fields(given: Mapping[str, Any], *known: str) -> None:
    """Raises BadControl for those of a control call that nobody knows."""
    for name in given:
        if name not in known:
            raise BadControl(f"unknown field {name!r}; there are {', '.join(known)}")


def json_service(
    *,
    name: str,
    target: str,
    content: str,
    operations: Mapping[str, Callable[[Asked], Awaitable[Answer]]],
    about: Callable[[Mapping[str, Any]], Mapping[str, str]],
    fault: Callable[[Kind, Asked], Refused | None],
    reset: Callable[[], None],
    inspect: Callable[[], Answer],
    controls: Mapping[str, Callable[[Mapping[str, Any]], Answer]] | None = None,
    refuse: Callable[[Refused, str], web.Response] | None = None,
    unknown: str = "UnknownOperationException",
) -> Service:
    """A service of the AWS JSON protocol. `about` says what a body is about, and must bear any JSON object.

    Without a `refuse` of its own, errors are `{"__type": <shape>, "message": ...}` with status 400, or 500 and above as they are.
    `unknown` is the shape of the error for an operation that the table does not have.
    """

    def read(request: web.Request, raw: bytes, caller: Caller, request_id: str) -> Asked:
        body = _json_object(raw)
        operation = request.headers["X-Amz-Target"].partition(".")[2]
        return Asked(
            operation=operation,
            about=about(body),
            caller=caller,
            request=request,
            request_id=request_id,
            raw=raw,
            body=body,
        )

    async def act(asked: Asked) -> web.Response:
        operation = operations.get(asked.operation)
        if operation is None:
            raise Refused(unknown, f"The operation {asked.operation} is not supported by this endpoint.")
        return answer_with(200, msgspec.json.encode(await operation(asked)), content, asked.request_id)

    def refuse_plainly(refused: Refused, request_id: str) -> web.Response:
        body = {"__type": refused.shape, "message": refused.message, **refused.more}
        status = refused.status if refused.status >= _SERVER_ERROR else _BAD_REQUEST
        return answer_with(status, msgspec.json.encode(body), content, request_id)

    return Service(
        name=name,
        route=ByTarget(prefix=target),
        content=content,
        operations=frozenset(operations),
        read=read,
        act=act,
        refuse=refuse or refuse_plainly,
        fault=fault,
        reset=reset,
        inspect=inspect,
        controls=controls or {},
    )


def answer_with(status: int, body: bytes, content: str, request_id: str) -> web.Response:
    """An answer with the two headers that every AWS answer has."""
    return web.Response(status=status, body=body, headers={"Content-Type": content, "x-amzn-RequestId": request_id})


def _json_object(raw: bytes) -> dict[str, Any]:
    try:
        body = msgspec.json.decode(raw) if raw else {}
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused("SerializationException", f"The body is not valid JSON: {error}") from None
    if not isinstance(body, dict):
        raise Refused("SerializationException", "The body is not a JSON object.")
    return body
