"""The SQS source: what it asks, the event it makes of the answers, and what it makes of bad ones."""

import base64
import json
from collections.abc import Callable, Coroutine, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, Final

import anyio
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from pollers import event_record
from pollers.aws.clients import AwsClients
from pollers.aws.hot import HotKind, HotOperation
from pollers.errors import SourceRejected, SourceUnavailable
from pollers.record import Record, RecordId
from pollers.source import QueueFacts
from pollers.sqs import SPEC, SqsQueue
from pollers.sqs_record import envelope
from tests.fakes.hot_requests import FakeOperation
from tests.fakes.virtual_time import virtual_time

ARN: Final = "arn:aws:sqs:us-east-1:123456789012:my-queue"
FIRST: Final = "059f36b4-87a3-44ab-83d2-661975830a7d"
HANDLE: Final = "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a"
ATTRIBUTES: Final = {  # in another order than Lambda shows them
    "SenderId": "AIDAIENQZJOLO23YVJ4VO",
    "ApproximateFirstReceiveTimestamp": "1545082649185",
    "ApproximateReceiveCount": "1",
    "SentTimestamp": "1545082649183",
}

Answer = Callable[[dict[str, Any]], dict[str, Any]]


def confirm(request: dict[str, Any]) -> dict[str, Any]:
    """What SQS says when all went well, and when there is no message."""
    return {"Successful": [{"Id": entry["Id"]} for entry in request["Entries"]]} if "Entries" in request else {}


class FakeSqs:
    """The client of aiobotocore, as far as the source uses it: notes each request and answers as it is told."""

    def __init__(self, **answers: Any) -> None:
        """By method name: what it answers, an exception to raise, or a function of the request."""
        self.meta = SimpleNamespace(endpoint_url="http://127.0.0.1:4566/")
        self.answers = answers
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.running = 0
        self.most_running = 0

    def __getattr__(self, method: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        async def ask(**request: Any) -> Any:
            self.requests.append((method, request))
            self.running += 1
            self.most_running = max(self.most_running, self.running)
            await anyio.sleep(0.01)
            self.running -= 1
            answer = self.answers.get(method, confirm)
            if callable(answer):
                answer = answer(request)
            if isinstance(answer, Exception):
                raise answer
            return answer

        return ask


class FakeClients(AwsClients):
    """Gives out the one client, or the error of making it."""

    def __init__(self, made: FakeSqs | Exception) -> None:
        self.made = made
        self.regions: list[str] = []

    async def client(self, service: str, region: str, *, retries: bool) -> Any:  # noqa: ARG002  # one client serves both
        assert service == "sqs"
        self.regions.append(region)
        if isinstance(self.made, Exception):
            raise self.made
        return self.made

    async def operation(self, kind: HotKind, region: str, sample: Mapping[str, Any], *, place: str = "") -> HotOperation:  # noqa: ARG002  # as above
        return FakeOperation(self.made, kind)


class Scene:
    def __init__(self, client: FakeSqs, *, arn: str = ARN, windowed: bool = False) -> None:
        self.client = client
        self.observed: list[tuple[str, str]] = []
        self.clients = FakeClients(client)
        self.queue = SqsQueue(self.clients, arn, windowed=windowed, observe=lambda *fact: self.observed.append(fact))

    async def receive(self, *, limit: int = 10, wait: int = 20, visibility: int | None = None) -> Sequence[Record]:
        return await self.queue.receive(limit=limit, wait=wait, visibility=visibility)


def message(body: str = "Test message.", **more: Any) -> dict[str, Any]:
    known = {
        "MessageId": FIRST,
        "ReceiptHandle": HANDLE,
        "MD5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
        "Body": body,
        "Attributes": ATTRIBUTES,
    }
    return {name: value for name, value in {**known, **more}.items() if value is not ...}


async def event_of(*messages: dict[str, Any], arn: str = ARN, windowed: bool = False) -> dict[str, Any]:
    records = await Scene(FakeSqs(receive_message={"Messages": list(messages)}), arn=arn, windowed=windowed).receive()
    return envelope(records)


def as_written(event: Any) -> str:
    """With the order of the keys."""
    return json.dumps(event, indent=1)


def records_of(count: int) -> list[Record]:
    return [Record(id=RecordId(str(n)), content={}, size=1, arrived=0.0, handle=f"handle-{n}") for n in range(count)]


# the event


@virtual_time
async def test_sqs_21_a_standard_message() -> None:
    expected = {
        "Records": [
            {
                "messageId": FIRST,
                "receiptHandle": HANDLE,
                "body": "Test message.",
                "attributes": {
                    "ApproximateReceiveCount": "1",
                    "SentTimestamp": "1545082649183",
                    "SenderId": "AIDAIENQZJOLO23YVJ4VO",
                    "ApproximateFirstReceiveTimestamp": "1545082649185",
                },
                "messageAttributes": {},
                "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
                "eventSource": "aws:sqs",
                "eventSourceARN": ARN,
                "awsRegion": "us-east-1",
            }
        ]
    }
    assert as_written(await event_of(message())) == as_written(expected)


@virtual_time
async def test_sqs_26_with_a_window_the_md5_of_no_attributes_is_null() -> None:
    (shown,) = (await event_of(message("0-0-message-0"), windowed=True))["Records"]
    assert list(shown) == [
        "messageId", "receiptHandle", "body", "attributes", "messageAttributes", "md5OfMessageAttributes", "md5OfBody",
        "eventSource", "eventSourceARN", "awsRegion",
    ]  # fmt: skip
    assert shown["md5OfMessageAttributes"] is None


@pytest.mark.parametrize("windowed", [False, True])
@virtual_time
async def test_sqs_24_message_attributes(windowed: bool) -> None:
    custom = {
        "WeeksOn": {"DataType": "Number", "StringValue": "6"},
        "Author": {"StringValue": "John Grisham", "DataType": "String"},
        "Title": {"StringValue": "The Whistler", "DataType": "String"},
    }
    sent = message(MessageAttributes=custom, MD5OfMessageAttributes="d25a6aea97eb8f585bfa92d314504a92")
    (shown,) = (await event_of(sent, windowed=windowed))["Records"]
    expected = {
        "WeeksOn": {"stringValue": "6", "stringListValues": [], "binaryListValues": [], "dataType": "Number"},
        "Author": {"stringValue": "John Grisham", "stringListValues": [], "binaryListValues": [], "dataType": "String"},
        "Title": {"stringValue": "The Whistler", "stringListValues": [], "binaryListValues": [], "dataType": "String"},
    }
    assert as_written(shown["messageAttributes"]) == as_written(expected)
    assert shown["md5OfMessageAttributes"] == "d25a6aea97eb8f585bfa92d314504a92"
    assert list(shown)[4:7] == ["messageAttributes", "md5OfMessageAttributes", "md5OfBody"]


@virtual_time
async def test_sqs_24_a_binary_attribute_is_base64_in_place_of_the_string() -> None:
    custom = {"Raw": {"BinaryValue": b"\x00\xff\x10", "DataType": "Binary.png"}}
    (shown,) = (await event_of(message(MessageAttributes=custom, MD5OfMessageAttributes="x")))["Records"]
    expected = {
        "Raw": {
            "binaryValue": base64.b64encode(b"\x00\xff\x10").decode(),
            "stringListValues": [],
            "binaryListValues": [],
            "dataType": "Binary.png",
        }
    }
    assert as_written(shown["messageAttributes"]) == as_written(expected)


@virtual_time
async def test_sqs_22_a_trace_header_stands_among_the_attributes() -> None:
    (shown,) = (await event_of(message(Attributes={"AWSTraceHeader": "Root=1-5759e988", **ATTRIBUTES})))["Records"]
    assert list(shown["attributes"])[:3] == ["ApproximateReceiveCount", "AWSTraceHeader", "SentTimestamp"]
    assert shown["attributes"]["AWSTraceHeader"] == "Root=1-5759e988"


@virtual_time
async def test_sqs_23_a_fifo_message_and_its_group() -> None:
    fifo = {"MessageDeduplicationId": "dedup-1", "MessageGroupId": "1", "SequenceNumber": "18849496460467696128"}
    scene = Scene(FakeSqs(receive_message={"Messages": [message(Attributes={**fifo, **ATTRIBUTES})]}), arn=ARN + ".fifo")
    (record,) = await scene.receive()
    expected = {
        "ApproximateReceiveCount": "1",
        "SentTimestamp": "1545082649183",
        "SequenceNumber": "18849496460467696128",
        "MessageGroupId": "1",
        "SenderId": "AIDAIENQZJOLO23YVJ4VO",
        "MessageDeduplicationId": "dedup-1",
        "ApproximateFirstReceiveTimestamp": "1545082649185",
    }
    shown = event_record("sqs", record)
    assert as_written(shown["attributes"]) == as_written(expected)
    assert shown["eventSourceARN"] == ARN + ".fifo"
    assert record.group == "1"


@virtual_time
async def test_the_group_of_a_fair_queue_is_shown_but_orders_nothing() -> None:
    scene = Scene(FakeSqs(receive_message={"Messages": [message(Attributes={**ATTRIBUTES, "MessageGroupId": "tenant"})]}))
    (record,) = await scene.receive()
    assert event_record("sqs", record)["attributes"]["MessageGroupId"] == "tenant"
    assert record.group is None


@virtual_time
async def test_attributes_that_lambda_s_order_does_not_name_follow_as_they_came() -> None:
    more = {"Newer": "2", "DeadLetterQueueSourceArn": "arn:dead", "New": "1"}
    records = (await event_of(message(Attributes={**more, **ATTRIBUTES}), message()))["Records"]
    assert list(records[0]["attributes"])[4:] == ["DeadLetterQueueSourceArn", "Newer", "New"]
    assert records[0]["attributes"] == {**more, **ATTRIBUTES}
    assert records[1]["attributes"] == ATTRIBUTES


@pytest.mark.parametrize(
    "body",
    [
        pytest.param('{ "a" :  1.0,\n\t"b":"\\u00e9" }', id="JSON text"),
        pytest.param("", id="empty"),
        pytest.param("null", id="null"),
        pytest.param('é 漢字 \U0001f600 \u2028 \x7f \x00\x1f "\\/', id="unicode"),
        pytest.param("lone \ud83d surrogate \udc00", id="lone surrogates"),
        pytest.param("ü" * (512 * 1024), id="1 MiB"),
    ],
)
@virtual_time
async def test_sqs_27_the_body_is_the_text_of_the_message_unchanged(body: str) -> None:
    (record,) = await Scene(FakeSqs(receive_message={"Messages": [message(body)]})).receive()
    shown = event_record("sqs", record)
    assert shown["body"] == body
    has_surrogates = any("\ud800" <= each <= "\udfff" for each in body)
    text = json.dumps(shown, separators=(",", ":"), ensure_ascii=has_surrogates)
    assert record.size == len(text.encode())


@pytest.mark.parametrize("windowed", [False, True])
@pytest.mark.parametrize(
    "more",
    [
        pytest.param({"Attributes": {**ATTRIBUTES, "MessageGroupId": 'a"\\\x7f'}}, id="attributes with escapes"),
        pytest.param({"Attributes": {**ATTRIBUTES, "New": "1"}}, id="an attribute that we do not know"),
        pytest.param({"Attributes": {}}, id="empty attributes"),
        pytest.param({"Attributes": ...}, id="no attributes"),
        pytest.param(
            {"MD5OfMessageAttributes": "d41d8cd98f00b204e9800998ecf8427e"}, id="a checksum of attributes that are not there"
        ),
        pytest.param({"MessageAttributes": {"é": {"DataType": "String", "StringValue": '"'}}}, id="attributes of the sender"),
    ],
)
@virtual_time
async def test_com_11_the_size_of_a_record_is_that_of_its_part_of_the_event(more: dict[str, Any], windowed: bool) -> None:
    (record,) = await Scene(FakeSqs(receive_message={"Messages": [message(**more)]}), windowed=windowed).receive()
    assert record.size == len(json.dumps(event_record("sqs", record), separators=(",", ":"), ensure_ascii=False).encode())


@virtual_time
async def test_what_a_handler_changes_of_an_event_does_not_show_in_the_next() -> None:
    """A batch that was throttled is invoked again, and its records may be told of afterwards."""
    custom = {"kind": {"DataType": "String", "StringValue": "x"}}
    records = await Scene(FakeSqs(receive_message={"Messages": [message(MessageAttributes=custom), message()]})).receive()
    before = as_written(envelope(records))
    for shown in (event := envelope(records))["Records"]:
        shown["attributes"].clear()
        shown["messageAttributes"]["mine"] = shown["messageAttributes"].pop("kind", {})
        shown["messageAttributes"]["mine"]["stringValue"] = "y"
        del shown["body"]
    event["Records"].clear()
    assert as_written(envelope(records)) == before


@virtual_time
async def test_a_record_knows_its_id_its_handle_and_its_arrival() -> None:
    (record,) = await Scene(FakeSqs(receive_message={"Messages": [message()]})).receive()
    assert (record.id, record.handle, record.arrived) == (FIRST, HANDLE, 1545082649.183)


# receive


@virtual_time
async def test_a_receive_asks_for_all_attributes_and_leaves_the_visibility_to_the_queue() -> None:
    """SQS-30, SQS-37; the URL is made from endpoint and ARN, for SQS-11 allows no GetQueueUrl."""
    scene = Scene(FakeSqs())
    assert await scene.receive(limit=7, wait=20) == []
    assert scene.clients.regions == ["us-east-1"]
    assert scene.client.requests == [
        (
            "receive_message",
            {
                "QueueUrl": "http://127.0.0.1:4566/123456789012/my-queue",
                "MaxNumberOfMessages": 7,
                "WaitTimeSeconds": 20,
                "MessageSystemAttributeNames": ["All"],
                "MessageAttributeNames": ["All"],
            },
        )
    ]


@pytest.mark.parametrize("visibility", [0, 62])
@virtual_time
async def test_a_visibility_that_is_given_is_asked_for(visibility: int) -> None:
    scene = Scene(FakeSqs())
    await scene.receive(visibility=visibility)
    assert scene.client.requests[0][1]["VisibilityTimeout"] == visibility


@virtual_time
async def test_receives_of_a_fifo_queue_can_be_repeated_by_the_sdk_and_each_is_its_own() -> None:
    scene = Scene(FakeSqs(), arn=ARN + ".fifo")
    await scene.receive()
    await scene.receive()
    attempts = [request["ReceiveRequestAttemptId"] for _, request in scene.client.requests]
    assert len(set(attempts)) == 2


@pytest.mark.parametrize(
    "answer",
    [
        {"Messages": [message(MessageId=...)]},
        {"Messages": [message(ReceiptHandle=...)]},
        {"Messages": "text"},
        {"Messages": 5},
        {"Messages": {"MessageId": "x"}},
        {"Messages": [None]},
        {"Messages": [message(Attributes="text")]},
        {"Messages": [message(Attributes=["SentTimestamp"])]},
        {"Messages": [message(Attributes={"SentTimestamp": "soon"})]},
        {"Messages": [message(Attributes={"SentTimestamp": None})]},
        {"Messages": [message(Attributes={"New": 1})]},
        {"Messages": [message(Attributes={"New": "1"}), None]},
        {"Messages": [message(MessageAttributes=["x"])]},
        {"Messages": [message(MessageAttributes={"x": {"StringValue": "no type"}})]},
    ],
    ids=lambda answer: str(answer)[:60],
)
@virtual_time
async def test_a_malformed_answer_is_a_source_that_is_unavailable(answer: dict[str, Any]) -> None:
    with pytest.raises(SourceUnavailable, match="ReceiveMessage on my-queue: the answer could not be understood") as caught:
        await Scene(FakeSqs(receive_message=answer)).receive()
    assert caught.value.code == "malformed_answer"


@pytest.mark.parametrize("nothing", [..., None, {}])
@virtual_time
async def test_a_message_without_attributes_is_still_a_record(nothing: Any) -> None:
    (record,) = await Scene(FakeSqs(receive_message={"Messages": [message(Attributes=nothing)]})).receive()
    assert event_record("sqs", record)["attributes"] == {}


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ({"Messages": [message()]}, "ok"),
        ({}, "empty"),
        ({"Messages": []}, "empty"),
        ({"Messages": None}, "empty"),
    ],
)
@virtual_time
async def test_every_answered_receive_is_observed(answer: Any, outcome: str) -> None:
    scene = Scene(FakeSqs(receive_message=answer))
    await scene.receive()
    assert scene.observed == [("ReceiveMessage", outcome)]


@pytest.mark.parametrize(
    ("raised", "outcome", "kind"),
    [
        (ClientError({"Error": {"Code": "RequestThrottled"}}, "ReceiveMessage"), "throttled", SourceUnavailable),
        (ClientError({"Error": {"Code": "InternalError"}}, "ReceiveMessage"), "error", SourceUnavailable),
        (ClientError({"Error": {"Code": "AccessDenied"}}, "ReceiveMessage"), "error", SourceRejected),
        (EndpointConnectionError(endpoint_url="x"), "error", SourceUnavailable),
    ],
)
@virtual_time
async def test_every_failed_receive_is_observed_and_translated(raised: Exception, outcome: str, kind: type[Exception]) -> None:
    scene = Scene(FakeSqs(receive_message=raised))
    with pytest.raises(kind):
        await scene.receive()
    assert scene.observed == [("ReceiveMessage", outcome)]


@virtual_time
async def test_a_client_that_cannot_be_made_is_asked_for_again_the_next_time() -> None:
    scene = Scene(FakeSqs())
    scene.clients.made = SourceRejected("no profile", code="ProfileNotFound")
    with pytest.raises(SourceRejected):
        await scene.receive()
    scene.clients.made = scene.client
    assert await scene.receive() == []


# what the queue says of itself


@pytest.mark.parametrize(
    ("policy", "redrive", "receives"),
    [
        ('{"deadLetterTargetArn":"x","maxReceiveCount":5}', True, 5),
        ('{"maxReceiveCount":"5"}', True, 5),
        ("{}", True, None),
        ("[]", True, None),
        ("{", True, None),
        (None, False, None),
    ],
)
@virtual_time
async def test_a_queue_describes_itself(policy: str | None, redrive: bool, receives: int | None) -> None:
    attributes = {"VisibilityTimeout": "45"} | ({} if policy is None else {"RedrivePolicy": policy})
    scene = Scene(FakeSqs(get_queue_attributes={"Attributes": attributes}))
    assert await scene.queue.describe() == QueueFacts(visibility_timeout=45, redrive=redrive, max_receives=receives)
    assert scene.observed == [("GetQueueAttributes", "ok")]


@pytest.mark.parametrize("answer", [{}, {"Attributes": {}}, {"Attributes": None}, {"Attributes": {"VisibilityTimeout": "x"}}])
@virtual_time
async def test_a_queue_that_describes_itself_badly_is_unavailable(answer: dict[str, Any]) -> None:
    with pytest.raises(SourceUnavailable, match="GetQueueAttributes on my-queue"):
        await Scene(FakeSqs(get_queue_attributes=answer)).queue.describe()


# delete and extend


@virtual_time
async def test_nothing_to_delete_asks_nothing() -> None:
    scene = Scene(FakeSqs())
    assert await scene.queue.delete([]) == []
    assert await scene.queue.extend([], 5) == []
    assert scene.client.requests == []


@pytest.mark.parametrize(("count", "tens"), [(1, [1]), (10, [10]), (11, [1, 10]), (25, [5, 10, 10])])
@virtual_time
async def test_sqs_50_records_are_deleted_in_tens(count: int, tens: list[int]) -> None:
    scene = Scene(FakeSqs())
    assert await scene.queue.delete(records_of(count)) == []
    entries = [request["Entries"] for _, request in scene.client.requests]
    assert sorted(len(each) for each in entries) == tens
    assert sorted(entry["ReceiptHandle"] for each in entries for entry in each) == sorted(r.handle for r in records_of(count))
    assert all(len({entry["Id"] for entry in each}) == len(each) for each in entries)
    assert scene.observed == [("DeleteMessageBatch", "ok")] * len(tens)


@virtual_time
async def test_ten_thousand_records_are_a_thousand_requests_eight_at_a_time() -> None:
    scene = Scene(FakeSqs())
    assert await scene.queue.delete(records_of(10_000)) == []
    assert len(scene.client.requests) == 1000
    assert scene.client.most_running == 8


@virtual_time
async def test_an_extension_names_its_seconds_in_every_entry() -> None:
    scene = Scene(FakeSqs())
    await scene.queue.extend(records_of(2), 30)
    assert scene.client.requests == [
        (
            "change_message_visibility_batch",
            {
                "QueueUrl": "http://127.0.0.1:4566/123456789012/my-queue",
                "Entries": [
                    {"Id": "0", "ReceiptHandle": "handle-0", "VisibilityTimeout": 30},
                    {"Id": "1", "ReceiptHandle": "handle-1", "VisibilityTimeout": 30},
                ],
            },
        )
    ]


def refuse_handle(handle: str, code: str) -> Answer:
    def answer(request: dict[str, Any]) -> dict[str, Any]:
        ids = {entry["ReceiptHandle"]: entry["Id"] for entry in request["Entries"]}
        refused = ids.pop(handle, None)
        return {
            "Successful": [{"Id": each} for each in ids.values()],
            "Failed": [] if refused is None else [{"Id": refused, "Code": code, "Message": "why"}],
        }

    return answer


@pytest.mark.parametrize(
    ("code", "gone"),
    [("ReceiptHandleIsInvalid", True), ("InvalidParameterValue", True), ("MessageNotInflight", True), ("InternalError", False)],
)
@virtual_time
async def test_a_partial_failure_refuses_exactly_the_records_it_names(code: str, gone: bool) -> None:
    records = records_of(25)
    scene = Scene(FakeSqs(delete_message_batch=refuse_handle("handle-13", code)))
    (refusal,) = await scene.queue.delete(records)
    assert refusal.record is records[13]
    assert (refusal.code, refusal.message, refusal.gone) == (code, "why", gone)


@virtual_time
async def test_a_request_that_fails_as_a_whole_refuses_its_entries_and_no_others() -> None:
    def answer(request: dict[str, Any]) -> Any:
        first = request["Entries"][0]["ReceiptHandle"]
        return (
            ClientError({"Error": {"Code": "RequestThrottled", "Message": "slow down"}}, "x")
            if first == "handle-10"
            else confirm(request)
        )

    scene = Scene(FakeSqs(change_message_visibility_batch=answer))
    records = records_of(25)
    refusals = await scene.queue.extend(records, 0)
    assert [refusal.record for refusal in refusals] == records[10:20]
    assert {(refusal.code, refusal.gone) for refusal in refusals} == {("RequestThrottled", False)}
    assert sorted(scene.observed) == [("ChangeMessageVisibilityBatch", "ok")] * 2 + [
        ("ChangeMessageVisibilityBatch", "throttled")
    ]


@pytest.mark.parametrize(
    "failed",
    [[{"Id": "3", "Code": "x"}], [{"Id": "other", "Code": "x"}], [{"Code": "x"}], [{"Id": "0"}], [None], "text", 5],
    ids=str,
)
@virtual_time
async def test_failures_that_cannot_be_understood_refuse_every_entry(failed: Any) -> None:
    records = records_of(3)
    refusals = await Scene(FakeSqs(delete_message_batch={"Failed": failed})).queue.delete(records)
    assert [refusal.record for refusal in refusals] == records
    assert {(refusal.code, refusal.gone) for refusal in refusals} == {("malformed_answer", False)}


@pytest.mark.parametrize("failed", [{}, {"Failed": None}, {"Failed": []}], ids=str)
@virtual_time
async def test_no_failures_refuse_nothing(failed: dict[str, Any]) -> None:
    answer = {"Successful": [{"Id": "0"}, {"Id": "1"}], **failed}
    assert await Scene(FakeSqs(delete_message_batch=answer)).queue.delete(records_of(2)) == []


@pytest.mark.parametrize("foreign", ["2", "-1", "99"])
@virtual_time
async def test_what_the_answer_does_not_confirm_is_refused_and_foreign_ids_mean_nobody(foreign: str) -> None:
    records = records_of(2)
    answer = {"Successful": [{"Id": "0"}], "Failed": [{"Id": foreign, "Code": "ReceiptHandleIsInvalid"}]}
    (refusal,) = await Scene(FakeSqs(delete_message_batch=answer)).queue.delete(records)
    assert refusal.record is records[1]
    assert (refusal.code, refusal.gone) == ("malformed_answer", False)


@pytest.mark.parametrize("answer", [b"{}", b'{"Messages":[]}', b'{"Messages": null}'], ids=str)
@virtual_time
async def test_an_empty_answer_of_sqs_is_no_records(answer: bytes) -> None:
    assert await Scene(FakeSqs(receive_message=answer)).receive() == []


@pytest.mark.parametrize(
    "answer", [b"<html></html>", b"", b"[]", b'{"message": "%s"}' % (b"x" * 5000)], ids=lambda each: str(each)[:20]
)
@virtual_time
async def test_a_proxy_s_page_is_no_empty_answer(answer: bytes) -> None:
    with pytest.raises(SourceUnavailable, match=r"no answer of SQS|could not be understood") as caught:
        await Scene(FakeSqs(receive_message=answer)).receive()
    assert caught.value.code == "malformed_answer"


def test_sqs_01_the_parameters_of_a_queue() -> None:
    assert (SPEC.source, SPEC.service, SPEC.default_batch_size) == ("sqs", "sqs", 10)
    assert {"StartingPosition", "DestinationConfig", "MaximumRetryAttempts"}.isdisjoint(SPEC.parameters)
