"""What a person reads of a redrive, and the same as JSON."""

from functools import cached_property
from typing import Any, Final

from runtime.redrive.entries import Entry, Fate
from runtime.redrive.redriver import Redriver
from runtime.replay import show

_HOUR: Final = 3600
_MINUTE: Final = 60
_DAY: Final = 86_400
_MOST: Final = 200
"""Messages that are told one by one."""


class Summary:
    """Of a redrive that has ended."""

    def __init__(self, redriver: Redriver, *, took: float, command: show.CommandFor) -> None:
        """`took`: seconds; `command`: how to run a failing record alone."""
        self._entries = redriver.entries
        self._report = redriver.report
        self._keep = redriver.keep
        self._partial = redriver.place.partial if redriver.dry_run or redriver.keep else ""
        self._took = took
        self._command = command
        self._counts = {fate: sum(entry.fate is fate for entry in self._entries) for fate in Fate}

    @property
    def right(self) -> bool:
        """All that there was is done, or listed."""
        report = self._report
        return not (self._counts[Fate.FAILED] or self._counts[Fate.KEPT] or report.problems or report.stopped)

    @cached_property
    def document(self) -> dict[str, Any]:
        return {
            "right": self.right,
            "messages": {fate.value: count for fate, count in self._counts.items()},
            "entries": [_as_json(entry) for entry in self._entries],
            "replay": show.as_json(self._report, took=self._took, command=self._command),
        }

    @cached_property
    def lines(self) -> list[str]:
        told = ", ".join(f"{count} {fate}" for fate, count in self._counts.items() if count) or "there is none"
        deleted = " (nothing was deleted: --keep)" if self._keep else ""
        lines = [f"{len(self._entries)} message{'s' * (len(self._entries) != 1)}: {told}{deleted}"]
        shown = [entry for entry in self._entries if entry.fate is not Fate.DONE]
        lines += map(_line, shown[:_MOST])
        if len(shown) > _MOST:
            lines.append(f"  and {len(shown) - _MOST} more (--json lists them)")
        if self._partial:
            lines.append(self._partial)
        if self._report.read:
            return [*lines, "", *show.summary(self._report, took=self._took, command=self._command)]
        problems = show.problems(self._report)
        lines += ["", "problems", *(f"  {each}" for each in problems)] if problems else []
        return lines + (["", "stopped before the end"] if self._report.stopped else [])


def _line(entry: Entry) -> str:
    what = f"{entry.records} record{'s' * (entry.records != 1)}" if entry.records else ""
    if entry.pointed is not None:
        what += f" of {entry.pointed.shard} from {entry.pointed.first}, {entry.pointed.condition}"
        what += ", carried with it" if entry.pointed.carries else ""
        what += f", {_time_left(entry.left)}" if entry.left is not None else ""
    told = ": ".join(part for part in (entry.message.name, what, entry.why) if part)
    return show.one_line(f"  {entry.fate}  {told}")


def _time_left(seconds: float) -> str:
    if seconds <= 0:
        return f"left the stream about {_duration(-seconds)} ago"
    return f"kept for about {_duration(seconds)} more"


def _duration(seconds: float) -> str:
    if seconds >= 2 * _DAY:
        return f"{seconds / _DAY:.1f} days"
    return f"{seconds / _HOUR:.1f} hours" if seconds >= _HOUR else f"{seconds / _MINUTE:.0f} minutes"


def _as_json(entry: Entry) -> dict[str, Any]:
    found: dict[str, Any] = {"message": entry.message.name, "fate": entry.fate.value, "why": entry.why}
    found |= {"records": entry.records, "secondsLeft": entry.left}
    if entry.pointed is not None:
        found |= {
            "streamArn": entry.pointed.stream_arn,
            "shard": entry.pointed.shard,
            "first": entry.pointed.first,
            "last": entry.pointed.last,
            "condition": entry.pointed.condition,
        }
    return found
