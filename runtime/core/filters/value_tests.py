"""Tests of one value: a text, a number, true, false or null. Objects and lists never come here.

A number is an `int` or a `float`, and for Python `True` is the number 1: every test of numbers minds that.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

Test = Callable[[Any], bool]
Number = int | float
Scalar = str | float | bool | None


def any_of(tests: Sequence[Test]) -> Test:
    if not tests:
        return lambda _: False
    if len(tests) == 1:
        return tests[0]
    return lambda value: any(test(value) for test in tests)


def equals_any(literals: Sequence[Scalar]) -> Test:
    """FLT-40..FLT-42. Numbers are equal when their values are: 300 and 300.0 and 3e2 (FLT-55)."""
    texts = frozenset(each for each in literals if isinstance(each, str))
    numbers = numbers_of(literals)
    words = tuple(each for each in literals if each is None or isinstance(each, bool))
    if all(isinstance(each, str) for each in literals):
        return texts.__contains__
    return lambda value: value in texts or (value in numbers and type(value) is not bool) or any(value is word for word in words)


def numbers_of(literals: Sequence[object]) -> frozenset[Number]:
    return frozenset(each for each in literals if isinstance(each, (int, float)) and not isinstance(each, bool))


def compares(sign: str, number: Number) -> Test:
    """JSON numbers only (FLT-56). `type` and not `isinstance`: a bool is no number."""
    match sign:
        case "=":
            return lambda value: (type(value) is int or type(value) is float) and value == number
        case "<":
            return lambda value: (type(value) is int or type(value) is float) and value < number
        case "<=":
            return lambda value: (type(value) is int or type(value) is float) and value <= number
        case ">":
            return lambda value: (type(value) is int or type(value) is float) and value > number
        case _:
            return lambda value: (type(value) is int or type(value) is float) and value >= number


def in_any_case(text: str, *, where: str) -> Test:
    """`where`: `prefix`, `suffix`, or anything else for the whole. Each character in lower or upper case, one by one."""
    both = [f"(?:{'|'.join(map(re.escape, dict.fromkeys((sign.lower(), sign.upper()))))})" for sign in text]
    compiled = re.compile("".join(both) + ("" if where == "prefix" else r"\Z"))
    find = compiled.search if where == "suffix" else compiled.match
    return lambda value: type(value) is str and find(value) is not None


def like(parts: Sequence[str]) -> Test:
    """`parts`: what stands between the stars. Each is looked for once behind the one before, so the time is bounded."""
    if len(parts) == 1:
        return lambda value: bool(value == parts[0])
    first, *middle, last = parts

    def like(value: Any) -> bool:
        if type(value) is not str or not value.startswith(first) or not value.endswith(last):
            return False
        begin, end = len(first), len(value) - len(last)
        for part in middle:
            found = value.find(part, begin, end)
            if found < 0:
                return False
            begin = found + len(part)
        return begin <= end

    return like
