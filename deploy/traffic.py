"""Makes a queue with a dead-letter queue, and a stream with a queue for its failures. Keeps sending orders to the one and
clicks to the other, a few of them poison, until SIGTERM.

For the embedded endpoint of `compose.yaml`: it refuses to run without AWS_ENDPOINT_URL, so that it never fills a real queue.
"""

import asyncio
import json
import os
import signal
import sys
from itertools import count
from typing import Any

from aiobotocore.session import get_session
from botocore.exceptions import BotoCoreError, ClientError

REGION = "eu-west-1"
QUEUE = "orders"
STREAM = "clicks"
SHARDS = 4
VISITORS = 50
BATCH = 10
"""Messages or records of one request."""
PAUSE_SECONDS = 0.5
POISON_EVERY = 50
POISON_CLICK_EVERY = 600
"""Rarer: each costs its shard a few seconds."""


async def make_queues(client: Any) -> str:
    """The URL of the queue for orders. What is there already, with the same attributes, stays as it is."""
    await client.create_queue(QueueName=f"{STREAM}-failed")
    dead = await client.create_queue(QueueName=f"{QUEUE}-dead")
    asked = await client.get_queue_attributes(QueueUrl=dead["QueueUrl"], AttributeNames=["QueueArn"])
    redrive = json.dumps({"deadLetterTargetArn": asked["Attributes"]["QueueArn"], "maxReceiveCount": 2})
    made = await client.create_queue(QueueName=QUEUE, Attributes={"VisibilityTimeout": "10", "RedrivePolicy": redrive})
    return str(made["QueueUrl"])


async def make_stream(client: Any) -> None:
    """One that is there already stays as it is."""
    try:
        await client.create_stream(StreamName=STREAM, ShardCount=SHARDS)
    except client.exceptions.ResourceInUseException:
        print(f"stream {STREAM} is there already", flush=True)  # noqa: T201  # a program that speaks to its user
    await client.get_waiter("stream_exists").wait(StreamName=STREAM, WaiterConfig={"Delay": 1})


def order(number: int) -> str:
    return json.dumps(
        {"id": number, "poison": True} if number % POISON_EVERY == 0 else {"id": number, "quantity": 1 + number % 5}
    )


def click(number: int) -> dict[str, Any]:
    """One record: all clicks of a visitor have one partition key, and stay in order."""
    visitor = f"visitor-{number % VISITORS}"
    shown = {"id": number, "poison": True} if number % POISON_CLICK_EVERY == 1 else {"id": number, "page": f"/{number % 7}"}
    return {"PartitionKey": visitor, "Data": json.dumps(shown).encode()}


async def send_for_ever() -> None:
    made = (get_session().create_client(service, region_name=REGION) for service in ("sqs", "kinesis"))
    async with next(made) as sqs, next(made) as kinesis:
        url = await make_queues(sqs)
        await make_stream(kinesis)
        print(f"sending to {url} and the stream {STREAM}", flush=True)  # noqa: T201  # as above
        for first in count(1, BATCH):
            numbers = range(first, first + BATCH)
            entries = [{"Id": str(number), "MessageBody": order(number)} for number in numbers]
            await sqs.send_message_batch(QueueUrl=url, Entries=entries)
            await kinesis.put_records(StreamName=STREAM, Records=[click(number) for number in numbers])
            await asyncio.sleep(PAUSE_SECONDS)


async def main() -> None:
    sending = asyncio.ensure_future(send_for_ever())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, sending.cancel)
    try:
        await sending
    except asyncio.CancelledError:
        return  # SIGTERM; nothing else cancels
    except (BotoCoreError, ClientError) as error:
        sys.exit(f"cannot send: {error}")


if __name__ == "__main__":
    if not os.environ.get("AWS_ENDPOINT_URL"):
        sys.exit("set AWS_ENDPOINT_URL to the address of `esm endpoint`, for example http://127.0.0.1:4566")
    asyncio.run(main())
