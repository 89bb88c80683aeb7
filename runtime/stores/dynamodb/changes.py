"""Every change of a row as one UpdateItem with its condition. Pure: from what was seen and what is wanted to expressions.

KCL writes the same with the legacy parameters (DynamoDBLeaseRefresher, DynamoDBLeaseSerializer). Two things are ours: the
condition names the owner beside the counter, so that one write does for a lease with and without a hand-off what KCL needs two
for; and every write leaves a token, so that one whose answer was lost is known again.
"""

from collections.abc import Mapping
from typing import Any, Final, Protocol, Self

from msgspec.structs import replace

from pollers.record import TRIM_HORIZON, Position
from runtime.core.lease import Lease
from runtime.stores.dynamodb import lock, rows, values
from runtime.stores.dynamodb.fleet import UPDATED, WorkerRow
from runtime.stores.dynamodb.leases import checkpoint_of
from runtime.stores.dynamodb.lock import LockRow
from runtime.stores.dynamodb.values import Value

_VALUES: Final = "ExpressionAttributeValues"
_PENDING: Final = (rows.PENDING, rows.PENDING_SUB_SEQUENCE, rows.PENDING_STATE)


class Expressions(Protocol):
    """One write."""

    def expressions(self) -> dict[str, Any]:
        """What an UpdateItem, PutItem or DeleteItem takes of it. Its parts are not to be changed."""
        ...


class Change:
    """The expressions of one write. Names are always placeholders: some are words that DynamoDB reserves."""

    def __init__(self) -> None:
        self._sets: list[str] = []
        self._removals: list[str] = []
        self._additions: list[str] = []
        self._conditions: list[str] = []
        self._names: dict[str, str] = {}
        self._values: dict[str, Value] = {}

    def set(self, attributes: Mapping[str, Value]) -> Self:
        self._sets += [f"{self._name(name)} = {self._value(value)}" for name, value in attributes.items()]
        return self

    def remove(self, *names: str) -> Self:
        self._removals += map(self._name, names)
        return self

    def add(self, name: str, amount: int = 1) -> Self:
        self._additions.append(f"{self._name(name)} {self._value(values.number(amount))}")
        return self

    def when(self, *conditions: str) -> Self:
        self._conditions += conditions
        return self

    def exists(self, name: str) -> str:
        return f"attribute_exists({self._name(name)})"

    def missing(self, name: str) -> str:
        return f"attribute_not_exists({self._name(name)})"

    def equal(self, name: str, value: Value | None) -> str:
        """None: the attribute is missing."""
        return self.missing(name) if value is None else f"{self._name(name)} = {self._value(value)}"

    def differs(self, name: str, value: Value) -> str:
        """It may be missing."""
        return f"({self.missing(name)} OR {self._name(name)} <> {self._value(value)})"

    def other_than(self, name: str, other: str) -> str:
        """Of two attributes; the first may be missing."""
        return f"({self.missing(name)} OR {self._name(name)} <> {self._name(other)})"

    def expressions(self) -> dict[str, Any]:
        """What an UpdateItem, PutItem or DeleteItem takes of it."""
        sections = {"SET": self._sets, "REMOVE": self._removals, "ADD": self._additions}
        update = " ".join(f"{word} {', '.join(parts)}" for word, parts in sections.items() if parts)
        request: dict[str, Any] = {"ConditionExpression": " AND ".join(self._conditions), "ExpressionAttributeNames": self._names}
        if update:
            request["UpdateExpression"] = update
        if self._values:
            request[_VALUES] = self._values
        return request

    def _name(self, name: str) -> str:
        self._names[f"#{name}"] = name
        return f"#{name}"

    def _value(self, value: Value) -> str:
        placeholder = f":v{len(self._values)}"
        self._values[placeholder] = value
        return placeholder


class _Renewal:
    """What `held` makes of a lease with an owner: only its values are made anew."""

    __slots__ = ("_shape", "_values")

    def __init__(self, lease: Lease, owner: str, token: str) -> None:
        before, after, mine = values.number(lease.counter), values.number(lease.counter + 1), values.text(owner)
        read = () if lease.throughput is None else (rows.throughput_of(lease.throughput),)
        self._shape = _MEASURED_RENEWAL if read else _RENEWAL
        self._values = (before, after, values.text(token), *read, mine, before, mine)

    def expressions(self) -> dict[str, Any]:
        return {**self._shape, _VALUES: dict(zip(self._shape[_VALUES], self._values, strict=True))}


# Of our leases. `token` goes into the row.


def renew(lease: Lease, token: str) -> Expressions:
    """Made three hundred times a second where a worker holds a thousand."""
    return held(lease, token) if lease.owner is None else _Renewal(lease, lease.owner, token)


def checkpoint(lease: Lease, token: str, position: Position, window: str | None) -> Change:
    """A position that stays is not written again: the row may say it in another way than we would."""
    change = held(lease, token).remove(*_PENDING).set({rows.SWITCHES: values.number(0)})
    if position != lease.checkpoint:
        word, start = checkpoint_of(position, before=lease.checkpoint)
        change.set({rows.CHECKPOINT: values.text(word), rows.SUB_SEQUENCE: values.number(0)})
        change.remove(rows.START) if start is None else change.set({rows.START: values.text(repr(start))})
    return change.remove(rows.WINDOW) if window is None else change.set({rows.WINDOW: values.text(window)})


def take(lease: Lease, token: str, owner: str) -> Change:
    change = Change()
    change.when(change.equal(rows.COUNTER, values.number(lease.counter)))
    change.set({rows.OWNER: values.text(owner), **_after(lease, token)}).remove(rows.CHECKPOINT_OWNER, rows.UNCLAIMED)
    return change.add(rows.SWITCHES) if _switches(lease, owner) else change


def release(lease: Lease, token: str) -> Change:
    """To whoever it is to be handed to, as KCL's assign; else to nobody, as KCL's evict. By what was seen of a hand-off."""
    change = Change()
    change.when(change.equal(rows.COUNTER, values.number(lease.counter)))
    change.set(_after(lease, token))
    if lease.owner is None:
        _is_nobodys(change, lease)
        return change.set({rows.UNCLAIMED: values.number(lease.counter + 1)})
    if lease.wanted_by is None:
        _is_alone(change, lease.owner, lease.counter)
        return change.remove(rows.OWNER)
    change.when(change.equal(rows.CHECKPOINT_OWNER, values.text(lease.owner)))
    return change.remove(rows.CHECKPOINT_OWNER).set({rows.UNCLAIMED: values.number(lease.counter + 1)})


def want(lease: Lease, token: str, worker: str, *, counter: int) -> Change:
    """KCL's start of a graceful hand-off: the counter stays, so that the owner is not disturbed.

    `counter`: as last seen, for a lease without an owner, which is assigned by this.
    """
    change = Change().set({rows.OWNER: values.text(worker), rows.WRITE: values.text(token)})
    change.when(change.exists(rows.KEY), change.missing(rows.CHECKPOINT_OWNER))
    change.when(change.equal(rows.OWNER, None if lease.owner is None else values.text(lease.owner)))
    if lease.owner is None:
        change.when(change.equal(rows.COUNTER, values.number(counter)))
        return change.set({rows.UNCLAIMED: values.number(counter)})
    change.when(change.other_than(rows.UNCLAIMED, rows.COUNTER))
    return change.set({rows.CHECKPOINT_OWNER: values.text(lease.owner)})


def give(lease: Lease, token: str, worker: str) -> Change:
    """The leader's assignment: by the owners that were seen, as KCL's, and the counter: it fails when the owner lives."""
    change = Change()
    change.when(change.exists(rows.KEY), change.equal(rows.COUNTER, values.number(lease.counter)))
    if lease.owner is None:
        _is_nobodys(change, lease)
    else:
        owner = values.text(lease.owner)
        asked = lease.wanted_by is not None
        change.when(change.equal(rows.CHECKPOINT_OWNER if asked else rows.OWNER, owner))
        if not asked:
            change.when(change.missing(rows.CHECKPOINT_OWNER))
    change.set({rows.OWNER: values.text(worker), rows.UNCLAIMED: values.number(lease.counter + 1), **_after(lease, token)})
    change.remove(rows.CHECKPOINT_OWNER)
    return change.add(rows.SWITCHES) if _switches(lease, worker) else change


def delete(lease: Lease) -> Change:
    change = Change()
    return change.when(change.equal(rows.COUNTER, values.number(lease.counter)))


def held(lease: Lease, token: str) -> Change:
    """A renewal: owner and counter are as seen, whoever wants it by now."""
    change = Change()
    change.when(change.equal(rows.COUNTER, values.number(lease.counter)))
    change.set(_after(lease, token))
    if lease.throughput is not None:
        change.set({rows.THROUGHPUT: rows.throughput_of(lease.throughput)})
    if lease.owner is None:
        _is_nobodys(change, lease)
        return change.set({rows.UNCLAIMED: values.number(lease.counter + 1)})
    owner = values.text(lease.owner)
    alone = (change.missing(rows.CHECKPOINT_OWNER), change.equal(rows.OWNER, owner), _claimed(change, lease.counter))
    return change.when(f"({change.equal(rows.CHECKPOINT_OWNER, owner)} OR ({' AND '.join(alone)}))")


def _switches(lease: Lease, owner: str) -> bool:
    """Whether KCL counts it as a change of owners that the lease goes to `owner`: not where nobody had it."""
    named = lease.wanted_by or lease.owner
    return (named is not None and named != owner) or (lease.wanted_by is not None and lease.owner == owner)


def _after(lease: Lease, token: str) -> dict[str, Value]:
    return {rows.COUNTER: values.number(lease.counter + 1), rows.WRITE: values.text(token)}


def _is_alone(change: Change, owner: str, counter: int) -> None:
    change.when(change.missing(rows.CHECKPOINT_OWNER), change.equal(rows.OWNER, values.text(owner)), _claimed(change, counter))


def _claimed(change: Change, counter: int) -> str:
    return change.differs(rows.UNCLAIMED, values.number(counter))


def _is_nobodys(change: Change, lease: Lease) -> None:
    unclaimed = change.equal(rows.UNCLAIMED, values.number(lease.counter))
    change.when(change.missing(rows.CHECKPOINT_OWNER), f"({change.missing(rows.OWNER)} OR {unclaimed})")


def name_children(children: tuple[str, ...]) -> Change:
    """They do not change: without a look at the counter."""
    change = Change()
    return change.set(rows.meta_of(children=children)).when(change.exists(rows.KEY))


# The lock row and the workers' rows


def acquire_lock(seen: LockRow | None, mine: LockRow) -> Change:
    """`seen`: a lock that is free; None: there is none."""
    change = Change().set(mine.written()).remove(lock.RELEASED)
    if seen is None:
        return change.when(change.missing(rows.KEY))
    if seen.released:
        return change.when(change.equal(lock.RELEASED, values.text("1")), change.equal(lock.VERSION, values.text(seen.version)))
    return change.when(change.exists(rows.KEY), change.equal(lock.VERSION, values.text(seen.version)))


def beat_lock(mine: LockRow, version: str) -> Change:
    change = Change().set(
        {
            lock.DURATION: values.text(str(round(mine.lasts * 1000))),
            lock.VERSION: values.text(version),
            **({lock.TIED: values.text(version)} if mine.tied else {}),
        }
    )
    return _is_mine(change, mine)


def release_lock(mine: LockRow) -> Change:
    """For a delete, as KCL has the lock client do it."""
    return _is_mine(Change(), mine)


def mark_lock_released(mine: LockRow) -> Change:
    """The lock client's other way, which keeps the row."""
    return _is_mine(Change().set({lock.RELEASED: values.text("1")}), mine)


def _is_mine(change: Change, mine: LockRow) -> Change:
    version, owner = values.text(mine.version), values.text(mine.owner)
    return change.when(change.exists(rows.KEY), change.equal(lock.VERSION, version), change.equal(lock.OWNER_NAME, owner))


def report_worker(row: WorkerRow) -> Change:
    """Never over a row that is something else: a worker might be called like a shard."""
    change = Change().set(row.written())
    entity = change.equal(rows.ENTITY, row.written()[rows.ENTITY])
    return change.when(f"({change.missing(rows.KEY)} OR {entity})")


def forget_worker(row: WorkerRow) -> Change:
    """A worker that was not heard of since."""
    change = Change()
    return change.when(change.exists(rows.KEY), change.equal(UPDATED, values.number(row.updated)))


_OWNED: Final = Lease(scope="", shard="", checkpoint=TRIM_HORIZON, owner="owner")
_RENEWAL: Final = held(_OWNED, "token").expressions()
"""Of any lease that has an owner, but for the values."""
_MEASURED_RENEWAL: Final = held(replace(_OWNED, throughput=0.0), "token").expressions()
"""The same, of one whose throughput is known."""
