"""Where the CPU of a worker under load goes: py-spy samples it from outside, and this draws what it saw.

py-spy is installed on first use into benchmarks/.py-spy, which git ignores. It needs the right to read another process's memory:
root or CAP_SYS_PTRACE, or on Linux `kernel.yama.ptrace_scope` 0. Time inside the event loop and the kernel has no Python frame of
its own: it counts for the frame that called it.
"""

import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Final

from benchmarks.bench import START_SECONDS, Bench
from benchmarks.measure import ENDLESS, start_queue_row, wait_warm
from benchmarks.measure_streams import started_row
from benchmarks.processes import RunFailed
from benchmarks.scenarios import Row, Scenario
from benchmarks.stub_streams import Filling

_HERE: Final = Path(__file__).resolve().parent
_FOLDER: Final = _HERE / ".py-spy"
_VERSION: Final = "0.4.3"
_INSTALL_SECONDS: Final = 120
_RATE: Final = 200
"""Samples a second."""
_TOP: Final = 10
_WIDTH: Final = 1200
_LINE: Final = 17
_HEAD: Final = 46
_LETTER: Final = 6.6
"""Width of a character, about."""
_NARROWEST: Final = 1.5
"""Pixels below which a frame is not drawn."""

_WAITING: Final = (
    "_worker (concurrent/futures/thread.py:",
    "wait (threading.py:",
    "get (queue.py:",
    "_serve (runtime/stores/file_thread.py:",
)
"""Innermost frames of threads that wait for work, which py-spy may take for busy."""

Stacks = Mapping[tuple[str, ...], int]
"""Samples by stack, outermost frame first; a frame is `function (file:line)`."""


@dataclass(slots=True)
class _Node:
    samples: int = 0
    children: dict[str, "_Node"] = field(default_factory=dict)


def draw_flame(bench: Bench, scenario: Scenario, file: Path, *, seconds: float) -> str:
    """Write the graph into `file`, an SVG, and the top into a text beside it; gives the text. Raises RunFailed."""
    spy = _prepare()
    row = Row(scenario=scenario, client="lean")
    sample = _sample_queue if scenario.is_queue else _sample_stream
    stacks = read_stacks(sample(bench, row, spy, seconds))
    if not stacks:
        raise RunFailed("py-spy saw no Python frame at work")
    text = f"{row.name}: {sum(stacks.values())} samples at {_RATE} a second\n" + "\n".join(top_lines(stacks)) + "\n"
    file.parent.mkdir(exist_ok=True)
    file.write_text(flame_svg(stacks, row.name))
    file.with_suffix(".txt").write_text(text)
    return text


def read_stacks(raw: str) -> Counter[tuple[str, ...]]:
    """py-spy's raw format: frames joined by `;`, a space, how often. Threads that wait and the machine's folders are left out."""
    stacks: Counter[tuple[str, ...]] = Counter()
    for line in raw.splitlines():
        frames, _, count = line.rpartition(" ")
        stack = tuple(_frame(frame) for frame in frames.split(";"))
        if frames and not any(stack[-1].startswith(waiting) or f".{waiting}" in stack[-1] for waiting in _WAITING):
            stacks[stack] += int(count)
    return stacks


def top_lines(stacks: Stacks) -> list[str]:
    """The frames that were innermost most often: share of the samples, and frame."""
    own: Counter[str] = Counter()
    for stack, count in stacks.items():
        own[stack[-1]] += count
    total = sum(own.values())
    return [f"{count / total:6.1%}  {frame}" for frame, count in own.most_common(_TOP)]


def flame_svg(stacks: Stacks, title: str) -> str:
    """Innermost frames on top, siblings by name; the outermost frames that all samples share are left out."""
    root = _tree(stacks)
    label = "all samples"
    while len(root.children) == 1 and next(iter(root.children.values())).samples == root.samples:
        label, root = next(iter(root.children.items()))
    depth = _depth(root)
    height = _HEAD + depth * _LINE + 10
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}">',
        "<style>text{font-family:ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace;font-size:11px;fill:#1b1b1b}</style>",
        f'<rect width="{_WIDTH}" height="{height}" rx="8" fill="#f4f1ea"/>',
        f'<text x="12" y="26" style="font-size:14px">{escape(title)}: {root.samples:,} samples of CPU time</text>',
    ]
    scale, base = (_WIDTH - 20) / root.samples, height - 10 - _LINE
    boxes = _boxes(label, root, x=10.0, y=base, scale=scale, total=root.samples)
    return "\n".join([*head, *boxes, "</svg>"]) + "\n"


def _frame(text: str) -> str:
    """`function (package/module.py:line)`."""
    name, _, place = text.partition(" (")
    place = place.rstrip(")")
    for mark in (f"{_HERE.parent}/", "site-packages/", "/lib/python"):
        if mark in place:
            place = place.rpartition(mark)[2]
            place = place.partition("/")[2] if mark == "/lib/python" else place
    if place.startswith("/"):
        place = Path(place).name
    return f"{name} ({place})" if place else name


def _tree(stacks: Stacks) -> _Node:
    root = _Node()
    for stack, count in stacks.items():
        root.samples += count
        node = root
        for frame in stack:
            node = node.children.setdefault(frame, _Node())
            node.samples += count
    return root


def _depth(node: _Node) -> int:
    return 1 + max((_depth(child) for child in node.children.values()), default=0)


def _boxes(name: str, node: _Node, *, x: float, y: float, scale: float, total: int) -> Iterator[str]:
    width = node.samples * scale
    if width < _NARROWEST:
        return
    letters = int((width - 6) / _LETTER)
    shown = name if len(name) <= letters else name[: max(0, letters - 1)] + "…"
    yield (
        f"<g><title>{escape(name)}: {node.samples / total:.1%}</title>"
        f'<rect x="{x:.1f}" y="{y}" width="{max(0.5, width - 0.6):.1f}" height="{_LINE - 1}" rx="1" fill="{_colour(name)}"/>'
        + (f'<text x="{x + 3:.1f}" y="{y + 12}">{escape(shown)}</text>' if letters >= 3 else "")
        + "</g>"
    )
    for child, inner in sorted(node.children.items()):
        yield from _boxes(child, inner, x=x, y=y - _LINE, scale=scale, total=total)
        x += inner.samples * scale


def _colour(name: str) -> str:
    """One hue for what is ours, another for the rest; the same frame always has the same shade."""
    shade = zlib.crc32(name.encode()) % 18
    ours = any(f"({package}/" in name for package in ("runtime", "pollers", "handlers", "benchmarks"))
    return f"hsl({150 if ours else 28},{55 if ours else 70}%,{62 + shade}%)"


def _prepare() -> str:
    """The path of py-spy. Raises RunFailed."""
    spy = _FOLDER / "bin" / "py-spy"
    if not spy.exists():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        command += ["--target", str(_FOLDER), f"py-spy=={_VERSION}"]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=_INSTALL_SECONDS)
        except (OSError, subprocess.SubprocessError) as error:
            raise RunFailed(f"py-spy could not be installed: {_said(error)}") from error
    return str(spy)


def _sample_queue(bench: Bench, row: Row, spy: str, seconds: float) -> str:
    bench.stub.reset(messages=ENDLESS, body=row.scenario.size)
    with start_queue_row(bench, row) as child:
        wait_warm(bench, row, child)
        raw = _sample(bench, child.pid, spy, seconds)
        bench.stop(child)
    return raw


def _sample_stream(bench: Bench, row: Row, spy: str, seconds: float) -> str:
    scenario = row.scenario
    bench.stub.reset_streams(Filling(shards=scenario.shards, records=ENDLESS, page=scenario.batch, size=scenario.size))
    with started_row(bench, row) as client:
        client.wait(scenario.batch * scenario.shards, seconds=START_SECONDS)
        raw = _sample(bench, client.child.pid, spy, seconds)
        bench.stop(client.child)
    return raw


def _sample(bench: Bench, pid: int, spy: str, seconds: float) -> str:
    file = bench.folder / "stacks.txt"
    command = [spy, "record", "--pid", str(pid), "--duration", str(max(1, round(seconds))), "--rate", str(_RATE)]
    command += ["--function", "--format", "raw", "--output", str(file)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + START_SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        raise RunFailed(f"py-spy could not sample the worker: {_said(error)}") from error
    return file.read_text()


def _said(error: Exception) -> str:
    said = error.stderr if isinstance(error, subprocess.CalledProcessError) and error.stderr else str(error)
    return str(said).strip()
