"""What a handler returned, as the JSON that Lambda would make of it (COM-31)."""

import inspect
import json
import math
from decimal import Decimal
from typing import Any, Final

import simplejson
from simplejson.raw_json import RawJSON

from handlers.failures import RESPONSE_LIMIT, not_encodable, text_of, too_large
from handlers.invoker import NOT_JSON, Outcome, Succeeded

_NOTHING: Final = Succeeded(response=None)


class _Encoder(simplejson.JSONEncoder):
    """A Decimal is a bare number with all its digits. simplejson would write a negative NaN as no parser reads it."""

    def __init__(self) -> None:
        super().__init__(use_decimal=False, allow_nan=True)

    def default(self, o: Any) -> Any:
        if isinstance(o, Decimal):
            return math.nan if o.is_nan() else RawJSON(str(o))
        return super().default(o)


_ENCODER: Final = _Encoder()


def read_answer(value: Any, request_id: str) -> Outcome:
    """Encode what the handler returned, and decode it again.

    Raises only what the user's own objects raise on being encoded and is no `Exception` (SystemExit, ...).
    """
    if value is None:
        return _NOTHING
    if isinstance(value, bytes):
        return too_large() if len(value) > RESPONSE_LIMIT else _decoded(value)
    if inspect.iscoroutine(value):
        value.close()
        return not_encodable("the handler returned a coroutine; declare it with 'async def'", request_id)
    if inspect.isawaitable(value):
        return not_encodable(f"the handler returned an awaitable ({type(value).__name__}) that nobody awaits", request_id)
    try:
        text = _ENCODER.encode(value)
    except Exception as error:  # noqa: BLE001 - whatever it is, the runtime reports it
        return not_encodable(text_of(error), request_id)
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    return too_large() if size > RESPONSE_LIMIT else _decoded(text)


def _decoded(text: str | bytes) -> Succeeded:
    try:
        return Succeeded(response=json.loads(text.decode() if isinstance(text, bytes) else text))
    except (ValueError, RecursionError):
        return Succeeded(response=NOT_JSON)
