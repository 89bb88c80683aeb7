"""One Kinesis request on its way through an operation: what was asked, by whom, and the typed reading of its parameters."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import floor
from typing import Any, Final, Protocol

from runtime.local.kinesis.refusals import invalid, misread, no_stream, unsuitable
from runtime.local.kinesis.streams import HASH_KEYS, LocalStream, Streams
from runtime.local.state import Caller

_NAME: Final = re.compile(r"[a-zA-Z0-9_.-]{1,128}")
_ARN: Final = re.compile(r"arn:aws[^:]*:kinesis:([^:]*):(\d{12}):stream/([a-zA-Z0-9_.-]{1,128})")
_NUMBER: Final = re.compile(r"0|[1-9]\d{0,38}")


class Effects(Protocol):
    """What faults do inside an operation."""

    def empty_page(self, stream: str, shard: str) -> bool: ...

    def duplicate_page(self, stream: str, shard: str) -> bool: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request on its way through an operation."""

    streams: Streams
    caller: Caller
    request: Mapping[str, Any]
    effects: Effects

    @property
    def now(self) -> int:
        return self.streams.now()

    def stream(self) -> LocalStream:
        """The stream that StreamARN, or else StreamName, means. Raises ResourceNotFoundException."""
        arn = self.maybe_text("StreamARN")
        if arn is None:
            name = self.name("StreamName")
            return self.streams.stream(name, account=self.caller.account, region=self.caller.region)
        found = _ARN.fullmatch(arn)
        if found is None:
            pattern = r"arn:aws.*:kinesis:.*:\d{12}:stream/\S+"
            raise unsuitable(arn, "streamARN", f"Member must satisfy regular expression pattern: {pattern}")
        region, account, name = found.groups()
        if region != self.caller.region or self.request.get("StreamName", name) != name:
            raise invalid(f"The StreamARN {arn} is not of this region, or not of the stream that StreamName names.")
        return self.streams.stream(name, account=account, region=region)

    def ready_stream(self) -> LocalStream:
        """A stream that records can be put into and read from: one that is being created is not there yet."""
        stream = self.stream()
        if stream.status(self.now) == "CREATING":
            raise no_stream(stream.name, stream.account)
        return stream

    def name(self, parameter: str) -> str:
        """Of a stream or a shard."""
        found = self.text(parameter)
        if _NAME.fullmatch(found) is None:
            raise unsuitable(found, lower(parameter), "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]{1,128}")
        return found

    def text(self, parameter: str) -> str:
        found = self.maybe_text(parameter)
        if found is None:
            raise unsuitable(None, lower(parameter), "Member must not be null")
        return found

    def maybe_text(self, parameter: str) -> str | None:
        found = self.request.get(parameter)
        if found is not None and not isinstance(found, str):
            raise misread(parameter, "a string")
        return found

    def whole(self, parameter: str, low: int, high: int) -> int | None:
        found = self.request.get(parameter)
        if found is None:
            return None
        if type(found) is not int:
            raise misread(parameter, "an integer")
        if found < low:
            raise unsuitable(found, lower(parameter), f"Member must have value greater than or equal to {low}")
        if found > high:
            raise unsuitable(found, lower(parameter), f"Member must have value less than or equal to {high}")
        return found

    def needed(self, parameter: str, low: int, high: int) -> int:
        found = self.whole(parameter, low, high)
        if found is None:
            raise unsuitable(None, lower(parameter), "Member must not be null")
        return found


def hash_key(value: str, parameter: str) -> int:
    if _NUMBER.fullmatch(value) is None:
        raise unsuitable(value, lower(parameter), r"Member must satisfy regular expression pattern: 0|([1-9]\d{0,38})")
    if int(value) >= HASH_KEYS:
        raise invalid(f"Invalid {parameter}. {parameter} must be in the range: [0, 2^128-1]. Specified value was {value}")
    return int(value)


def milliseconds(value: object, parameter: str) -> int:
    """A moment in JSON: seconds since the epoch with a fraction, of which milliseconds count."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise misread(parameter, "a number of seconds since the epoch")
    return floor(value * 1000)


def lower(parameter: str) -> str:
    return parameter[:1].lower() + parameter[1:]
