"""How busy the processor is, as KCL measures it on Linux for its workers' rows: percent of what the worker may use.

In a container it is the container's own time of what its limit allows (its cgroup: Cgroupv2CpuWorkerMetric and
Cgroupv1CpuWorkerMetric; on ECS KCL asks the metadata service for the same figures); else the time of the whole machine
(/proc/stat: LinuxCpuWorkerMetric). Not on Linux it is not known. Pure: files are read by whoever makes it.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

from msgspec import Struct

Read = Callable[[str], str | None]
"""Gives the text of a file; None: it cannot be read."""

_GROUP: Final = "/sys/fs/cgroup/"
_SOON: Final = 1.0
"""Seconds below which a difference says nothing."""
_VALUES: Final = 10
"""That a row has, as KCL's."""
_DIGITS: Final = 6


class CpuTime(Struct, frozen=True):
    """Seconds, or any other unit of time, both since the same moment."""

    used: float
    available: float


def cpu_time(read: Read, moment: float) -> CpuTime | None:
    """`moment`: seconds on a clock that does not jump. None: it is not known here."""
    for found in (_of_group_2, _of_group_1, _of_machine):
        try:
            time = found(read, moment)
        except (ValueError, IndexError, ZeroDivisionError):  # a file of another form
            continue
        if time is not None:
            return time
    return None


class CpuLoad:
    """The load of late, each time it is asked for, and the values before."""

    def __init__(self, read: Read, clock: Callable[[], float], *, window: float) -> None:
        """`clock`: seconds, and it does not jump. `window`: the seconds that one value is about."""
        self._read = read
        self._clock = clock
        self._window = window
        self._times: deque[tuple[float, CpuTime]] = deque()
        self._values: deque[float] = deque(maxlen=_VALUES)
        self._look()

    def percent(self) -> tuple[float, ...]:
        """The last ten values, the newest last; at least one, unless it cannot be known."""
        if not self._look():
            self._times.clear()
            self._values.clear()
            return ()
        (began, first), (ended, last) = self._times[0], self._times[-1]
        available = last.available - first.available
        known = ended - began >= _SOON and available > 0
        value = 100 * (last.used - first.used) / available if known else 0.0
        self._values.append(round(min(100.0, max(0.0, value)), _DIGITS))
        return tuple(self._values)

    def _look(self) -> bool:
        moment = self._clock()
        time = cpu_time(self._read, moment)
        if time is None:
            return False
        while len(self._times) > 1 and moment - self._times[1][0] >= self._window:
            self._times.popleft()
        self._times.append((moment, time))
        return True


def _of_group_2(read: Read, moment: float) -> CpuTime | None:
    """The root of a machine has no `cpu.max`."""
    limit, usage = read(f"{_GROUP}cpu.max"), read(f"{_GROUP}cpu.stat")
    if limit is None or usage is None:
        return None
    quota, period = limit.split()
    cores = _cores(read(f"{_GROUP}cpuset.cpus.effective")) if quota == "max" else int(quota) / int(period)
    word, microseconds = usage.split()[:2]
    if word != "usage_usec":
        raise ValueError(word)
    return CpuTime(int(microseconds) / 1e6, cores * moment)


def _of_group_1(read: Read, moment: float) -> CpuTime | None:
    usage, quota, period = (read(f"{_GROUP}cpu/{name}") for name in ("cpuacct.usage", "cpu.cfs_quota_us", "cpu.cfs_period_us"))
    if usage is None or quota is None or period is None:
        return None
    unlimited = int(quota) < 0
    cores = _cores(read(f"{_GROUP}cpuset/cpuset.effective_cpus")) if unlimited else int(quota) / int(period)
    return CpuTime(int(usage) / 1e9, cores * moment)


def _of_machine(read: Read, _moment: float) -> CpuTime | None:
    """What waits for a disk counts as used, as KCL has it."""
    text = read("/proc/stat")
    if text is None:
        return None
    word, user, nice, system, idle, waits = text.split()[:6]
    if word != "cpu":
        raise ValueError(word)
    used = int(user) + int(nice) + int(system) + int(waits)
    return CpuTime(used, used + int(idle))


def _cores(text: str | None) -> int:
    """Of `0-4,6`: six. Raises ValueError."""
    count = 0
    for part in (text or "").strip().split(","):
        first, _, last = part.partition("-")
        count += int(last or first) - int(first) + 1
    return count
