"""What a server pushes by SubscribeToShard. Over the product's own reading of event streams: the SDK's refuses kinesis-mock's."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from unittest import mock

import anyio
import msgspec

from pollers.aws.clients import AwsClients
from pollers.aws.event_stream import EventStream
from pollers.aws.hot import BODY
from tests.servers.running import Server

_PATIENCE = 5.0


@asynccontextmanager
async def subscribing(server: Server) -> AsyncIterator["Subscribing"]:
    with mock.patch.dict(os.environ, server.environment()):
        async with AwsClients() as clients:
            subscriber = Subscribing(await clients.listening_client("kinesis", "eu-west-1", silence=30))
            try:
                yield subscriber
            finally:
                for events in subscriber.opened:
                    events.close()


class Subscribing:
    def __init__(self, client: Any) -> None:
        self._client = client
        self.opened: list[EventStream] = []

    async def subscribe(self, consumer: str, shard: str, kind: str = "TRIM_HORIZON") -> EventStream:
        """Raises ClientError."""
        answer = await self._client.subscribe_to_shard(ConsumerARN=consumer, ShardId=shard, StartingPosition={"Type": kind})
        self.opened.append(EventStream(answer[BODY], operation="SubscribeToShard"))
        return self.opened[-1]


async def pushed_until(events: EventStream, wanted: str) -> list[dict[str, Any]]:
    """The events up to the first in which this key holds something; empty when none comes within a few seconds."""
    found: list[dict[str, Any]] = []
    with anyio.move_on_after(_PATIENCE):
        while (event := await events.next()) is not None:
            found.append(msgspec.json.decode(event.payload, type=dict[str, Any]))
            if found[-1].get(wanted):
                return found
    return []
