"""SQS, standard and FIFO (`spec/sqs.md`): the source, and the record as the Lambda event shows it.

The queue is addressed by a URL made from its ARN and the client's endpoint, so that the permissions of a Lambda role are enough
(SQS-11 has no GetQueueUrl), and so that it works behind any endpoint override.
"""

import base64
import json
import uuid
from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Any, Final

import anyio
import msgspec

from pollers.aws.arn import Arn
from pollers.aws.clients import AwsClients, Observe
from pollers.aws.errors import THROTTLED, to_source_error
from pollers.errors import SourceError, SourceUnavailable
from pollers.record import Record, RecordId
from pollers.source import QueueFacts, QueueSpec, Refusal

if TYPE_CHECKING:
    from types_aiobotocore_sqs import SQSClient

_ENTRIES: Final = 10
"""Most entries of a batch request."""
_CHUNKS_AT_ONCE: Final = 8
"""Batch requests of one call that are in the air together."""
_EMPTY_ANSWER: Final = 64
"""Bytes of an answer without messages, at most: `{}` or `{"Messages":[]}`."""
_GONE: Final = frozenset({
    "ReceiptHandleIsInvalid", "InvalidParameterValue", "MessageNotInflight", "AWS.SimpleQueueService.MessageNotInflight",
    "InvalidReceiptHandle",
})  # fmt: skip
"""Codes for a record that is no longer ours. SQS says InvalidParameterValue of an expired FIFO handle, and past 12 hours."""
_ATTRIBUTES: Final[tuple[str, ...]] = (
    "ApproximateReceiveCount", "AWSTraceHeader", "SentTimestamp", "SequenceNumber", "MessageGroupId", "SenderId",
    "MessageDeduplicationId", "ApproximateFirstReceiveTimestamp",
)  # fmt: skip
"""The order in which Lambda shows them (SQS-22, SQS-23); others follow as they came (DeadLetterQueueSourceArn)."""


def envelope(records: Sequence[Record]) -> dict[str, Any]:
    """The Lambda event (SQS-20). A record of a queue is invoked at most once per receive, so nothing is copied."""
    return {"Records": [record.event for record in records]}


SPEC: Final = QueueSpec(
    source="sqs",
    service="sqs",
    parameters=frozenset({
        "EventSourceArn", "FunctionName", "BatchSize", "Enabled", "FilterCriteria", "KMSKeyArn", "FunctionResponseTypes",
        "MaximumBatchingWindowInSeconds", "MetricsConfig", "ProvisionedPollerConfig", "ScalingConfig", "Tags",
    }),
    default_batch_size=10,
    envelope=envelope,
)  # fmt: skip


class SqsQueue:
    """One queue, as a `QueueSource`. Making it asks AWS nothing; its client is made for the first request."""

    def __init__(self, clients: AwsClients, arn: str, *, windowed: bool, observe: Observe) -> None:
        """`windowed`: the mapping has a batching window; it decides how absent attributes show in the event (SQS-26)."""
        parsed = Arn.parse(arn)
        self._clients = clients
        self._polling: SQSClient | None = None
        self._settling: SQSClient | None = None
        self._arn = arn
        self._name = parsed.resource
        self._region = parsed.region
        self._fifo = parsed.resource.endswith(".fifo")
        self._path = f"/{parsed.account}/{parsed.resource}"
        self._url = ""
        self._windowed = windowed
        self._observe = observe

    async def describe(self) -> QueueFacts:
        client = self._polling = self._polling or await self._open(retries=False)
        asked = client.get_queue_attributes(
            QueueUrl=self._url, AttributeNames=["VisibilityTimeout", "RedrivePolicy", "ApproximateNumberOfMessages"]
        )
        answer = await self._ask("GetQueueAttributes", asked)
        try:
            attributes = answer.get("Attributes", {})
            return QueueFacts(
                visibility_timeout=int(attributes["VisibilityTimeout"]),
                redrive=bool(attributes.get("RedrivePolicy")),
                waiting=int(attributes.get("ApproximateNumberOfMessages", 0)),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise to_source_error(error, doing=f"GetQueueAttributes on {self._name}") from error

    async def receive(self, *, limit: int, wait: int, visibility: int | None) -> list[Record]:
        client = self._polling = self._polling or await self._open(retries=False)
        options: dict[str, Any] = {} if visibility is None else {"VisibilityTimeout": visibility}
        if self._fifo:  # a repetition by the SDK after a lost answer gets the same records, not a locked group
            options["ReceiveRequestAttemptId"] = str(uuid.uuid4())
        asked = client.receive_message(
            QueueUrl=self._url,
            MaxNumberOfMessages=limit,
            WaitTimeSeconds=wait,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
            **options,
        )
        answer = await self._ask("ReceiveMessage", asked, empty_without="Messages")
        if not answer.get("Messages") and not _is_answer(answer):
            raise SourceUnavailable(
                f"ReceiveMessage on {self._name}: 200, but no answer of SQS (a proxy?)", code="malformed_answer"
            )
        try:
            return [self._record(message) for message in answer.get("Messages") or ()]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise to_source_error(error, doing=f"ReceiveMessage on {self._name}") from error

    async def delete(self, records: Sequence[Record]) -> list[Refusal]:
        return await self._in_tens(records, self._delete_ten)

    async def extend(self, records: Sequence[Record], seconds: int) -> list[Refusal]:
        async def extend_ten(ten: Sequence[Record]) -> list[Refusal]:
            entries = [
                {"Id": str(n), "ReceiptHandle": record.handle, "VisibilityTimeout": seconds} for n, record in enumerate(ten)
            ]
            client = self._settling = self._settling or await self._open(retries=True)
            asked = client.change_message_visibility_batch(QueueUrl=self._url, Entries=entries)  # type: ignore[arg-type]  # the TypedDict of the stubs is invariant
            return await self._refusals("ChangeMessageVisibilityBatch", asked, ten)

        return await self._in_tens(records, extend_ten)

    async def _open(self, *, retries: bool) -> "SQSClient":
        """Raises SourceError when no client can be made, as with a broken profile: it may be mended while we run."""
        client: SQSClient = await self._clients.client("sqs", self._region, retries=retries)
        self._url = client.meta.endpoint_url.rstrip("/") + self._path
        return client

    async def _delete_ten(self, ten: Sequence[Record]) -> list[Refusal]:
        entries = [{"Id": str(n), "ReceiptHandle": record.handle} for n, record in enumerate(ten)]
        client = self._settling = self._settling or await self._open(retries=True)
        asked = client.delete_message_batch(QueueUrl=self._url, Entries=entries)  # type: ignore[arg-type]  # as above
        return await self._refusals("DeleteMessageBatch", asked, ten)

    async def _in_tens(self, records: Sequence[Record], do_ten: Any) -> list[Refusal]:
        if len(records) <= _ENTRIES:
            refusals: list[Refusal] = await do_ten(records) if records else []
            return refusals
        refusals = []
        places = anyio.CapacityLimiter(_CHUNKS_AT_ONCE)

        async def do_one(ten: Sequence[Record]) -> None:
            async with places:
                refusals.extend(await do_ten(ten))

        async with anyio.create_task_group() as chunks:
            for start in range(0, len(records), _ENTRIES):
                chunks.start_soon(do_one, records[start : start + _ENTRIES], name=f"{self._name} batch request")
        return refusals

    async def _refusals(self, operation: str, asked: Awaitable[Any], ten: Sequence[Record]) -> list[Refusal]:
        """What was not confirmed was refused: all entries of a request that failed, and any that the answer does not name."""
        try:
            answer = await self._ask(operation, asked)
            done = {int(entry["Id"]) for entry in answer.get("Successful") or ()}
            told = {int(entry["Id"]): (str(entry["Code"]), str(entry.get("Message", ""))) for entry in answer.get("Failed") or ()}
            missing = ("malformed_answer", f"{operation} on {self._name}: the answer does not name the entry")
            failed = {number: told.get(number, missing) for number in range(len(ten)) if number not in done}
        except SourceError as error:
            failed = {number: (error.code, str(error)) for number in range(len(ten))}
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            failed = dict.fromkeys(range(len(ten)), ("malformed_answer", f"{operation} on {self._name}: {error!r}"))
        return [
            Refusal(record=ten[number], code=code, message=text, gone=code in _GONE) for number, (code, text) in failed.items()
        ]

    async def _ask(self, operation: str, asked: Awaitable[Any], *, empty_without: str | None = None) -> Any:
        try:
            answer = await asked
        except Exception as error:
            translated = to_source_error(error, doing=f"{operation} on {self._name}")
            self._observe(operation, "throttled" if translated.code in THROTTLED else "error")
            raise translated from error
        self._observe(operation, "empty" if empty_without and not answer.get(empty_without) else "ok")
        return answer

    def _record(self, message: dict[str, Any]) -> Record:
        attributes = message.get("Attributes") or {}
        event = self._event(message, attributes)
        return Record(
            id=RecordId(event["messageId"]),
            event=event,
            size=_json_size(event),
            arrived=int(attributes.get("SentTimestamp", 0)) / 1000,
            group=attributes.get("MessageGroupId") if self._fifo else None,
            handle=event["receiptHandle"],
        )

    def _event(self, message: dict[str, Any], attributes: dict[str, str]) -> dict[str, Any]:
        """Keys in Lambda's order (SQS-21..26); the body is the message's own text (SQS-27)."""
        shown: dict[str, str] = {name: attributes[name] for name in _ATTRIBUTES if name in attributes}
        shown.update(attributes)
        custom = message.get("MessageAttributes")
        event: dict[str, Any] = {
            "messageId": message["MessageId"],
            "receiptHandle": message["ReceiptHandle"],
            "body": message.get("Body", ""),
            "attributes": shown,
            "messageAttributes": {name: _attribute(value) for name, value in custom.items()} if custom else {},
        }
        if custom or self._windowed:
            event["md5OfMessageAttributes"] = message.get("MD5OfMessageAttributes")
        event["md5OfBody"] = message.get("MD5OfBody", "")
        event["eventSource"] = "aws:sqs"
        event["eventSourceARN"] = self._arn
        event["awsRegion"] = self._region
        return event


def _is_answer(answer: dict[str, Any]) -> bool:
    """Whether an answer without messages is one. botocore shows a body that is not JSON, a proxy's page, as an empty answer."""
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    length = headers.get("content-length", "0")
    return "json" in headers.get("content-type", "json") and (not length.isdigit() or int(length) <= _EMPTY_ANSWER)


def _attribute(value: dict[str, Any]) -> dict[str, Any]:
    """A message attribute as Lambda shows it (SQS-24); botocore has decoded binary ones."""
    if "BinaryValue" in value:
        shown: dict[str, Any] = {"binaryValue": base64.b64encode(value["BinaryValue"]).decode()}
    else:
        shown = {"stringValue": value.get("StringValue")}
    return {**shown, "stringListValues": [], "binaryListValues": [], "dataType": value["DataType"]}


def _json_size(event: dict[str, Any]) -> int:
    try:
        return len(msgspec.json.encode(event))
    except UnicodeEncodeError:  # a lone surrogate in the text: six bytes as an escape
        return len(json.dumps(event, separators=(",", ":")))
