"""ARNs, names and duplicates of mappings of streams (API-11, API-30, API-32)."""

from pathlib import Path

import pytest

from runtime.config.arns import parse_source_arn
from tests.unit.test_config_case import FUNCTIONS, KINESIS, QUEUE, TABLE, check, load, problems_of
from tests.unit.test_config_streams import SAFE, START, load_one, text_of

# sources


@pytest.mark.parametrize(
    ("arn", "said"),
    [
        ("arn:aws:kinesis:eu-west-1:123456789012:stream/orders/consumer/c", "ends in 'c', but the ARN of a consumer ends in NAME:TIME, the time being that of its registration: give what `aws kinesis list-stream-consumers --stream-arn arn:aws:kinesis:eu-west-1:123456789012:stream/orders` shows as ConsumerARN, or the stream's ARN"),
        ("arn:aws:kinesis:eu-west-1:123456789012:stream/orders/consumer/:1", "ends in ':1'"),
        ("arn:aws:kinesis:eu-west-1:123456789012:stream/orders/consumer/c:yesterday", "ends in 'c:yesterday'"),
        ("arn:aws:kinesis:eu-west-1:123456789012:orders", "ends in 'orders', but the ARN of a Kinesis stream ends in stream/NAME"),
        ("arn:aws:kinesis:eu-west-1:123456789012:stream/", "ends in 'stream/'"),
        ("arn:aws:kinesis:eu-west-1:123456789012:stream/a/b", "ends in 'stream/a/b'"),
        ("'arn:aws:kinesis:eu-west-1:123456789012:stream/a b'", "1 to 128 letters, digits, ., - and _"),
        ("arn:aws:kinesis:eu-west-1:123456789012:stream/" + "a" * 129, "1 to 128 letters"),
        ("arn:aws:kinesis::123456789012:stream/orders", "the region ''"),
        ("arn:aws:kinesis:eu-west-1:12:stream/orders", "the account '12'"),
        ("arn:aws-cn:kinesis:eu-west-1:123456789012:stream/orders", "eu-west-1 belongs to aws: write arn:aws:"),
        ("arn:aws:kinesisvideo:eu-west-1:123456789012:stream/orders/1", "Kinesis Video Streams hold video, not records"),
        ("arn:aws:firehose:eu-west-1:123456789012:deliverystream/orders", "give the Kinesis stream that feeds it"),
        ("orders", "'orders' is not an ARN but a name: if it is a queue give arn:aws:sqs:REGION:ACCOUNT:orders, if it is a Kinesis stream arn:aws:kinesis:REGION:ACCOUNT:stream/orders"),
        ("stream/orders", "arn:aws:kinesis:REGION:ACCOUNT:stream/orders"),
        ("arn:aws:dynamodb:eu-west-1:123456789012:table/orders", "is the ARN of a table, not of its stream: give what `aws dynamodb describe-table --table-name orders` shows as LatestStreamArn"),
        ("arn:aws:dynamodb:eu-west-1:123456789012:table/orders/index/by-day", "is not the ARN of a table's stream: give what"),
        ("arn:aws:dynamodb:eu-west-1:123456789012:table/orders/stream/", "is not the ARN of a table's stream: give what"),
        ("arn:aws:dynamodb:eu-west-1:123456789012:table/or/stream/2025-12-31T12:00:00.000", "3 to 255 letters"),
        ("arn:aws:dynamodb:eu-west-1:123456789012:table/" + "a" * 256 + "/stream/x", "3 to 255 letters"),
        ("arn:aws:dynamodb:eu-west-1:123456789012:stream/orders", "ends in 'stream/orders', but the ARN of a DynamoDB stream ends in table/NAME/stream/LABEL"),
        ("arn:aws:dynamodb:europe:123456789012:table/orders/stream/x", "the region 'europe'"),
    ],
)  # fmt: skip
def test_a_source_must_be_the_arn_of_a_stream_api_11_api_30(tmp_path: Path, arn: str, said: str) -> None:
    """Of a source that is wrong, nothing but that is said: which keys it takes is not known."""
    (problem,) = problems_of(tmp_path, text_of("ScalingConfig: {}", source=arn))
    assert (problem.line, problem.where) == (6, "mapping #1")
    assert said in problem.message


@pytest.mark.parametrize(
    ("arn", "name"),
    [
        ("arn:aws:kinesis:us-east-1:000000000000:stream/a", "a"),
        ("arn:aws:kinesis:us-east-1:000000000000:stream/a/consumer/app-1:1767225600", "a"),
        ("arn:aws:kinesis:us-east-1:123456789012:stream/A.b_c-1", "A.b_c-1"),
        ("arn:aws-us-gov:kinesis:us-gov-west-1:123456789012:stream/s", "s"),
        ("arn:aws-cn:dynamodb:cn-north-1:123456789012:table/A.b_c-1/stream/2025-12-31T12:00:00.000", "A.b_c-1"),
        ("arn:aws:dynamodb:eu-west-1:123456789012:table/abc/stream/x", "abc"),
    ],
)
def test_every_partition_has_streams_and_the_default_name_is_made_from_theirs(tmp_path: Path, arn: str, name: str) -> None:
    mapping = load_one(tmp_path, START, source=arn)[1]
    partition, region, account = arn.split(":")[1], arn.split(":")[3], arn.split(":")[4]
    assert (mapping.name, mapping.region, mapping.fifo) == (f"{name}-orders", region, False)
    assert mapping.function_arn == f"arn:{partition}:lambda:{region}:{account}:function:orders"


def test_a_stream_that_is_called_fifo_is_no_fifo_queue(tmp_path: Path) -> None:
    assert load_one(tmp_path, START, "BatchSize: 100", source=f"{KINESIS}.fifo")[1].batch.records == 100
    assert not parse_source_arn(f"{KINESIS}.fifo").fifo


def test_long_names_of_tables_are_cut(tmp_path: Path) -> None:
    name = load_one(tmp_path, START, source=TABLE.replace("/orders/", f"/{'t' * 255}/"))[1].name
    assert len(name) == 128


def test_function_and_stream_are_in_one_region_sqs_11(tmp_path: Path) -> None:
    arn = "arn:aws:lambda:us-east-1:123456789012:function:orders"
    (problem,) = problems_of(tmp_path, text_of(START, function=arn))
    assert (problem.line, problem.where) == (5, "mapping orders-orders")
    assert "is in region us-east-1, but the stream is in eu-west-1" in problem.message


# names and duplicates


def entry(source: str, *lines: str, function: str = "orders") -> str:
    return f"  - FunctionName: {function}\n    EventSourceArn: {source}\n" + "".join(f"    {line}\n" for line in lines)


@pytest.mark.parametrize("arn", [KINESIS, TABLE])
def test_a_second_mapping_of_stream_and_function_is_a_problem_api_32(tmp_path: Path, arn: str) -> None:
    said = f'  #! The event source arn (" {arn} ") and function (" orders ") provided mapping already exists.'
    text = FUNCTIONS + "mappings:\n" + entry(arn, START)
    check(tmp_path, text + entry(arn + said, START))
    check(tmp_path, text + entry(arn + said, "StartingPosition: LATEST", "name: other"))
    check(tmp_path, text + entry(arn, "name: live", START, function="orders:live"))


def test_a_stream_may_feed_several_functions_kin_24_com_04(tmp_path: Path) -> None:
    text = FUNCTIONS + "  audit: {Handler: a.b}\nmappings:\n" + entry(KINESIS, START) + entry(KINESIS, START, function="audit")
    assert [mapping.name for mapping in load(tmp_path, text).mappings] == ["orders-orders", "orders-audit"]


def test_a_queue_a_stream_and_a_table_of_one_name_are_told_apart(tmp_path: Path) -> None:
    queue, stream, table = entry(QUEUE), entry(KINESIS, START, *SAFE), entry(TABLE, START, *SAFE)

    def names(*entries: str) -> list[str]:
        return [mapping.name for mapping in load(tmp_path, FUNCTIONS + "mappings:\n" + "".join(entries)).mappings]

    assert names(queue, stream, table) == ["orders-orders", "orders-orders-kinesis", "orders-orders-dynamodb"]
    assert names(table, stream) == ["orders-orders", "orders-orders-kinesis"]
    assert names(stream, queue) == ["orders-orders", "orders-orders-sqs"]
    assert names(stream, entry(TABLE, START, "name: rows"), queue) == ["orders-orders", "rows", "orders-orders-sqs"]


def test_a_stream_whose_name_hangs_on_another_mapping_is_warned_about(tmp_path: Path) -> None:
    """Its positions are kept under its name, and would be lost with it."""
    text = FUNCTIONS + "mappings:\n" + entry(QUEUE) + entry(TABLE, START, *SAFE)
    (warning,) = load(tmp_path, text).warnings
    assert (warning.line, warning.where) == (7, "mapping orders-orders-dynamodb")
    assert "the SQS queue before it is called orders-orders, so this one is called orders-orders-dynamodb" in warning.message
    assert "give it a name of its own, for its positions are kept under it" in warning.message
    assert load(tmp_path, FUNCTIONS + "mappings:\n" + entry(TABLE, START, *SAFE) + entry(QUEUE)).warnings == ()


def test_names_that_are_given_stay_unique(tmp_path: Path) -> None:
    said = "  #! the name orders-orders is that of the mapping on line 5 already"
    text = FUNCTIONS + "mappings:\n" + entry(KINESIS, START)
    check(tmp_path, text + entry(TABLE, START, f"name: orders-orders{said}"))
    elsewhere = entry(KINESIS.replace("eu-west-1", "us-east-1"), START).replace("\n", said + "\n", 1)
    check(tmp_path, text + elsewhere)
