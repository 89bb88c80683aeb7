"""What is told of a group of discarded records: the JSON document of `spec/destinations.md`, section 3.

Consumers parse it, but AWS's own key order is kept, so that what is sent can be compared byte for byte with what AWS sends.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

from pollers.record import Record, sequence_of
from pollers.source import StreamSpec
from runtime.core.decisions import AGE_EXCEEDED

_VERSION: Final = "1.0"
_REACHED: Final = 200
"""An invocation that ended in a function error was answered with 200 too (DST-27)."""


def failure_body(
    *,
    records: Sequence[Record],
    shard: str,
    stream_arn: str,
    spec: StreamSpec,
    function_arn: str,
    executed_version: str,
    condition: str,
    invoke_count: int,
    request_id: str,
    function_error: str | None,
    timestamp: float,
) -> dict[str, Any]:
    """The document for `records`, the discarded ones only (DST-33), in the order of the stream and at least one.

    `function_arn`: as invoked (DST-23). `invoke_count`: for age, the attempt that was abandoned counts too (DST-26).
    `function_error`: `Unhandled` after an exception, None when the handler itself reported failures (DST-27); not shown for age,
    which says nothing of any answer (DST-28). `timestamp`: seconds since the epoch.
    """
    request = {
        "requestId": request_id,
        "functionArn": function_arn,
        "condition": condition,
        "approximateInvokeCount": invoke_count,
    }
    response = {"statusCode": _REACHED, "executedVersion": executed_version, "functionError": function_error}
    return {
        "requestContext": request,
        **({} if condition == AGE_EXCEEDED else {"responseContext": response}),
        "version": _VERSION,
        "timestamp": _instant(timestamp, whole_seconds=False),
        spec.info_key: _batch_info(records, shard=shard, stream_arn=stream_arn, whole_seconds=spec.whole_seconds),
    }


def mapping_uuid(name: str, source_arn: str) -> str:
    """A UUID for a mapping, in lower case: always the same for the same name and source (the ESM-UUID of DST-36)."""
    return str(uuid5(NAMESPACE_URL, f"{source_arn} {name}"))


def _batch_info(records: Sequence[Record], *, shard: str, stream_arn: str, whole_seconds: bool) -> dict[str, Any]:
    """DST-31, DST-32."""
    first, last = records[0], records[-1]
    return {
        "shardId": shard,
        "startSequenceNumber": sequence_of(first.id),
        "endSequenceNumber": sequence_of(last.id),
        "approximateArrivalOfFirstRecord": _instant(first.arrived, whole_seconds=whole_seconds),
        "approximateArrivalOfLastRecord": _instant(last.arrived, whole_seconds=whole_seconds),
        "batchSize": len(records),
        "streamArn": stream_arn,
    }


def _instant(seconds: float, *, whole_seconds: bool) -> str:
    """ISO 8601 in UTC (DST-30). What is finer is cut off, not rounded: no record arrives in the future."""
    shown = datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
    return shown.isoformat(timespec="seconds" if whole_seconds else "milliseconds") + "Z"
