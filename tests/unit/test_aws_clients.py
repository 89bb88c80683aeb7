"""The client factory: what clients are made with, and what they make of answers. No request is sent."""

import json
from datetime import datetime
from typing import Any

import pytest

from pollers.aws.clients import AwsClients
from pollers.aws.hot import BODY
from pollers.errors import SourceRejected

DATA, SECONDS = "aGVsbG8=", 1545084650.987


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_MAX_ATTEMPTS", "AWS_RETRY_MODE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "made-up")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")


async def understood(client: Any, operation: str, body: dict[str, Any]) -> Any:
    """What the client makes of a body: its endpoint makes a parser for each answer."""
    model = client.meta.service_model
    parser = client._endpoint._response_parser_factory.create_parser(model.resolved_protocol)
    shape = model.operation_model(operation).output_shape
    response = {"status_code": 200, "headers": {}, "body": json.dumps(body).encode(), "context": {}}
    return await parser.parse(response, shape)


@pytest.mark.parametrize(
    ("service", "operation"),
    [
        ("kinesis", "GetRecords"),
        ("dynamodbstreams", "GetRecords"),
        ("sqs", "ReceiveMessage"),
        ("sqs", "DeleteMessageBatch"),
        ("sqs", "ChangeMessageVisibilityBatch"),
    ],
)
async def test_the_answer_of_a_hot_operation_is_left_to_its_source(service: str, operation: str) -> None:
    async with AwsClients() as clients:
        client = await clients.client(service, "eu-west-1", retries=False)
        body = {"Records": [{"Data": DATA, "ApproximateArrivalTimestamp": SECONDS}], "Messages": []}
        assert json.loads((await understood(client, operation, body))[BODY]) == body


async def test_every_other_answer_is_decoded_as_ever() -> None:
    async with AwsClients() as clients:
        kinesis = await clients.client("kinesis", "eu-west-1", retries=False)
        answer = await understood(kinesis, "ListShards", {"Shards": [{"ShardId": "s"}], "NextToken": None})
        assert answer["Shards"] == [{"ShardId": "s"}]
        table = await clients.client("dynamodb", "eu-west-1", retries=True)
        answer = await understood(table, "DeleteItem", {"Attributes": {"b": {"B": DATA}}})
        assert answer["Attributes"]["b"]["B"] == b"hello"
        answer = await understood(table, "DescribeTable", {"Table": {"CreationDateTime": SECONDS}})
        assert isinstance(answer["Table"]["CreationDateTime"], datetime)


async def test_one_client_serves_a_service_and_region_with_and_without_retries() -> None:
    async with AwsClients() as clients:
        polling = await clients.client("sqs", "eu-west-1", retries=False)
        assert await clients.client("sqs", "eu-west-1", retries=False) is polling
        others = [
            await clients.client("sqs", "eu-west-1", retries=True),
            await clients.client("sqs", "eu-west-2", retries=False),
            await clients.client("sns", "eu-west-1", retries=False),
        ]
        assert polling not in others
        assert [client.meta.config.retries.get("total_max_attempts") for client in (polling, others[0])] == [1, None]
        assert others[1].meta.region_name == "eu-west-2"


@pytest.mark.parametrize("service", ["sqs", "sns", "s3", "events", "lambda", "kinesis", "dynamodbstreams", "dynamodb"])
async def test_silence_in_a_stream_is_trouble_sooner_than_in_a_long_poll(service: str) -> None:
    """And of the state in DynamoDB still sooner: its leases are to be renewed."""
    async with AwsClients() as clients:
        client = await clients.client(service, "eu-west-1", retries=False)
        assert client.meta.config.read_timeout == {"kinesis": 15, "dynamodbstreams": 15, "dynamodb": 2}.get(service, 30)
        assert client.meta.config.max_pool_connections > 1000


async def test_without_a_region_that_of_the_environment_is_taken() -> None:
    async with AwsClients() as clients:
        assert (await clients.client("s3", "", retries=True)).meta.region_name == "eu-west-1"


@pytest.mark.parametrize("service", ["sqs", "kinesis"])
async def test_a_broken_profile_is_told_when_a_client_is_wanted(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    async with AwsClients() as clients:
        with pytest.raises(SourceRejected, match=f"making a client of {service} for eu-west-1"):
            await clients.client(service, "eu-west-1", retries=False)


async def test_buckets_of_another_server_than_aws_are_named_in_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """`bucket.localhost` need not resolve."""
    async with AwsClients() as clients:
        assert (await clients.client("s3", "eu-west-1", retries=True)).meta.config.s3 is None
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://localhost:4566")
    async with AwsClients() as clients:
        assert (await clients.client("s3", "eu-west-1", retries=True)).meta.config.s3 == {"addressing_style": "path"}
