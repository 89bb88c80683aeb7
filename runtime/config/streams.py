"""Rules between the keys of a mapping of a stream (section 1 of `spec/kinesis.md` and `spec/dynamodb-streams.md`)."""

import re
from datetime import UTC, datetime
from typing import Final

from msgspec import UNSET

from pollers.record import Position, PositionKind
from pollers.source import StreamSpec
from runtime.config.arns import ArnError, SourceArn
from runtime.config.candidate import Candidate
from runtime.config.destinations import check_destination, is_fifo
from runtime.config.problems import shown
from runtime.core.mapping import UNLIMITED, RetryPolicy, StreamSettings

_YOUNGEST_AGE: Final = 60
_AGE_TEXT: Final = "MaximumRecordAgeInSeconds must be either -1 (forever) or between 60 and 604800 (inclusive)"
_NO_POSITION: Final = (
    "1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint: Member must not be null."
)
ON_SUCCESS: Final = "DestinationConfig.OnSuccess"
"""Not among the types, for streams take none of it; refused here (DST-01)."""
_DESTINATION: Final = "DestinationConfig.OnFailure.Destination"
_FAR_FUTURE: Final = 100_000_000_000
"""The year 5138, and 1973 in milliseconds."""
_SECONDS: Final = re.compile(r"[0-9]{1,18}(?:\.[0-9]*)?(?:[eE]\+?[0-9]{1,2})?")
_ISO: Final = re.compile(
    r"(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})(?:(?:[Tt]|[ \t]+)(?P<time>[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?)"
    r"[ \t]*(?P<zone>[Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)?)?"
)


def read_stream(candidate: Candidate, source: SourceArn, spec: StreamSpec, now: float) -> StreamSettings | None:
    """Judge what only streams have. The settings mean something only when nothing was reported."""
    value = candidate.block.value
    start = _start(candidate, source, spec, now)
    destination = _destination(candidate)
    retry = RetryPolicy(
        attempts=value.maximum_retry_attempts,
        age=value.maximum_record_age_in_seconds,
        bisect=value.bisect_batch_on_function_error,
    )
    _check_age(candidate)
    _check_tumbling(candidate)
    _warn_of_failures(candidate, retry, destination)
    if start is None:
        return None
    return StreamSettings(
        start=start,
        retry=retry,
        lanes=value.parallelization_factor,
        tumbling_window=value.tumbling_window_in_seconds,
        destination=destination,
        read_share=value.read_share,
        deaggregate=value.deaggregate,
    )


def _start(candidate: Candidate, source: SourceArn, spec: StreamSpec, now: float) -> Position | None:
    """KIN-02..KIN-05, DDB-02."""
    block, timed = candidate.block, candidate.given("StartingPositionTimestamp")
    timestamp = _timestamp(candidate, now) if timed else None
    if not candidate.given("StartingPosition"):
        allowed = " or ".join(sorted(spec.starting_positions, reverse=True))
        candidate.wrong("StartingPosition", f"StartingPosition is missing: give {allowed} (AWS: {_NO_POSITION})")
        return None
    if block.value.starting_position is UNSET:  # it is there, so it is wrong, and was reported
        return None
    kind = PositionKind(block.value.starting_position)
    if kind not in spec.starting_positions:
        text = f"StartingPosition is {kind}, which this kind of stream does not have: give TRIM_HORIZON or LATEST"
        candidate.wrong("StartingPosition", f"{text} (AWS: Unsupported starting position for arn type: {source.arn})")
        return None
    if kind is PositionKind.AT_TIMESTAMP and not timed:
        text = "StartingPosition is AT_TIMESTAMP, so StartingPositionTimestamp must say when: give it, as in 1767225600"
        candidate.wrong("StartingPosition", f"{text} (AWS: Need to specify a timestamp)")
    elif kind is not PositionKind.AT_TIMESTAMP and timed:
        text = f"StartingPositionTimestamp is only for AT_TIMESTAMP, and StartingPosition is {kind}: change one, or remove this"
        candidate.wrong("StartingPositionTimestamp", text)
    if kind is PositionKind.AT_TIMESTAMP:
        return None if timestamp is None else Position.at(timestamp)
    return Position(kind=kind)


def _timestamp(candidate: Candidate, now: float) -> float | None:
    """KIN-05: seconds since the epoch; None when it is wrong."""
    if candidate.block.value.starting_position_timestamp is UNSET:
        return None
    text = str(candidate.block.value.starting_position_timestamp)
    seconds = _seconds(text)
    name = f"StartingPositionTimestamp is {shown(text)!r}"
    if seconds is None:
        shapes = "as in 1767225600 or 1767225600.5, or an ISO 8601 time, as in 2026-01-01T00:00:00Z"
        candidate.wrong("StartingPositionTimestamp", f"{name}, but it must be seconds since the epoch, {shapes}")
    elif seconds > now:
        milliseconds = seconds > _FAR_FUTURE and seconds / 1000 <= now
        advice = "it looks like milliseconds, so divide it by 1000" if milliseconds else "give a time that is past, or LATEST"
        candidate.wrong("StartingPositionTimestamp", f"{name}, which is in the future: {advice}")
        return None
    return seconds


def _seconds(text: str) -> float | None:
    if _SECONDS.fullmatch(text):
        return float(text)
    found = _ISO.fullmatch(text)
    if not found:
        return None
    zone = (found["zone"] or "Z").upper()  # YAML's rule: a time that names no zone is UTC
    try:
        moment = datetime.fromisoformat(f"{found['day']}T{found['time'] or '00:00'}{zone}")
    except ValueError:
        return None
    seconds = (moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()
    return seconds if seconds >= 0 else None


def _destination(candidate: Candidate) -> str | None:
    """DST-01, DST-03, DST-04."""
    arn = candidate.block.value.destination_config.on_failure.destination
    if ON_SUCCESS in candidate.block.strangers:
        text = "OnSuccess is not for streams, only what is given up has a destination: remove it"
        said = "AWS: Unsupported DestinationConfig parameter for given event source mapping type."
        candidate.wrong(ON_SUCCESS, f"{text} ({said})")
    if not arn:
        return None
    try:
        check_destination(arn)
    except ArnError as fault:
        candidate.wrong(_DESTINATION, f"{_DESTINATION}: {fault}")
        return None
    if is_fifo(arn):
        text = "is FIFO: AWS accepts that, but every delivery to it fails (DestinationDeliveryFailures)"
        candidate.unwise(_DESTINATION, f"the on-failure destination {arn} {text}: give a standard queue or topic")
    return arn


def _check_age(candidate: Candidate) -> None:
    """KIN-08: the gap that the limits of the schema leave."""
    age = candidate.block.value.maximum_record_age_in_seconds
    if age != UNLIMITED and age < _YOUNGEST_AGE:
        text = f"MaximumRecordAgeInSeconds is {age}, but it must be -1 (no limit) or 60 to 604800"
        candidate.wrong("MaximumRecordAgeInSeconds", f"{text} (AWS: {_AGE_TEXT})")


def _check_tumbling(candidate: Candidate) -> None:
    """COM-99."""
    value = candidate.block.value
    if value.tumbling_window_in_seconds > 0 and value.parallelization_factor > 1:
        candidate.wrong(
            "ParallelizationFactor",
            f"ParallelizationFactor is {value.parallelization_factor}, but with TumblingWindowInSeconds it must be 1: remove it, "
            "or the window",
        )


def _warn_of_failures(candidate: Candidate, retry: RetryPolicy, destination: str | None) -> None:
    """What AWS's defaults do to a shard with a record that always fails (COM-70, DDB-30), and what is lost without a trace."""
    keys = ("MaximumRetryAttempts", "MaximumRecordAgeInSeconds", "DestinationConfig")
    if not candidate.block.sound(*keys):
        return
    if retry.attempts == UNLIMITED and retry.age == UNLIMITED:
        unused = ", and nothing ever goes to the on-failure destination" if destination else ""
        candidate.unwise(
            "MaximumRetryAttempts",
            "neither MaximumRetryAttempts nor MaximumRecordAgeInSeconds limits retries, so a record that always fails blocks its "
            f"shard until it expires from the stream, as in AWS{unused}: set one of them"
            + ("" if retry.bisect and destination else f", with {_with(bisect=retry.bisect, destination=destination)}"),
        )
    elif destination is None:
        key = keys[0] if retry.attempts != UNLIMITED else keys[1]
        candidate.unwise(
            key, f"{key} is set without {_DESTINATION}, so what is given up leaves nothing but a log line: set it, or accept that"
        )


def _with(*, bisect: bool, destination: str | None) -> str:
    missing = [] if bisect else ["BisectBatchOnFunctionError: true"]
    return " and ".join(missing if destination else [*missing, _DESTINATION])
