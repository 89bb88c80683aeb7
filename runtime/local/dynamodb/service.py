"""DynamoDB and DynamoDB Streams as two services of the server over one model: operations, errors, what faults answer with."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec
from aiohttp import web

from runtime.local.dynamodb import item_operations, stream_operations, table_operations, transactions
from runtime.local.dynamodb.call import Answer, Call
from runtime.local.dynamodb.controls import controls, inspect
from runtime.local.dynamodb.iterators import ShardIterator
from runtime.local.dynamodb.store import DynamoDB
from runtime.local.errors import Refused
from runtime.local.faults import Faults, Kind
from runtime.local.service import JSON_1_0, Asked, Service, answer_with, json_service

TABLES: Final[dict[str, Callable[[Call], Answer]]] = {
    "CreateTable": table_operations.create_table,
    "UpdateTable": table_operations.update_table,
    "DescribeTable": table_operations.describe_table,
    "DeleteTable": table_operations.delete_table,
    "ListTables": table_operations.list_tables,
    "UpdateTimeToLive": table_operations.update_time_to_live,
    "DescribeTimeToLive": table_operations.describe_time_to_live,
}
ITEMS: Final[dict[str, Callable[[Call], Answer]]] = {
    "PutItem": item_operations.put_item,
    "UpdateItem": item_operations.update_item,
    "DeleteItem": item_operations.delete_item,
    "GetItem": item_operations.get_item,
    "BatchWriteItem": item_operations.batch_write_item,
    "Scan": item_operations.scan,
    "Query": item_operations.query,
    "TransactWriteItems": transactions.transact_write_items,
}
_NAMESPACE: Final = "com.amazonaws.dynamodb.v20120810#"
_NAMESPACES: Final = {
    "ValidationException": "com.amazon.coral.validate#",
    "ThrottlingException": "com.amazon.coral.availability#",
    **dict.fromkeys(
        (
            "AccessDeniedException",
            "ExpiredTokenException",
            "MissingAuthenticationTokenException",
            "SerializationException",
            "ServiceUnavailable",
            "UnknownOperationException",
        ),
        "com.amazon.coral.service#",
    ),
}
"""Of the errors that are not DynamoDB's own."""
_FAULTS: Final[dict[Kind, Refused]] = {
    Kind.ERROR500: Refused("InternalServerError", "The request processing has failed because of an unknown error", status=500),
    Kind.ERROR503: Refused("ServiceUnavailable", "The service is temporarily unavailable", status=503),
    Kind.ACCESS_DENIED: Refused("AccessDeniedException", "User is not authorized to perform this operation on this resource"),
    Kind.EXPIRED_TOKEN: Refused("ExpiredTokenException", "The security token included in the request is expired"),
    Kind.EXPIRED_ITERATOR: stream_operations.expired(),
    Kind.TRIMMED: stream_operations.trimmed(),
}
_TOO_MUCH: Final = Refused(
    "ProvisionedThroughputExceededException",
    "The level of configured provisioned throughput for the table was exceeded. "
    "Consider increasing your provisioning level with the UpdateTable API.",
)
_TOO_FAST: Final = Refused("ThrottlingException", "Rate of requests exceeds the allowed throughput")
_TOO_MANY: Final = Refused("LimitExceededException", "Rate of requests exceeds the allowed throughput")
_THROTTLES: Final = {**dict.fromkeys(ITEMS, _TOO_MUCH), "DescribeStream": _TOO_MANY, "GetRecords": _TOO_MANY}
"""How an operation says that it was asked too often; all others with ThrottlingException."""


def dynamodb_service(store: DynamoDB) -> Service:
    return json_service(
        name="dynamodb",
        target="DynamoDB_20120810",
        content=JSON_1_0,
        operations={name: _carried_out(store, operation) for name, operation in (TABLES | ITEMS).items()},
        about=_about_table,
        fault=_fault,
        reset=store.reset,
        inspect=lambda: inspect(store),
        controls=controls(store),
        refuse=_refuse,
    )


def dynamodb_streams_service(store: DynamoDB, faults: Faults) -> Service:
    def strikes(kind: Kind, table: str, shard: str) -> bool:
        return faults.inside(kind, service="dynamodbstreams", operation="GetRecords", table=table, shard=shard) is not None

    operations: dict[str, Callable[[Call], Answer]] = {
        "ListStreams": stream_operations.list_streams,
        "DescribeStream": stream_operations.describe_stream,
        "GetShardIterator": stream_operations.get_shard_iterator,
        "GetRecords": lambda call: stream_operations.get_records(call, strikes),
    }
    return json_service(
        name="dynamodbstreams",
        target="DynamoDBStreams_20120810",
        content=JSON_1_0,
        operations={name: _carried_out(store, operation) for name, operation in operations.items()},
        about=_about_stream,
        fault=_fault,
        reset=lambda: None,  # the tables' service does it
        inspect=dict,
        refuse=_refuse,
    )


def _carried_out(store: DynamoDB, operation: Callable[[Call], Answer]) -> Callable[[Asked], Awaitable[Answer]]:
    async def act(asked: Asked) -> Answer:
        return operation(Call(store=store, caller=asked.caller, operation=asked.operation, body=asked.body))

    return act


def _fault(kind: Kind, asked: Asked) -> Refused | None:
    return _THROTTLES.get(asked.operation, _TOO_FAST) if kind is Kind.THROTTLE else _FAULTS.get(kind)


def _refuse(refused: Refused, request_id: str) -> web.Response:
    name = _NAMESPACES.get(refused.shape, _NAMESPACE) + refused.shape
    body = msgspec.json.encode({"__type": name, "message": refused.message, **refused.more})
    return answer_with(400 if refused.sender else refused.status, body, JSON_1_0, request_id)


def _about_table(body: Mapping[str, Any]) -> dict[str, str]:
    """The table of a request; the one of a batch, if it is only one."""
    name, batch = body.get("TableName"), body.get("RequestItems")
    if name is None and isinstance(batch, dict) and len(batch) == 1:
        name = next(iter(batch))
    return {"table": _table_name(name)} if isinstance(name, str) else {}


def _about_stream(body: Mapping[str, Any]) -> dict[str, str]:
    """The table whose stream it is, and the shard."""
    stream, shard, iterator = body.get("StreamArn"), body.get("ShardId"), body.get("ShardIterator")
    if isinstance(iterator, str):
        try:
            parsed = ShardIterator.parse(iterator)
        except Refused:
            return {}
        stream, shard = parsed.stream, parsed.shard
    about = {"table": _table_name(stream)} if isinstance(stream, str) else {}
    return about | ({"shard": shard} if isinstance(shard, str) else {})


def _table_name(text: str) -> str:
    """From a name, a table's ARN or a stream's ARN."""
    return text.partition(":table/")[2].partition("/")[0] if text.startswith("arn:") else text
