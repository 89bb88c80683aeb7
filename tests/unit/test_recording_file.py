"""Recordings as files: what was written is read, and whatever else a file holds ends in a flaw that says where (docs/recordings.md)."""

import gzip
import io
import json
import os
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import zstandard
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pollers.event_records import encode, shown_of
from pollers.recorded import VERSION
from pollers.recording import Flaw, Lineage, Recorded, RecordingReader, read_document
from pollers.recording_file import FileReader
from pollers.recording_writer import NotWritten, RecordingFile, RecordingWriter

EVENTS: Final = Path(__file__).parent / "events"
ARN: Final = "arn:aws:kinesis:us-east-1:123456789012:stream/lambda-stream"
SHARD: Final = "shardId-000000000006"
KINESIS: Final = json.loads((EVENTS / "kinesis.json").read_text())
DYNAMODB: Final = json.loads((EVENTS / "dynamodb-insert-modify-remove.json").read_text())
ENDINGS: Final = ("", ".gz", ".zst")
HEADER: Final = {"esm_recording": 1, "source": "kinesis", "source_arn": ARN, "began": 1.0, "by": "a test"}
END: Final = {"ended": 2.0}


def kinesis_record(number: int) -> dict[str, Any]:
    shown = json.loads(json.dumps(KINESIS["Records"][0]))
    shown["kinesis"]["sequenceNumber"] = str(number)
    shown["eventID"] = f"{SHARD}:{number}"
    return shown  # type: ignore[no-any-return]  # JSON


def write(path: Path, records: int = 3, *, flush_each: bool = True, end: bool = True, overwrite: bool = False) -> RecordingFile:
    """Not closed."""
    file = RecordingFile.create(path, overwrite=overwrite)
    writer = RecordingWriter(file)
    writer.begin(source="kinesis", source_arn=ARN, at=1.0, by="a test")
    writer.begin_shard(SHARD, ("shardId-000000000001",))
    for number in range(records):
        writer.add(kinesis_record(number), shard=SHARD, position=str(number), arrived=5.5, received=6.0)
        if flush_each:
            writer.flush()
    if end:
        writer.end(at=2.0)
    return file


def lines(*documents: Any) -> bytes:
    return b"".join(encode(each) + b"\n" for each in documents)


def line_of(number: int) -> dict[str, Any]:
    return {"shard": SHARD, "position": str(number), "arrived": 5.5, "record": kinesis_record(number)}


def read(content: bytes) -> list[Any]:
    return list(read_document("f", content))


def ids(items: list[Any]) -> list[str]:
    return [item.of.record.id for item in items if isinstance(item, Recorded)]


def flaws(items: list[Any]) -> list[str]:
    return [str(item) for item in items if isinstance(item, Flaw)]


def only_flaw(content: bytes) -> str:
    """Of a file without a record."""
    items = read(content)
    assert ids(items) == []
    (flaw,) = flaws(items)
    return flaw


# what was written is read


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_was_written_is_read(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.jsonl{ending}"
    write(path).close()
    items = list(RecordingReader(path))
    assert items[0] == Lineage(source_arn=ARN, shard=SHARD, parents=("shardId-000000000001",))
    assert [shown_of(item.of.record) for item in items[1:] if isinstance(item, Recorded)] == [kinesis_record(n) for n in range(3)]
    assert [(item.of.shard, item.of.record.arrived, item.line) for item in items[1:] if isinstance(item, Recorded)] == [
        (SHARD, 5.5, line) for line in (3, 4, 5)
    ]
    assert len(items) == 4


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_empty_recording_is_whole(tmp_path: Path, ending: str) -> None:
    write(tmp_path / f"a{ending}", 0).close()
    assert [type(item) for item in RecordingReader(tmp_path / f"a{ending}")] == [Lineage]


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_is_compressed_as_its_name_says_and_others_can_read_it(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending.upper()}"
    write(path, end=False).close()  # closing is enough: it keeps what has a record
    content = path.read_bytes()
    match ending:
        case ".gz":
            content = gzip.decompress(content)
        case ".zst":
            content = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(content), read_across_frames=True).read()
    assert [json.loads(line).get("position") for line in content.splitlines()] == [None, None, "0", "1", "2"]


def test_many_flushes_do_not_undo_the_compression(tmp_path: Path) -> None:
    """A frame for each flush took twenty times the room."""
    write(tmp_path / "often.zst", 300).close()
    write(tmp_path / "once.zst", 300, flush_each=False).close()
    assert (tmp_path / "often.zst").stat().st_size < 5 * (tmp_path / "once.zst").stat().st_size


# cut off


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_was_flushed_is_there_when_the_process_is_killed(tmp_path: Path, ending: str) -> None:
    """The file is never closed."""
    path = tmp_path / f"a.jsonl{ending}"
    file = write(path, 5, end=False)
    items = list(RecordingReader(path))
    file.close()
    assert ids(items) == ["0", "1", "2", "3", "4"]
    (flaw,) = flaws(items)
    assert "cut off" in flaw


@pytest.mark.parametrize("ending", ENDINGS)
def test_of_a_file_cut_off_anywhere_the_beginning_is_read_and_one_flaw_follows(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.jsonl{ending}"
    write(path).close()
    content = path.read_bytes()
    whole = read(content)
    most = 0
    for length in range(len(content)):
        items = read(content[:length])
        if ending == "" and length == len(content) - 1:  # only the last end of line is missing
            assert items == whole
            continue
        *before, flaw = items
        assert isinstance(flaw, Flaw)
        assert not flaws(before)
        assert before == whole[: len(before)]
        assert "cut off" in flaw.message or length < 10
        assert len(before) >= most  # more of the file never gives less
        most = len(before)
    assert most == len(whole)


@pytest.mark.parametrize("compress", [lambda text: text, gzip.compress, zstandard.ZstdCompressor().compress], ids=ENDINGS)
def test_the_flaw_of_a_file_that_was_cut_off_names_the_line(compress: Any) -> None:
    content = compress(lines(HEADER, *map(line_of, range(4))))
    (flaw,) = flaws(read(content))
    assert flaw.startswith("f:5: ")
    cut = lines(HEADER, line_of(0))[:-20]
    (flaw,) = flaws(read(compress(cut)))
    assert flaw == "f:2: this should be a line of a recording, but it is not JSON, and the file ends here: it was cut off"


def test_a_compressed_file_that_ends_inside_a_frame_is_not_taken_for_a_whole_one() -> None:
    """The own stream reader of zstandard takes it so: the end of a file of events would be lost without a word."""
    compressor = zstandard.ZstdCompressor().compressobj()
    content = compressor.compress(lines(KINESIS)) + compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    items = read(content)
    assert len(ids(items)) == len(KINESIS["Records"])
    assert flaws(items) == ["f:2: the compressed file ends too early: it was cut off here; what stands before it was read"]


# damaged


@pytest.mark.parametrize("ending", ENDINGS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(min_value=0), garbage=st.binary(min_size=1, max_size=40))
@example(at=955818642, garbage=b"\xe9")  # hits a digit within gzip's data
def test_garbage_in_the_middle_never_raises_and_invents_nothing_untold(
    tmp_path: Path, ending: str, at: int, garbage: bytes
) -> None:
    path = tmp_path / f"a.jsonl{ending}"
    if not path.exists():
        write(path).close()
    content = bytearray(path.read_bytes())
    at %= len(content)
    content[at : at + len(garbage)] = garbage
    items = read(bytes(content))
    told = [item for item in items if isinstance(item, Flaw)]
    # A digit of a number may have been hit: plain text cannot know it, a checksum at the end of the file does.
    assert set(ids(items)) <= {"0", "1", "2"} or told or ending == ""
    assert len(told) <= 1


@settings(max_examples=150, deadline=None)
@given(
    content=st.binary(max_size=200)
    | st.sampled_from(
        [b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\x1f\x8b\x08\0\0\0\0\0\0\x03", b"\xef\xbb\xbf", b"{", b"[", b"\n"]
    ).flatmap(lambda first: st.binary(max_size=50).map(lambda more: first + more))
)
def test_random_bytes_are_a_flaw(content: bytes) -> None:
    items = read(content)
    assert ids(items) == []
    assert all(isinstance(item, Flaw) and item.line >= 1 for item in items)
    assert items or content.strip() == b"[]"


def test_a_wrong_checksum_is_a_flaw_behind_what_was_read() -> None:
    content = bytearray(gzip.compress(lines(HEADER, line_of(0), END)))
    content[-5] ^= 1
    items = read(bytes(content))
    assert ids(items) == ["0"]
    (flaw,) = flaws(items)
    assert "damaged" in flaw


def test_an_error_of_the_disk_is_a_flaw_behind_what_was_read() -> None:
    class Broken(io.BytesIO):
        def readline(self, size: int | None = -1, /) -> bytes:
            if self.tell() > 100:
                raise OSError(5, "Input/output error")
            return super().readline(size)

    items = list(FileReader("f", Broken(lines(HEADER, line_of(0), END))).items())
    assert flaws(items) == ["f:2: the file cannot be read: Input/output error"]


# several recordings, other versions, wrong lines


@pytest.mark.parametrize("ending", ENDINGS)
def test_recordings_may_be_put_one_behind_the_other(tmp_path: Path, ending: str) -> None:
    for name in ("a", "b"):
        write(tmp_path / f"{name}{ending}").close()
    items = read((tmp_path / f"a{ending}").read_bytes() + (tmp_path / f"b{ending}").read_bytes())
    assert ids(items) == ["0", "1", "2"] * 2
    assert flaws(items) == []


def test_a_recording_behind_one_that_was_cut_off_is_read_and_the_cut_is_told() -> None:
    items = read(lines(HEADER, line_of(0), HEADER, line_of(1), END))
    assert ids(items) == ["0", "1"]
    assert flaws(items) == [
        "f:1: the recording that begins here has no last line, so it was cut off; what there is of it was read"
    ]


def test_a_recording_of_another_version_is_told_and_what_stands_before_it_is_read() -> None:
    newer = {**HEADER, "esm_recording": VERSION + 1}
    assert (
        only_flaw(lines(newer, line_of(0)))
        == f"f:1: the recording has version {VERSION + 1}, but this program reads 1: use another esm"
    )
    items = read(lines(HEADER, line_of(0), END, newer, line_of(1)))
    assert ids(items) == ["0"]
    assert flaws(items)[0].startswith("f:4: the recording has version 2")


WRONG_LINES: Final = {
    "no_source_arn": (({"esm_recording": 1}, line_of(0)), "f:1: the first line of the recording has no source_arn"),
    "unknown_source": (({**HEADER, "source": "kafka"}, line_of(0)), "f:1: the recording is of source 'kafka': only those of"),
    "source_no_text": (({**HEADER, "source": [1]}, line_of(0)), "f:1: the recording is of source '[1]'"),
    "not_an_object": ((HEADER, [1]), "f:2: this should be a line of a recording, but it is not an object"),
    "strange": ((HEADER, {"a": 1}), "f:2: the line is neither a record nor anything else"),
    "parents_no_list": ((HEADER, {"shard": "a", "parents": 5}), "f:2: parents of a shard is no list of shards"),
    "parents_text": ((HEADER, {"shard": "a", "parents": "abc"}), "f:2: parents of a shard is no list of shards"),
    "shard_no_text": ((HEADER, {"shard": None}), "f:2: shard is None, not text"),
    "shard_of_record": ((HEADER, {**line_of(0), "shard": 7}), "f:2: shard is 7, not text"),
    "arrived_text": (
        (HEADER, {**line_of(0), "arrived": "now"}),
        "f:2: arrived of a record is now, which is no number of seconds",
    ),
    "arrived_in_ms": ((HEADER, {**line_of(0), "arrived": 1545084650987}), "f:2: arrived of a record is 1545084650987, which"),
    "record_no_object": ((HEADER, {**line_of(0), "record": "a"}), "f:2: a record is text, not an object"),
    "too_few": ((HEADER, {"ended": 1.0, "records": 2}), "f:2: the recording says that it holds 2 records, but there are 0"),
    "after_the_end": ((HEADER, END, line_of(0)), "f:3: the recording has ended before this line"),
}


@pytest.mark.parametrize("case", WRONG_LINES)
def test_a_wrong_line_is_told_with_its_number(case: str) -> None:
    documents, told = WRONG_LINES[case]
    assert only_flaw(lines(*documents)).startswith(told)


def test_who_filters_a_recording_leaves_the_number_of_records_out() -> None:
    assert ids(read(lines(HEADER, {"shard": SHARD}, line_of(2), END))) == ["2"]


def test_keys_that_are_not_known_are_passed_over() -> None:
    assert ids(read(lines({**HEADER, "x": 1}, {**line_of(2), "x": 1}, {**END, "x": 1}))) == ["2"]


JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def _mutated(draw: st.DrawFn, document: Any) -> Any:
    """With one value somewhere in it replaced or taken out."""
    if isinstance(document, dict) and document and draw(st.integers(0, 3)):
        key = draw(st.sampled_from(sorted(document)))
        if not draw(st.integers(0, 4)):
            return {other: value for other, value in document.items() if other != key}
        return {**document, key: _mutated(draw, document[key])}
    if isinstance(document, list) and document and draw(st.booleans()):
        index = draw(st.integers(0, len(document) - 1))
        return [*document[:index], _mutated(draw, document[index]), *document[index + 1 :]]
    return draw(JSON)


@st.composite
def mutated_recordings(draw: st.DrawFn) -> bytes:
    documents: list[Any] = [HEADER, {"shard": SHARD, "parents": ["a"]}, line_of(0), {**END, "records": 1}]
    index = draw(st.integers(0, 3))
    documents[index] = _mutated(draw, documents[index])
    return lines(*documents)


@settings(max_examples=200, deadline=None)
@given(content=mutated_recordings())
def test_wrong_types_anywhere_in_a_recording_are_at_most_a_flaw(content: bytes) -> None:
    items = read(content)
    assert len(flaws(items)) <= 1
    assert all(isinstance(item, Recorded | Lineage | Flaw) for item in items)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_wrong_types_anywhere_in_an_event_are_at_most_a_flaw(data: st.DataObject) -> None:
    event = data.draw(st.sampled_from([KINESIS, DYNAMODB, SQS, ON_FAILURE]))
    items = read(lines(data.draw(st.composite(lambda draw: _mutated(draw, event))())))
    assert len(flaws(items)) <= 1


# files of others

SQS: Final = {
    "Records": [
        {
            "messageId": "1",
            "receiptHandle": "h",
            "body": "a",
            "attributes": {"SentTimestamp": "1545082649183"},
            "messageAttributes": {},
            "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:q",
            "awsRegion": "us-east-1",
        }
    ]
}
ON_FAILURE: Final = {
    "requestContext": {
        "requestId": "r",
        "functionArn": "arn:f",
        "condition": "RetryAttemptsExhausted",
        "approximateInvokeCount": 1,
    },
    "version": "1.0",
    "timestamp": "2019-11-14T00:38:06.021Z",
    "DDBStreamBatchInfo": {"shardId": "shardId-00000001573689847184-864758bb", "batchSize": 1},
    "payload": json.dumps(DYNAMODB),
}
TWO: Final = [KINESIS, {"Records": [kinesis_record(7)]}]
ALL_IDS: Final = [*(each["kinesis"]["sequenceNumber"] for each in KINESIS["Records"]), "7"]
LAYOUTS: Final = {
    "one_a_line": lines(*TWO),
    "pretty": b"\n".join(json.dumps(each, indent=2).encode() for each in TWO),
    "in_a_row": b" ".join(map(encode, TWO)),
    "array": encode(TWO),
    "pretty_array": json.dumps(TWO, indent=1).encode(),
    "array_of_records": encode([*TWO[0]["Records"], *TWO[1]["Records"]]),
    "records_a_line": lines(*TWO[0]["Records"], *TWO[1]["Records"]),
    "bom": b"\xef\xbb\xbf" + lines(*TWO),
    "bom_pretty": b"\xef\xbb\xbf" + json.dumps(TWO, indent=1).encode(),
    "crlf": lines(*TWO).replace(b"\n", b"\r\n"),
    "blank_lines": b"\n \n".join([b"", *map(encode, TWO), b"\n\t\n"]),
    "a_line_then_pretty": encode(TWO[0]) + b"\n" + json.dumps(TWO[1], indent=2).encode() + b"\n",
    "gzip": gzip.compress(lines(*TWO)),
    "zstd": zstandard.ZstdCompressor().compress(json.dumps(TWO, indent=1).encode()),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_events_are_read_in_every_layout(layout: str) -> None:
    items = read(LAYOUTS[layout])
    assert flaws(items) == []
    assert ids(items) == ALL_IDS


def test_a_record_of_a_document_over_many_lines_is_said_to_stand_where_the_document_begins() -> None:
    text = "\n\n".join(json.dumps(each, indent=1) for each in TWO)
    items = read(text.encode())
    second = json.dumps(TWO[0], indent=1).count("\n") + 3
    assert [item.line for item in items] == [1] * len(KINESIS["Records"]) + [second]


def test_many_documents_over_many_lines_are_read_in_one_pass() -> None:
    """It took the square of their number: minutes for these."""
    text = "\n".join(json.dumps({"Records": [kinesis_record(n)]}, indent=1) for n in range(10_000))
    assert len(ids(read(text.encode()))) == 10_000


FOREIGN: Final[dict[str, tuple[Any, str]]] = {
    "sns": (
        {"Records": [{"EventSource": "aws:sns", "Sns": {}}]},
        "eventSource 'aws:sns': only those of aws:sqs, aws:kinesis, aws:dynamodb",
    ),
    "s3": ({"Records": [{"eventSource": "aws:s3", "s3": {}}]}, "eventSource 'aws:s3'"),
    "kafka": ({"eventSource": "aws:kafka", "records": {"t-0": []}}, "eventSource 'aws:kafka'"),
    "api_gateway": ({"requestContext": {"apiId": "x"}, "body": ""}, "an event of an HTTP API"),
    "eventbridge": ({"detail-type": "x", "detail": {}}, 'it has no "Records"'),
    "get_records": ({"Records": [{"SequenceNumber": "1", "Data": ""}]}, "a record has no eventSource"),
    "records_no_list": ({"Records": {}}, '"Records" of the event is no list'),
    "text": ("hello", "this is no Lambda event, but text or a number"),
    "list_of_lists": ([[KINESIS]], "item 1 of the list is no Lambda event"),
    "recording_in_a_list": ([HEADER], "a recording begins inside a file of events"),
    "without_payload": ({k: v for k, v in ON_FAILURE.items() if k != "payload"}, "`esm redrive` fetches them"),
    "payload_no_json": ({**ON_FAILURE, "payload": "{"}, "the payload of the on-failure record is not JSON"),
    "payload_no_event": ({**ON_FAILURE, "payload": "{}"}, 'no Lambda event of a queue or stream: it has no "Records"'),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_what_is_no_event_of_a_queue_or_stream_is_refused_with_the_reason_and_the_line(case: str) -> None:
    document, reason = FOREIGN[case]
    items = read(lines(KINESIS, document))
    assert ids(items) == ALL_IDS[:-1]
    (flaw,) = flaws(items)
    assert flaw.startswith("f:2: ")
    assert reason in flaw


def test_a_flaw_says_which_record_of_an_event_it_is_about() -> None:
    event = {"Records": [kinesis_record(1), {**kinesis_record(2), "eventSource": "aws:s3"}]}
    items = read(lines(event))
    assert ids(items) == ["1"]
    assert flaws(items)[0].endswith("(number 2 of 2 in the event)")


@pytest.mark.parametrize("wrap", [lambda text: text, lambda text: json.dumps(text, indent=1).encode()], ids=["line", "pretty"])
def test_dst_37_on_failure_objects_carry_the_event_and_say_the_shard(wrap: Any) -> None:
    content = wrap(ON_FAILURE) if wrap(ON_FAILURE) is not ON_FAILURE else lines(ON_FAILURE)
    items = read(content)
    assert flaws(items) == []
    assert {item.of.shard for item in items} == {"shardId-00000001573689847184-864758bb"}
    assert [shown_of(item.of.record) for item in items] == DYNAMODB["Records"]


def test_what_lambda_says_of_an_asynchronous_call_carries_the_event_too() -> None:
    document = {"requestContext": ON_FAILURE["requestContext"], "requestPayload": SQS, "responsePayload": {}}
    assert ids(read(lines(document))) == ["1"]


def test_json_that_is_wrong_is_told_with_line_and_column() -> None:
    assert only_flaw(b'{\n "Records": [}\n') == "f:2: this is not JSON: Expecting value, at column 14"
    assert only_flaw(b'{\n "Records": [\n') == "f:2: the JSON document ends too early: the file was cut off"
    assert only_flaw(b"hello\n") == "f:1: this is neither a recording nor JSON"
    assert only_flaw(b'{\n"a": "\xff"}\n') == "f:2: the file is not UTF-8 text"
    assert only_flaw("{}".encode("utf-16")) == "f:1: the file is UTF-16 text: write it as UTF-8"
    assert only_flaw(b"") == "f:1: the file is empty: it is no recording"
    assert only_flaw(b"\n\n") == "f:2: the file is empty: it is no recording"


@pytest.mark.parametrize("depth", [600, 5_000, 200_000])
@pytest.mark.parametrize("around", ["[{}]", '{{"Records":[{{"eventSource":"aws:kinesis","kinesis":{}}}]}}'])
def test_a_document_that_is_nested_too_deeply_is_a_flaw(depth: int, around: str) -> None:
    text = around.format("[" * depth + "]" * depth)
    assert len(flaws(read(text.encode()))) == 1


def test_numbers_that_json_has_not_are_no_json() -> None:
    event = encode({"Records": [kinesis_record(1)]}).replace(b'"1.0"', b"NaN")
    assert len(flaws(read(event))) == 1
    assert len(flaws(read(event.replace(b"NaN", b"1e999")))) == 1


def test_a_line_without_an_end_is_not_read_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pollers.recording_file._LONGEST_LINE", 1000)
    assert only_flaw(lines(HEADER) + b"x" * 5000) == "f:2: the line is longer than 1000 bytes: this is no recording"


def test_a_document_over_too_many_lines_is_not_read_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pollers.recording_file._LARGEST_DOCUMENT", 1000)
    assert "too large" in only_flaw(b"[\n" + b" " * 5000)


def test_a_huge_line_is_read() -> None:
    big = kinesis_record(1)
    big["kinesis"]["data"] = "A" * 8_000_000
    assert ids(read(lines(HEADER, {**line_of(1), "record": big}, END))) == ["1"]


# folders


def names_and_ids(path: Path) -> list[tuple[str, str]]:
    return [
        (Path(item.file).name, item.of.record.id if isinstance(item, Recorded) else item.message)
        for item in RecordingReader(path)
        if not isinstance(item, Lineage)
    ]


def test_a_folder_is_read_file_by_file_in_order_of_their_names(tmp_path: Path) -> None:
    for name, number in (("b/2.json", 2), ("a/9.json", 1), ("c.json.gz", 3)):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        content = lines({"Records": [kinesis_record(number)]})
        path.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    for hidden in (".DS_Store", ".git/config"):
        (tmp_path / hidden).parent.mkdir(exist_ok=True)
        (tmp_path / hidden).write_bytes(b"\0\0\1Bud1")
    assert names_and_ids(tmp_path) == [("9.json", "1"), ("2.json", "2"), ("c.json.gz", "3")]


def test_a_file_of_a_folder_that_cannot_be_read_does_not_hide_the_others(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello")
    (tmp_path / "b.json").write_bytes(lines({"Records": [kinesis_record(2)]}))
    (tmp_path / "c.json").write_bytes(lines({"Records": [kinesis_record(3)]}))
    (tmp_path / "broken-link").symlink_to(tmp_path / "nothing")
    reader = RecordingReader(tmp_path)
    (tmp_path / "b.json").unlink()  # after it was listed
    found = [str(item) if isinstance(item, Flaw) else item.of.record.id for item in reader if not isinstance(item, Lineage)]
    assert found == [
        f"{tmp_path}/a.txt:1: this is neither a recording nor JSON",
        f"{tmp_path}/b.json:1: the file cannot be read: No such file or directory",
        "3",
    ]


def test_a_folder_that_cannot_be_listed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root reads everything, so the refusal is made here."""
    (tmp_path / "shut").mkdir()
    (tmp_path / "a.json").write_bytes(lines({"Records": [kinesis_record(1)]}))
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if str(path).endswith("shut"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert names_and_ids(tmp_path) == [("shut", "it cannot be read: Permission denied"), ("a.json", "1")]


def test_an_empty_folder_is_told(tmp_path: Path) -> None:
    assert names_and_ids(tmp_path) == [(tmp_path.name, "the folder is empty: there is nothing to read")]


def test_what_is_not_there_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        RecordingReader(tmp_path / "nothing")


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_reader_says_how_much_of_the_files_it_has_read(tmp_path: Path, ending: str) -> None:
    for name in "ab":
        write(tmp_path / f"{name}{ending}", 2000).close()
    reader = RecordingReader(tmp_path)
    seen = [reader.read_bytes for _ in reader]
    assert seen == sorted(seen)
    assert 0 < seen[0] < seen[-1] <= reader.total_bytes
    assert reader.read_bytes == reader.total_bytes


def test_a_pipe_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    content = gzip.compress(lines(HEADER, line_of(1), END))
    writing = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(content))
    writing.start()
    reader = RecordingReader(tmp_path / "pipe")
    assert ids(list(reader)) == ["1"]
    writing.join()


# the file that is written


def test_a_file_that_is_there_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    with pytest.raises(FileExistsError):
        RecordingFile.create(tmp_path / "a", overwrite=False)
    assert (tmp_path / "a").read_text() == "old"


def everything_in(folder: Path) -> Iterator[str]:
    return (path.name for path in folder.iterdir())


def test_what_never_had_a_record_leaves_nothing_behind(tmp_path: Path) -> None:
    write(tmp_path / "a", 0, end=False).close()
    assert list(everything_in(tmp_path)) == []


@pytest.mark.parametrize(("records", "end"), [(1, False), (0, True)], ids=["a_record", "the_end"])
def test_an_old_file_is_replaced_by_the_first_record_or_at_the_end(tmp_path: Path, records: int, end: bool) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    file = write(path, 0, end=False, overwrite=True)
    RecordingWriter(file).flush()  # there is no record yet
    assert path.read_text() == "old"
    file.close()
    assert path.read_text() == "old"  # and so it stays where it came to nothing
    write(path, records, end=end, overwrite=True).close()
    assert len(ids(list(RecordingReader(path)))) == records
    assert list(everything_in(tmp_path)) == ["a"]


def test_a_link_is_kept_and_what_it_points_at_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("old")
    (tmp_path / "a.gz").symlink_to(tmp_path / "target")
    write(tmp_path / "a.gz", overwrite=True).close()
    assert (tmp_path / "a.gz").is_symlink()
    assert zlib.decompress((tmp_path / "target").read_bytes(), 31).startswith(b'{"esm_recording"')


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_full_disk_is_told_and_nothing_else_is_raised(tmp_path: Path, ending: str) -> None:
    (tmp_path / f"full{ending}").symlink_to("/dev/full")
    file = RecordingFile.create(tmp_path / f"full{ending}", overwrite=False)
    writer = RecordingWriter(file)
    writer.begin(source="kinesis", source_arn=ARN, at=1.0, by="a test")
    writer.add(kinesis_record(0), shard=SHARD, position="0", arrived=5.5, received=6.0)
    with pytest.raises(NotWritten, match="No space left on device"):
        writer.flush()
    assert (writer.records, writer.flushed) == (1, 0)
    with pytest.raises(OSError, match="No space left on device"):
        file.close()
