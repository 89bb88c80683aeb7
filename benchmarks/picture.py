"""The speed rows as a picture: for each work, bars of CPU per 100,000 records. `python -m benchmarks.picture` draws latest.json.

The bars of one work share a scale, those of two do not: Kinesis would not be seen beside SQS. The picture brings its own
background, so that it reads the same on a light and on a dark page.
"""

import json
from collections.abc import Sequence
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from benchmarks.goals import fraction
from benchmarks.scenarios import CLIENT_NAMES

_WIDTH: Final = 860
_LEFT: Final = 190
"""Where bars begin."""
_BAR: Final = 400
"""Width of the longest."""
_LINE: Final = 20
_THICK: Final = 13
_HEAD: Final = 28
"""Height of the title of a work."""
_TOP: Final = 66
_MARGIN: Final = 20
_COLOURS: Final = {"plain": "#8b98a9", "sqs-consumer": "#c8a24a", "sdk": "#4f8fd6", "lean": "#3fb27f"}
_STYLE: Final = (
    "text{font-family:system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif;font-size:13px;fill:#c9d4e0}"
    ".title{font-size:16px;font-weight:600;fill:#f2f6fa}.note{font-size:12px;fill:#9fb0c1}.work{font-weight:600;fill:#f2f6fa}"
    ".name{text-anchor:end}"
)


def draw_speed(rows: Sequence[dict[str, Any]]) -> str:
    """An SVG of rows as they are in latest.json; those of one work stand together.

    A work that has no plain loop of its own is shown beside that which it is compared with.
    """
    body: list[str] = []
    y = _TOP
    by_key = {row["key"]: row for row in rows}
    for work, group in groupby(rows, key=lambda row: row["work"]):
        members = sorted(group, key=lambda row: row["client"] != "plain")  # measured in another order
        plain = by_key.get(members[0]["plain"])
        if plain and plain not in members:
            members.insert(0, {**plain, "name": f"plain loop (batch {plain['batch']:,})"})
        longest = max(row["cpu_per_100k"] for row in members)
        body.append(_text(_MARGIN, y + _HEAD - 10, work, "work"))
        y += _HEAD
        for row in members:
            body.append(_bar(row, y, longest))
            y += _LINE
        y += 4
    height = y + _MARGIN
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}" role="img">',
        "<title>CPU seconds per 100,000 records, by work and client</title>",
        f"<style>{_STYLE}</style>",
        f'<rect width="{_WIDTH}" height="{height}" rx="10" fill="#18212c"/>',
        _text(_MARGIN, 30, "CPU seconds per 100,000 records", "title"),
        _text(_MARGIN, 50, "Shorter is better. Each work has its own scale; ratios are to the plain loop of the run.", "note"),
    ]
    return "\n".join([*head, *body, "</svg>"]) + "\n"


def _bar(row: dict[str, Any], y: int, longest: float) -> str:
    cpu, client = row["cpu_per_100k"], row["client"]
    width = max(1.5, cpu / longest * _BAR)
    middle = y + _LINE / 2
    label = f"{cpu:.2f}"
    if row["ratio_to_plain"]:
        label += f"   {fraction(row['ratio_to_plain']['median'])} of plain"
    return "".join([
        _text(_LEFT - 10, middle + 4.5, row.get("name") or CLIENT_NAMES[client], "name"),
        f'<rect x="{_LEFT}" y="{middle - _THICK / 2:g}" width="{width:.1f}" height="{_THICK}" rx="2" fill="{_COLOURS[client]}"/>',
        _text(_LEFT + width + 8, middle + 4.5, label),
    ])  # fmt: skip


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    mark = f' class="{kind}"' if kind else ""
    return f'<text x="{x:g}" y="{y:g}"{mark} xml:space="preserve">{escape(text)}</text>'


def main() -> None:
    results = Path(__file__).resolve().parent / "results"
    rows = json.loads((results / "latest.json").read_text())["rows"]
    (results / "latest.svg").write_text(draw_speed(rows))


if __name__ == "__main__":
    main()
