"""What the lines of both kinds of tail have in common: times, sizes, durations, places, and text that is safe on a terminal."""

import re
from datetime import datetime
from typing import Final

_KINESIS_SHARD: Final = re.compile(r"shardId-0*([0-9]+)")
_TAIL: Final = 8
"""Characters by which the shards of a table differ."""
_KIB: Final = 1024
_MINUTE: Final = 60


def clock_time(at: float) -> str:
    """`at` in epoch seconds, in the user's own zone."""
    return f"{datetime.fromtimestamp(at).astimezone():%H:%M:%S.%f}"[:-3]


def size(count: int) -> str:
    if count < _KIB:
        return f"{count} B"
    return f"{count / _KIB:.1f} KiB" if count < _KIB * _KIB else f"{count / _KIB / _KIB:.1f} MiB"


def seconds(count: float | None) -> str:
    if count is None:
        return ""
    if count < 1:
        return f"{count * 1000:.0f} ms" if count >= 0.01 else f"{count * 1000:.1f} ms"  # noqa: PLR2004  # below, a digit more
    return f"{count:.2f} s" if count < _MINUTE else span(count)


def span(count: float) -> str:
    """A longer time, in its two largest units."""
    whole = int(count)
    days, hours, minutes = whole // 86_400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"


def short_shard(shard: str) -> str:
    """What tells it from the other shards of its stream."""
    found = _KINESIS_SHARD.fullmatch(shard)
    return f"shard {found[1]}" if found else f"…{shard[-_TAIL:]}" if len(shard) > _TAIL else shard


def counted(number: int, thing: str) -> str:
    plural = f"{thing[:-1]}ies" if thing.endswith("y") else f"{thing}es" if thing.endswith("ch") else f"{thing}s"
    return f"{number:,} {thing if number == 1 else plural}"


def printable(text: str) -> str:
    """Without anything that a terminal would obey: what comes from elsewhere is shown and not carried out."""
    if text.isprintable():
        return text
    return "".join([each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text])
