"""YAML nodes against the types of `schema`: every wrong value is a problem with its own line, and reading goes on behind it."""

from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final, Generic, TypeVar

import yaml
from msgspec import Struct, inspect

from runtime.config.nodes import Entry, Report, intrinsic_of, read_entries, read_items
from runtime.config.problems import shown, suggestion
from runtime.config.scalars import Wrong, checked_text, examples, read_scalar, shape_of, typed

T = TypeVar("T", bound=Struct)

_BAD: Final = object()
"""Stands for a value that is wrong and has been reported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block(Generic[T]):
    """A block of the file as its type."""

    value: T
    """Keys that are absent or wrong hold their default; required ones hold an empty text."""
    line: int
    lines: dict[str, int]
    """Line of every key that was given, by its path (`ScalingConfig.MaximumConcurrency`)."""
    bad: frozenset[str]
    """Paths of the keys that are wrong or missing, and of those around them: other rules about them have nothing to say."""
    readable: bool = True
    """False when it was no block at all; then every key is in `bad`."""
    strangers: dict[str, Entry] = field(default_factory=dict)
    """Keys, by their path, that the caller wanted to judge itself."""

    def line_of(self, *path: str) -> int:
        """The line of a key, or that of the block when the key was not given."""
        return self.lines.get(".".join(path), self.line)

    def sound(self, *keys: str) -> bool:
        """None of these keys is wrong."""
        return self.bad.isdisjoint(keys)


def read_block(
    report: Report,
    entry: Entry,
    kind: type[T],
    *,
    name: str,
    strangers: Collection[str] = (),
    silent: Collection[str] = (),
) -> Block[T]:
    """Read a block as `kind`. `strangers`, by path, are handed back unread; of missing keys in `silent` the caller speaks itself.

    A key of `kind` can be a stranger too; it has its default then.
    """
    info = _struct(kind)
    reading = _Reading(report=report, name=name, strangers=strangers, silent=silent)
    value = reading.value(entry, info, ())
    readable = value is not _BAD
    if not readable:
        reading.bad.update(item.encode_name for item in info.fields)
        value = _filled(info, {})
    return Block(
        value=value,
        line=entry.line,
        lines=reading.lines,
        bad=frozenset(reading.bad),
        readable=readable,
        strangers=reading.found_strangers,
    )


def peek(report: Report, entry: Entry, key: str) -> str | None:
    """The text of one key, ahead of reading its block; None when it has none that can be read. Reports nothing."""
    found = (read_entries(report.part(), entry, "") or {}).get(key)
    if found is None:
        return None
    try:
        return read_scalar(found.node, report.environ, key).text
    except Wrong:
        return None


def is_name(report: Report, key: str, entry: Entry, kind: Any, name: str) -> bool:
    """Whether a key that the user made up has the shape of `kind` (an annotated `str`); reports it if not."""
    return _Reading(report=report, name=name).key(key, entry, inspect.type_info(kind), name)


@cache  # a file reads each type many times
def _struct(kind: type) -> inspect.StructType:
    info = inspect.type_info(kind)
    if not isinstance(info, inspect.StructType):
        raise TypeError(f"{info} is not the type of a block")
    return info


def _filled(info: inspect.StructType, values: dict[str, Any]) -> Any:
    """An instance of the type; required fields without a value hold an empty text."""
    missing = {item.name: "" for item in info.fields if item.required and item.name not in values}
    return info.cls(**missing, **values)


def _unwrapped(kind: inspect.Type) -> tuple[inspect.Type, dict[str, Any]]:
    """The type without its description, and the description."""
    extra: dict[str, Any] = {}
    while isinstance(kind, inspect.Metadata):
        extra |= {**(kind.extra_json_schema or {}), **(kind.extra or {})}
        kind = kind.type
    return kind, extra


@dataclass(slots=True, kw_only=True)
class _Reading:
    """Reads one block. What is wrong is reported once, where it is found, and then is `_BAD`."""

    report: Report
    name: str
    strangers: Collection[str] = ()
    silent: Collection[str] = ()
    lines: dict[str, int] = field(default_factory=dict)
    bad: set[str] = field(default_factory=set)
    found_strangers: dict[str, Entry] = field(default_factory=dict)

    def value(self, entry: Entry, kind: inspect.Type, path: tuple[str, ...]) -> Any:
        kind, extra = _unwrapped(kind)
        name = ".".join(path) or self.name
        if word := intrinsic_of(entry.node):
            advice = f"write the value itself{examples(extra)}"
            return self.wrong(entry, f"{name} uses {shown(word)}, which only CloudFormation can resolve: {advice}")
        if isinstance(kind, inspect.UnionType) and any(isinstance(one, inspect.DictType) for one in kind.types):
            shape = inspect.ListType if isinstance(entry.node, yaml.SequenceNode) else inspect.DictType
            kind = next(one for one in kind.types if isinstance(one, shape))
        match kind:
            case inspect.StructType():
                return self.struct(entry, kind, path)
            case inspect.DictType():
                return self.dictionary(entry, kind, path)
            case inspect.ListType():
                return self.sequence(entry, kind, path)
        try:
            if "shape" in extra and not isinstance(entry.node, yaml.ScalarNode):
                raise Wrong(f"{name} is {shape_of(entry.node)}, but it {extra['shape']}{examples(extra)}")  # noqa: TRY301  # told like the others
            return typed(read_scalar(entry.node, self.report.environ, name), kind, path, extra)
        except Wrong as fault:
            return self.wrong(entry, str(fault))

    def struct(self, entry: Entry, kind: inspect.StructType, path: tuple[str, ...]) -> Any:
        entries = read_entries(self.report, entry, ".".join(path) or self.name)
        if entries is None:
            return _BAD
        fields = {item.encode_name: item for item in kind.fields}
        values: dict[str, Any] = {}
        for key, found in entries.items():
            inner = (*path, key)
            self.lines[".".join(inner)] = found.line
            if ".".join(inner) in self.strangers:
                self.found_strangers[".".join(inner)] = found
            elif key in fields:
                value = self.value(found, fields[key].type, inner)
                if value is _BAD:
                    self.spoil(inner)
                else:
                    values[fields[key].name] = value
            else:
                known = [field for field in fields if ".".join((*path, field)) not in self.strangers]
                advice = suggestion(key, known) or f" the keys here are {', '.join(known)}"
                self.wrong(found, f"unknown key {shown('.'.join(inner))}:{advice}")
        for key, item in fields.items():
            if item.required and key not in entries:
                self.missing(entry, (*path, key), item.type)
        return _filled(kind, values)

    def missing(self, entry: Entry, path: tuple[str, ...], kind: inspect.Type) -> None:
        self.spoil(path)
        if path[-1] not in self.silent:
            self.wrong(entry, f"{'.'.join(path)} is missing: give it a value{examples(_unwrapped(kind)[1])}")

    def dictionary(self, entry: Entry, kind: inspect.DictType, path: tuple[str, ...]) -> Any:
        name = ".".join(path)
        entries = read_entries(self.report, entry, name)
        if entries is None:
            return _BAD
        values: dict[str, Any] = {}
        for key, found in entries.items():
            inner = (*path, key)
            self.lines[".".join(inner)] = found.line
            fit = self.key(key, found, kind.key_type, name)
            value = self.value(found, kind.value_type, inner)
            if value is _BAD or not fit:
                self.spoil(inner)
            else:
                values[key] = value
        return values

    def key(self, key: str, entry: Entry, kind: inspect.Type, name: str) -> bool:
        kind, extra = _unwrapped(kind)
        label = f"the name {shown(key)!r} in {name}"
        if isinstance(kind, inspect.StrType):
            try:
                checked_text(key, kind, label, label, extra)
            except Wrong as fault:
                self.wrong(entry, str(fault))
                return False
        return True

    def sequence(self, entry: Entry, kind: inspect.ListType, path: tuple[str, ...]) -> Any:
        name = ".".join(path)
        items = read_items(self.report, entry, name)
        if items is None:
            return _BAD
        if kind.max_length is not None and len(items) > kind.max_length:
            return self.wrong(entry, f"{name} holds {len(items)} items, but {kind.max_length} is the most: remove the others")
        values = [self.value(item, kind.item_type, (*path, str(number))) for number, item in enumerate(items)]
        return _BAD if any(value is _BAD for value in values) else values

    def spoil(self, path: tuple[str, ...]) -> None:
        self.bad.update(".".join(path[:depth]) for depth in range(1, len(path) + 1))

    def wrong(self, entry: Entry, message: str) -> Any:
        self.report.problem(entry.line, message)
        return _BAD
