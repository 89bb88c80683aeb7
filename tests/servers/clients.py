"""Clients that are not the product's: they ask once, so what a server refuses, the test sees."""

from functools import cache
from typing import TYPE_CHECKING, Any

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession, get_session

from tests.servers.running import Server

if TYPE_CHECKING:
    from aiobotocore.session import ClientCreatorContext
    from types_aiobotocore_dynamodb.client import DynamoDBClient
    from types_aiobotocore_dynamodbstreams.client import DynamoDBStreamsClient
    from types_aiobotocore_kinesis.client import KinesisClient
    from types_aiobotocore_sqs.client import SQSClient


def sqs_client(server: Server) -> "ClientCreatorContext[SQSClient]":
    return _session().create_client("sqs", **_options(server))


def kinesis_client(server: Server) -> "ClientCreatorContext[KinesisClient]":
    return _session().create_client("kinesis", **_options(server))


def dynamodb_client(server: Server) -> "ClientCreatorContext[DynamoDBClient]":
    return _session().create_client("dynamodb", **_options(server))


def dynamodb_streams_client(server: Server) -> "ClientCreatorContext[DynamoDBStreamsClient]":
    return _session().create_client("dynamodbstreams", **_options(server))


def _options(server: Server) -> dict[str, Any]:
    return {
        "region_name": server.region,
        "endpoint_url": server.endpoint_url,
        "aws_access_key_id": server.access_key,
        "aws_secret_access_key": server.secret_key,
        "config": AioConfig(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=60, max_pool_connections=50),
    }


@cache
def _session() -> AioSession:
    """One session: it keeps the service description, whose loading takes longer than most tests. It is bound to no event loop."""
    return get_session()
