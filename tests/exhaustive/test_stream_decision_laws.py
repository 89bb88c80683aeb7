"""The laws of `decide_stream`, over every small batch, policy, counter and answer, and over whole histories of them."""

from collections.abc import Iterator
from itertools import product
from math import inf
from typing import Any, Final, NamedTuple, TypeAlias

import pytest
from msgspec.structs import replace

from handlers.invoker import NOT_JSON, FunctionError, NotInvoked, Outcome, Succeeded
from pollers.record import Record, RecordId
from runtime.core.batching import Batch
from runtime.core.decisions import RETRIES_EXHAUSTED, Decision, decide_stream
from runtime.core.mapping import UNLIMITED, RetryPolicy

MOST_RECORDS: Final = 5
NAMES: Final = "12345"
KEY: Final = "batchItemFailures"
VALID: Final = tuple({"itemIdentifier": name} for name in NAMES)
BAD: Final[tuple[Any, ...]] = (
    {"itemIdentifier": "6"}, {"itemIdentifier": ""}, {"foo": 123}, {"itemIdentifier": 1}, {"itemIdentifier": 123},
    {"itemIdentifier": None}, {}, {"foo": None}, None, "1", ["1"],
)  # fmt: skip
"""KIN-52, and what is like it."""
SUCCESSES: Final[tuple[Any, ...]] = (
    "",
    [],
    None,
    {},
    {KEY: []},
    {KEY: None},
    {"statusCode": 200},
    {"BatchItemFailures": VALID[:1]},
)
"""KIN-51, and objects that say nothing of item failures."""
MALFORMED: Final[tuple[Any, ...]] = (
    0,
    1.5,
    True,
    False,
    "text",
    ["1"],
    list(VALID[:1]),
    NOT_JSON,
    {KEY: ""},
    {KEY: "1"},
    {KEY: {}},
    {KEY: 0},
)
NO_STATES: Final[tuple[Any, ...]] = (None, [], "", "text", 0, 1, True)
THROTTLE: Final = NotInvoked(reason="ReservedFunctionConcurrentInvocationLimitExceeded")
FAILURE: Final = FunctionError(error_type="E", message="m", document={})
WHOLE: Final = -1
"""The whole batch failed and nothing is known of its records."""
NONE: Final = -2


class Case(NamedTuple):
    """An outcome, and what the spec reads in it."""

    outcome: Outcome
    reported: int
    """With ReportBatchItemFailures: the index of the lowest record that failed, WHOLE or NONE (KIN-50..57)."""
    has_state: bool
    """COM-94."""


class Mode(NamedTuple):
    policy: RetryPolicy
    report: bool
    stateful: bool

    def decide(self, batch: Batch, outcome: Outcome) -> Decision:
        return decide_stream(batch, outcome, self.policy, report_item_failures=self.report, stateful=self.stateful)


POLICIES: Final = [RetryPolicy(attempts=attempts, bisect=bisect) for attempts, bisect in product((-1, 0, 1, 2), (False, True))]
MODES: Final = [Mode(*mode) for mode in product(POLICIES, (False, True), (False, True))]


RECORDS: Final = tuple(Record(id=RecordId(name), content={}, size=1, arrived=0.0) for name in NAMES)


def every_batch(count: int) -> Iterator[Batch]:
    for retries, throttles in product(range(3), (0, 2)):
        yield Batch(RECORDS[:count], retries=retries, throttles=throttles, received=7.0)


def every_list(count: int) -> Iterator[tuple[list[Any], int]]:
    """Lists of up to two entries, and the index of the lowest record that they fail; `test_decision_laws` has longer ones."""
    entries = [*((entry, n) for n, entry in enumerate(VALID[:count])), *((entry, WHOLE) for entry in (*BAD, *VALID[count:]))]
    yield [], NONE
    for entry, index in entries:
        yield [entry], index
    for (one, first), (two, second) in product(entries[: count + 3], repeat=2):
        yield [one, two], min(first, second)


def every_case(count: int) -> Iterator[Case]:
    """Every outcome of a batch of so many records; answers without `state`, with one, and with something else in its place."""
    yield Case(THROTTLE, NONE, has_state=False)
    yield Case(FAILURE, WHOLE, has_state=False)
    answers = [(answer, NONE) for answer in SUCCESSES] + [(answer, WHOLE) for answer in MALFORMED]
    answers += [({KEY: listed}, index) for listed, index in every_list(count)]
    for answer, index in answers:
        yield Case(Succeeded(response=answer), index, has_state=False)
        if isinstance(answer, dict):
            yield Case(Succeeded(response={**answer, "state": {"sum": 1}}), index, has_state=True)
    yield Case(Succeeded(response={"state": {}}), NONE, has_state=True)
    for state, listed in product(NO_STATES, ([], list(VALID[:1]))):
        yield Case(Succeeded(response={"state": state, KEY: listed}), 0 if listed else NONE, has_state=False)


def every_decision(count: int) -> Iterator[tuple[Batch, Case, Mode, Decision]]:
    cases = list(every_case(count))
    for batch, mode in product(every_batch(count), MODES):
        for case in cases:
            yield batch, case, mode, mode.decide(batch, case.outcome)


def judge_laws(batch: Batch, case: Case, decision: Decision) -> None:
    read = decision.settled + decision.discarded + tuple(each for pending in decision.pending for each in pending.records)
    assert read == batch.records, "conservation and order: the parts in this sequence are the batch"
    assert not decision.returned, "a stream takes nothing back"
    assert bool(decision.discarded) is (decision.condition is not None), "no silent drop"
    assert decision.pause is bool(decision.pending), "nothing is tried again at once"
    for pending in decision.pending:
        smaller = 0 < len(pending.records) < len(batch.records)
        again = pending == replace(batch, retries=batch.retries + 1, throttles=0)
        spared = case.outcome is THROTTLE and pending == replace(batch, throttles=batch.throttles + 1)
        assert smaller or again or spared, "progress"
        assert not smaller or (pending.retries, pending.throttles) == (0, 0), "a smaller batch begins anew (COM-73, COM-77)"
        assert pending.received == batch.received


def what_failed(case: Case, mode: Mode) -> int:
    """The index of the first record that failed, WHOLE or NONE, read from the spec."""
    if case.outcome is FAILURE or (mode.stateful and not case.has_state):
        return WHOLE
    return case.reported if mode.report else NONE


def judge_fate(batch: Batch, case: Case, mode: Mode, decision: Decision) -> None:
    """The rules themselves, read independently of the code."""
    count, (policy, _, _) = len(batch.records), mode
    pending = tuple(each.records for each in decision.pending)
    if case.outcome is THROTTLE:
        assert pending == (batch.records,), "COM-23"
        return
    failed = what_failed(case, mode)
    assert (decision.problem is not None) is (failed == WHOLE and case.outcome is not FAILURE), (
        "ignorance is failure, and says why"
    )
    if failed == NONE:
        assert decision.settled == batch.records
    elif failed > 0:
        assert (decision.settled, pending) == (batch.records[:failed], (batch.records[failed:],)), "KIN-50"
    elif failed == WHOLE and policy.bisect and count > 1:
        assert pending == (batch.records[: count // 2], batch.records[count // 2 :]), "COM-75, COM-76, COM-78"
    elif policy.attempts == UNLIMITED or batch.retries < policy.attempts:
        assert pending == (batch.records,), "COM-70, COM-74"
        assert decision.pending[0].retries == batch.retries + 1
    else:
        assert (decision.discarded, decision.condition) == (batch.records, RETRIES_EXHAUSTED), "COM-71"


@pytest.mark.parametrize("count", range(1, MOST_RECORDS + 1))
def test_every_decision_keeps_the_laws_and_gives_each_record_its_fate(count: int) -> None:
    """Conservation, order, no silent drop, progress, quota and ignorance (DESIGN, section 3); COM-70..78, COM-94, KIN-50..57."""
    for batch, case, mode, decision in every_decision(count):
        judge_laws(batch, case, decision)
        judge_fate(batch, case, mode, decision)


# whole histories


Key: TypeAlias = tuple[int, tuple[tuple[int, int, int], ...]]


class Story(NamedTuple):
    """Where a history stands. What went before matters no further: two that meet here go on alike."""

    pending: tuple[Batch, ...]
    tries: int = 0
    """Invocations of the first pending batch as it is: counted here, not by the code."""

    @property
    def key(self) -> Key:
        return self.tries, tuple((len(batch.records), batch.retries, batch.throttles) for batch in self.pending)


def outcomes_of(batch: Batch, mode: Mode, throttles: int) -> Iterator[Outcome]:
    """One of each kind; what else is like one of them has the same fate, as the laws above have shown."""
    if batch.throttles < throttles:
        yield THROTTLE
    yield FAILURE
    yield Succeeded(response={KEY: [{}], "state": {}})
    yield Succeeded(response={KEY: []})
    yield Succeeded(response={"state": {}})
    for failed in batch.records if mode.report else ():
        yield Succeeded(response={KEY: [{"itemIdentifier": failed.id}], "state": {}})


class Histories:
    """Plays every history of a batch to its end; for each state the most invocations from there on."""

    def __init__(self, mode: Mode, *, throttles: int = 1, longest: float = inf) -> None:
        self.mode = mode
        self.throttles = throttles
        self.longest = longest
        """Tries of one batch after which a history without a quota is left."""
        self.given_up: set[tuple[RecordId, ...]] = set()
        self._most: dict[Key, int] = {}
        self._open: set[Key] = set()

    def most_invocations(self, story: Story) -> int:
        key = story.key
        assert key not in self._open, "a history that never ends"
        if key in self._most or not story.pending or story.tries >= self.longest:
            return self._most.get(key, 0)
        self._open.add(key)
        batch = story.pending[0]
        assert self.mode.policy.attempts == UNLIMITED or story.tries <= self.mode.policy.attempts, "quota"
        assert batch.retries == story.tries, "retries are the invocations of the same batch before this one"
        self._most[key] = max(self._after(story, outcome) for outcome in outcomes_of(batch, self.mode, self.throttles))
        self._open.discard(key)
        return self._most[key]

    def _after(self, story: Story, outcome: Outcome) -> int:
        batch, *behind = story.pending
        decision = self.mode.decide(batch, outcome)
        pending = (*decision.pending, *behind)
        left = tuple(each for waiting in pending for each in waiting.records)
        before = tuple(each for waiting in story.pending for each in waiting.records)
        assert decision.settled + decision.discarded + left == before, "fates fall in the order of the shard"
        if decision.discarded:
            self.given_up.add(tuple(each.id for each in decision.discarded))
        cost = int(outcome is not THROTTLE)
        unchanged = bool(pending) and pending[0].records == batch.records
        return cost + self.most_invocations(Story(pending, story.tries + cost if unchanged else 0))


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode.policy.attempts != UNLIMITED], ids=repr)
def test_every_history_with_a_quota_ends_and_no_batch_is_invoked_more_often_than_it_allows(mode: Mode) -> None:
    """COM-71: attempts + 1 invocations of an unchanged batch; a throttle costs none (COM-23); COM-77: a split costs none."""
    allowed = mode.policy.attempts + 1
    for count in range(1, MOST_RECORDS + 1):
        histories = Histories(mode, throttles=2 if count < 4 else 1)
        most = histories.most_invocations(Story((Batch(RECORDS[:count]),)))
        parts = 2 * count - 1  # of a batch that is halved down to its records
        shrinking = allowed * (count if mode.report else 1)
        assert most >= shrinking if mode.policy.bisect else most == shrinking
        assert most <= (allowed * parts if mode.policy.bisect else shrinking)
        assert tuple(each.id for each in RECORDS[count - 1 : count]) in histories.given_up or not (
            mode.report or mode.policy.bisect or count == 1
        )


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode.policy.attempts == UNLIMITED], ids=repr)
def test_no_history_without_a_quota_gives_anything_up(mode: Mode) -> None:
    """COM-72."""
    for count in range(1, MOST_RECORDS + 1):
        histories = Histories(mode, longest=5)
        assert histories.most_invocations(Story((Batch(RECORDS[:count]),))) >= 5
        assert not histories.given_up
