"""The operations of SQS: a JSON request in, a JSON answer out, or `Refused`. Pure; the wait of a long poll is the server's.

`OPERATIONS`, at the bottom, is the table of what there is; everything else of SQS is answered with UnsupportedOperation. The
operations on queues stand here, those on messages in `sending`, `receiving` and `settling`.
"""

from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Final

from runtime.local.call import Answer, Call
from runtime.local.errors import Refused, invalid
from runtime.local.messages import mapping
from runtime.local.receiving import Receive, receive_message
from runtime.local.sending import send_message, send_message_batch
from runtime.local.settings import COUNTS, READABLE, show
from runtime.local.settling import (
    change_message_visibility,
    change_message_visibility_batch,
    delete_message,
    delete_message_batch,
)

_MOST_QUEUES: Final = 1000


def create_queue(call: Call) -> Answer:
    queue = call.state.create(call.caller, call.text("QueueName"), _attributes(call))
    return {"QueueUrl": call.url(queue)}


def delete_queue(call: Call) -> Answer:
    call.state.delete(call.queue())
    return {}


def get_queue_url(call: Call) -> Answer:
    queue = call.state.by_name(call.caller, call.text("QueueName"), call.maybe_text("QueueOwnerAWSAccountId"))
    return {"QueueUrl": call.url(queue)}


def list_queues(call: Call) -> Answer:
    most = call.whole("MaxResults", 1, _MOST_QUEUES, "MaxResults must be an integer between 1 and 1000.")
    token = call.maybe_text("NextToken")
    found = call.state.list(call.caller, call.maybe_text("QueueNamePrefix") or "")
    if token:
        try:
            after = b64decode(token, validate=True).decode()
        except ValueError:
            raise invalid("Invalid or expired next token.") from None
        found = [queue for queue in found if queue.name > after]
    page = found[: most or _MOST_QUEUES]
    answer: Answer = {"QueueUrls": [call.url(queue) for queue in page]} if page else {}
    if most and len(found) > most:
        answer["NextToken"] = b64encode(page[-1].name.encode()).decode()
    return answer


def get_queue_attributes(call: Call) -> Answer:
    queue, names = call.queue(), call.names("AttributeNames")
    for name in names:
        if name not in READABLE:
            raise Refused("InvalidAttributeName", f"Unknown Attribute {name}.")
    if not names:
        return {}
    queue.advance(call.state.clock())
    shown = {
        "QueueArn": queue.arn,
        "CreatedTimestamp": str(int(queue.created)),
        "LastModifiedTimestamp": str(int(queue.modified)),
        **dict(zip(COUNTS, map(str, (queue.visible, queue.in_flight, queue.delayed)), strict=True)),
        **show(queue.settings),
    }
    return {"Attributes": shown if "All" in names else {name: shown[name] for name in names if name in shown}}


def set_queue_attributes(call: Call) -> Answer:
    call.state.change(call.queue(), _attributes(call))
    return {}


def purge_queue(call: Call) -> Answer:
    call.queue().purge(call.state.clock())
    return {}


def _attributes(call: Call) -> dict[str, str]:
    given = mapping(call.request, "Attributes")
    if not all(isinstance(value, str) for value in given.values()):
        raise Refused("SerializationException", "Attributes must be a map of strings")
    return given


OPERATIONS: Final[dict[str, Callable[[Call], Answer | Receive]]] = {
    "CreateQueue": create_queue,
    "DeleteQueue": delete_queue,
    "GetQueueUrl": get_queue_url,
    "ListQueues": list_queues,
    "GetQueueAttributes": get_queue_attributes,
    "SetQueueAttributes": set_queue_attributes,
    "PurgeQueue": purge_queue,
    "SendMessage": send_message,
    "SendMessageBatch": send_message_batch,
    "ReceiveMessage": receive_message,
    "DeleteMessage": delete_message,
    "DeleteMessageBatch": delete_message_batch,
    "ChangeMessageVisibility": change_message_visibility,
    "ChangeMessageVisibilityBatch": change_message_visibility_batch,
}
