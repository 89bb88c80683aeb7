"""What the catalogue says of the queues of a server is what they do: a flag that no longer holds, for better or worse, is a red test."""

import json
from collections.abc import Awaitable, Callable

import pytest
from botocore.exceptions import ClientError

from tests.servers.behaviour import Service, flag_names
from tests.servers.queues import QueueHandle, queue_on
from tests.servers.running import Server


async def expires_fifo_handles(server: Server) -> bool:
    async with queue_on(server, fifo=True) as queue:
        await queue.send("a")
        (record,) = await queue.receive(visibility=1)
        await queue.wait_counts(visible=1)
        return not await is_deleted(queue, record["ReceiptHandle"])


async def stale_delete_keeps(server: Server) -> bool:
    async with queue_on(server) as queue:
        await queue.send("a")
        (record,) = await queue.receive(visibility=0)
        (again,) = await queue.receive(wait=3, visibility=30)
        await is_deleted(queue, record["ReceiptHandle"])
        assert again["MessageId"] == record["MessageId"]
        return await queue.counts() == (0, 1, 0)


async def second_delete_ok(server: Server) -> bool:
    async with queue_on(server) as queue:
        await queue.send("a")
        (record,) = await queue.receive()
        assert await is_deleted(queue, record["ReceiptHandle"])
        return await is_deleted(queue, record["ReceiptHandle"])


async def reports_not_inflight(server: Server) -> bool:
    async with queue_on(server) as queue:
        await queue.send("a")
        (record,) = await queue.receive(visibility=1)
        await queue.wait_counts(visible=1)
        return await refusal_of_visibility(queue, record["ReceiptHandle"], 30) == "MessageNotInflight"


async def checks_visibility_limit(server: Server) -> bool:
    async with queue_on(server) as queue:
        await queue.send("a")
        (record,) = await queue.receive()
        return await refusal_of_visibility(queue, record["ReceiptHandle"], 43_201) is not None


async def gives_earlier_while_later_in_flight(server: Server) -> bool:
    async with queue_on(server, fifo=True) as queue:
        await queue.send("a", "b")
        first, _ = await queue.receive(visibility=30)
        assert await refusal_of_visibility(queue, first["ReceiptHandle"], 0) is None
        return [record["Body"] for record in await queue.receive(wait=1)] == ["a"]


async def increasing_sequence_numbers(server: Server) -> bool:
    async with queue_on(server, fifo=True) as queue:
        await queue.send(*"abcdefgh")
        numbers = [int(record["Attributes"]["SequenceNumber"]) for record in await queue.receive()]
        assert len(numbers) == 8
        return numbers == sorted(set(numbers))


async def long_poll_waits_on_redrive(server: Server) -> bool:
    async with queue_on(server) as dead:
        policy = json.dumps({"deadLetterTargetArn": dead.arn, "maxReceiveCount": 1})
        async with queue_on(server, attributes={"RedrivePolicy": policy}) as queue:
            await queue.send("poison")
            assert len(await queue.receive(visibility=0)) == 1
            await queue.send("later", delay=1)
            return len(await queue.receive(wait=4)) == 1


OBSERVE: dict[str, Callable[[Server], Awaitable[bool]]] = {
    observe.__name__: observe
    for observe in (
        expires_fifo_handles,
        stale_delete_keeps,
        second_delete_ok,
        reports_not_inflight,
        checks_visibility_limit,
        gives_earlier_while_later_in_flight,
        increasing_sequence_numbers,
        long_poll_waits_on_redrive,
    )
}


@pytest.mark.parametrize("flag", sorted(OBSERVE))
async def test_the_catalogue_tells_the_truth(sqs_server: Server, flag: str) -> None:
    assert await OBSERVE[flag](sqs_server) is getattr(sqs_server.behaviour, flag)


def test_every_flag_is_observed_but_two() -> None:
    # Order under load is more than a moment can show, and lateness depends on when one looks.
    assert flag_names(Service.SQS) - OBSERVE.keys() == {"fifo_ok", "exact_visibility"}


async def is_deleted(queue: QueueHandle, handle: str) -> bool:
    """Deletes; says whether the server agreed and nothing is left."""
    try:
        await queue.client.delete_message(QueueUrl=queue.url, ReceiptHandle=handle)
    except ClientError:
        return False
    return await queue.counts() == (0, 0, 0)


async def refusal_of_visibility(queue: QueueHandle, handle: str, seconds: int) -> str | None:
    """The code with which the server refuses to change a visibility timeout, without its old prefix."""
    try:
        await queue.client.change_message_visibility(QueueUrl=queue.url, ReceiptHandle=handle, VisibilityTimeout=seconds)
    except ClientError as error:
        code: str = error.response["Error"]["Code"]
        return code.removeprefix("AWS.SimpleQueueService.")
    return None
