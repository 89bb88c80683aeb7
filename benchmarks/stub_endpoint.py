"""An endpoint that costs next to nothing, so that a benchmark measures the client: `python -m benchmarks.stub_endpoint`.

It speaks SQS (`stub_queues`), Kinesis and DynamoDB Streams (`stub_streams`), as far as readers go, and DynamoDB (`stub_tables`).

HTTP/1.1 is read by hand: keep-alive, requests with Content-Length only, answers in the order of the requests, however
they are cut into packets or lined up behind each other. On start one line of JSON on stdout names the port.

Its own state is under `/_stub/`:
`GET  /_stub/stats`                          what was received, deleted and asked, since the last reset
`GET  /_stub/wait?deleted=N&seconds=S`       the same, answered as soon as N messages are deleted, or after S seconds
`POST /_stub/reset?messages=N[&batch=][&body=][&wait=]`   start over with N messages; receives that wait are answered at once
`POST /_stub/streams?shards=N&records=N&page=N&size=N`    start the streams over with so many shards of so many records each
`POST /_stub/end-shards`                     every shard ends where it was read up to
`POST /_stub/tables`                         no table of DynamoDB is there any more
"""

import argparse
import asyncio
import contextlib
import gc
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Final, Protocol, runtime_checkable
from urllib.parse import parse_qs, urlsplit
from zlib import crc32

from benchmarks.stub_queues import LONGEST_WAIT, MOST_PER_RECEIVE, Refused, StubQueues
from benchmarks.stub_streams import Filling, StubStreams
from benchmarks.stub_tables import StubTables, TableRefused

if sys.platform == "linux":
    import uvloop

    _new_loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
else:
    _new_loop = asyncio.new_event_loop

_TARGET: Final = b"\r\nx-amz-target:"
_LENGTH: Final = b"\r\ncontent-length:"
_OPERATION_NAMES: Final = {
    f"amazonsqs.{name}".lower().encode(): name
    for name in (
        "ReceiveMessage",
        "DeleteMessageBatch",
        "DeleteMessage",
        "ChangeMessageVisibilityBatch",
        "GetQueueAttributes",
        "GetQueueUrl",
    )
}
_STREAM_TARGETS: Final = {"kinesis": "kinesis_20131202", "dynamodbstreams": "dynamodbstreams_20120810"}
"""X-Amz-Target before the dot, in lower case."""
_TABLE_TARGET: Final = "dynamodb_20120810."
_OK: Final = (
    b"HTTP/1.1 200 OK\r\nx-amzn-RequestId: 00000000-0000-4000-8000-000000000000\r\n"
    b"Content-Type: application/x-amz-json-1.0\r\nContent-Length: %d\r\n\r\n%b"
)
_BAD: Final = _OK.replace(b"200 OK", b"400 Bad Request")
_TABLE_OK: Final = (
    b"HTTP/1.1 200 OK\r\nServer: Server\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Type: application/x-amz-json-1.0\r\n"
    b"Content-Length: %d\r\nConnection: keep-alive\r\nx-amzn-RequestId: 0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789ABCDEF\r\n"
    b"x-amz-crc32: %d\r\n\r\n%b"
)
"""With the headers that DynamoDB sends; the checksum is one that the SDK's client checks."""
_TABLE_BAD: Final = _TABLE_OK.replace(b"200 OK", b"400 Bad Request")


def _header(head: bytes, name: bytes) -> bytes:
    """The value of a header in a lower-cased head whose every line ends with CRLF; empty when it is not there."""
    start = head.find(name)
    if start < 0:
        return b""
    start += len(name)
    return head[start : head.index(b"\r\n", start)].strip()


def _stream_target(name: str) -> bytes:
    service, _, operation = name.partition(".")
    return f"{_STREAM_TARGETS[service]}.{operation}".lower().encode()


def _bad_request(message: str, *, code: str = "stub") -> bytes:
    body = json.dumps({"__type": code, "message": message}).encode()
    return _BAD % (len(body), body)


def _of_table(tables: StubTables, operation: str, body: bytes) -> bytes:
    try:
        content, form = tables.answer(operation, body), _TABLE_OK
    except TableRefused as refused:
        content, form = refused.body, _TABLE_BAD
    return form % (len(content), crc32(content), content)


@runtime_checkable
class _Writable(Protocol):
    """A stream transport; uvloop's are no subclasses of asyncio.Transport."""

    def write(self, data: bytes) -> None: ...


class Endpoint:
    """What all connections share: the queues, the streams, and who waits for what."""

    def __init__(self, queues: StubQueues, loop: asyncio.AbstractEventLoop) -> None:
        self.queues = queues
        self.streams = StubStreams()
        self.stream_operations = {_stream_target(name): name for name in self.streams.operations}
        self.tables = StubTables()
        self.table_operations = {f"{_TABLE_TARGET}{name}".lower().encode(): name for name in self.tables.operations}
        self.loop = loop
        self.receives: set[Connection] = set()
        """Connections with a receive that waits for messages."""
        self.watcher: Connection | None = None
        """The connection with a `/_stub/wait`; a second one takes its place, and the first is answered."""
        queues.on_deleted = self.end_watch

    def end_watch(self) -> None:
        self.queues.deleted_mark = -1
        watcher, self.watcher = self.watcher, None
        if watcher is not None:
            watcher.answer_now()

    def control(self, connection: "Connection", path: str) -> bytes | None:
        """The answer to a request under `/_stub/`; None when it comes later."""
        url = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        try:
            match url.path:
                case "/_stub/stats":
                    pass
                case "/_stub/reset":
                    self._reset(query)
                case "/_stub/streams":
                    self.streams.reset(Filling(**{name: int(query[name]) for name in ("shards", "records", "page", "size")}))
                case "/_stub/tables":
                    self.tables.reset()
                case "/_stub/end-shards":
                    self.streams.end_shards()
                case "/_stub/wait":
                    return self._watch(connection, int(query["deleted"]), float(query["seconds"]))
                case _:
                    return _bad_request(f"no such path: {url.path}")
        except (KeyError, ValueError) as error:
            return _bad_request(f"{url.path}: {error!r}")
        return self.stats()

    def _watch(self, connection: "Connection", deleted: int, seconds: float) -> bytes | None:
        self.end_watch()
        if self.queues.deleted >= deleted:
            return self.stats()
        self.watcher, self.queues.deleted_mark = connection, deleted
        connection.hold(seconds, self.end_watch, self.stats)
        return None

    def stats(self) -> bytes:
        told = {**self.queues.stats(), "waiting": len(self.receives), "streams": self.streams.stats()}
        body = json.dumps({**told, "tables": self.tables.stats()}).encode()
        return _OK % (len(body), body)

    def _reset(self, query: dict[str, str]) -> None:
        self.queues.reset(
            messages=int(query["messages"]),
            batch=int(query["batch"]) if "batch" in query else None,
            body_size=int(query["body"]) if "body" in query else None,
            longest_wait=float(query["wait"]) if "wait" in query else None,
        )
        for connection in list(self.receives):
            connection.answer_now()


class Connection(asyncio.Protocol):
    """One client's connection: an answer that is held back holds back every request behind it."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._buffer = b""
        self._timer: asyncio.TimerHandle | None = None
        self._late: Callable[[], bytes] = bytes
        self._transport: _Writable

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not isinstance(transport, _Writable):
            raise TypeError(f"a stream connection needs a transport that writes, not {transport!r}")
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        if self._timer is None:
            self._serve()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's signature
        self._endpoint.receives.discard(self)
        if self._endpoint.watcher is self:
            self._endpoint.watcher = None
        if self._timer is not None:
            self._timer.cancel()

    def hold(self, seconds: float, then: Callable[[], None], late: Callable[[], bytes]) -> None:
        """Answer with `late()` when `answer_now` is called; `then`, which has to call it, runs after `seconds`."""
        self._late = late
        self._timer = self._endpoint.loop.call_later(seconds, then)

    def answer_now(self) -> None:
        """End the wait: send the answer that is held back and go on with the requests behind it."""
        self._endpoint.receives.discard(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._transport.write(self._late())
        if self._buffer:
            self._serve()

    def _serve(self) -> None:
        """Answer every complete request in the buffer, in order, until one has to wait."""
        buffer, position, answers = self._buffer, 0, []
        while self._timer is None:
            end = buffer.find(b"\r\n\r\n", position)
            if end < 0:
                break
            head = buffer[position : end + 2].lower()
            stop = end + 4 + int(_header(head, _LENGTH) or b"0")
            if len(buffer) < stop:
                break
            line, position = buffer[position : position + 256], stop
            answer = self._answer(line, head, buffer[end + 4 : stop])
            if answer is not None:
                answers.append(answer)
        self._buffer = buffer[position:]
        if answers:
            self._transport.write(b"".join(answers))

    def _answer(self, line: bytes, head: bytes, body: bytes) -> bytes | None:
        target = _header(head, _TARGET)
        if not target:
            return self._endpoint.control(self, line.split(b" ", 2)[1].decode())
        if table_operation := self._endpoint.table_operations.get(target):
            return _of_table(self._endpoint.tables, table_operation, body)
        queues, stream_operation = self._endpoint.queues, self._endpoint.stream_operations.get(target)
        answer: bytes | float
        try:
            if stream_operation:
                answer = self._endpoint.streams.answer(stream_operation, body)
            else:
                answer = queues.answer(_OPERATION_NAMES.get(target) or target.decode(), body)
        except Refused as refused:
            return _bad_request("the stub endpoint refuses this request", code=str(refused))
        if isinstance(answer, bytes):
            return _OK % (len(answer), answer)

        def late() -> bytes:
            content = queues.answer_late(body)
            return _OK % (len(content), content)

        self.hold(answer, self.answer_now, late)
        self._endpoint.receives.add(self)
        return None


async def serve(arguments: argparse.Namespace) -> None:
    """Serve until SIGTERM, SIGINT, or the end of `--lifetime`."""
    loop = asyncio.get_running_loop()
    queues = StubQueues(
        origin="",
        messages=arguments.messages,
        batch=arguments.batch,
        body_size=arguments.body,
        longest_wait=LONGEST_WAIT,
    )
    endpoint = Endpoint(queues, loop)
    server = await loop.create_server(lambda: Connection(endpoint), "127.0.0.1", arguments.port, backlog=1024)
    port = server.sockets[0].getsockname()[1]
    queues.origin = f"http://127.0.0.1:{port}"
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    gc.freeze()
    print(json.dumps({"port": port}), flush=True)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stopped.wait(), arguments.lifetime)
    server.close()


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--port", type=int, default=0, help="default: one that is free")
    parser.add_argument("--messages", type=int, default=0, help="how many to give out; 0 makes idle queues")
    parser.add_argument("--batch", type=int, default=MOST_PER_RECEIVE, help="messages in one receive")
    parser.add_argument("--body", type=int, default=256, help="bytes of a message's body")
    parser.add_argument("--core", type=int, help="the CPU to run on (Linux)")
    parser.add_argument("--lifetime", type=float, default=7200, help="seconds after which it ends by itself")
    arguments = parser.parse_args(argv)
    if arguments.core is not None and sys.platform == "linux":
        os.sched_setaffinity(0, {arguments.core})

    with asyncio.Runner(loop_factory=_new_loop) as runner:
        runner.run(serve(arguments))


if __name__ == "__main__":
    main()
