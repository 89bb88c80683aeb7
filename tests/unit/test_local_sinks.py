"""What SNS, S3, EventBridge and Lambda keep of what they are given, and what they refuse. Pure; over HTTP: tests/contract."""

import base64
import hashlib
import zlib
from typing import Any

import pytest

from runtime.local.errors import Refused
from runtime.local.sinks.buckets import Buckets
from runtime.local.sinks.buses import Buses
from runtime.local.sinks.chunked import read_body
from runtime.local.sinks.functions import Functions, parse_id
from runtime.local.sinks.topics import Topics
from runtime.local.sinks.xml import to_xml

START = 1_800_000_000.0
ACCOUNT = "123456789012"
REGION = "eu-west-1"
STREAMING = {"x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER"}


def clock() -> float:
    return START


def refusal(refused: pytest.ExceptionInfo[Refused]) -> tuple[str, int]:
    return refused.value.code, refused.value.status


# Topics


def topics(name: str = "t", *, fifo: bool = False) -> tuple[Topics, str]:
    made = Topics(seed=0, clock=clock)
    return made, made.create(name, account=ACCOUNT, region=REGION, fifo=fifo)


def publish(to: Topics, topic: str, message: str = "m", **more: Any) -> str:
    plain: dict[str, Any] = {"subject": None, "attributes": {}, "group": None, "dedup": None}
    return to.publish(topic, message, **(plain | more)).id


def test_a_topic_keeps_what_is_published_to_it() -> None:
    """DST-20."""
    sns, arn = topics()
    assert arn == "arn:aws:sns:eu-west-1:123456789012:t"
    message_id = publish(sns, arn, '{"a":1}', subject="s", attributes={"k": {"DataType": "String", "StringValue": "v"}})
    (published,) = sns.received
    assert published.as_json() == {
        "id": message_id,
        "topic": arn,
        "at": START,
        "message": '{"a":1}',
        "subject": "s",
        "attributes": {"k": {"DataType": "String", "StringValue": "v"}},
        "group": None,
        "dedup": None,
    }
    assert sns.create("t", account=ACCOUNT, region=REGION, fifo=False) == arn
    assert len(sns.received) == 1
    sns.reset()
    assert (sns.received, sns.topics()) == ([], [])


@pytest.mark.parametrize(
    ("topic", "message", "code"),
    [
        ("arn:aws:sns:eu-west-1:123456789012:other", "m", ("NotFound", 404)),
        ("t", "m", ("InvalidParameter", 400)),
        (None, "", ("InvalidParameter", 400)),
        (None, "x" * 262_145, ("InvalidParameter", 400)),
    ],
)
def test_what_cannot_be_published_is_refused_and_not_kept(topic: str | None, message: str, code: tuple[str, int]) -> None:
    sns, arn = topics()
    with pytest.raises(Refused) as refused:
        publish(sns, topic or arn, message)
    assert (refusal(refused), sns.received) == (code, [])


def test_the_largest_message_counts_bytes_and_attributes() -> None:
    sns, arn = topics()
    publish(sns, arn, "é" * 131_072)
    with pytest.raises(Refused, match="Message too long"):
        publish(sns, arn, "é" * 131_072, attributes={"k": {"DataType": "String", "StringValue": "v"}})


def test_a_fifo_topic_wants_a_group() -> None:
    """DST-03: delivery to a FIFO topic fails for whoever gives no group."""
    sns, arn = topics("t.fifo", fifo=True)
    with pytest.raises(Refused, match="MessageGroupId"):
        publish(sns, arn)
    publish(sns, arn, group="g", dedup="d")
    for name, fifo in (("t", True), ("t.fifo", False), ("bad name", False), ("", False)):
        with pytest.raises(Refused, match="Topic Name"):
            sns.create(name, account=ACCOUNT, region=REGION, fifo=fifo)


# Buckets


def stored(made: Buckets, bucket: str, key: str, body: bytes = b"x") -> None:
    made.put(bucket, key, body, content_type=None, metadata={}, checksums={})


def test_a_bucket_keeps_objects_by_key() -> None:
    """DST-36: keys may be put in any order and are listed in that of their bytes."""
    s3 = Buckets(clock=clock)
    s3.create("b", account=ACCOUNT)
    for key in ("b/2", "é", "b/10", "B"):
        stored(s3, "b", key)
    stored(s3, "b", "B", b"new")
    assert [it.key for it in s3.objects("b")] == ["B", "b/10", "b/2", "é"]
    found = s3.get("b", "B")
    assert (found.body, found.etag) == (b"new", f'"{hashlib.md5(b"new", usedforsecurity=False).hexdigest()}"')
    assert found.as_json() == {"key": "B", "at": START, "contentType": "binary/octet-stream", "metadata": {}, "body": "new"}
    s3.reset()
    assert s3.buckets() == []


def test_an_object_that_is_deleted_is_gone_and_one_that_never_was_is_no_error() -> None:
    s3 = Buckets(clock=clock)
    s3.create("b", account=ACCOUNT)
    stored(s3, "b", "k")
    stored(s3, "b", "other")
    s3.delete("b", "k")
    s3.delete("b", "k")
    assert [it.key for it in s3.objects("b")] == ["other"]
    with pytest.raises(Refused) as refused:
        s3.delete("none", "k")
    assert refusal(refused) == ("NoSuchBucket", 404)


def test_buckets_and_objects_must_be_there_and_buckets_have_one_owner() -> None:
    s3 = Buckets(clock=clock)
    s3.create("b", account=ACCOUNT)
    with pytest.raises(Refused) as refused:
        s3.create("b", account=ACCOUNT)
    assert refusal(refused) == ("BucketAlreadyOwnedByYou", 409)
    with pytest.raises(Refused) as refused:
        s3.create("b", account="0" * 12)
    assert refusal(refused) == ("BucketAlreadyExists", 409)
    with pytest.raises(Refused) as refused:
        stored(s3, "other", "k")
    assert refusal(refused) == ("NoSuchBucket", 404)
    with pytest.raises(Refused) as refused:
        s3.get("b", "k")
    assert refusal(refused) == ("NoSuchKey", 404)
    s3.check_owner("b", ACCOUNT)
    with pytest.raises(Refused) as refused:
        s3.check_owner("b", "0" * 12)
    assert refusal(refused) == ("AccessDenied", 403)


def checksum(body: bytes) -> str:
    return base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()


def test_an_aws_chunked_body_is_put_together_and_its_trailer_read() -> None:
    trailer = f"x-amz-checksum-crc32:{checksum(b'hello world')}".encode()
    raw = b"5\r\nhello\r\n6;chunk-signature=0\r\n world\r\n0\r\n" + trailer + b"\r\n\r\n"
    headers = {**STREAMING, "X-Amz-Decoded-Content-Length": "11"}
    body, checksums = read_body(headers, raw)
    assert (body, checksums) == (b"hello world", {"x-amz-checksum-crc32": checksum(b"hello world")})
    assert read_body(STREAMING, b"0\r\n\r\n") == (b"", {})
    assert read_body({}, b"0\r\n\r\n") == (b"0\r\n\r\n", {})


@pytest.mark.parametrize(
    ("headers", "raw", "code"),
    [
        (STREAMING, b"", "InvalidRequest"),
        (STREAMING, b"x\r\nhello\r\n0\r\n\r\n", "InvalidRequest"),
        (STREAMING, b"-1\r\nhello\r\n0\r\n\r\n", "InvalidRequest"),
        (STREAMING, b"4\r\nhello\r\n0\r\n\r\n", "InvalidRequest"),
        (STREAMING, b"5\r\nhello\r\n", "InvalidRequest"),
        ({**STREAMING, "x-amz-decoded-content-length": "6"}, b"5\r\nhello\r\n0\r\n\r\n", "IncompleteBody"),
        (STREAMING, b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n", "BadDigest"),
        ({"x-amz-checksum-sha256": "AAAA"}, b"hello", "BadDigest"),
        ({"x-amz-checksum-sha1": "AAAA"}, b"hello", "BadDigest"),
        ({"Content-MD5": "AAAA"}, b"hello", "BadDigest"),
    ],
)
def test_a_body_that_arrived_damaged_is_refused(headers: dict[str, str], raw: bytes, code: str) -> None:
    with pytest.raises(Refused) as refused:
        read_body(headers, raw)
    assert refusal(refused) == (code, 400)


def test_checksums_that_cannot_be_checked_are_kept() -> None:
    assert read_body({"x-amz-checksum-crc64nvme": "abc"}, b"hello")[1] == {"x-amz-checksum-crc64nvme": "abc"}
    good = base64.b64encode(hashlib.sha256(b"hello").digest()).decode()
    assert read_body({"x-amz-checksum-sha256": good}, b"hello")[0] == b"hello"


# Buses


def put(to: Buses, **entry: Any) -> dict[str, Any]:
    plain = {"Source": "esm", "DetailType": "failure", "Detail": "{}"}
    return to.put(plain | entry, account=ACCOUNT, region=REGION)


def test_a_bus_keeps_events_and_there_is_always_the_default_one() -> None:
    events = Buses(seed=0, clock=clock)
    arn = events.create("mine", account=ACCOUNT, region=REGION)
    ids = [put(events, EventBusName=name)["EventId"] for name in ("mine", arn)] + [put(events)["EventId"]]
    assert [event.id for event in events.received] == ids
    assert [event.bus.rpartition("/")[2] for event in events.received] == ["mine", "mine", "default"]
    assert events.received[0].as_json() == {
        "id": ids[0],
        "bus": "arn:aws:events:eu-west-1:123456789012:event-bus/mine",
        "at": START,
        "source": "esm",
        "detail_type": "failure",
        "detail": "{}",
        "resources": [],
        "time": None,
    }
    for name in ("mine", "default"):
        with pytest.raises(Refused, match="already exists"):
            events.create(name, account=ACCOUNT, region=REGION)


def test_an_event_for_a_bus_that_is_not_there_is_lost_without_an_error() -> None:
    """As with AWS: the answer has an EventId."""
    events = Buses(seed=0, clock=clock)
    assert set(put(events, EventBusName="nowhere")) == {"EventId"}
    assert (events.received, [event.bus.rpartition("/")[2] for event in events.lost]) == ([], ["nowhere"])
    events.reset()
    assert events.lost == []


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        ({"Source": ""}, "InvalidArgument"),
        ({"DetailType": None}, "InvalidArgument"),
        ({"Detail": ""}, "InvalidArgument"),
        ({"Detail": "[]"}, "MalformedDetail"),
        ({"Detail": "{"}, "MalformedDetail"),
    ],
)
def test_an_entry_that_is_no_event_fails_alone(entry: dict[str, Any], code: str) -> None:
    events = Buses(seed=0, clock=clock)
    assert put(events, **entry)["ErrorCode"] == code
    assert events.received == []


# Functions


def test_a_function_keeps_what_it_is_invoked_with_once_it_is_declared() -> None:
    functions = Functions(clock=clock)
    with pytest.raises(Refused, match="Function not found: arn") as refused:
        functions.invoke("f", None, kind="Event", payload="{}", arn="arn")
    assert refusal(refused) == ("ResourceNotFoundException", 404)
    functions.declare("f")
    functions.invoke("f", "live", kind="Event", payload="{}", arn="arn")
    (invocation,) = functions.received
    assert invocation.as_json() == {"function": "f", "qualifier": "live", "at": START, "kind": "Event", "payload": "{}"}
    functions.reset()
    assert (functions.received, functions.functions()) == ([], [])


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("f", ("f", None)),
        ("f:live", ("f", "live")),
        ("f:$LATEST", ("f", "$LATEST")),
        ("123456789012:function:f", ("f", None)),
        ("arn:aws:lambda:eu-west-1:123456789012:function:f:3", ("f", "3")),
        ("arn:aws:sqs:eu-west-1:123456789012:f", None),
        ("a b", None),
    ],
)
def test_a_function_is_named_in_many_ways(text: str, parsed: tuple[str, str | None] | None) -> None:
    assert parse_id(text) == parsed


def test_xml_is_escaped_and_lists_repeat_their_element() -> None:
    shown = to_xml("A", {"B": ["<&>", '"'], "C": {"D": True}, "E": []}, "urn:x")
    assert shown == '<A xmlns="urn:x"><B>&lt;&amp;&gt;</B><B>&quot;</B><C><D>true</D></C></A>'
