"""Ratios of rows, round by round, and what the goals say of them."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from benchmarks.bench import Span
from benchmarks.goals import GOALS, HOPS, Goal, fraction, judge, missed
from benchmarks.measure import Idle
from benchmarks.measure_filters import Filters, measure_filters
from benchmarks.measure_start import Start
from benchmarks.measure_upkeep import Upkeep
from benchmarks.results import Results, document_of, ratio, ratio_to, stub_was_limit
from benchmarks.scenarios import SCENARIOS, Row, rows_of, scenario_of
from benchmarks.show import show


def span(cpu: float, *, stub: float = 0.1) -> Span:
    """Of 100,000 records in one second."""
    return Span(
        records=100_000, cpu=cpu, wall=1.0, stub_cpu=stub, read_ahead=0, peak=1, wait_p50=None, wait_p99=None, mean_batch=None
    )  # fmt: skip


def lean(key: str) -> Row:
    return Row(scenario=scenario_of(key), client="lean")


def plain(key: str) -> Row:
    return Row(scenario=scenario_of(key), client="plain")


def test_a_ratio_is_made_of_the_pairs_of_each_round() -> None:
    """The third round ran at half the speed: the pairs do not see it."""
    found = ratio({"a": [span(1), span(1.2), span(2)], "b": [span(10), span(10), span(20)]}, "a", "b")
    assert found is not None
    assert (found.low, found.median, found.high) == pytest.approx((0.1, 0.1, 0.12))


def test_rounds_that_only_one_has_do_not_count() -> None:
    found = ratio({"a": [span(1)], "b": [span(10), span(1), span(1)]}, "a", "b")
    assert found is not None
    assert found.median == pytest.approx(0.1)


@pytest.mark.parametrize("base", [None, "b", "not measured"])
def test_without_a_common_round_there_is_no_ratio(base: str | None) -> None:
    assert ratio({"a": [span(1)], "b": []}, "a", base) is None


def test_a_work_without_a_plain_loop_is_compared_with_that_of_its_yardstick() -> None:
    results = Results(rows={plain("sqs-10"): [span(10)], lean("sqs-10000-window"): [span(2)]})
    found = ratio_to(results, lean("sqs-10000-window"), "plain")
    assert found is not None
    assert found.median == pytest.approx(0.2)
    assert ratio_to(results, plain("sqs-10"), "plain") is None


def test_a_thread_hop_is_what_a_batch_costs_more_round_by_round() -> None:
    """The machine ran at half the speed from the second round on; 0.5 s more for 100,000 records are 50 us for ten."""
    rows = {
        lean("sqs-10"): [span(1.0), span(2.0), span(2.0)],
        lean("sqs-10-def"): [span(2.5), span(2.5), span(2.5)],
        lean("kinesis-100x1000"): [span(0.40)],
        lean("kinesis-100x1000-def"): [span(0.47)],
    }
    hops = [verdict for verdict in judge(Results(rows=rows), []) if "hop" in verdict.work]
    assert [(verdict.work, verdict.measured, verdict.word) for verdict in hops] == [
        ("thread hop, SQS 10 x 256 B, 10 in flight, def handler", "50 us", "met"),
        ("thread hop, Kinesis 100 x 1 kB, def handler", "70 us", "NOT met"),
    ]


def test_a_plain_handler_may_cost_less_than_an_async_one() -> None:
    rows = {lean("sqs-10"): [span(1.1)], lean("sqs-10-def"): [span(1.0)]}
    assert [each.measured for each in judge(Results(rows=rows), []) if each.met] == ["-10 us"]


def test_every_hop_compares_rows_that_differ_in_their_handler_alone() -> None:
    for plain_key, other_key in HOPS:
        plain_one, other = scenario_of(plain_key), scenario_of(other_key)
        assert (plain_one.handler, other.handler) == ("def", "async def")
        same = replace(other, key=plain_key, handler="def", clients=plain_one.clients, yardstick=plain_one.yardstick)
        assert plain_one == same
        assert "lean" in plain_one.clients
        assert "lean" in other.clients


def test_every_goal_speaks_of_rows_that_are_measured() -> None:
    keys = {row.key for row in rows_of(SCENARIOS)}
    assert {goal.row for goal in GOALS} | {goal.base for goal in GOALS} <= keys


def goal(limit: float) -> Goal:
    return Goal(work="w", against="a", row="sqs-10/lean", base="sqs-10/plain", limit=limit, limit_text="1/10")


@pytest.mark.parametrize(("cpu", "word"), [(0.999, "met"), (1.001, "NOT met")])
def test_a_goal_is_met_up_to_its_limit(cpu: float, word: str) -> None:
    results = Results(rows={plain("sqs-10"): [span(10)], lean("sqs-10"): [span(cpu)]})
    verdict = judge(results, [goal(0.1)])[0]
    assert verdict.word == word
    assert verdict.value == pytest.approx(cpu / 10)
    assert (verdict in missed([verdict])) == (word == "NOT met")


def test_a_goal_without_its_rows_is_neither_met_nor_missed() -> None:
    verdicts = judge(Results())
    assert {verdict.word for verdict in verdicts} == {"not measured"}
    assert missed(verdicts) == []


def idle(*, queues: int, share: float, memory: int) -> Idle:
    return Idle(queues=queues, seconds=20, core_share=share, receives_per_minute=3, memory=memory)


def test_only_the_200_idle_queues_have_goals() -> None:
    results = Results(idle=[idle(queues=20, share=0.5, memory=10**9), idle(queues=200, share=0.019, memory=201_000_000)])
    assert [verdict.word for verdict in judge(results, [])[:2]] == ["met", "NOT met"]


def test_the_median_start_of_the_lean_client_is_judged() -> None:
    starts = [
        Start(client="sdk", source="sqs", seconds=[9]),
        Start(client="lean", source="sqs", seconds=[0.5, 0.9, 5]),
        Start(client="lean", source="kinesis", seconds=[0.5, 1.0, 1.1]),
    ]
    verdicts = judge(Results(starts=starts), [])[2:4]
    assert [(verdict.measured, verdict.word) for verdict in verdicts] == [("0.90 s", "met"), ("1.00 s", "NOT met")]


@pytest.mark.parametrize(("value", "text"), [(0.1, "1/10.0"), (0.499, "1/2.0"), (0.87, "0.87"), (1.5, "1.50")])
def test_small_ratios_read_as_fractions(value: float, text: str) -> None:
    assert fraction(value) == text


def test_a_busy_stub_is_told_in_the_json() -> None:
    assert not stub_was_limit([span(1, stub=0.9)])
    results = Results(rows={plain("sqs-10"): [span(10)], lean("sqs-10"): [span(1, stub=0.95), span(1, stub=0.91)]})
    rows = document_of(results, {})["rows"]
    assert [row["stub_was_limit"] for row in rows] == [False, True]
    assert rows[1]["ratio_to_plain"] == {"median": 0.1, "low": 0.1, "high": 0.1}
    assert rows[1]["batch_wait_p50"] is None


@pytest.mark.parametrize(("stub", "told"), [(0.95, True), (0.5, False)])
def test_a_busy_stub_is_told_on_the_console(stub: float, told: bool) -> None:
    output = io.StringIO()
    show(Results(rows={lean("sqs-10"): [span(1, stub=stub)]}), Console(file=output, width=150))
    words = " ".join(output.getvalue().split())
    assert (
        "records/s say nothing about the client, CPU does, for SQS 10 x 256 B, 10 in flight: worker, client: lean" in words
    ) == told
    assert ("100,000*" in words) == told


@pytest.mark.parametrize(("rate", "word"), [(300_000, "met"), (299_999, "NOT met")])
def test_filters_have_a_rate_to_reach(rate: float, word: str) -> None:
    filters = Filters(matched=rate, matched_in_lists=1, parsed=1)
    assert judge(Results(filters=filters), [])[-1].word == word
    output = io.StringIO()
    show(Results(filters=filters), Console(file=output, width=150))
    assert f"{rate:,} records/s by three fields" in output.getvalue()


def upkeep(*shares: float, lost: float = 0) -> Upkeep:
    units = {"UpdateItem": 299.5, "DeleteItem": 0.5, "Scan": 15.0, "Query": 5.0}
    return Upkeep(
        client="lean", leases=1000, seconds=10, core_shares=[*shares], stub_shares=[0.1 for _ in shares], units=units, lost=lost
    )  # fmt: skip


@pytest.mark.parametrize(
    ("found", "word"),
    [
        (upkeep(0.02, 0.0499, 0.09), "met"),
        (upkeep(0.02, 0.05, 0.06), "NOT met"),
        (upkeep(0.01, lost=1), "NOT met"),
    ],
)
def test_the_upkeep_of_leases_has_a_share_to_stay_below_and_none_to_lose(found: Upkeep, word: str) -> None:
    verdicts = [verdict for verdict in judge(Results(upkeep=[found]), []) if verdict.work.startswith("upkeep")]
    assert [verdict.word for verdict in verdicts] == [word]
    output = io.StringIO()
    show(Results(upkeep=[found]), Console(file=output, width=150))
    assert "300 write and 20 read units/s" in output.getvalue()
    assert ("LOST" in output.getvalue()) == bool(found.lost)
    assert document_of(Results(upkeep=[found]), {})["upkeep"][0]["write_units"] == 300


def test_filters_are_measured() -> None:
    measured = measure_filters(rounds=1, seconds=0.01)
    assert min(measured.matched, measured.matched_in_lists, measured.parsed) > 0
