"""`${NAME}` and `${NAME:-default}` in the values of the file.

As in a shell, the default stands in for a variable that is unset or empty; `${NAME}` alone takes an empty one as it is. `$${`
is a literal `${`. What comes in is not expanded again, and defaults do not nest. The same rule holds everywhere,
`Environment.Variables` included: there, what the function itself shall see as `${NAME}` is written `$${NAME}`.
"""

import re
from collections.abc import Mapping
from typing import Final

_REFERENCE: Final = re.compile(r"\$\$\{|\$\{(?P<inner>[^}]*)(?P<end>\}?)")
_INNER: Final = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>.*))?", re.DOTALL)


class ExpansionError(Exception):
    """A reference cannot be replaced; the text says why and what to do."""


def expand(text: str, environ: Mapping[str, str]) -> str:
    """The text with its references replaced. Raises `ExpansionError`."""
    return _REFERENCE.sub(lambda found: _replacement(found, environ), text)


def _replacement(found: re.Match[str], environ: Mapping[str, str]) -> str:
    if found[0] == "$${":
        return "${"
    inner = _INNER.fullmatch(found["inner"])
    if not found["end"]:
        raise ExpansionError("a ${ is not closed: add the }, or write $${ for a literal ${")
    if inner is None:
        raise ExpansionError(
            f"{found[0]!a} names no environment variable: write ${{NAME}} or ${{NAME:-default}}, or $${{ for a literal ${{"
        )
    default: str | None = inner["default"]
    if default is not None and "${" in default:
        raise ExpansionError(f"the default of {inner['name']} holds another ${{: defaults cannot be nested")
    value = environ.get(inner["name"])
    if default is not None:
        return value or default
    if value is None:
        raise ExpansionError(
            f"the environment variable {inner['name']} is not set: set it, or give a default, ${{{inner['name']}:-default}}"
        )
    return value
