"""What it costs to keep leases in DynamoDB: one worker that leads a fleet and holds all of its leases, and reads nothing.

Everything a fleet does is in it: renewals, looks at all rows and into the index, the beats of the lock, the worker's word. Work
on shards is not: reading idle ones is in `measure_streams`.
"""

import statistics
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.bench import START_SECONDS, Bench, WorkerClient
from benchmarks.metrics import read_totals, scrape
from benchmarks.processes import Child, RunFailed, free_port, sleep_beside

FAILOVER: Final = 10.0
"""Seconds, the worker's default. A window that is a multiple of it has as many renewals and looks as any other."""
_START_OF_A_LEASE: Final = 0.05
"""Seconds more for each; far more than it should take."""
_SETTLE_SECONDS: Final = 5.0
_RENEWED: Final = 3
"""UpdateItems of each lease until it has been assigned, taken, and renewed."""
_READS: Final = frozenset({"GetItem", "Scan", "Query"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Upkeep:
    client: WorkerClient
    leases: int
    seconds: float
    """Of a window."""
    core_shares: list[float]
    """CPU seconds per second, of each window."""
    stub_shares: list[float]
    units: Mapping[str, float]
    """Capacity units per second, by operation, as the worker's own metric has them. Of all windows."""
    lost: float
    """Leases that could not be renewed in time: with any, the figures are those of a worker in trouble."""

    @property
    def core_share(self) -> float:
        return statistics.median(self.core_shares)

    @property
    def write_units(self) -> float:
        return sum(units for operation, units in self.units.items() if operation not in _READS)

    @property
    def read_units(self) -> float:
        return sum(units for operation, units in self.units.items() if operation in _READS)


def measure_upkeep(bench: Bench, client: WorkerClient, *, leases: int, windows: int, seconds: float = FAILOVER) -> Upkeep:
    """Raises RunFailed."""
    bench.stub.reset_tables()
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.upkeep_worker", "--client", client, "--leases", str(leases)]
    command += ["--failover", str(FAILOVER), "--port", str(port)]
    with bench.start_client(f"upkeep {client}", command) as child:
        child.metrics_port = port
        _wait_renewed(bench, child, leases)
        sleep_beside(child, _SETTLE_SECONDS)
        units, lost, began = _units(port), _lost(port), time.monotonic()
        shares, stub_shares = [], []
        for _ in range(windows):
            moment, cpu, stub_cpu = time.monotonic(), child.cpu(), bench.stub.child.cpu()
            sleep_beside(child, seconds)
            used, stub_used, passed = child.cpu() - cpu, bench.stub.child.cpu() - stub_cpu, time.monotonic() - moment
            shares.append(used / passed)
            stub_shares.append(stub_used / passed)
        passed = time.monotonic() - began
        used_units = {operation: (count - units.get(operation, 0.0)) / passed for operation, count in _units(port).items()}
        upkeep = Upkeep(
            client=client,
            leases=leases,
            seconds=seconds,
            core_shares=shares,
            stub_shares=stub_shares,
            units={operation: count for operation, count in used_units.items() if count},
            lost=_lost(port) - lost,
        )
        child.stop()
    return upkeep


def _wait_renewed(bench: Bench, child: Child, leases: int) -> None:
    seconds = START_SECONDS + _START_OF_A_LEASE * leases
    deadline = time.monotonic() + seconds
    needed = _RENEWED * leases
    while (written := _written(bench.stub.stats())) < needed:
        child.check_alive()
        if time.monotonic() > deadline:
            raise RunFailed(f"{child.name} wrote {written} of {needed} times in {seconds:.0f} s\n{child.tail()}")
        time.sleep(0.2)


def _written(stats: Mapping[str, Any]) -> int:
    count: int = stats["tables"].get("UpdateItem", 0)
    return count


def _units(port: int) -> dict[str, float]:
    return read_totals(scrape(port), "esm_state_capacity_units_total", "operation")


def _lost(port: int) -> float:
    return read_totals(scrape(port), "esm_lease_changes_total", "change").get("lost", 0.0)
