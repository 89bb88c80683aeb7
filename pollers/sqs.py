"""SQS, standard and FIFO (`spec/sqs.md`): the source, and the record as the Lambda event shows it.

The queue is addressed by a URL made from its ARN and the client's endpoint, so that the permissions of a Lambda role are enough
(SQS-11 has no GetQueueUrl), and so that it works behind any endpoint override.
"""

import json
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import anyio
import msgspec
from msgspec import UNSET, Struct

from pollers.aws.answers import read_content, translated, translating
from pollers.aws.arn import Arn
from pollers.aws.clients import AwsClients, Observe
from pollers.aws.errors import to_source_error
from pollers.aws.hot import DELETE, EXTEND, RECEIVE, HotKind, HotOperation
from pollers.errors import SourceError, SourceUnavailable
from pollers.filter_view import FilterView
from pollers.record import Record, RecordId
from pollers.source import QueueFacts, QueueSpec, Refusal
from pollers.sqs_record import (
    NO_ATTRIBUTES,
    Origin,
    SqsRecord,
    envelope,
    event_view,
    json_size,
    read_messages,
    shown,
    view_reader,
)

if TYPE_CHECKING:
    from types_aiobotocore_sqs import SQSClient

_ENTRIES: Final = 10
"""Most entries of a batch request."""
_NUMBERS: Final = tuple(map(str, range(_ENTRIES)))
"""Ids of the entries of a batch request."""
_IDS: Final = tuple(frozenset(_NUMBERS[:count]) for count in range(_ENTRIES + 1))
"""Of so many."""
_CHUNKS_AT_ONCE: Final = 8
"""Batch requests of one call that are in the air together."""
_EMPTY_ANSWER: Final = 64
"""Bytes of an answer without messages, at most: `{}` or `{"Messages":[]}`. A longer one is somebody else's."""
_GONE: Final = frozenset({
    "ReceiptHandleIsInvalid", "InvalidParameterValue", "MessageNotInflight", "AWS.SimpleQueueService.MessageNotInflight",
    "InvalidReceiptHandle",
})  # fmt: skip
"""Codes for a record that is no longer ours. SQS says InvalidParameterValue of an expired FIFO handle, and past 12 hours."""
SPEC: Final = QueueSpec(
    source="sqs",
    service="sqs",
    parameters=frozenset({
        "EventSourceArn", "FunctionName", "BatchSize", "Enabled", "FilterCriteria", "KMSKeyArn", "FunctionResponseTypes",
        "MaximumBatchingWindowInSeconds", "MetricsConfig", "ProvisionedPollerConfig", "ScalingConfig", "Tags",
    }),
    default_batch_size=10,
    envelope=envelope,
    filter_view=FilterView(key="body", plain_text=True, reader=view_reader, of_event=event_view),
)  # fmt: skip


class _Entry(Struct, gc=False):
    Id: str
    ReceiptHandle: str


class _Extension(_Entry, gc=False):
    VisibilityTimeout: int


class _Entries(Struct, gc=False):
    """Of a batch request."""

    QueueUrl: str
    Entries: Sequence[_Entry]


class _Done(Struct, gc=False):
    Id: str


class _Refused(Struct, gc=False):
    Id: str
    Code: str
    Message: str | None = None


class _Settled(Struct):
    Successful: list[_Done] | None = None
    Failed: list[_Refused] | None = None


_SETTLED: Final = msgspec.json.Decoder(_Settled)
_ENCODER: Final = msgspec.json.Encoder()


class SqsQueue:
    """One queue, as a `QueueSource`. Making it asks AWS nothing; its clients are made for the first request."""

    def __init__(self, clients: AwsClients, arn: str, *, windowed: bool, observe: Observe) -> None:
        """`windowed`: the mapping has a batching window; it decides how absent attributes show in the event (SQS-26)."""
        parsed = Arn.parse(arn)
        self._clients = clients
        self._operations: dict[HotKind, HotOperation] = {}
        self._receives: dict[tuple[int, int, int | None], bytes] = {}
        """The bodies of the requests made so far: a mapping asks for the same few things for ever."""
        self._all_done: dict[int, bytes] = {}
        """The last answer that confirmed all of so many entries. Ids are always the same, so the next one is too, and is not
        read."""
        self._origin = Origin(arn=arn, region=parsed.region, windowed=windowed)
        self._frame = _frame_size(self._origin)
        self._name = parsed.resource
        self._region = parsed.region
        self._fifo = parsed.resource.endswith(".fifo")
        self._path = f"/{parsed.account}/{parsed.resource}"
        self._url = ""
        self._observe = observe

    async def describe(self) -> QueueFacts:
        client: SQSClient = await self._clients.client("sqs", self._region, retries=False)
        self._url = client.meta.endpoint_url.rstrip("/") + self._path
        with translating("GetQueueAttributes", on=self._name, observe=self._observe):
            answer: Any = await client.get_queue_attributes(
                QueueUrl=self._url, AttributeNames=["VisibilityTimeout", "RedrivePolicy", "ApproximateNumberOfMessages"]
            )
        self._observe("GetQueueAttributes", "ok")
        try:
            attributes = answer.get("Attributes", {})
            return QueueFacts(
                visibility_timeout=int(attributes["VisibilityTimeout"]),
                redrive=bool(attributes.get("RedrivePolicy")),
                max_receives=_max_receives(attributes.get("RedrivePolicy")),
                waiting=int(attributes.get("ApproximateNumberOfMessages", 0)),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise to_source_error(error, doing=f"GetQueueAttributes on {self._name}") from error

    async def receive(self, *, limit: int, wait: int, visibility: int | None) -> Sequence[Record]:
        operation = self._operations.get(RECEIVE) or await self._open(RECEIVE)
        body = self._receives.get((limit, wait, visibility)) or self._receive_body(limit, wait, visibility)
        if self._fifo:  # a repetition after a lost answer gets the same records, not a locked group
            body = b'%b,"ReceiveRequestAttemptId":"%b"}' % (body[:-1], str(uuid.uuid4()).encode())
        try:
            content = await operation.ask(body, repeatable=self._fifo)
        except Exception as error:
            raise translated(error, RECEIVE.name, on=self._name, observe=self._observe) from error
        try:
            messages = read_messages(content)
            records = self.complete(messages or [])
        except ValueError as error:
            self._observe(RECEIVE.name, "error")
            raise to_source_error(error, doing=f"{RECEIVE.name} on {self._name}") from error
        if messages is None and len(content) > _EMPTY_ANSWER:
            self._observe(RECEIVE.name, "error")
            raise SourceUnavailable(
                f"{RECEIVE.name} on {self._name}: 200, but no answer of SQS (a proxy?)", code="malformed_answer"
            )
        self._observe(RECEIVE.name, "ok" if records else "empty")
        return records

    def _receive_body(self, limit: int, wait: int, visibility: int | None) -> bytes:
        request: dict[str, Any] = {
            "QueueUrl": self._url,
            "MaxNumberOfMessages": limit,
            "WaitTimeSeconds": wait,
            "MessageSystemAttributeNames": ["All"],
            "MessageAttributeNames": ["All"],
        }
        if visibility is not None:
            request["VisibilityTimeout"] = visibility
        body = self._receives[limit, wait, visibility] = msgspec.json.encode(request)
        return body

    async def delete(self, records: Sequence[Record]) -> list[Refusal]:
        return await self._in_tens(records, self._delete_ten)

    async def extend(self, records: Sequence[Record], seconds: int) -> list[Refusal]:
        def extend_ten(ten: Sequence[Record]) -> Awaitable[list[Refusal]]:
            entries = [_Extension(number, record.handle, seconds) for number, record in zip(_NUMBERS, ten, strict=False)]
            return self._settle(EXTEND, entries, ten)

        return await self._in_tens(records, extend_ten)

    def _delete_ten(self, ten: Sequence[Record]) -> Awaitable[list[Refusal]]:
        entries = [_Entry(number, record.handle) for number, record in zip(_NUMBERS, ten, strict=False)]
        return self._settle(DELETE, entries, ten)

    async def _open(self, kind: HotKind) -> HotOperation:
        """Raises SourceError when no client can be made, as with a broken profile: it may be mended while we run."""
        client = await self._clients.client("sqs", self._region, retries=kind.retries)
        self._url = client.meta.endpoint_url.rstrip("/") + self._path
        sample: dict[str, Any] = {"QueueUrl": self._url}
        if kind is not RECEIVE:
            sample["Entries"] = []
        operation = self._operations[kind] = await self._clients.operation(kind, self._region, sample)
        return operation

    async def _in_tens(
        self, records: Sequence[Record], do_ten: Callable[[Sequence[Record]], Awaitable[list[Refusal]]]
    ) -> list[Refusal]:
        refusals: list[Refusal] = []
        if len(records) <= _ENTRIES:
            return await do_ten(records) if records else refusals
        starts = iter(range(0, len(records), _ENTRIES))

        async def do_next() -> None:
            for start in starts:
                refusals.extend(await do_ten(records[start : start + _ENTRIES]))

        async with anyio.create_task_group() as chunks:
            for _ in range(min(_CHUNKS_AT_ONCE, -(-len(records) // _ENTRIES))):
                chunks.start_soon(do_next, name=f"{self._name} batch requests")
        return refusals

    async def _settle(self, kind: HotKind, entries: Sequence[_Entry], ten: Sequence[Record]) -> list[Refusal]:
        """What was not confirmed was refused: all entries of a request that failed, and any that the answer does not name."""
        missing = ("malformed_answer", f"{kind.name} on {self._name}: the answer does not name the entry")
        try:
            operation = self._operations.get(kind) or await self._open(kind)
            body = msgspec.json.encode(_Entries(self._url, entries))
            try:
                content = await operation.ask(body)
            except Exception as error:
                raise translated(error, kind.name, on=self._name, observe=self._observe) from error
            if content == self._all_done.get(len(ten)):
                self._observe(kind.name, "ok")
                return []
            settled = read_content(content, _SETTLED)
            self._observe(kind.name, "ok")
            done = {each.Id for each in settled.Successful or ()}
            told = {each.Id: (each.Code, each.Message or "") for each in settled.Failed or ()}
            if done == _IDS[len(ten)] and not told:
                self._all_done[len(ten)] = bytes(content)
                return []
            failed = {n: told.get(str(n), missing) for n in range(len(ten)) if str(n) not in done}
        except SourceError as error:
            failed = dict.fromkeys(range(len(ten)), (error.code, str(error)))
        except ValueError as error:
            self._observe(kind.name, "error")
            failed = dict.fromkeys(range(len(ten)), ("malformed_answer", f"{kind.name} on {self._name}: {error}"))
        return [
            Refusal(record=ten[number], code=code, message=text, gone=code in _GONE) for number, (code, text) in failed.items()
        ]

    def complete(self, messages: list[SqsRecord]) -> list[SqsRecord]:
        """Fills in what AWS does not send. Raises ValueError."""
        origin, frame, encode_into, text = self._origin, self._frame, _ENCODER.encode_into, bytearray()
        for message in messages:
            message.content = origin
            attributes = message.attributes or NO_ATTRIBUTES
            sent, group = attributes.SentTimestamp, attributes.MessageGroupId
            if sent is not UNSET:
                message.arrived = int(sent) / 1000
            if self._fifo and group is not UNSET:
                message.group = group
            if message.custom or message.custom_checksum or message.others:
                message.size = json_size(shown(message))
                continue
            fixed = frame + len(message.id) + len(message.handle) + len(message.checksum)  # in JSON they are as they are
            try:
                encode_into((message.body, attributes), text)
                message.size = fixed + len(text)
            except UnicodeEncodeError:  # a lone surrogate: six bytes as an escape
                message.size = json_size(shown(message))
        return messages


def _frame_size(origin: Origin) -> int:
    """Bytes of a record without attributes of its sender, and without what differs between such records."""
    nothing = SqsRecord(id=RecordId(""), handle="", content=origin)
    return json_size(shown(nothing)) - len('["",{}]')


def _max_receives(policy: str | None) -> int | None:
    """A number or its digits (SQS-55): servers and accounts have both."""
    try:
        return int(json.loads(policy or "{}")["maxReceiveCount"])
    except (KeyError, TypeError, ValueError):
        return None
