"""Lambda as a service of the server: `POST /2015-03-31/functions/{name}/invocations`, and `GET .../configuration`."""

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote

import msgspec
from aiohttp import web

from runtime.local.errors import Refused
from runtime.local.faults import Kind
from runtime.local.service import Answer, Asked, BadControl, ByScope, Service, answer_with
from runtime.local.sinks.functions import Functions, parse_id
from runtime.local.state import Caller

_JSON: Final = "application/json"
_PATH: Final = re.compile(r"/2015-03-31/functions/([^/]+)/(invocations|configuration)")
_BY_REQUEST: Final = {("POST", "invocations"): "Invoke", ("GET", "configuration"): "GetFunctionConfiguration"}
_MOST_BYTES: Final = {"Event": 1024 * 1024, "RequestResponse": 6 * 1024 * 1024}
"""Of a payload, by invocation type."""
_FAULTS: Final[dict[Kind, Refused]] = {
    Kind.THROTTLE: Refused(
        "TooManyRequestsException",
        "Rate Exceeded.",
        status=429,
        more={"Reason": "ReservedFunctionConcurrentInvocationLimitExceeded"},
    ),
    Kind.ERROR500: Refused("ServiceException", "The Lambda service encountered an internal error.", status=500),
    Kind.ERROR503: Refused("ServiceUnavailable", "Service is unavailable", status=503),
    Kind.ACCESS_DENIED: Refused("AccessDeniedException", "User is not authorized to perform: lambda:InvokeFunction", status=403),
    Kind.EXPIRED_TOKEN: Refused("ExpiredTokenException", "The security token included in the request is expired", status=403),
}


def lambda_service(functions: Functions) -> Service:
    async def act(asked: Asked) -> web.Response:
        match asked.operation:
            case "Invoke":
                return _invoke(functions, asked)
            case "GetFunctionConfiguration":
                return _configuration(functions, asked)
            case _:
                known = "Invoke and GetFunctionConfiguration"
                raise Refused("UnknownOperationException", f"This endpoint knows of Lambda's operations {known}.", status=404)

    def declare(given: Mapping[str, Any]) -> Answer:
        """`{"name": "f", "error": "it fails"}`; without an error it answers null."""
        name, error = given.get("name"), given.get("error")
        for field in given.keys() - {"name", "error"}:
            raise BadControl(f"unknown field {field!r}; there are name, error")
        if not isinstance(name, str) or parse_id(name) != (name, None):
            raise BadControl(f"name {name!r} is not the name of a function")
        if error is not None and not isinstance(error, str):
            raise BadControl(f"error {error!r} is not a string")
        functions.declare(name, error=error)
        return {}

    def inspect() -> Answer:
        counts = {name: sum(invocation.function == name for invocation in functions.received) for name in functions.functions()}
        return {"functions": [{"name": name, "received": count} for name, count in counts.items()]}

    return Service(
        name="lambda",
        route=ByScope(signed_for="lambda"),
        content=_JSON,
        operations=frozenset(_BY_REQUEST.values()),
        read=_read,
        act=act,
        refuse=_refuse,
        fault=lambda kind, _asked: _FAULTS.get(kind),
        reset=functions.reset,
        inspect=inspect,
        controls={
            "declare": declare,
            "received": lambda _given: {"received": [invocation.as_json() for invocation in functions.received]},
        },
    )


def _read(request: web.Request, raw: bytes, caller: Caller, request_id: str) -> Asked:
    path = _PATH.fullmatch(request.rel_url.raw_path)
    parsed = None if path is None else parse_id(unquote(path[1]))
    return Asked(
        operation=_BY_REQUEST.get((request.method, path[2] if path else ""), f"{request.method} {request.path}"),
        about={} if parsed is None else {"function": parsed[0]},
        caller=caller,
        request=request,
        request_id=request_id,
        raw=raw,
        body={},
    )


def _invoke(functions: Functions, asked: Asked) -> web.Response:
    text = unquote(asked.request.rel_url.raw_path.split("/")[3])
    parsed = parse_id(text)
    kind = asked.request.headers.get("X-Amz-Invocation-Type", "RequestResponse")
    if parsed is None or kind not in _MOST_BYTES:
        wrong = f"the function {text!r}" if parsed is None else f"the invocation type {kind}"
        raise Refused("InvalidParameterValueException", f"This endpoint does not take {wrong}.", status=400)
    if len(asked.raw) > _MOST_BYTES[kind]:
        message = f"Request must be smaller than {_MOST_BYTES[kind]} bytes for the InvokeFunction operation"
        raise Refused("RequestTooLargeException", message, status=413)
    try:
        msgspec.json.decode(asked.raw or b"{}")
    except msgspec.DecodeError as error:
        raise Refused("InvalidRequestContentException", f"Could not parse request body into json: {error}", status=400) from None
    name, qualifier = parsed[0], parsed[1] or asked.request.query.get("Qualifier")
    arn = f"arn:aws:lambda:{asked.caller.region}:{asked.caller.account}:function:{name}" + (f":{qualifier}" if qualifier else "")
    functions.invoke(name, qualifier, kind=kind, payload=(asked.raw or b"{}").decode(), arn=arn)
    return _answered(functions.error_of(name), kind, qualifier, asked.request_id)


def _configuration(functions: Functions, asked: Asked) -> web.Response:
    name = asked.about.get("function", "")
    arn = f"arn:aws:lambda:{asked.caller.region}:{asked.caller.account}:function:{name}"
    if name not in functions.functions():
        raise Refused("ResourceNotFoundException", f"Function not found: {arn}", status=404)
    return answer_with(200, msgspec.json.encode({"FunctionName": name, "FunctionArn": arn}), _JSON, asked.request_id)


def _answered(error: str | None, kind: str, qualifier: str | None, request_id: str) -> web.Response:
    if kind == "Event":
        return answer_with(202, b"", _JSON, request_id)
    body: Answer | None = None if error is None else {"errorMessage": error, "errorType": "Error"}
    response = answer_with(200, msgspec.json.encode(body), _JSON, request_id)
    response.headers["X-Amz-Executed-Version"] = qualifier if qualifier and qualifier.isdecimal() else "$LATEST"
    if error is not None:
        response.headers["X-Amz-Function-Error"] = "Unhandled"
    return response


def _refuse(refused: Refused, request_id: str) -> web.Response:
    body = {"Type": "User" if refused.sender else "Service", "Message": refused.message, **refused.more}
    response = answer_with(refused.status, msgspec.json.encode(body), _JSON, request_id)
    response.headers["x-amzn-ErrorType"] = refused.shape
    return response
