"""The judgement of a run against the baseline: only ratios count, and only beyond the noise."""

from typing import Any

from benchmarks.compare import MARGIN, Standing, compare, is_worse


def standing(ratio: float, low: float | None = None, high: float | None = None) -> Standing:
    low, high = ratio if low is None else low, ratio if high is None else high
    return Standing(key="sqs-10/lean", ratio=ratio, low=low, high=high, cpu_per_100k=1.0)


def document(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"at": "2026-11-26T00:00:00+00:00", "rows": list(rows)}


def row(key: str, ratio: float | None, *, cpu: float = 1.0) -> dict[str, Any]:
    found = None if ratio is None else {"median": ratio, "low": ratio, "high": ratio}
    return {"key": key, "client": key.partition("/")[2], "ratio_to_plain": found, "cpu_per_100k": cpu}


def test_a_ratio_beyond_the_margin_is_worse() -> None:
    assert is_worse(standing(0.10), standing(0.10 * (1 + MARGIN) + 0.001))


def test_a_ratio_within_the_margin_is_noise() -> None:
    assert not is_worse(standing(0.10), standing(0.10 * (1 + MARGIN) - 0.001))


def test_a_round_within_the_spread_of_the_baseline_acquits() -> None:
    before = standing(0.10, low=0.09, high=0.13)
    assert not is_worse(before, standing(0.15, low=0.12, high=0.16))
    assert is_worse(before, standing(0.15, low=0.131, high=0.16))


def test_twice_the_cpu_is_not_judged_when_the_plain_loop_took_twice_as_much_too() -> None:
    found = compare(document(row("sqs-10/lean", 0.1, cpu=1.0)), document(row("sqs-10/lean", 0.1, cpu=2.0)))
    assert found.worse == []
    assert [(change.before.cpu_per_100k, change.now.cpu_per_100k) for change in found.changes] == [(1.0, 2.0)]


def test_the_rows_that_got_worse_and_better_are_named() -> None:
    before = document(row("a/lean", 0.1), row("b/sdk", 0.8), row("c/lean", 0.2), row("d/lean", 0.2))
    found = compare(before, document(row("a/lean", 0.2), row("b/sdk", 0.5), row("c/lean", 0.21), row("d/lean", 0.19)))
    assert [change.now.key for change in found.worse] == ["a/lean"]
    assert [change.now.key for change in found.better] == ["b/sdk"]
    assert found.worse[0].by == 1.0


def test_other_clients_are_not_ours_to_judge() -> None:
    before = document(row("a/sqs-consumer", 0.5), row("a/plain", None))
    found = compare(before, document(row("a/sqs-consumer", 0.9), row("a/plain", None)))
    assert found.changes == ()


def test_a_row_that_was_not_measured_is_missing_and_not_better() -> None:
    found = compare(document(row("a/lean", 0.1), row("b/lean", 0.1)), document(row("a/lean", 0.1), row("b/lean", None)))
    assert found.missing == ("b/lean",)
    assert found.worse == found.better == []
