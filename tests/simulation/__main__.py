"""`python -m tests.simulation SEED [--journal]`: plays one seed again, and says what is wrong with it."""

import argparse
import os
import sys

from tests.simulation.checker import check
from tests.simulation.run import simulate
from tests.simulation.scenario import draw


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seed", type=int)
    parser.add_argument("--journal", action="store_true", help="show everything that happened")
    options = parser.parse_args()
    scenario = draw(options.seed)
    journal = simulate(scenario)
    print(scenario)  # noqa: T201
    if options.journal:
        print(journal.text())  # noqa: T201
    found = check(scenario, journal)
    print("\n".join(found) or "no violation")  # noqa: T201
    return 1 if found else 0


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":  # the order of sets must not differ between two runs of a seed
        command = [sys.executable, "-m", "tests.simulation", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, "PYTHONHASHSEED": "0"})  # noqa: S606  # it takes our place
    sys.exit(main())
