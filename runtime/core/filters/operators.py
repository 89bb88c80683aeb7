"""What may stand in the list of a field: literals and operators, each as a test of one value and as words about it."""

import ipaddress
import json
from collections.abc import Sequence
from typing import Any, Final

from msgspec import Struct

from runtime.core.filters.errors import FilterError
from runtime.core.filters.pattern_text import Items, Literal, Members, Node
from runtime.core.filters.value_tests import (
    Number,
    Scalar,
    Test,
    any_of,
    compares,
    equals_any,
    in_any_case,
    like,
    numbers_of,
)

OPERATORS: Final = ("prefix", "suffix", "equals-ignore-case", "anything-but", "numeric", "exists", "wildcard", "cidr")
IN_LAMBDA: Final = frozenset({"prefix", "suffix", "equals-ignore-case", "anything-but", "numeric", "exists"})
"""What Lambda's documentation lists; the others are EventBridge's (FLT-51)."""
_COMPARISONS: Final = ("=", "<", "<=", ">", ">=")
_LONGEST_WORDS: Final = 60


class Field(Struct, frozen=True):
    """What one field is asked for: any of the members of its list (FLT-03, FLT-5B)."""

    test: Test
    """Of a value that is there; of a list any of its members (FLT-52)."""
    absent: bool
    """It may also be missing: `{"exists": false}`."""
    words: str
    """What is wanted: follows `wanted`."""
    foreign: tuple[str, ...] = ()
    """Operators that Lambda's documentation does not have."""


class _Member(Struct, frozen=True):
    """One member of a list. Literals are tested together: they have no test of their own."""

    words: str
    test: Test | None = None
    literal: Literal | None = None
    absent: bool = False
    foreign: str | None = None


def read_field(node: Items, *, pattern: str, path: str) -> Field:
    """The list of a field. Raises FilterError."""
    members = [_Reader(pattern, f"{path}[{number}]").member(item) for number, item in enumerate(node.items)]
    literals = [member.literal.value for member in members if member.literal]
    tests = [member.test for member in members if member.test]
    if literals:
        tests.insert(0, equals_any(literals))
    return Field(
        test=any_of(tests),
        absent=any(member.absent for member in members),
        words=_cut(" or ".join(member.words for member in members)),
        foreign=tuple(member.foreign for member in members if member.foreign),
    )


def shown(value: object) -> str:
    """A value as JSON, cut when it is long."""
    return _cut(json.dumps(value, ensure_ascii=True))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_WORDS else f"{text[:_LONGEST_WORDS]}..."


class _Reader:
    """Reads one member of a list."""

    def __init__(self, pattern: str, path: str) -> None:
        self._pattern = pattern
        self._path = path

    def member(self, node: Node) -> _Member:
        match node:
            case Literal():
                return _Member(shown(node.value), literal=node)
            case Items():
                raise self._fault(node, "a list inside the list: write its members beside the others, they are ORed as they are")
            case _:
                name, argument = self._single(node, OPERATORS, "an operator")
                self._path = f"{self._path}.{name}"
                member = self._operator(name, argument)
                return member if name in IN_LAMBDA else _Member(member.words, test=member.test, foreign=name)

    def _operator(self, name: str, argument: Node) -> _Member:
        match name:
            case "exists":
                return self._exists(argument)
            case "numeric":
                return self._numeric(argument)
            case "anything-but":
                return self._anything_but(argument)
            case "cidr":
                return self._cidr(argument)
            case "prefix" | "suffix" if isinstance(argument, Members):
                _, inner = self._single(argument, ("equals-ignore-case",), f"beside a text, what {name} takes")
                words, test = self._text_test(name, self._text(inner), ignore_case=True)
                return _Member(words, test=test, foreign=f"{name} with equals-ignore-case")
            case _:
                words, test = self._text_test(name, self._text(argument), at=argument)
                return _Member(words, test=test)

    def _text_test(self, name: str, text: str, *, at: Node | None = None, ignore_case: bool = False) -> tuple[str, Test]:
        """FLT-43..FLT-45. With the words for it. Texts only: anything else never matches."""
        quoted = shown(text)
        match name:
            case "prefix" if ignore_case:
                return f"a text that begins with {quoted} in any case", in_any_case(text, where=name)
            case "suffix" if ignore_case:
                return f"a text that ends with {quoted} in any case", in_any_case(text, where=name)
            case "equals-ignore-case":
                return f"{quoted} in any case", in_any_case(text, where=name)
            case "prefix":
                return f"a text that begins with {quoted}", lambda value: type(value) is str and value.startswith(text)
            case "suffix":
                return f"a text that ends with {quoted}", lambda value: type(value) is str and value.endswith(text)
            case _:
                return f"a text like {quoted}", self._wildcard(text, at)

    def _wildcard(self, text: str, at: Node | None) -> Test:
        r"""`*` is any number of characters; `\*` and `\\` stand for themselves, and no other escape is there."""
        parts, signs = [""], iter(text)
        star_before = False
        for sign in signs:
            if sign == "*":
                if star_before:
                    raise self._fault(at, "two * after each other mean no more than one: remove one of them")
                parts.append("")
            elif sign == "\\":
                escaped = next(signs, "")
                if escaped not in ("*", "\\"):
                    raise self._fault(at, r"a backslash must stand before * or another backslash, as in \* (in JSON: \\*)")
                parts[-1] += escaped
            else:
                parts[-1] += sign
            star_before = sign == "*"
        return like(parts)

    def _exists(self, argument: Node) -> _Member:
        """FLT-48, FLT-49: of leaves only, which is the business of whoever looks for the value."""
        if not isinstance(argument, Literal) or not isinstance(argument.value, bool):
            raise self._fault(argument, "exists takes true or false")
        if argument.value:
            return _Member("any value", test=lambda _: True)
        return _Member("no value at all", absent=True)

    def _numeric(self, argument: Node) -> _Member:
        """FLT-47."""
        advice = (
            'numeric takes a comparison and a number, as in [">", 10], or a lower and an upper bound, as in [">", 0, "<=", 5]'
        )
        if not isinstance(argument, Items) or len(argument.items) not in (2, 4):
            raise self._fault(argument, advice)
        found = [
            (self._comparison(sign, advice), self._number(number, advice))
            for sign, number in zip(argument.items[::2], argument.items[1::2], strict=True)
        ]
        if len(found) == 1:
            ((sign, number),) = found
            return _Member(f"a number {sign} {number}", test=compares(sign, number))
        (lower, low), (upper, high) = found
        if lower not in (">", ">=") or upper not in ("<", "<="):
            raise self._fault(argument, "a range has its lower bound first: > or >= and then < or <=")
        if low >= high:
            raise self._fault(
                argument, f"no number lies between {low} and {high}: the lower bound must be less than the upper one"
            )
        above, below = compares(lower, low), compares(upper, high)
        return _Member(f"a number {lower} {low} and {upper} {high}", test=lambda value: above(value) and below(value))

    def _comparison(self, node: Node, advice: str) -> str:
        if not isinstance(node, Literal) or node.value not in _COMPARISONS:
            raise self._fault(node, advice)
        return str(node.value)

    def _number(self, node: Node, advice: str) -> Number:
        if not isinstance(node, Literal) or isinstance(node.value, bool) or not isinstance(node.value, (int, float)):
            raise self._fault(node, advice)
        return node.value

    def _anything_but(self, argument: Node) -> _Member:
        """FLT-46, FLT-51: whatever is there and is none of these. Null is a value like others, missing is not."""
        if isinstance(argument, Members):
            return self._anything_but_like(argument)
        literals = self._literals(argument)
        numbers = numbers_of(literals)
        texts = all(isinstance(each, str) for each in literals)
        if not literals or not (texts or all(each in numbers and not isinstance(each, bool) for each in literals)):
            advice = "anything-but takes a text or a number, or a list of texts, or a list of numbers, not mixed"
            raise self._fault(argument, advice)
        words = f"anything but {' or '.join(map(shown, literals))}"
        if texts:
            unwanted = frozenset(literals)
            return _Member(words, test=lambda value: value not in unwanted)
        return _Member(words, test=lambda value: value not in numbers or type(value) is bool)

    def _anything_but_like(self, argument: Members) -> _Member:
        kinds = ("prefix", "suffix", "equals-ignore-case", "wildcard")
        name, inner = self._single(argument, kinds, "beside texts and numbers, what anything-but takes")
        self._path = f"{self._path}.{name}"
        literals = self._literals(inner)
        texts = [each for each in literals if isinstance(each, str)]
        if not texts or len(texts) != len(literals):
            raise self._fault(inner, f"{name} takes a text or a list of texts here")
        if "" in texts and name in ("prefix", "suffix"):
            raise self._fault(inner, f"every text has the empty {name}, so nothing would be left")
        found = [self._text_test(name, text, at=inner) for text in texts]
        unwanted = any_of([test for _, test in found])
        words = f"anything but {' or '.join(words for words, _ in found)}"
        return _Member(words, test=lambda value: not unwanted(value), foreign=f"anything-but with {name}")

    def _cidr(self, argument: Node) -> _Member:
        text = self._text(argument)
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError:
            network = None
        if network is None or "/" not in text or network.prefixlen == network.max_prefixlen:
            raise self._fault(argument, "cidr takes a block of IP addresses, as in 10.0.0.0/8 or 2001:db8::/32")

        def holds(value: Any) -> bool:
            try:
                return type(value) is str and "%" not in value and ipaddress.ip_address(value) in network
            except ValueError:
                return False

        return _Member(f"an IP address in {text}", test=holds)

    def _literals(self, node: Node) -> list[Scalar]:
        """Of a single value, or of a list of them. Empty when one of them is none."""
        items = node.items if isinstance(node, Items) else (node,)
        literals = [item.value for item in items if isinstance(item, Literal)]
        return literals if len(literals) == len(items) else []

    def _text(self, node: Node) -> str:
        if not isinstance(node, Literal) or not isinstance(node.value, str):
            raise self._fault(node, 'this operator takes one text, as in "abc"')
        return node.value

    def _single(self, node: Members, names: Sequence[str], what: str) -> tuple[str, Node]:
        """The one key of an object, and what it holds."""
        if len(node.members) == 1 and node.members[0].key in names:
            return node.members[0].key, node.members[0].node
        given = " and ".join(shown(member.key) for member in node.members) or "nothing"
        known = f"one of {', '.join(names)}" if len(names) > 1 else names[0]
        raise self._fault(node, f"an object with {given} in it: {what} is an object with exactly one key, {known}")

    def _fault(self, node: Node | None, explanation: str) -> FilterError:
        return FilterError(explanation, pattern=self._pattern, offset=node.at if node else 0, path=self._path)
