"""Everything the endpoint holds: the queues of every account and region. Pure, as `queues` is."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Final
from urllib.parse import urlsplit

from runtime.local.errors import Refused, invalid_value
from runtime.local.queues import Queue
from runtime.local.settings import Redrive, Settings, apply, check_name, first_difference, parse_arn, wants_fifo

Clock = Callable[[], float]
"""Seconds since the epoch."""
_REST: Final = 60
"""Seconds for which the name of a deleted queue cannot be used (CreateQueue, QueueDeletedRecently)."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, from the credential scope of the signature."""

    account: str
    region: str


class LocalState:
    """The state of one endpoint. Equal seeds and equal calls at equal times give equal ids, handles and answers."""

    def __init__(self, *, seed: int, clock: Clock) -> None:
        self.seed = seed
        self.clock = clock
        self.requests: Counter[str] = Counter()
        """How often each operation was asked for, refused ones too; keys like `sqs.ReceiveMessage`."""
        self.stirred: set[Queue] = set()
        """Queues in which something may have become receivable since the server last looked."""
        self._rng = Random(seed)  # noqa: S311 - ids that repeat by seed, not secrets
        self._queues: dict[tuple[str, str, str], Queue] = {}
        self._deleted: dict[tuple[str, str, str], float] = {}

    def reset(self) -> None:
        """Back to the first moment, with the seed begun anew."""
        for queue in self._queues.values():
            queue.deleted = True
        self.stirred.update(self._queues.values())
        self._queues.clear()
        self._deleted.clear()
        self.requests.clear()
        self._rng = Random(self.seed)  # noqa: S311 - see above

    def queues(self) -> list[Queue]:
        """All queues, with everything that was due by now done."""
        now = self.clock()
        for queue in self._queues.values():
            queue.advance(now)
        return list(self._queues.values())

    def queue(self, name: str, *, account: str = "000000000000", region: str = "us-east-1") -> Queue:
        """For looking in from outside; raises QueueDoesNotExist."""
        return self._known(account, region, name)

    def inspect(self) -> dict[str, Any]:
        """The state as JSON: every queue with its counts, and the requests so far."""
        return {
            "seed": self.seed,
            "queues": [
                {
                    "account": queue.account,
                    "region": queue.region,
                    "name": queue.name,
                    "arn": queue.arn,
                    "fifo": queue.settings.fifo,
                    "visible": queue.visible,
                    "inFlight": queue.in_flight,
                    "delayed": queue.delayed,
                    "removed": queue.removed,
                }
                for queue in self.queues()
            ],
            "requests": dict(sorted(self.requests.items())),
        }

    # Queues

    def create(self, caller: Caller, name: str, given: Mapping[str, str]) -> Queue:
        """Raises QueueNameExists if there is one with other attributes; one with the same is given back."""
        fifo = wants_fifo(given)
        check_name(name, fifo=fifo)
        key = (caller.account, caller.region, name)
        if (found := self._queues.get(key)) is not None:
            differs = first_difference(found.settings, given)
            if differs is None:
                return found
            message = f"A queue already exists with the same name and a different value for attribute {differs}"
            raise Refused("QueueNameExists", message)
        now = self.clock()
        if now - self._deleted.get(key, -_REST) < _REST:
            message = "You must wait 60 seconds after deleting a queue before you can create another with the same name."
            raise Refused("QueueDeletedRecently", message)
        settings = apply(Settings(fifo=fifo), given, check_target=self._target_check(fifo=fifo))
        queue = Queue(name=name, account=caller.account, region=caller.region, settings=settings, now=now, rng=self._rng)
        self._queues[key] = queue
        return queue

    def change(self, queue: Queue, given: Mapping[str, str]) -> None:
        queue.settings = apply(queue.settings, given, check_target=self._target_check(fifo=queue.settings.fifo))
        queue.modified = self.clock()
        self.stirred.add(queue)

    def delete(self, queue: Queue) -> None:
        key = (queue.account, queue.region, queue.name)
        del self._queues[key]
        self._deleted[key] = self.clock()
        queue.deleted = True
        self.stirred.add(queue)

    def list(self, caller: Caller, prefix: str) -> list[Queue]:
        """The caller's queues by name."""
        found = [
            queue for (account, region, _), queue in self._queues.items() if (account, region) == (caller.account, caller.region)
        ]
        return sorted((queue for queue in found if queue.name.startswith(prefix)), key=lambda queue: queue.name)

    def by_url(self, caller: Caller, url: str) -> Queue:
        """The queue that a QueueUrl means: its last two path segments are account and name. Raises QueueDoesNotExist."""
        segments = [segment for segment in urlsplit(url).path.split("/") if segment]
        if not segments:
            raise Refused("InvalidAddress", f"The address {url} is not valid for this endpoint.")
        account = segments[-2] if len(segments) > 1 else caller.account
        return self._known(account, caller.region, segments[-1])

    def by_name(self, caller: Caller, name: str, owner: str | None) -> Queue:
        return self._known(owner or caller.account, caller.region, name)

    def dead_letter(self, queue: Queue) -> Queue | None:
        """Where the queue's worn messages go; None without a policy, or when the target was deleted (they then stay)."""
        redrive = queue.settings.redrive
        target = None if redrive is None else parse_arn(redrive.target)
        return None if target is None else self._queues.get((target[1], target[0], target[2]))

    def _known(self, account: str, region: str, name: str) -> Queue:
        found = self._queues.get((account, region, name))
        if found is None:
            raise Refused("QueueDoesNotExist", "The specified queue does not exist.")
        return found

    def _target_check(self, *, fifo: bool) -> Callable[[Redrive], None]:
        def check(redrive: Redrive) -> None:
            region, account, name = parse_arn(redrive.target) or ("", "", "")
            target = self._queues.get((account, region, name))
            if target is None:
                raise invalid_value(redrive.target, "RedrivePolicy", "Dead letter target does not exist.")
            if target.settings.fifo is not fifo:
                raise invalid_value(
                    redrive.target, "RedrivePolicy", "Dead-letter queue must be same type of queue as the source."
                )

        return check
