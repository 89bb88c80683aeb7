"""What only mappings of streams tell: shards, leases, positions, and the records that were given up."""

from collections.abc import Sequence

from pollers.errors import SourceError
from pollers.record import Record
from runtime.leases import StateError
from runtime.telemetry import MappingTelemetry


class StreamTelemetry:
    """Beside the `MappingTelemetry` of the same mapping; one method for each thing that can happen."""

    def __init__(self, mapping: MappingTelemetry) -> None:
        self.mapping = mapping
        self._log = mapping.log
        self._state_failing: dict[str, str] = {}
        self._refused: str | None = None

    def source_answered(self) -> None:
        """The first answer after a start, or after failures."""
        self._log.info("source_answered")

    # positions and shards

    def shard_began(self, shard: str, *, checkpoint: str) -> None:
        self._log.info("shard_began", shard=shard, checkpoint=checkpoint)

    def shard_ended(self, shard: str) -> None:
        self._log.info("shard_ended", shard=shard)

    def shard_restarted(self, shard: str, *, silent: float) -> None:
        self.mapping.count("esm_shard_restarts_total")
        self._log.error("shard_restarted", shard=shard, silent_seconds=round(silent), reason="no sign of life from its tasks")

    def position_lost(self, shard: str, *, checkpoint: str, goes_on: str, error: SourceError) -> None:
        """Records after the checkpoint left the stream before they were read."""
        self.mapping.count("esm_position_gaps_total")
        self._log.error("position_lost", shard=shard, checkpoint=checkpoint, goes_on=goes_on, error=str(error))

    def page_repeated(self, shard: str, *, first: str, last: str, known: str) -> None:
        """A whole page that lies before what was read already: it is passed over."""
        hint = "once in a while is a repeated answer; again and again, the stream has begun its numbers anew: rename the mapping"
        self._log.warning("page_repeated", shard=shard, first=first, last=last, known=known, hint=hint)

    def window_dropped(self, shard: str, *, reason: str) -> None:
        self._log.error("window_dropped", shard=shard, reason=reason)

    def retention_unknown(self, error: SourceError) -> None:
        hint = "records are retried until the stream no longer gives them"
        self._log.warning("retention_unknown", error=str(error), hint=hint)

    def destination_warned(self, warning: str) -> None:
        """Found out at the start, before anything is to be sent there."""
        self._log.warning("destination_warned", warning=warning)

    # leases

    def lease_taken(self, shard: str, *, before: str | None) -> None:
        self.mapping.lease_changed("taken")
        self._log.info("lease_taken", shard=shard, before=before)

    def lease_released(self, shard: str, *, to: str | None) -> None:
        self.mapping.lease_changed("handed_over" if to else "released")
        self._log.info("lease_released", shard=shard, to=to)

    def lease_lost(self, shard: str, *, expired: bool) -> None:
        self.mapping.lease_changed("lost")
        reason = "it could not be renewed in time" if expired else "another worker took it"
        self._log.warning("lease_lost", shard=shard, reason=reason, hint="whoever has it next goes on from its checkpoint")

    def lease_assigned(self, shard: str, *, to: str, before: str | None, asks: bool) -> None:
        """By us, the leader. `asks`: its owner is asked to hand it over."""
        self.mapping.lease_changed("asked" if asks else "assigned")
        self._log.info("lease_assigned", shard=shard, to=to, before=before, asks=asks)

    def leader_changed(self, *, leads: bool, reason: str) -> None:
        self._log.info("leader_changed", leads=leads, reason=reason)

    def hand_over_cut(self, shard: str, *, to: str | None) -> None:
        self._log.warning("hand_over_cut", shard=shard, to=to, hint="the batch in flight took too long, and is repeated there")

    def lease_wanted(self, shard: str, *, owner: str | None) -> None:
        self.mapping.lease_changed("wanted")
        self._log.info("lease_wanted", shard=shard, owner=owner)

    def state_failed(self, error: StateError, *, who: str) -> None:
        """Told once per change of what is wrong, not once per try. `who` asked: one may be answered while another is not."""
        if str(error) not in self._state_failing.values():
            self._log.error("state_failed", error=str(error))
        self._state_failing[who] = str(error)

    def state_answered(self, *, who: str) -> None:
        if self._state_failing.pop(who, None) is not None and not self._state_failing:
            self._log.info("state_answered")

    def shard_crashed(self, shard: str, error: BaseException, *, restart_in: float) -> None:
        self.mapping.count("esm_shard_restarts_total")
        self._log.error("shard_crashed", shard=shard, exc_info=error, restart_in=round(restart_in, 1))

    def shard_revived(self, shard: str, *, problem: str) -> None:
        self._log.error("shard_revived", shard=shard, problem=problem)

    # the fate of records

    def window_ended(self, shard: str, *, early: bool) -> None:
        self._log.debug("window_ended", shard=shard, early=early)

    def records_expired(self, shard: str, records: Sequence[Record]) -> None:
        """They left the stream while they were being retried (COM-85)."""
        self.mapping.count("esm_expired_events_total", len(records))
        self._log.error("records_expired", shard=shard, records=len(records), first=records[0].id, last=records[-1].id)

    def records_dropped(self, shard: str, records: Sequence[Record], *, condition: str, reason: str) -> None:
        """Given up, and no destination has them (MET-05)."""
        self.mapping.count("esm_dropped_events_total", len(records))
        first, last = records[0].id, records[-1].id
        self._log.error(
            "records_dropped", shard=shard, records=len(records), first=first, last=last, condition=condition, reason=reason
        )

    def records_sent_away(self, shard: str, records: Sequence[Record], *, condition: str, destination: str | None) -> None:
        """The destination has taken a failure record about them (MET-06)."""
        self.mapping.count("esm_on_failure_destination_delivered_events_total", len(records))
        self._refused = None
        first, last = records[0].id, records[-1].id
        where = {"shard": shard, "first": first, "last": last, "destination": destination}
        self._log.warning("records_sent_away", records=len(records), condition=condition, **where)

    def destination_failed(self, shard: str, error: Exception, *, records: int) -> None:
        """MET-37; told once per change of what is wrong, counted each time."""
        self.mapping.count("esm_destination_delivery_failures_total")
        if str(error) != self._refused:
            self._log.error("destination_failed", shard=shard, records=records, error=str(error))
        self._refused = str(error)
