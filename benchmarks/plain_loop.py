"""What everything is compared with: a loop that a careful user would write on aiobotocore (`python -m benchmarks.plain_loop`).

N loops of receive, Lambda event, handler, delete batch, on a client with a connection for each of them, otherwise with default
configuration, and asyncio's own event loop. A plain handler is called directly. Endpoint, region and credentials come from the
environment.
Ends after `--messages`, at SIGTERM, or after `--lifetime`, and prints one line of JSON: its own CPU and wall time from the
first message to the last delete, in seconds.
"""

import argparse
import inspect
import json
import resource
import signal
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import anyio
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session

from benchmarks import trivial_handler

if TYPE_CHECKING:
    from types_aiobotocore_sqs import SQSClient
    from types_aiobotocore_sqs.type_defs import MessageTypeDef

_ALL: Final[Sequence[Any]] = ("All",)
_DEFAULT_POOL: Final = 10
"""Connections of a client: more loops than that would wait for each other."""


def cpu_of_this_process() -> float:
    """User and system seconds."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def lambda_event(messages: "list[MessageTypeDef]", arn: str) -> dict[str, Any]:
    """The event for a batch without message attributes (SQS-21, SQS-26)."""
    region = arn.split(":")[3]
    records = [
        {
            "messageId": message["MessageId"],
            "receiptHandle": message["ReceiptHandle"],
            "body": message["Body"],
            "attributes": message["Attributes"],
            "messageAttributes": {},
            "md5OfBody": message["MD5OfBody"],
            "eventSource": "aws:sqs",
            "eventSourceARN": arn,
            "awsRegion": region,
        }
        for message in messages
    ]
    return {"Records": records}


class PlainLoop:
    def __init__(self, client: "SQSClient", *, queue_url: str, arn: str, handler: Any, messages: int) -> None:
        """`messages`: end after so many; 0 goes on until cancelled."""
        self._client = client
        self._queue_url = queue_url
        self._arn = arn
        self._handler = handler
        self._awaits = inspect.iscoroutinefunction(handler)
        self._messages = messages
        self.done = 0
        self.started: tuple[float, float] | None = None
        """CPU and wall clock when the first message came."""
        self.ended = (0.0, 0.0)
        """CPU and wall clock at the last delete."""

    async def run(self, scope: anyio.CancelScope) -> None:
        """One of the loops; cancels `scope` when all loops together have done their messages."""
        while True:
            answer = await self._client.receive_message(
                QueueUrl=self._queue_url,
                MaxNumberOfMessages=10,
                WaitTimeSeconds=20,
                MessageSystemAttributeNames=_ALL,
                MessageAttributeNames=_ALL,
            )
            messages = answer.get("Messages", [])
            if not messages:
                continue
            if self.started is None:
                self.started = (cpu_of_this_process(), time.perf_counter())
            await self._deliver(messages)
            if 0 < self._messages <= self.done:
                scope.cancel()

    async def _deliver(self, messages: "list[MessageTypeDef]") -> None:
        event = lambda_event(messages, self._arn)
        if self._awaits:
            await self._handler(event, None)
        else:
            self._handler(event, None)
        answer = await self._client.delete_message_batch(
            QueueUrl=self._queue_url,
            Entries=[{"Id": str(index), "ReceiptHandle": message["ReceiptHandle"]} for index, message in enumerate(messages)],
        )
        if answer.get("Failed"):
            raise RuntimeError(f"not deleted: {answer['Failed']}")
        self.done += len(messages)
        self.ended = (cpu_of_this_process(), time.perf_counter())

    def report(self) -> dict[str, Any]:
        started = self.started or self.ended
        return {
            "messages": self.done,
            "cpu": self.ended[0] - started[0],
            "wall": self.ended[1] - started[1],
        }


async def _cancel_at_sigterm(scope: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM) as signals:
        async for _ in signals:
            scope.cancel()


async def run(arguments: argparse.Namespace) -> dict[str, Any]:
    handler = trivial_handler.on_loop if arguments.handler == "async def" else trivial_handler.in_thread
    pool = AioConfig(max_pool_connections=max(_DEFAULT_POOL, arguments.concurrency))
    async with get_session().create_client("sqs", config=pool) as client:
        name = arguments.queue_arn.rpartition(":")[2]
        queue_url = (await client.get_queue_url(QueueName=name))["QueueUrl"]
        loop = PlainLoop(client, queue_url=queue_url, arn=arguments.queue_arn, handler=handler, messages=arguments.messages)
        with anyio.move_on_after(arguments.lifetime):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_cancel_at_sigterm, tasks.cancel_scope, name="signals")
                for number in range(arguments.concurrency):
                    tasks.start_soon(loop.run, tasks.cancel_scope, name=f"loop {number}")
    return loop.report()


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--queue-arn", required=True)
    parser.add_argument("--concurrency", type=int, default=10, help="loops at once")
    parser.add_argument("--messages", type=int, default=0, help="end after so many; 0: at SIGTERM")
    parser.add_argument("--handler", choices=("async def", "def"), default="async def")
    parser.add_argument("--lifetime", type=float, default=7200, help="seconds after which it ends by itself")
    print(json.dumps(anyio.run(run, parser.parse_args(argv))), flush=True)


if __name__ == "__main__":
    main()
