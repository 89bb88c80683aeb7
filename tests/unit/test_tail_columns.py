"""Times, sizes and shards as the columns of a tail have them."""

import pytest

from runtime.tail.columns import counted, printable, seconds, short_shard, size, span


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1024**2 - 1, "1024.0 KiB"),
        (1024**2, "1.0 MiB"),
        (6 * 1024**2, "6.0 MiB"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, ""),
        (0.0004, "0.4 ms"),
        (0.012, "12 ms"),
        (1.5, "1.50 s"),
        (59.99, "59.99 s"),
        (90, "1 min 30 s"),
        (7260, "2 h 1 min"),
    ],
)
def test_durations(count: float | None, text: str) -> None:
    assert seconds(count) == text


def test_long_times_have_their_two_largest_units() -> None:
    assert [span(count) for count in (5, 3600, 90_000)] == ["5 s", "1 h 0 min", "1 d 1 h"]


def test_shards_are_called_by_what_tells_them_apart() -> None:
    names = ["shardId-000000000012", "shardId-00000001795673719806-0deac9cc", "short"]
    assert [short_shard(name) for name in names] == ["shard 12", "…0deac9cc", "short"]


def test_counts_have_their_plural() -> None:
    assert [counted(1, "batch"), counted(2, "batch"), counted(1200, "record")] == ["1 batch", "2 batches", "1,200 records"]


def test_control_characters_and_lone_surrogates_are_shown_and_not_sent() -> None:
    assert printable("a\x1b[2J\n\u202e\ud800ü€") == "a\\x1b[2J\\n\\u202e\\ud800ü€"
