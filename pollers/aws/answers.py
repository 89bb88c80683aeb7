"""Waiting for what AWS answers: the outcome is told once, an error is translated, and what is no answer is refused.

botocore shows a body that is not JSON, a proxy's page or half an answer, as an answer in which everything is missing. A page
without `NextShardIterator` is the end of a shard, so such a page must not be believed.
"""

import json
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import msgspec

from pollers.aws.clients import Observe
from pollers.aws.errors import THROTTLED, to_source_error
from pollers.aws.lean.connection import Content
from pollers.errors import SourceError, SourceUnavailable

T = TypeVar("T")


async def answer_of(operation: str, asked: Awaitable[Any], *, on: str, needs: str, observe: Observe) -> Any:
    """What a request brought; an answer always has the key `needs`. Raises SourceError.

    `on`: whom it asks, for the reader of an error. `observe` is told "empty" where `needs` holds nothing.
    """
    with translating(operation, on=on, observe=observe):
        answer = await asked
    if needs not in answer:
        observe(operation, "error")
        message = f"{operation} on {on}: 200, but no answer of AWS: {needs} is missing (a proxy?)"
        raise SourceUnavailable(message, code="malformed_answer")
    observe(operation, "ok" if answer[needs] else "empty")
    return answer


@contextmanager
def translating(operation: str, *, on: str, observe: Observe) -> Iterator[None]:
    """Around a request: what it raises becomes a SourceError, and is observed."""
    try:
        yield
    except Exception as error:
        raise translated(error, operation, on=on, observe=observe) from error


def translated(error: Exception, operation: str, *, on: str, observe: Observe) -> SourceError:
    """What a request raised, observed."""
    told = to_source_error(error, doing=f"{operation} on {on}")
    observe(operation, "throttled" if told.code in THROTTLED else "error")
    return told


def read_content(content: Content, decoder: msgspec.json.Decoder[T]) -> T:
    """Raises ValueError. Half a surrogate pair, which only Python's own reader takes, costs a second reading."""
    try:
        return decoder.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return msgspec.convert(json.loads(bytes(content)), decoder.type)


@contextmanager
def understanding(operation: str, *, on: str) -> Iterator[None]:
    """Around the code that takes an answer apart: what it trips over becomes a SourceError."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise to_source_error(error, doing=f"{operation} on {on}") from error
