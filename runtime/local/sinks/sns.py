"""SNS as a service of the server: forms in (the Query protocol), XML out."""

from collections.abc import Callable
from typing import Final
from urllib.parse import parse_qsl

from aiohttp import web

from runtime.local.errors import Refused
from runtime.local.faults import Kind
from runtime.local.service import Answer, Asked, ByScope, Service, answer_with
from runtime.local.sinks.topics import Topics, invalid
from runtime.local.sinks.xml import to_xml
from runtime.local.state import Caller

_XML: Final = "text/xml"
_NAMESPACE: Final = "http://sns.amazonaws.com/doc/2010-03-31/"
_FAULTS: Final[dict[Kind, Refused]] = {
    Kind.THROTTLE: Refused("Throttling", "Rate exceeded", status=400),
    Kind.ERROR500: Refused("InternalError", "An internal error has occurred", status=500),
    Kind.ERROR503: Refused("ServiceUnavailable", "Service is unavailable", status=503),
    Kind.ACCESS_DENIED: Refused("AuthorizationError", "User is not authorized to perform this operation", status=403),
    Kind.EXPIRED_TOKEN: Refused("ExpiredToken", "The security token included in the request is expired", status=403),
}
Form = dict[str, str]


def sns_service(topics: Topics) -> Service:
    async def act(asked: Asked) -> web.Response:
        operation = _OPERATIONS.get(asked.operation)
        if operation is None:
            raise Refused("InvalidAction", f"The action {asked.operation} is not supported by this endpoint.", status=400)
        result = operation(topics, asked.caller, dict(asked.body))
        name = asked.operation
        content = {f"{name}Result": result, "ResponseMetadata": {"RequestId": asked.request_id}}
        return answer_with(200, to_xml(f"{name}Response", content, _NAMESPACE).encode(), _XML, asked.request_id)

    return Service(
        name="sns",
        route=ByScope(signed_for="sns"),
        content=_XML,
        operations=frozenset(_OPERATIONS),
        read=_read,
        act=act,
        refuse=_refuse,
        fault=lambda kind, _asked: _FAULTS.get(kind),
        reset=topics.reset,
        inspect=lambda: {"topics": [{"arn": arn, "received": _count(topics, arn)} for arn in topics.topics()]},
        controls={"received": lambda _given: {"received": [published.as_json() for published in topics.received]}},
    )


def _read(request: web.Request, raw: bytes, caller: Caller, request_id: str) -> Asked:
    form = dict(parse_qsl(raw.decode(errors="replace"), keep_blank_values=True))
    topic = form.get("TopicArn") or form.get("TargetArn") or form.get("Name")
    return Asked(
        operation=form.get("Action", ""),
        about={"topic": topic.rpartition(":")[2]} if topic else {},
        caller=caller,
        request=request,
        request_id=request_id,
        raw=raw,
        body=form,
    )


def _refuse(refused: Refused, request_id: str) -> web.Response:
    error = {"Type": "Sender" if refused.sender else "Receiver", "Code": refused.code, "Message": refused.message}
    body = to_xml("ErrorResponse", {"Error": error, "RequestId": request_id}, _NAMESPACE)
    return answer_with(refused.status, body.encode(), _XML, request_id)


def _create_topic(topics: Topics, caller: Caller, form: Form) -> Answer:
    """Of its attributes only FifoTopic means something here; the others are taken and forgotten."""
    attributes = {form[f"{at}.key"]: form.get(f"{at}.value", "") for at in _entries(form, "Attributes.entry", "key")}
    fifo = attributes.get("FifoTopic", "false").lower() == "true"
    return {"TopicArn": topics.create(form.get("Name", ""), account=caller.account, region=caller.region, fifo=fifo)}


def _publish(topics: Topics, _caller: Caller, form: Form) -> Answer:
    for unsupported in ("PhoneNumber", "MessageStructure"):
        if unsupported in form:
            raise invalid(f"Invalid parameter: this endpoint does not support {unsupported}")
    published = topics.publish(
        form.get("TopicArn") or form.get("TargetArn") or "",
        form.get("Message", ""),
        subject=form.get("Subject"),
        attributes=_message_attributes(form),
        group=form.get("MessageGroupId"),
        dedup=form.get("MessageDeduplicationId"),
    )
    return {"MessageId": published.id}


def _get_topic_attributes(topics: Topics, caller: Caller, form: Form) -> Answer:
    arn = form.get("TopicArn", "")
    if arn not in topics.topics():
        raise Refused("NotFound", "Topic does not exist", status=404)
    attributes = {"TopicArn": arn, "Owner": caller.account}
    return {"Attributes": {"entry": [{"key": key, "value": value} for key, value in attributes.items()]}}


def _message_attributes(form: Form) -> dict[str, dict[str, str]]:
    found = {}
    for at in _entries(form, "MessageAttributes.entry", "Name"):
        start = f"{at}.Value."
        found[form[f"{at}.Name"]] = {name.removeprefix(start): value for name, value in form.items() if name.startswith(start)}
    return found


def _entries(form: Form, start: str, key: str) -> list[str]:
    """The prefixes `<start>.1`, `<start>.2`, ... of a list in a form, as long as they have the key."""
    found: list[str] = []
    while f"{start}.{len(found) + 1}.{key}" in form:
        found.append(f"{start}.{len(found) + 1}")
    return found


def _count(topics: Topics, arn: str) -> int:
    return sum(published.topic == arn for published in topics.received)


_OPERATIONS: Final[dict[str, Callable[[Topics, Caller, Form], Answer]]] = {
    "CreateTopic": _create_topic,
    "GetTopicAttributes": _get_topic_attributes,
    "Publish": _publish,
}
