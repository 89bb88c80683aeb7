"""What a mapping says of itself to `/mappings`, `/readyz` and `/healthz`."""

from dataclasses import dataclass, field
from typing import Any, Final

import anyio

from pollers.errors import SourceError, SourceRejected
from runtime.core.mapping import TRANSITIONS, EventSourceMapping, MappingState, StreamSettings
from runtime.fleet_rows import FleetSeen
from runtime.shard_status import ShardState, ShardStatus
from runtime.tap import Tap

NOTHING_YET: Final = "No records processed"
STUCK_AFTER: Final = 60.0
"""Seconds with every slot overdue until the worker calls itself unhealthy."""


@dataclass(slots=True, kw_only=True)
class MappingStatus:
    """Written by the task that runs the mapping, read by the HTTP server, on one event loop."""

    mapping: EventSourceMapping
    state: MappingState
    last_result: str = NOTHING_YET
    """API-45's words."""
    error: SourceError | None = None
    """What the source said last, if it was not an answer."""
    paused: str | None = None
    """Why nothing is polled although the mapping is enabled, if somebody wanted it so."""
    overdue_since: float | None = None
    """Since when every slot is held by a handler past its time limit (monotonic seconds)."""
    slots: int = 0
    allowed: int = 0
    receiving: int = 0
    overdue: int = 0
    delivering: int = 0
    restarts: int = 0
    facts: dict[str, Any] = field(default_factory=dict)
    state_error: str | None = None
    """What the state store said last, if it did not do what it was asked."""
    state_failing_since: float | None = None
    shards: dict[str, ShardStatus] = field(default_factory=dict)
    """Of a stream, by id."""
    tap: Tap = field(default_factory=Tap)
    """Where one listens to what it receives."""
    fleet: FleetSeen | None = None
    """Of a stream whose workers have a leader: who that is."""

    def begin(self) -> None:
        """Nothing runs: the mapping starts, or starts again after a crash."""
        self.receiving = self.delivering = self.overdue = 0
        self.overdue_since = None

    def move(self, state: MappingState) -> bool:
        """Follow an arrow of the transition table; False when the mapping stands there already."""
        if state is self.state:
            return False
        if state not in TRANSITIONS[self.state]:
            msg = f"mapping {self.mapping.name}: no way from {self.state} to {state}"
            raise RuntimeError(msg)
        self.state = state
        return True

    @property
    def ready(self) -> bool:
        """It polls, or somebody decided that it should not."""
        if not self.mapping.enabled or self.paused:
            return True
        if self.state is not MappingState.ENABLED or isinstance(self.error, SourceRejected) or self.state_error:
            return False
        return not self._deserted

    @property
    def why_not_ready(self) -> str:
        return self.why_not_moving or f"{self.state.value}: no successful poll yet"

    @property
    def _deserted(self) -> bool:
        """Of a stream: we work on no shard, and nobody else does either on one of them."""
        return any(shard.owner_gone for shard in self.shards.values()) and not any(
            shard.running for shard in self.shards.values()
        )

    def stuck(self, now: float) -> bool:
        """Only a restart of the process can help: no thread can be stopped, and what was restarted in vain stays so."""
        since = [self.overdue_since, self.state_failing_since, *(shard.overdue_since for shard in self.shards.values())]
        overdue = any(each is not None and now - each > STUCK_AFTER for each in since)
        return overdue or any(shard.stuck for shard in self.shards.values())

    def tell_state(self, error: str | None) -> None:
        self.state_error = error
        self.state_failing_since = (self.state_failing_since or anyio.current_time()) if error else None

    def why_stuck(self, now: float) -> str | None:
        silent = [shard for shard in self.shards.values() if shard.stuck]
        if silent:
            return (
                f"shard {silent[0].shard} has shown no sign of life for {silent[0].silent(now):.0f} seconds, also after a restart"
            )
        return self.why_not_moving

    @property
    def why_not_moving(self) -> str | None:
        if self.paused:
            return self.paused
        if self.overdue_since is not None:
            return f"all slots are held by {self.overdue} handlers that run on past their time limit"
        if self.error or self.state_error:
            return str(self.error or self.state_error)
        return self._why_shards() if self.shards else self._why_slots()

    def _why_slots(self) -> str | None:
        if self.slots and self.delivering >= self.allowed:
            return f"all {self.allowed} slots are taken by invocations"
        return None

    def _why_shards(self) -> str | None:
        shards = [shard for shard in self.shards.values() if not shard.ended]
        revived = [shard for shard in self.shards.values() if shard.problem]
        if revived:
            return f"{revived[0].shard}: {revived[0].problem}"
        blocked = [shard for shard in shards if shard.state is ShardState.BLOCKED]
        if blocked:
            return f"{len(blocked)} of {len(shards)} open shards: {blocked[0].shard}: {blocked[0].why_not_moving}"
        if shards and not any(shard.running for shard in shards):
            first = next((shard for shard in shards if shard.owner_gone or shard.namesake), shards[0])
            return f"none of its {len(shards)} open shards is ours: {first.shard}: {first.why_not_moving}"
        return None

    def shown(self, now: float, wall: float) -> dict[str, Any]:
        """The JSON of one mapping: AWS's keys for what AWS shows (API-40, API-41), ours in lower case.

        `now` is monotonic, `wall` the wall clock.
        """
        mapping = self.mapping
        return {
            "name": mapping.name,
            "EventSourceArn": mapping.source_arn,
            "FunctionArn": mapping.function_arn,
            "BatchSize": mapping.batch.records,
            "MaximumBatchingWindowInSeconds": mapping.batch.window,
            "FunctionResponseTypes": ["ReportBatchItemFailures"] if mapping.report_item_failures else [],
            **_shown_filters(mapping),
            **(_shown_queue(mapping) if mapping.stream is None else _shown_stream(mapping.stream)),
            "State": self.state.value,
            "LastProcessingResult": self.last_result,
            "ready": self.ready,
            "why": self.why_not_moving,
            "error": self.error.code if self.error else None,
            **(self._shown_slots() if mapping.stream is None else {}),
            "delivering": self.delivering,
            "overdue": self.overdue,
            "restarts": self.restarts,
            **self.facts,
            **(_shown_fleet(self.fleet) if self.fleet is not None else {}),
            **({"shards": [self.shards[shard].shown(now, wall) for shard in sorted(self.shards)]} if mapping.stream else {}),
        }

    def _shown_slots(self) -> dict[str, Any]:
        return {"slots": self.slots, "slots_allowed": self.allowed, "receiving": self.receiving}


def _shown_fleet(fleet: FleetSeen) -> dict[str, Any]:
    """Only the leader knows what the others hold."""
    workers = {"workers": dict(sorted(fleet.loads.items()))} if fleet.leads else {}
    return {"fleet": {"leader": fleet.leader, "leads": fleet.leads, **workers}}


def _shown_filters(mapping: EventSourceMapping) -> dict[str, Any]:
    """Left out where there are none (FLT-05)."""
    if mapping.criteria is None:
        return {}
    return {"FilterCriteria": {"Filters": [{"Pattern": pattern} for pattern in mapping.criteria.patterns]}}


def _shown_queue(mapping: EventSourceMapping) -> dict[str, Any]:
    scaling = mapping.maximum_concurrency
    return {"ScalingConfig": {"MaximumConcurrency": scaling}} if scaling else {}


def _shown_stream(stream: StreamSettings) -> dict[str, Any]:
    start = stream.start
    return {
        "StartingPosition": start.kind.value,
        **({"StartingPositionTimestamp": start.timestamp} if start.timestamp else {}),
        "ParallelizationFactor": stream.lanes,
        "BisectBatchOnFunctionError": stream.retry.bisect,
        "MaximumRetryAttempts": stream.retry.attempts,
        "MaximumRecordAgeInSeconds": stream.retry.age,
        "TumblingWindowInSeconds": stream.tumbling_window,
        "DestinationConfig": {"OnFailure": {"Destination": stream.destination} if stream.destination else {}},
    }
