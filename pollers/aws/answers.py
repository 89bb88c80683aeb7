"""Waiting for what AWS answers: the outcome is told once, an error is translated, and what is no answer is refused.

botocore shows a body that is not JSON, a proxy's page or half an answer, as an answer in which everything is missing. A page
without `NextShardIterator` is the end of a shard, so such a page must not be believed.
"""

from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import Any

from pollers.aws.clients import Observe
from pollers.aws.errors import THROTTLED, to_source_error
from pollers.errors import SourceUnavailable


async def answer_of(operation: str, asked: Awaitable[Any], *, on: str, needs: str, observe: Observe) -> Any:
    """What a request brought; an answer always has the key `needs`. Raises SourceError.

    `on`: whom it asks, for the reader of an error. `observe` is told "empty" where `needs` holds nothing.
    """
    doing = f"{operation} on {on}"
    try:
        answer = await asked
    except Exception as error:
        translated = to_source_error(error, doing=doing)
        observe(operation, "throttled" if translated.code in THROTTLED else "error")
        raise translated from error
    if needs not in answer:
        observe(operation, "error")
        raise SourceUnavailable(f"{doing}: 200, but no answer of AWS: {needs} is missing (a proxy?)", code="malformed_answer")
    observe(operation, "ok" if answer[needs] else "empty")
    return answer


@contextmanager
def understanding(operation: str, *, on: str) -> Iterator[None]:
    """Around the code that takes an answer apart: what it trips over becomes a SourceError."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise to_source_error(error, doing=f"{operation} on {on}") from error
