"""The names of what is missing: one environment variable for each value, and no two values under one name."""

import re
from dataclasses import dataclass, field
from typing import Final

from runtime.importing.values import Gap, Text

_SEAM: Final = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z0-9])(?=[A-Z][a-z])")
_LONGEST: Final = 100


def variable_name(words: str) -> str:
    """`OrdersQueue.Arn` -> `ORDERS_QUEUE_ARN`."""
    name = re.sub(r"[^A-Za-z0-9]+", "_", _SEAM.sub("_", words)).strip("_").upper()[:_LONGEST] or "VALUE"
    return f"_{name}" if name[0].isdigit() else name


@dataclass(slots=True, kw_only=True)
class Gaps:
    """Gives names, the first come first."""

    origins: dict[str, str] = field(default_factory=dict)
    """Name -> what it stands for."""

    def make(self, origin: str, words: str, reason: str, line: int, *, stand_in: str = "", word: bool = False) -> Text:
        """`origin`: what is missing; the same origin has the same name. `words`: what the name is made of."""
        name = first = variable_name(words)
        number = 1
        while self.origins.setdefault(name, origin) != origin:
            number += 1
            name = f"{first}_{number}"
        return Text((Gap(name=name, reason=reason, line=line, stand_in=stand_in, word=word),))
