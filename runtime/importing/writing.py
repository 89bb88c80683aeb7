"""A draft as the text of `esm.yaml`, with comments that say where each block comes from.

What a file says between `${` and `}` is a reference, so literal ones are written `$${`; gaps are references.
"""

import re
from collections.abc import Iterator
from typing import Final

import yaml

from runtime.importing.findings import Draft
from runtime.importing.values import Block, Gap, Items, Text, Value, parts_of

_PLAIN: Final = re.compile(r"[A-Za-z./$][A-Za-z0-9_./:@${}*=+-]*[A-Za-z0-9_}/*]|[A-Za-z]")
_NUMBERLIKE: Final = re.compile(r"\.[0-9].*")
"""Numbers of YAML 1.2 that YAML 1.1 takes for text (`.5e3`) and that begin like a plain word."""
_IN_LIST: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_SINGLE: Final = re.compile(r"[\x20-\x7e\xa1-\u2027\u202a-\ud7ff\ue000-\ufdcf\ufdf0-\ufefe\uff00-\ufffd]*")
_ESCAPES: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_RESOLVER: Final = yaml.resolver.Resolver()
_TEXT_TAG: Final = "tag:yaml.org,2002:str"
_BMP: Final = 0xFFFF
_LATIN: Final = 0xFF


def written(draft: Draft, *, header: tuple[str, ...] = ()) -> str:
    """The whole file. `header`: lines of comment at its top."""
    return "\n".join(_lines(draft, header)) + "\n"


def scalar_text(value: str | Text) -> str:
    """A text as a file holds it: gaps are references, and nothing else is."""
    return "".join(part.reference if isinstance(part, Gap) else part.replace("${", "$${") for part in parts_of(value))


def _lines(draft: Draft, header: tuple[str, ...]) -> Iterator[str]:
    yield from (_comment(line) for line in header)
    if draft.gaps:
        yield "# To be given, as environment variables:"
    for gap in draft.gaps:
        yield _comment(f"- {gap.name}: {gap.reason}")
    yield "functions:" if draft.functions else "functions: {}"
    for function in draft.functions:
        yield _comment(f"  # {_place(draft.file, function.line, function.origin)}", indent="  ")
        yield f"  {_key(function.key)}:"
        yield from _block(function.properties, "    ")
    yield "mappings:" if draft.mappings else "mappings: []"
    for mapping in draft.mappings:
        yield _comment(f"  # {_place(draft.file, mapping.line, mapping.origin)}", indent="  ")
        first, *others = _block(mapping.properties, "    ")
        yield f"  - {first[4:]}"
        yield from others


def _place(file: str, line: int, origin: str) -> str:
    place = f"{file}:{line}" if line else file
    return f"{origin}, {place}" if origin else place


def _comment(text: str, indent: str = "") -> str:
    clean = "".join(sign if sign.isprintable() else "?" for sign in text.strip().removeprefix("# "))
    return f"{indent}# {clean}".rstrip()


def _block(block: Block, indent: str) -> Iterator[str]:
    for key, value in block.items():
        match value:
            case Block() if value:
                yield f"{indent}{_key(key)}:"
                yield from _block(value, indent + "  ")
            case Items() if value and not _short(value):
                yield f"{indent}{_key(key)}:"
                yield from _items(value, indent + "  ")
            case _:
                yield f"{indent}{_key(key)}: {_inline(value)}"


def _items(items: Items, indent: str) -> Iterator[str]:
    for each in items:
        if isinstance(each, Block) and each:
            first, *others = _block(each, indent + "  ")
            yield f"{indent}- {first[len(indent) + 2 :]}"
            yield from others
        elif isinstance(each, Items) and each:
            yield f"{indent}-"
            yield from _items(each, indent + "  ")
        else:
            yield f"{indent}- {_inline(each)}"


def _short(items: Items) -> bool:
    return all(isinstance(each, str) and _IN_LIST.fullmatch(each) and _is_text(each) for each in items)


def _inline(value: Value) -> str:
    match value:
        case bool() | int() | float():
            return str(value).lower()
        case str() | Text():
            return _quoted(scalar_text(value))
        case Items():
            return f"[{', '.join(_inline(each) for each in value)}]"
        case Block():
            return "{}"
        case _:
            return "null"


def _key(key: str) -> str:
    return _quoted(key)


def _quoted(text: str) -> str:
    """As few quotes as the text allows."""
    if _PLAIN.fullmatch(text) and _is_text(text):
        return text
    if _SINGLE.fullmatch(text):
        return "'" + text.replace("'", "''") + "'"
    return '"' + "".join(_escaped(sign) for sign in text) + '"'


def _is_text(text: str) -> bool:
    """YAML of either version takes the unquoted word for text."""
    tag = _RESOLVER.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]  # the stubs leave it untyped
    return tag == _TEXT_TAG and not _NUMBERLIKE.fullmatch(text)


def _escaped(sign: str) -> str:
    if sign in _ESCAPES:
        return _ESCAPES[sign]
    if _SINGLE.fullmatch(sign):
        return sign
    number = ord(sign)
    return f"\\x{number:02x}" if number <= _LATIN else (f"\\u{number:04x}" if number <= _BMP else f"\\U{number:08x}")
