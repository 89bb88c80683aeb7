"""What a mapping says of itself to `/mappings`, `/readyz` and `/healthz`."""

from dataclasses import dataclass, field
from typing import Any, Final

from pollers.errors import SourceError, SourceRejected
from runtime.core.mapping import TRANSITIONS, EventSourceMapping, MappingState

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
        return self.state is MappingState.ENABLED and not isinstance(self.error, SourceRejected)

    @property
    def why_not_ready(self) -> str:
        return str(self.error) if self.error else f"{self.state.value}: no successful poll yet"

    def stuck(self, now: float) -> bool:
        """Only a restart of the process can free a slot: no thread can be stopped."""
        return self.overdue_since is not None and now - self.overdue_since > STUCK_AFTER

    @property
    def why_not_moving(self) -> str | None:
        if self.paused:
            return self.paused
        if self.overdue_since is not None:
            return f"all slots are held by {self.overdue} handlers that run on past their time limit"
        if self.error:
            return str(self.error)
        if self.slots and self.delivering >= self.allowed:
            return f"all {self.allowed} slots are taken by invocations"
        return None

    def shown(self) -> dict[str, Any]:
        """The JSON of one mapping: AWS's keys for what AWS shows (API-40), ours in lower case."""
        mapping = self.mapping
        scaling = mapping.maximum_concurrency
        return {
            "name": mapping.name,
            "EventSourceArn": mapping.source_arn,
            "FunctionArn": mapping.function_arn,
            "BatchSize": mapping.batch.records,
            "MaximumBatchingWindowInSeconds": mapping.batch.window,
            "FunctionResponseTypes": ["ReportBatchItemFailures"] if mapping.report_item_failures else [],
            **({"ScalingConfig": {"MaximumConcurrency": scaling}} if scaling else {}),
            "State": self.state.value,
            "LastProcessingResult": self.last_result,
            "ready": self.ready,
            "why": self.why_not_moving,
            "error": self.error.code if self.error else None,
            "slots": self.slots,
            "slots_allowed": self.allowed,
            "receiving": self.receiving,
            "delivering": self.delivering,
            "overdue": self.overdue,
            "restarts": self.restarts,
            **self.facts,
        }
