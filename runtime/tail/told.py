"""What is told of a source that is looked at: its records, what happens to it, and what is wrong, once per change."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import anyio

from pollers.errors import PositionTrimmed, SourceError
from pollers.record import Record
from runtime.core.backoff import backoff
from runtime.patience import Waiting

_BASE: Final = 0.5
_CAP: Final = 20.0
_JITTER: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Records that came together; never empty."""

    records: Sequence[Record]
    shard: str = ""
    """Empty for queues."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """What happened to a shard, or to the whole source."""

    text: str
    shard: str = ""
    trouble: bool = False


Tell: TypeAlias = Callable[[Page | Remark], None]
"""Must not wait."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong with a source, however many ask it: it is tried again for ever, and the same is told once."""

    tell: Tell
    over: str
    """What is told when everybody is answered again."""
    codes: dict[str, str] = field(default_factory=dict)
    """Those that were met last, by who is not answered."""

    def of(self, who: str) -> Waiting:
        """`who`: a shard; empty for the source itself."""
        return _Asker(self, who)


class _Asker:
    """One of them, as a `Waiting`."""

    def __init__(self, trouble: Trouble, who: str) -> None:
        self._trouble = trouble
        self._who = who
        self._failures = 0

    async def wait(self, error: SourceError) -> None:
        codes = self._trouble.codes
        if not isinstance(error, PositionTrimmed) and codes.get(self._who) != error.code:  # a gap is told as such
            if error.code not in codes.values():
                self._trouble.tell(Remark(shard=self._who, text=f"{error}; it is tried again", trouble=True))
            codes[self._who] = error.code
        self._failures += 1
        await anyio.sleep(backoff(self._failures, base=_BASE, cap=_CAP, jitter=_JITTER))

    def reset(self) -> None:
        self._failures = 0
        if self._trouble.codes.pop(self._who, None) is not None and not self._trouble.codes:
            self._trouble.tell(Remark(text=self._trouble.over))
