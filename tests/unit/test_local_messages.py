"""What the embedded endpoint accepts of messages and queue attributes, and the digests it gives. Texts as recorded from AWS."""

from base64 import b64encode
from typing import Any

import pytest

from runtime.local.errors import Refused
from runtime.local.messages import attributes_digest, draft, matching
from runtime.local.settings import Settings, apply, check_name, first_difference, show, wants_fifo


def string(value: str, data_type: str = "String") -> dict[str, str]:
    return {"DataType": data_type, "StringValue": value}


def binary(value: bytes) -> dict[str, str]:
    return {"DataType": "Binary", "BinaryValue": b64encode(value).decode()}


def refusal_of(**request: Any) -> tuple[str, str]:
    with pytest.raises(Refused) as refused:
        draft({"MessageBody": "x", **request})
    return refused.value.code, refused.value.message


def set_to(settings: Settings, **given: str) -> Settings:
    return apply(settings, given, check_target=lambda _redrive: None)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        # SQS-25; the others recorded from AWS
        (
            {"Title": string("The Whistler"), "Author": string("John Grisham"), "WeeksOn": string("6", "Number")},
            "d25a6aea97eb8f585bfa92d314504a92",
        ),
        ({"Help.Me": string("Me"), "Hello": string("There"), "General": string("Kenobi")}, "4c360f3fdafd970e05fae2f149d997f5"),
        ({"Hello": string("There")}, "a311262e065454b75da111d535b8dacd"),
        ({"Foo": string("Bar")}, "ae7155c6026991b6d54b11589678bf9c"),
        ({"MyAttribute": string("foobar")}, "adb59cd4678ea5a855436b949cd07ab6"),
    ],
)
def test_the_digest_of_attributes_is_that_of_aws(attributes: dict[str, Any], expected: str) -> None:
    assert attributes_digest(draft({"MessageBody": "x", "MessageAttributes": attributes}).attributes) == expected


def test_a_binary_attribute_counts_with_its_bytes_and_not_with_its_base64() -> None:
    checked = draft({"MessageBody": "ü", "MessageAttributes": {"né": binary(b"123456")}})
    assert checked.size == len("ü".encode()) + len("né".encode()) + len("Binary") + 6
    assert checked.attributes["né"].value == b"123456"


@pytest.mark.parametrize("body", ["\t\n\r", "\ud7ff", "\ue000", "\ufffd", "\U00010000", "\U0010ffff", "plain"])
def test_allowed_characters_pass(body: str) -> None:
    assert draft({"MessageBody": body}).body == body


@pytest.mark.parametrize("body", ["\x00", "a\x08", "\x0b", "\x1f", "\ufffe", "\uffff", "\ud800"])
def test_other_characters_are_invalid_contents(body: str) -> None:
    code, message = refusal_of(MessageBody=body)
    assert code == "InvalidMessageContents"
    assert message.startswith("Invalid characters found.")


def test_an_empty_body_is_a_missing_parameter() -> None:
    assert refusal_of(MessageBody="") == ("MissingParameter", "The request must contain the parameter MessageBody.")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("aWs.x", string("v")),
        ("AMAZON.x", string("v")),
        (".x", string("v")),
        ("x.", string("v")),
        ("x!", string("v")),
        ("x" * 257, string("v")),
        ("x", string("v", "Text")),
        ("x", string("v", "Stringy")),
        ("x", string("v", "")),
        ("x", string("v", "Number." + "L" * 256)),
        ("x", string("", "String")),
        ("x", string("a\x08", "String")),
        ("x", string("twelve", "Number")),
        ("x", string("NaN", "Number")),
        ("x", {"DataType": "Binary", "StringValue": "v"}),
        ("x", {"DataType": "String", "StringValue": "v", "StringListValues": ["v"]}),
    ],
)
def test_a_wrong_attribute_is_an_invalid_parameter(name: str, value: dict[str, Any]) -> None:
    assert refusal_of(MessageAttributes={name: value})[0] == "InvalidParameterValue"


def test_the_text_for_an_empty_attribute() -> None:
    expected = "Message (user) attribute 'ErrorDetails' must contain a non-empty value of type 'String'."
    assert refusal_of(MessageAttributes={"ErrorDetails": string("")})[1] == expected


def test_more_than_ten_attributes_are_too_many() -> None:
    assert draft({"MessageBody": "x", "MessageAttributes": {f"a{i}": string("v") for i in range(10)}})
    assert refusal_of(MessageAttributes={f"a{i}": string("v") for i in range(11)})[0] == "InvalidParameterValue"


def test_custom_types_and_letters_of_any_script_pass() -> None:
    draft(
        {"MessageBody": "x", "MessageAttributes": {"attr.1øßä": string("1.5e3", "Number.float"), "b": string("v", "String.json")}}
    )


def test_the_trace_header_is_the_only_system_attribute_and_has_no_weight() -> None:
    checked = draft({"MessageBody": "x", "MessageSystemAttributes": {"AWSTraceHeader": string("Root=1")}})
    assert (checked.size, checked.system["AWSTraceHeader"].value) == (1, b"Root=1")
    assert refusal_of(MessageSystemAttributes={"Other": string("v")})[0] == "InvalidParameterValue"


@pytest.mark.parametrize("parameter", ["MessageGroupId", "MessageDeduplicationId"])
@pytest.mark.parametrize("value", ["", "a" * 129, "group 123", "ü"])
def test_group_and_deduplication_ids_are_printable_ascii_up_to_128(parameter: str, value: str) -> None:
    reason = f"Reason: {parameter} can only include alphanumeric and punctuation characters. 1 to 128 in length."
    assert refusal_of(**{parameter: value}) == (
        "InvalidParameterValue",
        f"Value {value} for parameter {parameter} is invalid. {reason}",
    )
    assert draft({"MessageBody": "x", parameter: "!" * 128})


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ([], []),
        (["All"], ["General", "Hello", "Help.Me"]),
        ([".*"], ["General", "Hello", "Help.Me"]),
        (["*"], ["General", "Hello", "Help.Me"]),
        (["Foo", "Help"], []),
        (["Foo", "Hello"], ["Hello"]),
        (["Hel.*"], ["Hello", "Help.Me"]),
        (["AWS."], []),
    ],
)
def test_attribute_filters_choose_as_recorded(wanted: list[str], found: list[str]) -> None:
    names = {"Help.Me": string("Me"), "Hello": string("There"), "General": string("Kenobi")}
    attributes = draft({"MessageBody": "x", "MessageAttributes": names}).attributes
    assert sorted(matching(attributes, wanted)) == found


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("VisibilityTimeout", 0, 43_200),
        ("DelaySeconds", 0, 900),
        ("ReceiveMessageWaitTimeSeconds", 0, 20),
        ("MessageRetentionPeriod", 60, 1_209_600),
        ("MaximumMessageSize", 1024, 1_048_576),
    ],
)
def test_the_limits_of_queue_attributes(name: str, low: int, high: int) -> None:
    for good in (low, high):
        assert show(set_to(Settings(), **{name: str(good)}))[name] == str(good)
    for bad in (str(low - 1), str(high + 1), "", "x", "1.5", "²"):
        with pytest.raises(Refused) as refused:
            set_to(Settings(), **{name: bad})
        assert (refused.value.code, refused.value.message) == (
            "InvalidAttributeValue",
            f"Invalid value for the parameter {name}.",
        )


@pytest.mark.parametrize(
    "policy",
    [
        "{",
        "[]",
        '{"deadLetterTargetArn": "arn:aws:sqs:eu-west-1:123456789012:d"}',
        '{"maxReceiveCount": 3}',
        '{"deadLetterTargetArn": "dummy", "maxReceiveCount": 3}',
        *(
            f'{{"deadLetterTargetArn": "arn:aws:sqs:eu-west-1:123456789012:d", "maxReceiveCount": {count}}}'
            for count in ('"x"', 0, 1001, 1.5, -1)
        ),
    ],
)
def test_a_wrong_redrive_policy_is_an_invalid_parameter(policy: str) -> None:
    with pytest.raises(Refused) as refused:
        set_to(Settings(), RedrivePolicy=policy)
    assert refused.value.code == "InvalidParameterValue"


def test_a_redrive_policy_may_be_written_in_many_ways_and_taken_away() -> None:
    arn = "arn:aws:sqs:eu-west-1:123456789012:d"
    one = set_to(Settings(), RedrivePolicy=f'{{"maxReceiveCount":"3", "deadLetterTargetArn":"{arn}"}}')
    assert first_difference(one, {"RedrivePolicy": f'{{"deadLetterTargetArn":"{arn}","maxReceiveCount":3}}'}) is None
    assert "RedrivePolicy" not in show(set_to(one, RedrivePolicy=""))


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("FifoQueue", "true", "InvalidAttributeName"),
        ("ContentBasedDeduplication", "false", "InvalidAttributeName"),
        ("DeduplicationScope", "queue", "InvalidAttributeName"),
        ("Nonsense", "1", "InvalidAttributeName"),
        ("QueueArn", "arn", "InvalidAttributeName"),
    ],
)
def test_a_standard_queue_has_no_fifo_and_no_unknown_attributes(name: str, value: str, code: str) -> None:
    with pytest.raises(Refused) as refused:
        set_to(Settings(), **{name: value})
    assert refused.value.code == code


def test_the_type_of_a_fifo_queue_cannot_be_changed() -> None:
    assert set_to(Settings(fifo=True), FifoQueue="True").fifo
    with pytest.raises(Refused, match="Modifying queue type is not supported"):
        set_to(Settings(fifo=True), FifoQueue="false")
    with pytest.raises(Refused, match=r"Unknown Attribute FifoQueue\."):
        wants_fifo({"FifoQueue": "false"})


@pytest.mark.parametrize(("name", "fifo"), [("a" * 80, False), ("A-b_9", False), ("a" * 75 + ".fifo", True)])
def test_good_queue_names(name: str, fifo: bool) -> None:
    check_name(name, fifo=fifo)


@pytest.mark.parametrize(
    ("name", "fifo"),
    [("", False), ("a" * 81, False), ("a/b", False), ("a.fifo", False), ("a", True), (".fifo", True), ("a" * 76 + ".fifo", True)],
)
def test_bad_queue_names(name: str, fifo: bool) -> None:
    with pytest.raises(Refused) as refused:
        check_name(name, fifo=fifo)
    assert refused.value.code == "InvalidParameterValue"
