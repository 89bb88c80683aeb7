"""`docs/walkthrough.md` is run as it stands, and what its commands print is what it says they print, numbers aside."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "walkthrough.md"
BLOCK = re.compile(r"^```(sh|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = "== end of block"
NUMBER = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|[0-9][0-9,.]*")
SHARD_STATES = re.compile(r" {2,}")


def pattern_of(line: str) -> str:
    """Numbers, ids and the width of columns may differ."""
    parts = [SHARD_STATES.sub(" +", re.escape(part).replace(r"\ ", " ")) for part in NUMBER.split(line)]
    return r"[0-9a-f,.-]+".join(parts).replace("record ", "records? ").replace("message:", "messages?:")


def fits(told: str, printed: str) -> bool:
    """`...` stands for any number of lines."""
    parts = ["(?:.*\n)*" if line == "..." else f"{pattern_of(line)}\n" for line in told.splitlines()]
    return re.fullmatch("".join(parts), printed) is not None


def blocks() -> list[tuple[str, str | None]]:
    """The commands of each block, and what the page says that they print."""
    found: list[tuple[str, str | None]] = []
    for kind, text in BLOCK.findall(PAGE.read_text()):
        if kind == "sh":
            found.append((text, None))
        else:
            found[-1] = found[-1][0], text
    return found


@pytest.mark.timeout(170)
def test_the_walkthrough_does_what_it_says(tmp_path: Path) -> None:
    script = "".join(f"{commands}\necho '{MARK}'\n" for commands, _ in blocks())
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    ended = subprocess.run(
        ["bash", "-u"], input=script, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=160, check=False
    )
    printed = ended.stdout.split(f"{MARK}\n")[:-1]
    assert len(printed) == len(blocks()), ended.stderr
    for (commands, told), output in zip(blocks(), printed, strict=True):
        assert fits(told or "", output), f"$ {commands}\nsaid\n{told}\nprinted\n{output}\n{ended.stderr}"


def test_a_walkthrough_that_says_something_else_is_found() -> None:
    assert fits("447 records = 440 succeeded + 7 failed\n...\nend\n", "9 records = 9 succeeded + 0 failed\na\nb\nend\n")
    assert fits("1 record of shardId-0\n", "2 records of shardId-17\n")
    assert not fits("447 records = 440 succeeded + 7 failed\n", "447 records = 440 succeeded\n")
    assert not fits("done\n", "failed\n")
    assert not fits("", "something\n")
