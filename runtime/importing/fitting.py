"""Values as the types of `esm.yaml` ask for them: CloudFormation also takes `"10"` for a number and `"true"` for a boolean."""

import re
from collections.abc import Callable
from typing import Final

from msgspec import inspect

from runtime.importing.findings import Findings
from runtime.importing.values import NO_VALUE, Block, Items, Place, Text, Value

_INTEGER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,18})")
_BOOLEANS: Final = {"true": True, "false": False}


def fitted(value: Value, kind: inspect.Type, place: Place, findings: Findings) -> Value:
    """The value, or NO_VALUE when its key is to be left out. What does not fit stays as it is: the check of the file names it."""
    while isinstance(kind, inspect.Metadata):
        kind = kind.type
    if isinstance(value, Text) and _is_block(kind):
        findings.leave_out(
            place.line, place.what, f"{value.gaps[0].reason.partition(':')[0]}, and it is no single value: add it by hand"
        )
        return NO_VALUE
    return NO_VALUE if value is None else _fitted(value, kind, place, findings)


def _fitted(value: Value, kind: inspect.Type, place: Place, findings: Findings) -> Value:
    match kind:
        case inspect.StructType() if isinstance(value, Block):
            kinds = {item.encode_name: item.type for item in kind.fields}
            return _block(value, kinds.get, place, findings)
        case inspect.DictType() if isinstance(value, Block):
            inner = kind.value_type
            return _block(value, lambda _: inner, place, findings)
        case inspect.ListType() if isinstance(value, Items):
            return _items(value, kind.item_type, place, findings)
        case inspect.UnionType() if not isinstance(value, Block | Items):
            return value
        case _:
            return _scalar(value, kind)


def _is_block(kind: inspect.Type) -> bool:
    if isinstance(kind, inspect.UnionType):
        return any(_is_block(each) for each in kind.types)
    return isinstance(kind, inspect.StructType | inspect.DictType | inspect.ListType)


def _block(value: Block, kind_of: Callable[[str], inspect.Type | None], place: Place, findings: Findings) -> Block:
    found = Block()
    for key, inner in value.items():
        line, kind = value.line(key, place.line), kind_of(key)
        fit = inner if kind is None else fitted(inner, kind, place.inner(key, line), findings)
        if fit is not NO_VALUE and fit is not None:
            found.put(key, fit, line)
    return found


def _items(value: Items, kind: inspect.Type, place: Place, findings: Findings) -> Items:
    pairs = []
    for index, inner in enumerate(value):
        line = value.line(index, place.line)
        fit = fitted(inner, kind, place.inner(str(index), line), findings)
        if fit is not NO_VALUE:
            pairs.append((fit, line))
    return Items([each for each, _ in pairs], tuple(line for _, line in pairs))


def _scalar(value: Value, kind: inspect.Type) -> Value:
    match kind, value:
        case (inspect.IntType(), str()) if _INTEGER.fullmatch(value):
            return int(value)
        case (inspect.IntType(), float()) if value.is_integer():
            return int(value)
        case (inspect.BoolType(), str()) if value.lower() in _BOOLEANS:
            return _BOOLEANS[value.lower()]
        case (inspect.StrType(), bool()):
            return str(value).lower()
        case (inspect.StrType(), int() | float()):
            return str(value)
        case _:
            return value
