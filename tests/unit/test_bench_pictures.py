"""The picture of the speed rows and the flame graph."""

import re
from typing import Any
from xml.etree import ElementTree as ET

from benchmarks.flame import flame_svg, read_stacks, top_lines
from benchmarks.picture import draw_speed

_SVG = "{http://www.w3.org/2000/svg}"


def row(work: str, client: str, cpu: float, *, plain: str = "", ratio: float | None = None) -> dict[str, Any]:
    found = None if ratio is None else {"median": ratio}
    key = f"{work}/{client}"
    return {
        "key": key, "work": work, "client": client, "cpu_per_100k": cpu, "plain": plain, "ratio_to_plain": found, "batch": 10
    }  # fmt: skip


def bars(svg: str) -> list[float]:
    """Their widths, from the top; the background is the first rectangle."""
    return [float(rect.get("width", "")) for rect in ET.fromstring(svg).iter(f"{_SVG}rect")][1:]  # noqa: S314  # our own


def texts(svg: str) -> list[str]:
    return ["".join(text.itertext()) for text in ET.fromstring(svg).iter(f"{_SVG}text")]  # noqa: S314  # our own


def test_the_bars_of_a_work_are_in_proportion_and_each_work_has_its_own_scale() -> None:
    svg = draw_speed(
        [row("a", "plain", 10), row("a", "lean", 1, ratio=0.1), row("b <i>", "plain", 0.5), row("b <i>", "sdk", 0.25)]
    )
    first, second, third, fourth = bars(svg)
    assert first == third
    assert (second, fourth) == (first / 10, first / 2)


def test_the_plain_loop_comes_first_whatever_was_measured_first() -> None:
    whole, half, _ = bars(draw_speed([row("a", "sdk", 5, ratio=0.5), row("a", "plain", 10), row("a", "lean", 1, ratio=0.1)]))
    assert half == whole / 2


def test_figures_ratios_and_names_are_written_out() -> None:
    shown = texts(draw_speed([row("a <i>", "plain", 10), row("a <i>", "lean", 1, ratio=0.1)]))
    assert {"a <i>", "worker, client: lean", "1.00   1/10.0 of plain", "10.00"} <= set(shown)


def test_a_work_without_a_plain_loop_borrows_the_bar_of_its_yardstick() -> None:
    svg = draw_speed([row("a", "plain", 10, plain="a/plain"), row("b", "lean", 5, plain="a/plain", ratio=0.5)])
    own, borrowed, lean = bars(svg)
    assert (own, lean) == (borrowed, borrowed / 2)
    assert "plain loop (batch 10)" in texts(svg)


def test_everything_is_within_the_picture() -> None:
    svg = draw_speed([row(f"work {number}", "plain", 1) for number in range(20)])
    root = ET.fromstring(svg)  # noqa: S314  # our own
    lowest = max(float(text.get("y", "")) for text in root.iter(f"{_SVG}text"))
    assert lowest < float(root.get("height", ""))


_RAW = """\
<module> (runtime/__main__.py:6);run (/srv/x/.venv/lib/python3.11/site-packages/anyio/_core/_eventloop.py:74);poll (pollers/sqs.py:9) 30
<module> (runtime/__main__.py:6);run (/srv/x/.venv/lib/python3.11/site-packages/anyio/_core/_eventloop.py:74) 10
<module> (runtime/__main__.py:6);run (/srv/x/.venv/lib/python3.11/site-packages/anyio/_core/_eventloop.py:74);run (/usr/lib/python3.11/asyncio/runners.py:118) 50
<module> (runtime/__main__.py:6);run (/srv/x/.venv/lib/python3.11/site-packages/anyio/_core/_eventloop.py:74);read (/home/me/secret/thing.py:1) 10
_bootstrap (threading.py:995);_worker (concurrent/futures/thread.py:81) 400
_bootstrap (threading.py:995);Condition.wait (threading.py:320) 400
_bootstrap (threading.py:995);FileThread._serve (runtime/stores/file_thread.py:158) 400
"""


def test_stacks_do_not_name_the_folders_of_the_machine() -> None:
    frames = {frame for stack in read_stacks(_RAW) for frame in stack}
    assert frames == {
        "<module> (runtime/__main__.py:6)",
        "run (anyio/_core/_eventloop.py:74)",
        "poll (pollers/sqs.py:9)",
        "run (asyncio/runners.py:118)",
        "read (thing.py:1)",
    }


def test_threads_that_wait_are_no_work() -> None:
    assert sum(read_stacks(_RAW).values()) == 100


def test_the_top_is_what_was_innermost() -> None:
    assert top_lines(read_stacks(_RAW))[:2] == [" 50.0%  run (asyncio/runners.py:118)", " 30.0%  poll (pollers/sqs.py:9)"]


def test_frames_are_as_wide_as_their_share() -> None:
    """The frames that all samples have in common are left out, but for the last."""
    svg = flame_svg(read_stacks(_RAW), "t <i>")
    titles = re.findall(r"<title>(.*?)</title>", svg)
    assert titles[0] == "run (anyio/_core/_eventloop.py:74): 100.0%"
    assert "poll (pollers/sqs.py:9): 30.0%" in titles
    widths = dict(zip(titles, bars(svg), strict=True))
    whole = 1180
    assert abs(widths["poll (pollers/sqs.py:9): 30.0%"] - 0.3 * whole) < 1
