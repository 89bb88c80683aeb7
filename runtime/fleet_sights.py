"""What a leader remembers of the rows from one look to the next: since when each stands as it does, on the leader's own clock."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

from msgspec import Struct

from runtime.clock import now
from runtime.fleet_rows import Survey, Word

_STALE: Final = 60.0
"""Seconds without a word after which a worker counts as gone that does not say how often it reports (KCL's: each 30)."""
_FORGET: Final = 3600.0
"""Seconds after which the row of a worker that is gone is deleted."""
_GRANTED: Final = 1.5
"""Times the failover time that such a worker is given beyond it to find what it was given: KCL looks each 10 seconds."""


class _Heard(Struct, frozen=True):
    word: Word
    since: float
    changed: bool
    """It was another word that we saw first: this one was said before our eyes."""


class Sights:
    def __init__(self, *, failover: float, clock: Callable[[], float]) -> None:
        """`clock`: seconds since the epoch."""
        self._failover = failover
        self._clock = clock
        self._counters: dict[str, tuple[int, float]] = {}
        self._owners: dict[str, tuple[str | None, str | None, float]] = {}
        """For each shard its owner and next owner, and since when."""
        self._heard: dict[str, _Heard] = {}
        self._gone: dict[str, Word] = {}
        """Workers that were found dead: their last word."""

    def see(self, survey: Survey) -> None:
        moment = now()
        shards = {lease.shard for lease in survey.leases}
        self._counters = {shard: seen for shard, seen in self._counters.items() if shard in shards}
        self._owners = {shard: seen for shard, seen in self._owners.items() if shard in shards}
        for lease in survey.leases:
            count = self._counters.get(lease.shard)
            if count is None or count[0] != lease.counter:
                self._counters[lease.shard] = (lease.counter, moment)
            before = self._owners.get(lease.shard)
            if before is None or before[0] != lease.owner or before[1] != lease.wanted_by:
                self._owners[lease.shard] = (lease.owner, lease.wanted_by, moment)
        heard = self._heard
        self._heard = {}
        for worker, word in survey.workers.items():
            known = heard.get(worker)
            same = known is not None and known.word == word
            self._heard[worker] = known if known is not None and same else _Heard(word, moment, known is not None)

    def quiet(self, shard: str) -> float:
        """Seconds for which its counter has stood still."""
        return self.quiet_of((shard,))[shard]

    def quiet_of(self, shards: Iterable[str]) -> dict[str, float]:
        """The same of several."""
        moment, counters = now(), self._counters
        return {shard: moment - counters[shard][1] if shard in counters else 0.0 for shard in shards}

    def silence(self, survey: Survey) -> dict[str, float]:
        """The same for all, as the plan takes it."""
        found = self.quiet_of([lease.shard for lease in survey.leases])
        for lease in survey.leases:
            word = survey.workers.get(lease.wanted_by or "")
            if lease.owner is None and word is not None and word.every is None:
                found[lease.shard] -= self._failover * _GRANTED
        return found

    @property
    def resident(self) -> dict[str, float]:
        """For each shard, how long its owner has it."""
        moment = now()
        return {shard: moment - since for shard, (_, _, since) in self._owners.items()}

    @property
    def handing(self) -> dict[str, float]:
        """For each shard that is to be handed over, how long it has been."""
        moment = now()
        return {shard: moment - since for shard, (_, wanted_by, since) in self._owners.items() if wanted_by is not None}

    def living(self, survey: Survey, quiet: Mapping[str, float], *, dead: Collection[str]) -> set[str]:
        """Whoever had a word lately, and has not let everything go silent that it has. `dead`: known to be."""
        silent: dict[str, bool] = {}
        for lease in survey.leases:
            worker = lease.owner or lease.wanted_by
            if not lease.ended and worker is not None:
                silent[worker] = silent.get(worker, True) and quiet[lease.shard] >= self._failover
        for worker, word in survey.workers.items():
            if silent.get(worker, False) or worker in dead:
                self._gone[worker] = word
        return {worker for worker, heard in self._heard.items() if self._fresh(heard) and self._gone.get(worker) != heard.word}

    def _fresh(self, heard: _Heard) -> bool:
        """A word that was there before we looked is believed by the clocks of both."""
        age = now() - heard.since
        every = heard.word.every
        limit = _STALE if every is None else max(self._failover, 3 * every + 1)  # words are whole seconds
        return age < limit and (heard.changed or abs(self._clock() - heard.word.at) < _STALE)

    def forgotten(self) -> dict[str, Word]:
        """Workers that have been gone for long."""
        moment = now()
        return {worker: heard.word for worker, heard in self._heard.items() if moment - heard.since >= _FORGET}
