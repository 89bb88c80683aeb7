"""Names of invocations, as Lambda's `aws_request_id` has them: random UUIDs."""

import os
from collections.abc import Iterator
from typing import Final

_AT_ONCE: Final = 256
"""Asked of the system together: a question for each costs more than all else about a name."""
_DIGITS: Final = 32
_VARIANTS: Final = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def _names() -> Iterator[str]:
    while True:
        digits = os.urandom(_AT_ONCE * _DIGITS // 2).hex()
        for start in range(0, len(digits), _DIGITS):
            name = digits[start : start + _DIGITS]
            yield f"{name[:8]}-{name[8:12]}-4{name[13:16]}-{_VARIANTS[name[16]]}{name[17:20]}-{name[20:]}"


new_request_id = _names().__next__
"""A UUID of version 4."""
