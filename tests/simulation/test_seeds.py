"""Thousands of simulations, each drawn from its seed. ESM_SEEDS says how many (default 1,200), ESM_FIRST_SEED where they begin."""

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import pytest

from tests.simulation.checker import check
from tests.simulation.run import simulate
from tests.simulation.scenario import draw
from tests.simulation.stores import InTable

SEEDS: Final = int(os.environ.get("ESM_SEEDS", "1200"))
FIRST: Final = int(os.environ.get("ESM_FIRST_SEED", "0"))
_PARTS: Final = 8
_CHUNK: Final = 10
_SHOWN: Final = 5
_ROOT: Final = str(Path(__file__).parents[2])


def failures(seeds: range) -> list[tuple[int, list[str]]]:
    """The seeds with violations, and these. Runs in a process of its own."""
    found = []
    for seed in seeds:
        scenario = draw(seed)
        if violations := check(scenario, simulate(scenario)):
            found.append((seed, violations))
    return found


def failures_in_a_table(seeds: range) -> list[tuple[int, list[str]]]:
    """The same with the leases in a DynamoDB table, where no two workers share a clock."""
    found = []
    for seed in seeds:
        scenario = replace(draw(seed), shared_clock=False, fleet=False)
        if violations := check(scenario, simulate(scenario, InTable)):
            found.append((seed, violations))
    return found


@pytest.fixture(scope="module")
def processes() -> Iterator[ProcessPoolExecutor]:
    """One per core. Sets have the same order in all of them, so that each seed gives the same run each time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONHASHSEED", "0")
        patch.setenv("PYTHONPATH", os.pathsep.join([_ROOT, *filter(None, [os.environ.get("PYTHONPATH")])]))
        with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
            yield pool


@pytest.mark.timeout(max(180, SEEDS))
@pytest.mark.parametrize("part", range(_PARTS))
def test_whatever_happens_the_laws_hold(processes: ProcessPoolExecutor, part: int) -> None:
    """The laws: `checker.py`."""
    begins, ends = (FIRST + SEEDS * n // _PARTS for n in (part, part + 1))
    chunks = [range(first, min(first + _CHUNK, ends)) for first in range(begins, ends, _CHUNK)]
    found = [failure for chunk in processes.map(failures, chunks) for failure in chunk]
    told = [
        f"python -m tests.simulation {seed} --journal\n    " + "\n    ".join(violations[:_SHOWN])
        for seed, violations in found[:_SHOWN]
    ]
    assert not found, f"{len(found)} of {ends - begins} seeds break a law; play them again with\n" + "\n".join(told)


@pytest.mark.timeout(max(180, SEEDS))
def test_the_laws_hold_in_a_table_too(processes: ProcessPoolExecutor) -> None:
    """Every tenth of the seeds, on an in-memory DynamoDB with the real conditions and a store for each life."""
    chunks = [range(first, first + _CHUNK) for first in range(FIRST, FIRST + SEEDS // 10, _CHUNK)]
    found = [failure for chunk in processes.map(failures_in_a_table, chunks) for failure in chunk]
    told = [f"{seed}:\n    " + "\n    ".join(violations[:_SHOWN]) for seed, violations in found[:_SHOWN]]
    assert not found, f"{len(found)} of {SEEDS // 10} seeds break a law:\n" + "\n".join(told)


@pytest.mark.parametrize("seed", [2, 47, 52, 102])
def test_a_seed_gives_the_same_run_each_time(seed: int) -> None:
    scenario = draw(seed)
    assert draw(seed) == scenario
    assert told_by(seed) == told_by(seed)


def told_by(seed: int) -> list[str]:
    """Request ids differ from run to run and decide nothing."""
    return [line for line in simulate(draw(seed)).text().splitlines() if " Said " not in line]
