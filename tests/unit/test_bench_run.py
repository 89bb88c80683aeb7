"""The harness: what goes wrong in one of its parts costs no figures of the others."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmarks import run
from benchmarks.measure_start import Start
from benchmarks.plan import plan_from


@contextmanager
def no_stub(**_: Any) -> Iterator[None]:
    yield None


def test_a_part_that_breaks_is_told_and_the_others_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**_: Any) -> None:
        raise TypeError("records are made otherwise now")

    monkeypatch.setattr(run, "started_stub", no_stub)
    monkeypatch.setattr(run, "measure_filters", broken)
    monkeypatch.setattr(run, "measure_start", lambda _, client, source, **__: Start(client=client, source=source, seconds=[0.5]))
    monkeypatch.setattr(run, "_RESULTS", tmp_path)
    monkeypatch.setattr(run, "cores", lambda: None)
    monkeypatch.setattr(run, "pin", lambda *_: None)
    plan, console = plan_from(["--filters", "--start", "--quick", "--no-compare"]), Console()
    run._conclude(plan, run.run(plan, console), console)
    written = json.loads((tmp_path / "latest.json").read_text())
    assert (
        [failure for failure in written["failures"] if "records are made otherwise now" in failure] == written["failures"] != []
    )
    assert written["starts"]
