"""SQS as a service of the server: its table of operations with the wait of a long poll, and its errors, which are peculiar."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec
from aiohttp import web

from runtime.local.call import Answer, Call
from runtime.local.errors import Refused
from runtime.local.faults import Faults, Kind
from runtime.local.operations import OPERATIONS
from runtime.local.polls import Polls
from runtime.local.receiving import Receive
from runtime.local.service import JSON_1_0, Asked, Service, answer_with, json_service
from runtime.local.state import LocalState

_FAULTS: Final[dict[Kind, tuple[str, str]]] = {
    Kind.THROTTLE: ("RequestThrottled", "Request is throttled."),
    Kind.ERROR500: ("InternalFailure", "We encountered an internal error. Please try again."),
    Kind.ERROR503: ("ServiceUnavailable", "The request has failed due to a temporary failure of the server."),
    Kind.ACCESS_DENIED: ("AccessDeniedException", "Access to the resource is denied."),
    Kind.EXPIRED_TOKEN: ("ExpiredTokenException", "The security token included in the request is expired"),
}


def sqs_service(state: LocalState, faults: Faults, polls: Polls) -> Service:
    def carried_out(operation: Callable[[Call], Answer | Receive]) -> Callable[[Asked], Awaitable[Answer]]:
        async def act(asked: Asked) -> Answer:
            try:
                answer = operation(_call(state, faults, asked))
                if isinstance(answer, Receive):
                    answer = await polls.receive(answer, lambda: _is_connected(asked.request))
            finally:
                polls.wake()
            return answer

        return act

    def reset() -> None:
        """Queues, messages and counts are gone; open polls end with QueueDoesNotExist."""
        state.reset()
        polls.wake()

    def inspect() -> Answer:
        shown = state.inspect()["queues"]
        for entry, queue in zip(shown, state.queues(), strict=True):
            entry["waiting"] = polls.waiting(queue)
        return {"queues": shown}

    return json_service(
        name="sqs",
        target="AmazonSQS",
        content=JSON_1_0,
        operations={name: carried_out(operation) for name, operation in OPERATIONS.items()},
        about=_about,
        fault=lambda kind, _asked: Refused(*_FAULTS[kind]) if kind in _FAULTS else None,
        reset=reset,
        inspect=inspect,
        refuse=refuse,
        unknown="UnsupportedOperation",
    )


def refuse(refused: Refused, request_id: str) -> web.Response:
    """With the older code in a header; also the answer to a request that is for no service at all."""
    body = msgspec.json.encode({"__type": refused.type, "message": refused.message})
    response = answer_with(refused.status, body, JSON_1_0, request_id)
    response.headers["x-amzn-query-error"] = refused.query_error
    return response


def _call(state: LocalState, faults: Faults, asked: Asked) -> Call:
    return Call(
        state=state,
        caller=asked.caller,
        host=f"{asked.request.scheme}://{asked.request.host}",
        operation=asked.operation,
        request=asked.body,
        effects=faults,
    )


def _about(body: Mapping[str, Any]) -> dict[str, str]:
    url, name = body.get("QueueUrl"), body.get("QueueName")
    queue = url.rstrip("/").rpartition("/")[2] if isinstance(url, str) else name
    return {"queue": queue} if isinstance(queue, str) else {}


def _is_connected(request: web.Request) -> bool:
    return request.transport is not None and not request.transport.is_closing()
