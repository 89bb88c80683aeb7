"""The lines that people read of a mapping's tail."""

from typing import Any

from runtime.tail.mapping_text import MappingText
from runtime.tap_events import (
    Alive,
    Closed,
    DeleteRefused,
    Detail,
    FilteredOut,
    GivenBack,
    GivenUp,
    InvocationEnded,
    Invoked,
    LinesLost,
    Received,
    Standing,
    Told,
    Watching,
)

AT = 1_000_000.0
S0 = "shardId-000000000012"
WATCHING = Watching(
    at=AT, mapping="clicks", source="kinesis", arn="arn:x", function="f", worker="w1", batch_size=100, window=2, lanes=2
)
QUEUE = Watching(at=AT, mapping="orders", source="sqs", arn="arn:x", function="f", worker="w1", batch_size=10)


def text(*, verbose: bool = False, of: Watching = WATCHING) -> MappingText:
    made = MappingText(verbose=verbose, address="http://127.0.0.1:9090")
    made.told(of)
    return made


def shown(made: MappingText, *events: Told) -> list[str]:
    """Without the times, blanks once."""
    lines = [line.plain for event in events for line in made.told(event)]
    return [" ".join(line.split()[1:]) if line[2] == ":" else line.strip() for line in lines]


def ended(**more: Any) -> InvocationEnded:
    facts: dict[str, Any] = {
        "records": 8,
        "bytes": 4600,
        "shard": S0,
        "request_id": "r",
        "outcome": "succeeded",
        "duration": 0.012,
    }
    return InvocationEnded(at=AT, **facts | more)


def invoked(request_id: str = "r", **more: Any) -> Invoked:
    return Invoked(at=AT, records=8, bytes=4600, shard=S0, request_id=request_id, **more)


def test_the_header_says_what_is_watched_and_from_where() -> None:
    made = MappingText(verbose=False, address="http://127.0.0.1:9090")
    lines = [line.plain for line in made.told(WATCHING)]
    assert lines == [
        "mapping clicks: arn:x -> f",
        "from worker w1 at http://127.0.0.1:9090; batches of 100 or 2 s, 2 at once for each shard",
    ]
    assert shown(made, WATCHING) == ["the worker is back: worker w1 at http://127.0.0.1:9090"]


def test_one_line_for_a_batch_with_its_lane_count_size_time_and_fate() -> None:
    made = text()
    assert shown(made, invoked(lane=1), ended(lane=1, done=8)) == ["shard 12/1 8 records 4.5 KiB 12 ms done"]


def test_a_queue_has_no_shard_and_a_mapping_with_one_lane_no_lane() -> None:
    assert shown(text(of=QUEUE), ended(shard="", records=1, bytes=600, done=1)) == ["1 record 600 B 12 ms done"]


def test_how_a_batch_can_end() -> None:
    made = text()
    fates = [
        (ended(done=5, returned=3), "items failed: 5 done, 3 back to the queue"),
        (ended(outcome="failed", returned=8, error_type="E", message="1"), "failed: back to the queue E: 1"),
        (ended(outcome="failed", again=(8,), error_type="E", message="2"), "failed: tried again E: 2"),
        (ended(outcome="failed", again=(4, 4), error_type="E", message="3"), "failed: tried again as 4 + 4 E: 3"),
        (ended(done=3, again=(5,)), "items failed: 3 done, 5 tried again"),
        (ended(attempt=3, done=8), "attempt 3: done"),
        (
            ended(outcome="failed", attempt=3, given_up=8, condition="RetryAttemptsExhausted", error_type="E", message="4"),
            "attempt 3 failed: given up (RetryAttemptsExhausted) E: 4",
        ),
        (ended(outcome="throttled", again=(8,), message="TooMany"), "throttled: tried again TooMany"),
        (ended(message="no list", returned=8), "answer not understood: back to the queue no list"),
        (ended(records=0, bytes=2), "the end of a tumbling window"),
    ]
    for event, expected in fates:
        (line,) = shown(made, event)
        assert line.partition("12 ms ")[2] == expected


def test_a_timeout_is_told_without_the_request_s_id() -> None:
    message = "RequestId: r Error: Task timed out after 2.00 seconds"
    (line,) = shown(text(), ended(outcome="timed_out", again=(8,), error_type="Sandbox.Timedout", message=message))
    assert line.endswith("timed out: tried again Sandbox.Timedout: Task timed out after 2.00 seconds")


def test_a_failure_that_repeats_itself_is_told_in_full_once_for_each_lane() -> None:
    made = text()
    failed = ended(outcome="failed", again=(8,), error_type="E", message="no")
    lines = shown(
        made, failed, failed, ended(lane=1, outcome="failed", again=(8,), error_type="E", message="no"), ended(done=8), failed
    )
    assert [line.rpartition("again ")[2] for line in lines if "again" in line] == ["E: no", "(as before)", "E: no", "E: no"]


def test_nothing_that_a_terminal_obeys_comes_through() -> None:
    made = text(verbose=True)
    evil = "\x1b[31mred\x07\r\n"
    events: list[Told] = [
        ended(outcome="failed", error_type=evil, message=evil, details=(Detail(id=evil, bytes=1, why=(evil,)),)),
        GivenUp(at=AT, records=1, shard=S0, condition="C", fate="refused", destination="arn:d", message=evil),
        Standing(at=AT, state="Enabled", why=(evil,)),
        DeleteRefused(at=AT, records=1, code=evil),
    ]
    plain = "".join(line.plain for event in events for line in made.told(event))
    assert plain.isprintable()
    assert "\\x1b[31mred\\x07\\r\\n" in plain


def test_records_that_wait_get_a_line_a_second_at_most_with_all_that_came() -> None:
    made = text()
    lines: list[str] = []
    for tenth in range(25):
        received = Received(at=AT + tenth / 10, records=2, bytes=100, shard=S0, waiting=2 * tenth + 2, due=4 - tenth / 10)
        lines += shown(made, received)
    assert lines == [
        "shard 12 2 records 100 B received; 2 records waiting, due in 4.00 s",
        "shard 12 20 records 1000 B received; 22 records waiting, due in 3.00 s",
        "shard 12 20 records 1000 B received; 42 records waiting, due in 2.00 s",
    ]


def test_records_whose_batch_goes_at_once_get_no_line_unless_each_record_is_wanted() -> None:
    received = Received(at=AT, records=2, bytes=100, shard=S0, waiting=2, due=0.0, age=7200.0)
    assert shown(text(), received) == []
    assert shown(text(verbose=True), received) == ["shard 12 2 records 100 B received; 2 h 0 min old"]


def test_each_record_has_its_fate_where_that_is_wanted() -> None:
    made = text(verbose=True)
    details = (Detail(id="49680", bytes=500, fate="done"), Detail(id="49681", bytes=600, fate="given_up"))
    lines = shown(made, ended(done=1, given_up=1, condition="C", details=details))
    assert [" ".join(line.split()) for line in lines[1:]] == ["49680 500 B done", "49681 600 B given up"]


def test_filtered_records_are_explained() -> None:
    made = text(verbose=True)
    event = FilteredOut(at=AT, records=1, bytes=90, shard=S0, details=(Detail(id="1", bytes=90, why=("filter 1: data.kind",)),))
    assert shown(made, event) == ["shard 12 1 record 90 B filtered out", "1       90 B", "filter 1: data.kind"]


def test_giving_up_giving_back_and_refused_deletes() -> None:
    lines = shown(
        text(),
        GivenUp(at=AT, records=2, bytes=90, shard=S0, condition="RecordAgeExceeded", fate="sent", destination="arn:d"),
        GivenUp(at=AT, records=2, bytes=90, shard=S0, condition="RecordAgeExceeded", fate="dropped", message="no destination"),
        GivenBack(at=AT, records=1, bytes=90, reason="the worker stops"),
        DeleteRefused(at=AT, records=1, bytes=90, code="InternalError"),
    )
    assert [line.partition("90 B ")[2] for line in lines] == [
        "given up (RecordAgeExceeded): sent away to arn:d",
        "given up (RecordAgeExceeded): dropped no destination",
        "given back: the worker stops",
        "done, but the queue did not delete them (InternalError): expect them again",
    ]


def test_how_the_mapping_stands_is_told_when_it_changes() -> None:
    made = text()
    first = Standing(at=AT, state="Enabled", shards={"shardId-0": "reading", "shardId-1": "reading", "shardId-2": "waiting"})
    assert shown(made, first) == ["Enabled, 2 shards reading, 1 shard waiting"]
    assert shown(made, Standing(at=AT, state="Enabled", shards={"shardId-0": "ended"})) == ["shard 0 ended"]
    assert shown(made, Standing(at=AT, state="Enabled", why=("denied",))) == ["denied"]
    assert shown(made, Standing(at=AT, state="Enabled", why=("denied", "late"))) == ["late"]
    assert shown(made, Standing(at=AT, state="Disabling")) == ["Disabling", "nothing is in its way any more"]


def test_a_long_invocation_gets_lines_in_doubling_times_until_it_ends() -> None:
    made = text()
    made.told(invoked())
    told = [second for second in range(60) if made.still_running(AT + second)]
    assert told == [3, 6, 12, 24, 48]
    made.told(ended(done=8))
    assert made.still_running(AT + 1000) == []


def test_what_ran_on_a_shard_that_is_not_ours_any_more_is_forgotten() -> None:
    made = text()
    made.told(invoked())
    made.told(Standing(at=AT, state="Enabled", shards={S0: "elsewhere"}))
    assert made.still_running(AT + 1000) == []


def test_the_end_says_what_had_not_ended() -> None:
    made = text()
    assert shown(made, invoked("a"), invoked("b"), Closed(at=AT, reason="the worker has stopped")) == [
        "the worker has stopped",
        "2 invocations with 16 records had not ended",
    ]


def test_a_sign_of_life_is_no_line_and_lost_lines_are() -> None:
    made = text()
    assert shown(made, Alive(at=AT)) == []
    assert shown(made, LinesLost(at=AT, lines=1200)) == ["1,200 lines lost: this reader is slower than the mapping"]


def test_the_summary_counts_everything_once() -> None:
    made = text()
    events: list[Told] = [
        ended(done=8),
        ended(outcome="failed", again=(8,), error_type="E", message="no"),
        ended(outcome="throttled", again=(8,), message="TooMany"),
        ended(done=7, again=(1,)),
        FilteredOut(at=AT, records=5),
        GivenUp(at=AT, records=2, condition="C", fate="refused"),
        GivenUp(at=AT, records=2, condition="C", fate="sent"),
        LinesLost(at=AT, lines=4),
    ]
    for event in events:
        made.told(event)
    assert made.summary() == "3 batches, 24 records, 2 failures, 5 filtered out, 1 throttled, 2 given up, 4 lines lost"
