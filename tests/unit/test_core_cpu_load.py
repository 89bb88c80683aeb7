"""How busy the processor is, in the files that KCL reads: what a worker's row says where Java's rows say it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from runtime.core.cpu_load import CpuLoad, CpuTime, cpu_time

GROUP = "/sys/fs/cgroup/"
GROUP_2 = {f"{GROUP}cpu.max": "150000 100000\n", f"{GROUP}cpu.stat": "usage_usec 7500000\nuser_usec 7000000\n"}
GROUP_1 = {
    f"{GROUP}cpu/cpuacct.usage": "2500000000\n",
    f"{GROUP}cpu/cpu.cfs_quota_us": "50000\n",
    f"{GROUP}cpu/cpu.cfs_period_us": "100000\n",
}
MACHINE = {"/proc/stat": "cpu  700 50 200 9000 50 9 9 9 0 0\ncpu0 1 2 3 4 5 0 0 0 0 0\n"}


@dataclass
class Machine:
    """Its files and its clock."""

    files: dict[str, str]
    now: float = 100.0
    window: float = 30.0
    load: CpuLoad = field(init=False)

    def __post_init__(self) -> None:
        self.load = CpuLoad(self.files.get, lambda: self.now, window=self.window)

    def work(self, seconds: float, *, used: int, idle: int) -> tuple[float, ...]:
        """Ticks of the whole machine in so many seconds; gives what is told then."""
        self.now += seconds
        _, user, nice, system, before, waits = self.files["/proc/stat"].split()[:6]
        self.files["/proc/stat"] = f"cpu  {int(user) + used} {nice} {system} {int(before) + idle} {waits} 0 0 0 0 0\n"
        return self.load.percent()


@pytest.mark.parametrize(
    ("files", "time"),
    [
        (GROUP_2, CpuTime(7.5, 150.0)),
        (GROUP_2 | {f"{GROUP}cpu.max": "max 100000\n", f"{GROUP}cpuset.cpus.effective": "0-2,5\n"}, CpuTime(7.5, 400.0)),
        (GROUP_1, CpuTime(2.5, 50.0)),
        (GROUP_1 | {f"{GROUP}cpu/cpu.cfs_quota_us": "-1\n", f"{GROUP}cpuset/cpuset.effective_cpus": "3\n"}, CpuTime(2.5, 100.0)),
        (MACHINE, CpuTime(1000, 10000)),
        (GROUP_2 | GROUP_1 | MACHINE, CpuTime(7.5, 150.0)),
        (GROUP_1 | MACHINE, CpuTime(2.5, 50.0)),
        (GROUP_2 | {f"{GROUP}cpu.max": "max 100000\n"} | MACHINE, CpuTime(1000, 10000)),
        (GROUP_2 | {f"{GROUP}cpu.stat": "user_usec 1\n"} | MACHINE, CpuTime(1000, 10000)),
        (GROUP_2 | {f"{GROUP}cpu.max": "100 0\n"} | MACHINE, CpuTime(1000, 10000)),
        ({"/proc/stat": "intr 5 5 5 5 5 5\n"}, None),
        ({"/proc/stat": "cpu 5\n"}, None),
        ({}, None),
    ],
    ids=[
        "a limit of one and a half cores",
        "a container without a limit has the cores that it may use",
        "the older cgroups",
        "the older cgroups without a limit",
        "a machine",
        "a container's limit is before the machine's",
        "also of the older cgroups",
        "a container whose cores are not known",
        "a file of another form",
        "a limit that is none",
        "no processor",
        "half a line",
        "no Linux",
    ],
)
def test_time_is_read_where_kcl_reads_it(files: Mapping[str, str], time: CpuTime | None) -> None:
    assert cpu_time(files.get, 100.0) == time


def test_the_load_is_what_was_used_of_what_could_be_between_two_looks() -> None:
    machine = Machine(dict(MACHINE))
    assert machine.work(10, used=300, idle=700) == (30.0,)
    assert machine.work(20, used=400, idle=0) == (30.0, 50.0), "within the window both stretches count"
    assert machine.work(10, used=0, idle=100) == (30.0, 50.0, 80.0), "the first ten seconds are over"


def test_a_value_is_about_the_whole_window_however_often_it_is_asked_for() -> None:
    machine = Machine(dict(MACHINE))
    machine.work(27, used=100, idle=0)
    for _ in range(3):
        values = machine.work(1, used=0, idle=100)
    assert values[-1] == 25.0
    for _ in range(30):
        values = machine.work(1, used=0, idle=100)
    assert values[-1] == 0.0


def test_a_difference_of_less_than_a_second_says_nothing_yet() -> None:
    assert Machine(dict(MACHINE)).work(0.5, used=50, idle=0) == (0.0,)


def test_only_the_last_ten_values_are_kept() -> None:
    machine = Machine(dict(MACHINE), window=1.0)
    for used in range(15):
        values = machine.work(10, used=used, idle=100 - used)
    assert values == tuple(float(used) for used in range(5, 15))


def test_six_digits_as_kcl_writes_them_between_nothing_and_all() -> None:
    machine = Machine(dict(MACHINE), window=1.0)
    assert machine.work(3, used=1, idle=2) == (33.333333,)
    assert machine.work(3, used=-50, idle=150)[-1] == 0.0, "counters of a machine that was suspended may go back"
    assert machine.work(3, used=150, idle=-50)[-1] == 100.0


def test_what_cannot_be_known_any_more_is_not_told() -> None:
    machine = Machine(dict(MACHINE))
    machine.work(10, used=300, idle=700)
    stat = machine.files.pop("/proc/stat")
    assert machine.load.percent() == ()
    machine.files["/proc/stat"] = stat
    assert machine.load.percent() == (0.0,)
