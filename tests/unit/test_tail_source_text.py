"""The lines of a tail that reads a source itself, and what the filters of mappings add to them."""

import base64
import json
from typing import Any

from msgspec import Raw

from pollers import SPECS
from pollers.dynamodb_streams import _Change, _Origin, _Sent
from pollers.kinesis import KinesisRecord
from pollers.kinesis import _Origin as _KinesisOrigin
from pollers.record import Record, RecordId
from pollers.sqs_record import SqsRecord
from runtime.core.mapping import BatchLimits, EventSourceMapping
from runtime.tail.source_text import SourceText, shown
from runtime.tail.told import Page, Remark
from runtime.tail.verdicts import Judge, Verdict, judge
from tests.fakes.queue import ORIGIN as QUEUE

AT = 1_000_000.0
S0 = "shardId-000000000000"
ORIGIN = _KinesisOrigin(shard=S0, role="", region="eu-west-1", arn="arn:x")


def kinesis(data: bytes, *, key: str = "user-1", number: int = 1) -> Record:
    text = base64.b64encode(data).decode()
    return KinesisRecord(id=RecordId(str(number)), arrived=AT - 2, group=key, data=text, content=ORIGIN, size=500)


def change(image: dict[str, Any], *, name: str = "MODIFY") -> Record:
    keys, new = Raw(b'{"pk": {"S": "sku-1"}}'), Raw(json.dumps(image).encode())
    what = _Change(
        ApproximateCreationDateTime=AT, Keys=keys, SequenceNumber="7", SizeBytes=9, StreamViewType="NEW_IMAGE", NewImage=new
    )
    sent = _Sent(eventID="e", eventName=name, dynamodb=what, origin=_Origin(region="eu-west-1", arn="arn:x"))
    return Record(id=RecordId("7"), content=sent, size=600, arrived=AT, group='{"pk": "sku-1"}')


def message(body: str, *, group: str | None = None) -> Record:
    return SqsRecord(id=RecordId("m1"), handle="h", body=body, content=QUEUE, size=50, group=group)


def a_mapping(name: str) -> EventSourceMapping:
    return EventSourceMapping(
        name=name, function="f", function_arn="arn:f", source="kinesis", source_arn="arn:x", batch=BatchLimits(records=1)
    )


def text(*mappings: str, verbose: bool = False, ask: Judge = judge) -> SourceText:
    made = [a_mapping(name) for name in mappings]
    return SourceText(spec=SPECS["kinesis"], mappings=made, judge=ask, verbose=verbose, clock=lambda: AT)


def only_odd(mapping: EventSourceMapping, record: Record) -> Verdict:
    odd = bool(int(record.id) % 2)
    return Verdict(mapping=mapping.name, matches=odd, why=() if odd else ("filter 1: data.n is even",))


def plain(lines: list[Any]) -> list[str]:
    return [" ".join(line.plain.split()) for line in lines]


def test_a_page_is_one_line_with_its_shard_count_size_and_age() -> None:
    lines, documents = text().page(Page(shard=S0, records=[kinesis(b"a"), kinesis(b"b", number=2)]))
    assert [line.partition(" ")[2] for line in plain(lines)] == ["shard 0 2 records 1000 B 2.0 s old"]
    (document,) = map(json.loads, documents)
    assert document == {
        "event": "page", "at": AT, "shard": S0, "records": 2, "bytes": 1000, "age": 2.0, "first": "1", "last": "2",
    }  # fmt: skip


def test_each_record_has_its_position_key_and_the_first_characters_of_its_data() -> None:
    lines, documents = text(verbose=True).page(Page(shard=S0, records=[kinesis(b'{"click": 1}')]))
    assert plain(lines)[1:] == ['1 user-1 {"click": 1}']
    assert json.loads(documents[1]) == {
        "event": "record", "shard": S0, "id": "1", "bytes": 500, "arrived": AT - 2, "key": "user-1", "data": '{"click": 1}',
    }  # fmt: skip


def test_filters_of_the_mappings_are_counted_and_explained() -> None:
    made = text("odd", verbose=True, ask=only_odd)
    lines, documents = made.page(Page(shard=S0, records=[kinesis(b"a", number=1), kinesis(b"b", number=2)]))
    head, *rest = plain(lines)
    assert head.endswith("odd: 1 filtered out odd: 1 match")
    assert rest == ["1 user-1 a", "odd: matches", "2 user-1 b", "odd: filtered out", "filter 1: data.n is even"]
    assert json.loads(documents[0])["filters"] == {"odd": {"match": 1, "filtered_out": 1}}
    assert json.loads(documents[2])["filters"] == [{"mapping": "odd", "matches": False, "why": ["filter 1: data.n is even"]}]
    assert made.summary() == "1 page, 2 records, 1 record filtered out by odd"


def test_a_mapping_without_filters_adds_nothing() -> None:
    lines, documents = text("all", verbose=True).page(Page(shard=S0, records=[kinesis(b"a")]))
    assert len(lines) == 2
    assert all("filters" not in json.loads(document) for document in documents)


def test_what_is_shown_of_the_three_sources() -> None:
    assert shown(SPECS["kinesis"], kinesis(b"hello", key="k")) == ("k", "hello")
    assert shown(SPECS["dynamodb"], change({"left": {"N": "3"}})) == ('{"pk": {"S": "sku-1"}}', 'MODIFY {"left": {"N": "3"}}')
    assert shown(SPECS["sqs"], message("an order", group="g")) == ("g", "an order")
    assert shown(SPECS["sqs"], message("an order")) == ("", "an order")


def test_long_data_is_cut_and_bytes_that_are_no_text_are_digits() -> None:
    assert shown(SPECS["sqs"], message("x" * 101))[1] == "x" * 100 + "…"
    assert shown(SPECS["sqs"], message("x" * 100))[1] == "x" * 100
    assert shown(SPECS["kinesis"], kinesis(b"\xff\x00\x01"))[1] == "0xff0001"
    assert shown(SPECS["kinesis"], kinesis(b"y" * 5000))[1] == "y" * 100 + "…"


def test_a_long_text_whose_cut_goes_through_a_character_is_still_text() -> None:
    assert shown(SPECS["kinesis"], kinesis("€".encode() * 3000))[1] == "€" * 100 + "…"
    assert shown(SPECS["kinesis"], kinesis(b"a" + "€".encode() * 3000))[1] == "a" + "€" * 99 + "…"


def test_data_cannot_steer_the_terminal_and_no_surrogate_breaks_the_json() -> None:
    made = SourceText(spec=SPECS["sqs"], mappings=[], judge=judge, verbose=True, clock=lambda: AT)
    lines, documents = made.page(Page(records=[message("\x1b]0;title\x07\ud800", group="\n")]))
    assert all(line.plain.isprintable() for line in lines)
    assert json.loads(documents[1])["data"] == "\\x1b]0;title\\x07\\ud800"


def test_remarks_name_their_shard() -> None:
    (line,) = text().remark(Remark(shard=S0, text="has ended"))
    assert line.plain.partition("  ")[2] == "shard 0 has ended"
