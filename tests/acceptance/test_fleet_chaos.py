"""Five worker processes, 64 shards and one table: killed, stopped in the middle, cut off, replaced one by one, while shards split and merge.

ESM_FLEET_SECONDS says how long the chaos lasts (default 25), ESM_FLEET_SEED which one it is.
"""

import os
import random
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import pytest

from tests.acceptance.fleet_site import Fleet, account, fleet_on
from tests.acceptance.local_aws import local_aws

SHARDS = 64
FAILOVER = 3.0
PATIENT_FAILOVER = 9.0
"""No worker dies, and one that merely gets no processor for some seconds must not count as dead."""
SECONDS = float(os.environ.get("ESM_FLEET_SECONDS", "25"))
SEED = os.environ.get("ESM_FLEET_SEED", "1")
NAMES = [f"w{number}" for number in range(5)]


def open_shards(fleet: Fleet) -> int:
    return len(fleet.aws.stream("clicks").open_shards)


async def hurt(fleet: Fleet, dice: random.Random) -> str:
    """One thing that goes wrong."""
    name = dice.choice(sorted(fleet.workers))
    match what := dice.choice(["kill", "kill", "pause", "cut", "hang", "split", "merge", "leader"]):
        case "kill" | "leader":
            name = fleet.leader if what == "leader" and fleet.leader in fleet.workers else name
            fleet.kill(name)
            await anyio.sleep(dice.choice([0.0, 1.0, FAILOVER * 1.5]))
            await fleet.start(dice.choice([name, f"{name}x"]))
        case "pause":
            await fleet.pause(name, FAILOVER * dice.choice([0.7, 1.5, 2.5]))
        case "cut" | "hang":
            await fleet.cut(name, FAILOVER * dice.choice([0.5, 1.5]), hang=what == "hang")
        case "split":
            await fleet.aws.split("clicks")
        case _:
            await fleet.aws.merge("clicks")
    return f"{what} {name}"


@pytest.mark.timeout(300 + SECONDS * 2)
async def test_whatever_happens_to_workers_each_record_is_seen_in_order_and_only_the_hurt_repeat_theirs(tmp_path: Path) -> None:
    """Judged by what was put, what handlers wrote down, and what was done to whom. A worker that was stopped repeats nothing of others."""
    dice = random.Random(SEED)  # noqa: S311  # a game
    told: list[str] = []
    async with local_aws() as aws, AsyncExitStack() as stack:
        fleet = await fleet_on(stack, aws, tmp_path, shards=SHARDS, keys=60, failover=FAILOVER)
        await fleet.start(*NAMES)
        took = await fleet.wait_level(SHARDS, seconds=60)
        told.append(f"level after {took:.1f} s")
        assert fleet.leader in fleet.workers
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fleet.run_producer, 0.3)
            until = anyio.current_time() + SECONDS
            while anyio.current_time() < until:
                told.append(await hurt(fleet, dice))
                await anyio.sleep(dice.uniform(0, 2))
            tasks.cancel_scope.cancel()
        await fleet.wait_all_seen(seconds=120)
        assert {each for each in fleet.loads() if each} <= {*fleet.workers}
        for name in list(fleet.workers):
            await fleet.stop(name)
        found = account(fleet.put, fleet.site, fleet.faults)
    print(*told, f"{found.put} records, {found.repeated} repeated", sep="; ")  # noqa: T201  # shown with -s
    assert not found.missing
    assert not found.out_of_order
    assert not found.unexplained, found.unexplained[:10]


@pytest.mark.timeout(400)
async def test_a_rolling_update_repeats_no_record(tmp_path: Path) -> None:
    """All five are replaced one after the other while records come: by new names that start first, or by their own after they have ended."""
    async with local_aws() as aws, AsyncExitStack() as stack:
        fleet = await fleet_on(stack, aws, tmp_path, shards=SHARDS, keys=60, failover=PATIENT_FAILOVER)
        await fleet.start(*NAMES)
        await fleet.wait_level(SHARDS, seconds=120)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fleet.run_producer, 0.3)
            for number, name in enumerate(NAMES):
                if number % 2:
                    await fleet.start(f"new-{name}")
                    await fleet.workers[f"new-{name}"].wait_ready()
                    await fleet.stop(name)
                else:
                    await fleet.stop(name)
                    await fleet.start(name)
                    await fleet.workers[name].wait_ready()
            tasks.cancel_scope.cancel()
        await fleet.wait_all_seen(seconds=60)
        await fleet.wait_level(SHARDS, seconds=120)
        for name in list(fleet.workers):
            await fleet.stop(name)
        found = account(fleet.put, fleet.site, [])
    print(f"{found.put} records, {found.repeated} repeated")  # noqa: T201  # shown with -s
    assert not found.missing
    assert not found.out_of_order
    assert found.repeated == 0, found.unexplained[:10]
