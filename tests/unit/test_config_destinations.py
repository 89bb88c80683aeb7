"""`DestinationConfig.OnFailure.Destination`: what records that are given up can be sent to (DST-01..DST-04)."""

from pathlib import Path

import pytest

from tests.unit.test_config_case import FUNCTIONS, KINESIS, TABLE, load, problems_of

HEAD = "    StartingPosition: LATEST\n    MaximumRetryAttempts: 3\n    DestinationConfig: {OnFailure: {Destination: "
PLACE = "eu-west-1:123456789012"


def text_of(destination: str, source: str = KINESIS) -> str:
    return FUNCTIONS + f"mappings:\n  - FunctionName: orders\n    EventSourceArn: {source}\n{HEAD}{destination}}}}}\n"


@pytest.mark.parametrize(
    "arn",
    [
        f"arn:aws:sqs:{PLACE}:orders-failed",
        "arn:aws:sqs:us-east-1:210987654321:" + "a" * 80,
        f"arn:aws:sns:{PLACE}:orders-failed",
        f"arn:aws:sns:{PLACE}:" + "a" * 256,
        "arn:aws:s3:::orders-failed",
        "arn:aws:s3:::a.b",
        "arn:aws-cn:s3:::orders-failed",
        f"arn:aws:lambda:{PLACE}:function:orders-failed",
        f"arn:aws:lambda:{PLACE}:function:orders-failed:live",
        f"arn:aws:lambda:{PLACE}:function:orders-failed:$LATEST",
        f"arn:aws:events:{PLACE}:event-bus/default",
        f"arn:aws:events:{PLACE}:event-bus/partner/shop.example/1",
        "arn:aws-us-gov:sqs:us-gov-west-1:123456789012:q",
    ],
)
def test_a_destination_is_a_queue_a_topic_or_a_bucket_and_beyond_aws_a_function_or_a_bus_dst_03(tmp_path: Path, arn: str) -> None:
    for source in (KINESIS, TABLE):
        config = load(tmp_path, text_of(f"'{arn}'", source))
        (mapping,) = config.mappings
        assert mapping.stream is not None
        assert mapping.stream.destination == arn
        assert config.warnings == ()


@pytest.mark.parametrize("arn", [f"arn:aws:sqs:{PLACE}:orders.fifo", f"arn:aws:sns:{PLACE}:orders.fifo"])
def test_fifo_queues_and_topics_are_taken_with_a_warning_dst_03(tmp_path: Path, arn: str) -> None:
    (warning,) = load(tmp_path, text_of(arn)).warnings
    assert (warning.line, warning.where) == (9, "mapping orders-orders")
    assert "is FIFO: AWS accepts that, but every delivery to it fails" in warning.message


@pytest.mark.parametrize("arn", ["arn:aws:s3:::bucket.fifo", f"arn:aws:events:{PLACE}:event-bus/x.fifo"])
def test_only_queues_and_topics_can_be_fifo(tmp_path: Path, arn: str) -> None:
    assert load(tmp_path, text_of(arn)).warnings == ()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("kafka://orders-failed", "a Kafka topic is a destination for Kafka sources alone, and this is a stream"),
        (f"https://sqs.eu-west-1.amazonaws.com/{PLACE[-12:]}/failed", f"it is a queue URL: give the queue's ARN, arn:aws:sqs:{PLACE}:failed"),
        ("http://localhost:9324/000000000000/failed", "give the queue's ARN, arn:aws:sqs:REGION:000000000000:failed"),
        ("failed", "if failed is a queue give arn:aws:sqs:REGION:ACCOUNT:failed, if it is a topic arn:aws:sns:REGION:ACCOUNT:failed"),
        ("s3://bucket/some/path", "give the bucket's ARN, arn:aws:s3:::bucket"),
        ("a b", "is not an ARN: give the ARN of an SQS queue, an SNS topic, an S3 bucket"),
        (f"arn:aws:kinesis:{PLACE}:stream/failed", "is of kinesis, and nothing can be sent there: give the ARN of an SQS queue"),
        (f"arn:aws:firehose:{PLACE}:deliverystream/x", "is of firehose, and nothing can be sent there"),
        (f"arn:azure:sqs:{PLACE}:failed", "the partition 'azure'"),
        ("arn:aws:sqs::123456789012:failed", "the region ''"),
        ("arn:aws:sqs:cn-north-1:123456789012:failed", "cn-north-1 belongs to aws-cn"),
        ("arn:aws:sns:eu-west-1:12:failed", "the account '12'"),
        (f"arn:aws:sqs:{PLACE}:a.b", "ends in 'a.b', but it must end in a queue's name"),
        (f"arn:aws:sqs:{PLACE}:" + "a" * 81, "1 to 80 letters"),
        (f"arn:aws:sns:{PLACE}:topic:2b1fae40-1111-2222-3333-444455556666", "must end in a topic's name"),
        (f"arn:aws:sns:{PLACE}:" + "a" * 257, "1 to 256 letters"),
        ("arn:aws:s3:::Bucket", "is not the ARN of a bucket: it must be arn:aws:s3:::NAME"),
        ("arn:aws:s3:::bucket/path", "without a path behind it"),
        (f"arn:aws:s3:{PLACE}:accesspoint/x", "is not the ARN of a bucket"),
        ("arn:aws:s3:eu-west-1::bucket", "is not the ARN of a bucket"),
        ("arn:aws:s3::123456789012:bucket", "is not the ARN of a bucket"),
        ("arn:aws:s3:::ab", "3 to 63 lower-case letters"),
        (f"arn:aws:lambda:{PLACE}:orders", "must end in function:NAME"),
        (f"arn:aws:lambda:{PLACE}:function:a:b:c", "must end in function:NAME"),
        (f"arn:aws:events:{PLACE}:rule/x", "must end in event-bus/NAME"),
        ("arn:aws:sqs:" + "a" * 350, "is 362 characters long, but 350 is the most"),
        ("12", "put it in quotes"),
        ("!GetAtt Failed.Arn", "uses !GetAtt, which only CloudFormation can resolve"),
        ("[a]", "is a list"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_destination_is_a_problem_dst_03_dst_04(tmp_path: Path, given: str, said: str) -> None:
    quoted = given if given[0] in "![" or given == "12" else f"'{given}'"
    (problem,) = problems_of(tmp_path, text_of(quoted))
    assert (problem.line, problem.where) == (9, "mapping orders-orders")
    assert problem.message.startswith("DestinationConfig.OnFailure.Destination")
    assert said in problem.message


def test_a_destination_of_350_characters_is_not_too_long_dst_04(tmp_path: Path) -> None:
    """Not too long, but no queue: names end at 80 characters."""
    arn = f"arn:aws:sqs:{PLACE}:"
    (problem,) = problems_of(tmp_path, text_of(arn + "a" * (350 - len(arn))))
    assert "must end in a queue's name" in problem.message
