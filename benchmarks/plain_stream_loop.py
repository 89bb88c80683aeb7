"""What the stream rows are compared with: a loop that a careful user would write (`python -m benchmarks.plain_stream_loop`).

For each shard one loop of GetRecords, Lambda event, handler, on an aiobotocore client with default configuration and asyncio's
own event loop; no positions are kept. Endpoint, region and credentials come from the environment. Ends at SIGTERM, or after
`--lifetime`.
"""

import argparse
import base64
import signal
from typing import TYPE_CHECKING, Any

import anyio
from aiobotocore.session import get_session

from benchmarks import stream_handlers
from benchmarks.stub_queues import REGION
from benchmarks.stub_streams import DYNAMODB_ARN, KINESIS_ARN, dynamodb_shard, kinesis_shard

if TYPE_CHECKING:
    from types_aiobotocore_dynamodbstreams import DynamoDBStreamsClient
    from types_aiobotocore_kinesis import KinesisClient


def kinesis_event(records: list[Any], shard: str) -> dict[str, Any]:
    """KIN-20."""
    shown = [
        {
            "kinesis": {
                "kinesisSchemaVersion": "1.0",
                "partitionKey": record["PartitionKey"],
                "sequenceNumber": record["SequenceNumber"],
                "data": base64.b64encode(record["Data"]).decode(),
                "approximateArrivalTimestamp": record["ApproximateArrivalTimestamp"].timestamp(),
            },
            "eventSource": "aws:kinesis",
            "eventVersion": "1.0",
            "eventID": f"{shard}:{record['SequenceNumber']}",
            "eventName": "aws:kinesis:record",
            "invokeIdentityArn": "arn:aws:iam::123456789012:role/plain-loop",
            "awsRegion": REGION,
            "eventSourceARN": KINESIS_ARN,
        }
        for record in records
    ]
    return {"Records": shown}


def dynamodb_event(records: list[Any]) -> dict[str, Any]:
    """DDB-20, for items without binary attributes."""
    shown = [
        {
            "eventID": record["eventID"],
            "eventName": record["eventName"],
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": REGION,
            "dynamodb": {
                **record["dynamodb"],
                "ApproximateCreationDateTime": record["dynamodb"]["ApproximateCreationDateTime"].timestamp(),
            },
            "eventSourceARN": DYNAMODB_ARN,
        }
        for record in records
    ]
    return {"Records": shown}


async def run_kinesis(client: "KinesisClient", shard: str, page: int) -> None:
    """Until the shard ends."""
    opened = await client.get_shard_iterator(StreamARN=KINESIS_ARN, ShardId=shard, ShardIteratorType="TRIM_HORIZON")
    iterator: str | None = opened["ShardIterator"]
    while iterator:
        answer = await client.get_records(ShardIterator=iterator, Limit=page)
        if answer["Records"]:
            await stream_handlers.on_loop(kinesis_event(answer["Records"], shard), None)
        iterator = answer.get("NextShardIterator")


async def run_dynamodb(client: "DynamoDBStreamsClient", shard: str, page: int) -> None:
    """Until the shard ends."""
    opened = await client.get_shard_iterator(StreamArn=DYNAMODB_ARN, ShardId=shard, ShardIteratorType="TRIM_HORIZON")
    iterator: str | None = opened["ShardIterator"]
    while iterator:
        answer = await client.get_records(ShardIterator=iterator, Limit=page)
        if answer["Records"]:
            await stream_handlers.on_loop(dynamodb_event(answer["Records"]), None)
        iterator = answer.get("NextShardIterator")


async def _cancel_at_sigterm(scope: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM) as signals:
        async for _ in signals:
            scope.cancel()


async def run(arguments: argparse.Namespace) -> None:
    session = get_session()
    async with session.create_client("kinesis") as kinesis, session.create_client("dynamodbstreams") as dynamodb:
        with anyio.move_on_after(arguments.lifetime):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_cancel_at_sigterm, tasks.cancel_scope, name="signals")
                for number in range(arguments.shards):
                    if arguments.source == "kinesis":
                        tasks.start_soon(run_kinesis, kinesis, kinesis_shard(number), arguments.page)
                    else:
                        tasks.start_soon(run_dynamodb, dynamodb, dynamodb_shard(number), arguments.page)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--source", choices=("kinesis", "dynamodb"), required=True)
    parser.add_argument("--shards", type=int, required=True)
    parser.add_argument("--page", type=int, required=True, help="Limit of GetRecords")
    parser.add_argument("--lifetime", type=float, default=7200, help="seconds after which it ends by itself")
    anyio.run(run, parser.parse_args(argv))


if __name__ == "__main__":
    main()
