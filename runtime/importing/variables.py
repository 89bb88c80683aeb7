"""`${...}` of a serverless.yml, as far as the file and what is given from outside say what it comes to.

`${env:NAME}` and what is known only at AWS become gaps: the worker looks them up when it starts. What `${AWS::Region}` means
is CloudFormation's business (a `Fn::Sub`, of which Serverless makes its pseudo parameters).
"""

import re
from dataclasses import dataclass, field
from typing import Final

from runtime.importing.gaps import Gaps
from runtime.importing.intrinsics import Unresolvable, text_of
from runtime.importing.resolver import SAMPLE_ACCOUNT, SAMPLE_REGION, Given
from runtime.importing.values import Block, Gap, Items, Place, Text, Value, joined, parts_of

_DEEPEST: Final = 40
_LONGEST: Final = 65_536
_QUOTED: Final = re.compile(r"""(?P<quote>["'])(?P<text>.*)(?P=quote)""", re.DOTALL)
_SOURCE: Final = re.compile(r"(?P<source>[A-Za-z][A-Za-z0-9]*)(?P<options>\([^)]*\))?:(?P<address>.*)", re.DOTALL)
_VARIABLE: Final = re.compile(r"\s*(?:[A-Za-z][A-Za-z0-9]*(?:\([^)]*\))?:(?!:)|\$\{)")
_AT_AWS: Final = frozenset({"cf", "ssm", "s3", "aws", "output", "doppler", "vault", "terraform", "git", "file"})
_WORDS: Final[dict[str, bool | None]] = {"true": True, "false": False, "null": None}


class _Missing(Exception):
    """A variable has no value; the next of its alternatives is tried."""


@dataclass(slots=True, kw_only=True)
class Variables:
    """Works out the values of one file."""

    root: Block
    given: Given
    gaps: Gaps = field(default_factory=Gaps)
    _open: set[str] = field(default_factory=set)

    def resolve(self, value: Value, place: Place) -> Value:
        """The value without variables. CloudFormation's functions in it are left as they are."""
        match value:
            case Block() if len(value) == 1 and "Fn::Sub" in value:
                inner = value["Fn::Sub"]
                if isinstance(inner, Items) and len(inner) > 1:
                    inner = Items([self._text(str(inner[0]), place), self.resolve(inner[1], place)], inner.lines)
                return Block({"Fn::Sub": self._text(inner, place) if isinstance(inner, str) else inner}, value.lines)
            case Block():
                pairs = {key: self.resolve(inner, place.inner(key, value.line(key, place.line))) for key, inner in value.items()}
                return Block(pairs, value.lines)
            case Items():
                items = [
                    self.resolve(inner, place.inner(str(index), value.line(index, place.line)))
                    for index, inner in enumerate(value)
                ]
                return Items(items, value.lines)
            case str() if "${" in value:
                text = self._text(value, place)
                pseudo = isinstance(text, str | Text) and any(
                    "${AWS::" in part for part in parts_of(text) if isinstance(part, str)
                )
                return Block({"Fn::Sub": text}, {"Fn::Sub": place.line}) if pseudo else text
            case _:
                return value

    @property
    def stage(self) -> Value:
        return self.resolve("${sls:stage}", Place(line=1, what="stage"))

    def _text(self, text: str, place: Place) -> Value:
        """A text that is one variable has its value, whatever that is; others are put together."""
        found: list[Value] = []
        for piece, is_variable in _pieces(text):
            if not is_variable:
                found.append(piece)
            elif not _VARIABLE.match(piece):  # CloudFormation's, in a Fn::Sub
                found.append(f"${{{piece}}}")
            else:
                found.append(self._variable(piece, place))
        if len(found) == 1:
            return found[0]
        try:
            whole = joined(part for each in found for part in parts_of(text_of(each)))
        except Unresolvable:
            return self._gap(text, place, "a list or a block stands inside a text")
        if sum(len(part) for part in parts_of(whole) if isinstance(part, str)) > _LONGEST:
            return self._gap(text, place, f"it comes to more than {_LONGEST} characters")
        return whole

    def _gap(self, text: str, place: Place, why: str) -> Text:
        return self.gaps.make(
            f"{place.what} {text}", place.what, f"{why}, so the value of {place.what} is not known: give it", place.line
        )

    def _variable(self, inner: str, place: Place) -> Value:
        """`source:address, alternative, ...`: the first that has a value."""
        if inner in self._open or len(self._open) > _DEEPEST:
            return self._gap(inner, place, f"${{{inner}}} is made of itself")
        self._open.add(inner)
        try:
            last = ""
            alternatives = _alternatives(inner)
            for number, each in enumerate(alternatives):
                rest = alternatives[number + 1 :]
                try:
                    return self._alternative(each.strip(), rest, place)
                except _Missing as fault:
                    last = str(fault)
            return self._gap(inner, place, last or f"${{{inner}}} has no value")
        finally:
            self._open.discard(inner)

    def _alternative(self, text: str, rest: list[str], place: Place) -> Value:
        if quoted := _QUOTED.fullmatch(text):
            return self.resolve(quoted["text"], place)
        if text in _WORDS:
            return _WORDS[text]
        if re.fullmatch(r"-?[0-9]+", text):
            return int(text)
        whole = text_of(self.resolve(text, place)) if "${" in text else text
        if isinstance(whole, Text):
            raise _Missing(whole.gaps[0].reason.partition(":")[0])
        found = _SOURCE.fullmatch(whole)
        if found is None:
            if whole == text:
                raise _Missing(f"{text} is no variable")
            return whole
        return self._source(found["source"], found["address"].strip(), rest, place)

    def _source(self, source: str, address: str, rest: list[str], place: Place) -> Value:
        match source:
            case "self":
                return self._own(address, place)
            case "opt" | "param" | "sls" | "aws" if (known := self._known(source, address, place)) is not None:
                return known
            case "env":
                return self._environment(address, rest, place)
            case _ if source in _AT_AWS and not rest:
                shown = f"${{{source}:{address}}}"
                return self.gaps.make(
                    shown, address.rpartition("/")[2] or address, f"{shown} is not looked up: give what it comes to", place.line
                )
            case _:
                raise _Missing(f"${{{source}:{address}}} has no value")

    def _own(self, address: str, place: Place) -> Value:
        value: Value = self.root
        for step in address.split(".") if address else []:
            if isinstance(value, str) and "${" in value:
                value = self.resolve(value, place)
            if isinstance(value, Items) and step.isdecimal() and int(step) < len(value):
                value = value[int(step)]
            elif isinstance(value, Block) and value.get(step) is not None:
                value = value[step]
            elif address == "provider.stage":
                return "dev"
            else:
                raise _Missing(f"${{self:{address}}} is not in the file")
        return self.resolve(value, place) if address else value

    def _known(self, source: str, address: str, place: Place) -> Value:
        given = self.given
        options: dict[str, Value] = {"stage": given.stage, "region": given.region}
        match source, address:
            case "opt", _:
                return options.get(address) or given.parameters.get(address)
            case "sls", "stage":
                return given.stage or self._own("provider.stage", place)
            case "aws", "region":
                return given.region or self._gap_of("AWS::Region", "the region is not given", place, SAMPLE_REGION)
            case "aws", "accountId":
                return given.account or self._gap_of("AWS::AccountId", "the account is not given", place, SAMPLE_ACCOUNT)
            case "param", _:
                return self._parameter(address, place)
            case _:
                return None

    def _gap_of(self, name: str, why: str, place: Place, sample: str) -> Text:
        return self.gaps.make(name, name, f"{why}: give it, or the option", place.line, stand_in=sample, word=True)

    def _parameter(self, name: str, place: Place) -> Value:
        if name in self.given.parameters:
            return self.given.parameters[name]
        params, stage = self.root.block("params"), self.stage
        stages = self.root.block("stages")
        for block in (
            params.block(str(stage)),
            stages.block(str(stage)).block("params"),
            params.block("default"),
            stages.block("default").block("params"),
        ):
            if block.get(name) is not None:
                return self.resolve(block[name], place)
        return None

    def _environment(self, name: str, rest: list[str], place: Place) -> Value:
        """As the worker's own reference, with a literal alternative as its default."""
        literal = _QUOTED.fullmatch(rest[0].strip()) if rest else None
        default = (
            literal["text"] if literal else (rest[0].strip() if rest and re.fullmatch("-?[0-9]+", rest[0].strip()) else None)
        )
        if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name) or (rest and (default is None or re.search(r"[}$]", default))):
            raise _Missing(f"${{env:{name}}} is not looked up here")
        reason = f"${{env:{name}}} is looked up when the worker starts: give it"
        self.gaps.origins.setdefault(name, f"env {name}")
        return Text((Gap(name=name, default=default, reason=reason, line=place.line, stand_in=default or ""),))


def _pieces(text: str) -> list[tuple[str, bool]]:
    """Literal parts, and what stands inside of each outer `${...}`."""
    found: list[tuple[str, bool]] = []
    start = 0
    while (begin := text.find("${", start)) >= 0:
        end = _closing(text, begin + 2)
        if end is None:
            break
        if begin > start:
            found.append((text[start:begin], False))
        found.append((text[begin + 2 : end], True))
        start = end + 1
    if start < len(text) or not found:
        found.append((text[start:], False))
    return found


def _closing(text: str, position: int) -> int | None:
    depth = 1
    while position < len(text):
        if text.startswith("${", position):
            depth += 1
            position += 1
        elif text[position] == "}":
            depth -= 1
            if depth == 0:
                return position
        position += 1
    return None


def _alternatives(inner: str) -> list[str]:
    """Cut at commas that stand neither inside quotes, nor brackets, nor another variable."""
    found = [""]
    depth, quote = 0, ""
    for sign in inner:
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "\"'":
            quote = sign
        elif sign in "{(":
            depth += 1
        elif sign in "})":
            depth -= 1
        if sign == "," and depth == 0 and not quote:
            found.append("")
        else:
            found[-1] += sign
    return found
