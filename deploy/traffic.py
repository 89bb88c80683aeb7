"""Makes a queue with a dead-letter queue and keeps sending orders to it, one in fifty of them poison, until SIGTERM.

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
BATCH = 10
"""Messages of one request."""
PAUSE_SECONDS = 0.5
POISON_EVERY = 50


async def make_queues(client: Any) -> str:
    """The URL of the queue. What is there already, with the same attributes, stays as it is."""
    dead = await client.create_queue(QueueName=f"{QUEUE}-dead")
    asked = await client.get_queue_attributes(QueueUrl=dead["QueueUrl"], AttributeNames=["QueueArn"])
    redrive = json.dumps({"deadLetterTargetArn": asked["Attributes"]["QueueArn"], "maxReceiveCount": 2})
    made = await client.create_queue(QueueName=QUEUE, Attributes={"VisibilityTimeout": "10", "RedrivePolicy": redrive})
    return str(made["QueueUrl"])


def order(number: int) -> str:
    return json.dumps(
        {"id": number, "poison": True} if number % POISON_EVERY == 0 else {"id": number, "quantity": 1 + number % 5}
    )


async def send_for_ever() -> None:
    async with get_session().create_client("sqs", region_name=REGION) as client:
        url = await make_queues(client)
        print(f"sending to {url}", flush=True)  # noqa: T201  # a program that speaks to its user
        for first in count(1, BATCH):
            entries = [{"Id": str(number), "MessageBody": order(number)} for number in range(first, first + BATCH)]
            await client.send_message_batch(QueueUrl=url, Entries=entries)
            await asyncio.sleep(PAUSE_SECONDS)


async def main() -> None:
    sending = asyncio.ensure_future(send_for_ever())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, sending.cancel)
    try:
        await sending
    except asyncio.CancelledError:
        return  # SIGTERM; nothing else cancels
    except (BotoCoreError, ClientError) as error:
        sys.exit(f"cannot send orders: {error}")


if __name__ == "__main__":
    if not os.environ.get("AWS_ENDPOINT_URL"):
        sys.exit("set AWS_ENDPOINT_URL to the address of `esm endpoint`, for example http://127.0.0.1:4566")
    asyncio.run(main())
