"""What the stub endpoint answers, without a socket: rendered bodies, and who was given which message.

One counter of messages feeds every queue; any queue name is accepted. A message is counted as deleted once and only if it
was handed out, so `deleted == received` at the end of a run means that nothing was lost and nothing was made up. Nothing
becomes visible again: a message that a client does not delete stays missing.
"""

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

ACCOUNT: Final = "123456789012"
REGION: Final = "eu-west-1"
MOST_PER_RECEIVE: Final = 10
"""What MaxNumberOfMessages allows (API ReceiveMessage)."""
LONGEST_WAIT: Final = 20.0
"""Seconds: what WaitTimeSeconds allows (API ReceiveMessage)."""

_HANDLE_PADDING: Final = "x" * 330
"""Receipt handles are a few hundred characters long, at most 1,024 (SQS Developer Guide, queue and message identifiers)."""
_MARK: Final = "@counter@"
_SYSTEM_ATTRIBUTES: Final = ("SenderId", "SentTimestamp", "ApproximateReceiveCount", "ApproximateFirstReceiveTimestamp")
EMPTY: Final = b"{}"


def queue_arn(name: str) -> str:
    return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"


class _Receive(msgspec.Struct):
    QueueUrl: str
    MaxNumberOfMessages: int = 1
    WaitTimeSeconds: float = 0
    AttributeNames: list[str] = []
    MessageSystemAttributeNames: list[str] = []


class _Entry(msgspec.Struct):
    ReceiptHandle: str
    Id: str = ""


class _Entries(msgspec.Struct):
    Entries: list[_Entry]


class _NamedQueue(msgspec.Struct):
    QueueName: str = ""
    QueueUrl: str = ""


class Refused(Exception):
    """The request is answered with status 400 and this error code."""


class StubQueues:
    """The state of the stub. `on_deleted` is called when `deleted` reaches `deleted_mark`."""

    def __init__(self, *, origin: str, messages: int, batch: int, body_size: int, longest_wait: float) -> None:
        """`origin`: scheme, host and port as they stand in queue URLs."""
        self.origin = origin
        self.deleted_mark = -1
        self.on_deleted: Callable[[], None] = lambda: None
        self.batch = batch
        self.body_size = body_size
        self.longest_wait = longest_wait
        self._next_batch = 0
        self.reset(messages=messages)
        self._operations: dict[str, Callable[[bytes], bytes | float]] = {
            "ReceiveMessage": self._receive,
            "DeleteMessageBatch": self._delete_batch,
            "DeleteMessage": self._delete,
            "ChangeMessageVisibilityBatch": self._change_visibility_batch,
            "GetQueueAttributes": self._queue_attributes,
            "GetQueueUrl": self._queue_url,
        }

    def reset(
        self,
        *,
        messages: int,
        batch: int | None = None,
        body_size: int | None = None,
        longest_wait: float | None = None,
    ) -> None:
        """Start counting again with `messages` to give; 0 makes idle queues. None keeps a setting.

        Handles that were given out before are unknown from now on.
        """
        self.left = messages
        self.batch = self.batch if batch is None else batch
        self.body_size = self.body_size if body_size is None else body_size
        self.longest_wait = self.longest_wait if longest_wait is None else longest_wait
        self.received = self.deleted = self.unknown_handles = self.empty_receives = 0
        self.first_asked: float | None = None
        """When the first receive came, whether or not it brought anything."""
        self.first_received: float | None = None
        self.last_deleted: float | None = None
        self.requests: Counter[str] = Counter()
        self.receives_of_queue: Counter[str] = Counter()
        self._held: dict[int, int] = {}  # batch number -> one bit for each of its messages that is not deleted yet
        self._rendered: dict[tuple[int, tuple[str, ...]], list[bytes]] = {}

    def answer(self, operation: str, body: bytes) -> bytes | float:
        """The body of the answer, or for how many seconds to hold it back before asking `answer_late`. Raises Refused."""
        self.requests[operation] += 1
        handle = self._operations.get(operation)
        if handle is None:
            raise Refused("com.amazonaws.sqs#UnsupportedOperation")
        try:
            return handle(body)
        except (msgspec.DecodeError, ValueError) as error:
            raise Refused("com.amazonaws.sqs#InvalidParameterValue") from error

    def answer_late(self, body: bytes) -> bytes:
        """The answer to a receive that has waited: messages if there are some by now, else none."""
        return self._messages(_decode_receive(body))

    def stats(self) -> dict[str, Any]:
        """Times are this process's monotonic clock, in seconds: only their differences mean something."""
        return {
            "left": self.left,
            "received": self.received,
            "deleted": self.deleted,
            "unknown_handles": self.unknown_handles,
            "empty_receives": self.empty_receives,
            "requests": dict(self.requests),
            "receives_of_queue": dict(self.receives_of_queue),
            "first_asked": self.first_asked,
            "first_received": self.first_received,
            "last_deleted": self.last_deleted,
            "now": time.monotonic(),
        }

    def _receive(self, body: bytes) -> bytes | float:
        request = _decode_receive(body)
        if self.first_asked is None:
            self.first_asked = time.monotonic()
        self.receives_of_queue[request.QueueUrl.rpartition("/")[2]] += 1
        wait = min(request.WaitTimeSeconds, self.longest_wait)
        if self.left > 0 or wait <= 0:
            return self._messages(request)
        return wait

    def _messages(self, request: _Receive) -> bytes:
        count = min(self.batch, request.MaxNumberOfMessages, self.left)
        if count <= 0:
            self.empty_receives += 1
            return EMPTY
        if self.first_received is None:
            self.first_received = time.monotonic()
        self.left -= count
        self.received += count
        number = self._next_batch
        self._next_batch = number + 1
        self._held[number] = (1 << count) - 1
        return b"%012x".__mod__(number).join(self._pieces(count, request))

    def _pieces(self, count: int, request: _Receive) -> list[bytes]:
        """The rendered answer, cut where the batch number belongs."""
        asked = request.MessageSystemAttributeNames or request.AttributeNames
        names = _SYSTEM_ATTRIBUTES if "All" in asked else tuple(asked)
        pieces = self._rendered.get((count, names))
        if pieces is None:
            pieces = self._rendered[count, names] = self._render(count, names)
        return pieces

    def _render(self, count: int, names: tuple[str, ...]) -> list[bytes]:
        body = ("benchmark " * (self.body_size // 10 + 1))[: self.body_size]
        now = str(time.time_ns() // 1_000_000)
        attributes = dict(zip(_SYSTEM_ATTRIBUTES, ("AIDAIENQZJOLO23YVJ4VO", now, "1", now), strict=True))
        messages: list[dict[str, Any]] = []
        for index in range(count):
            message: dict[str, Any] = {
                "MessageId": f"{index:08x}-0000-4000-8000-{_MARK}",
                "ReceiptHandle": f"{_MARK}{index:02d}{_HANDLE_PADDING}",
                "MD5OfBody": hashlib.md5(body.encode(), usedforsecurity=False).hexdigest(),
                "Body": body,
            }
            if shown := {name: attributes[name] for name in names if name in attributes}:
                message["Attributes"] = shown
            messages.append(message)
        return msgspec.json.encode({"Messages": messages}).split(_MARK.encode())

    def _delete_batch(self, body: bytes) -> bytes:
        entries = _decode_entries(body).Entries
        self._settle(entry.ReceiptHandle for entry in entries)
        return _all_successful(entries)

    def _delete(self, body: bytes) -> bytes:
        self._settle((_decode_entry(body).ReceiptHandle,))
        return EMPTY

    def _settle(self, handles: Iterable[str]) -> None:
        held = self._held
        for handle in handles:
            number = int(handle[:12], 16)
            bit = 1 << int(handle[12:14])
            bits = held.get(number, 0)
            if not bits & bit:
                self.unknown_handles += 1
                continue
            self.deleted += 1
            if bits == bit:
                del held[number]
            else:
                held[number] = bits ^ bit
        self.last_deleted = time.monotonic()
        if 0 <= self.deleted_mark <= self.deleted:
            self.on_deleted()

    def _change_visibility_batch(self, body: bytes) -> bytes:
        return _all_successful(_decode_entries(body).Entries)

    def _queue_attributes(self, body: bytes) -> bytes:
        name = _decode_named_queue(body).QueueUrl.rpartition("/")[2]
        redrive = {"deadLetterTargetArn": queue_arn(f"{name}-dead"), "maxReceiveCount": 5}
        attributes = {
            "QueueArn": queue_arn(name),
            "VisibilityTimeout": "300",
            "RedrivePolicy": msgspec.json.encode(redrive).decode(),
        }
        return msgspec.json.encode({"Attributes": attributes})

    def _queue_url(self, body: bytes) -> bytes:
        name = _decode_named_queue(body).QueueName
        return msgspec.json.encode({"QueueUrl": f"{self.origin}/{ACCOUNT}/{name}"})


_decode_receive = msgspec.json.Decoder(_Receive).decode
_decode_entries = msgspec.json.Decoder(_Entries).decode
_decode_entry = msgspec.json.Decoder(_Entry).decode
_decode_named_queue = msgspec.json.Decoder(_NamedQueue).decode


def _all_successful(entries: list[_Entry]) -> bytes:
    """SQS allows only letters, digits, hyphens and underscores in an entry's id, so that nothing needs escaping."""
    ids = '"},{"Id":"'.join([entry.Id for entry in entries])
    return f'{{"Successful":[{{"Id":"{ids}"}}],"Failed":[]}}'.encode()
