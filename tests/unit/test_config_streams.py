"""`mappings`: AWS's rules for an event source mapping on a stream (KIN-01..KIN-08, DDB-01, DDB-02, API-13..API-37)."""

from pathlib import Path

import pytest

from pollers import SPECS
from pollers.record import LATEST, TRIM_HORIZON
from runtime.config import Config, mapping_schema
from runtime.core.mapping import BatchLimits, EventSourceMapping, RetryPolicy, StreamSettings
from tests.unit.test_config_case import FUNCTIONS, KINESIS, QUEUE, TABLE, check, load, problems_of

START = "StartingPosition: TRIM_HORIZON"
FAILED = "arn:aws:sqs:eu-west-1:123456789012:orders-failed"
SAFE = ["MaximumRetryAttempts: 5", f"DestinationConfig: {{OnFailure: {{Destination: '{FAILED}'}}}}"]
"""What keeps the warnings away."""


def text_of(*lines: str, source: str = KINESIS, function: str = "orders") -> str:
    """A file with one mapping: its source stands on line 6, `lines` from 7 on."""
    head = f"mappings:\n  - FunctionName: {function}\n    EventSourceArn: {source}\n"
    return FUNCTIONS + head + "".join(f"    {line}\n" for line in lines)


def load_one(folder: Path, *lines: str, source: str = KINESIS) -> tuple[Config, EventSourceMapping, StreamSettings]:
    config = load(folder, text_of(*lines, source=source))
    (mapping,) = config.mappings
    assert mapping.stream is not None
    return config, mapping, mapping.stream


def stream_of(folder: Path, *lines: str, source: str = KINESIS) -> StreamSettings:
    return load_one(folder, *lines, source=source)[2]


def warnings_of(folder: Path, *lines: str, source: str = KINESIS) -> list[str]:
    return [str(warning).partition("esm.yaml:")[2] for warning in load_one(folder, *lines, source=source)[0].warnings]


# what comes out


@pytest.mark.parametrize(("source", "kind"), [(KINESIS, "kinesis"), (TABLE, "dynamodb")])
def test_a_mapping_gets_awss_defaults_kin_01_kin_07_ddb_01(tmp_path: Path, source: str, kind: str) -> None:
    assert load_one(tmp_path, START, source=source)[1] == EventSourceMapping(
        name="orders-orders",
        function="orders",
        function_arn="arn:aws:lambda:eu-west-1:123456789012:function:orders",
        source=kind,
        source_arn=source,
        batch=BatchLimits(records=100, window=0),
        enabled=True,
        report_item_failures=False,
        maximum_concurrency=None,
        stream=StreamSettings(
            start=TRIM_HORIZON,
            retry=RetryPolicy(attempts=-1, age=-1, bisect=False),
            lanes=1,
            tumbling_window=0,
            destination=None,
            read_share=1.0,
        ),
    )


@pytest.mark.parametrize("source", [KINESIS, TABLE])
def test_a_mapping_is_as_the_file_says(tmp_path: Path, source: str) -> None:
    _, mapping, stream = load_one(
        tmp_path,
        "name: mine",
        "Enabled: false",
        "StartingPosition: LATEST",
        "BatchSize: 10000",
        "MaximumBatchingWindowInSeconds: 300",
        "ParallelizationFactor: 10",
        "BisectBatchOnFunctionError: true",
        "MaximumRetryAttempts: 10000",
        "MaximumRecordAgeInSeconds: 604800",
        "FunctionResponseTypes: [ReportBatchItemFailures]",
        f"DestinationConfig: {{OnFailure: {{Destination: '{FAILED}'}}}}",
        "read_share: 0.25",
        source=source,
    )
    assert (mapping.name, mapping.enabled, mapping.report_item_failures) == ("mine", False, True)
    assert mapping.batch == BatchLimits(records=10_000, window=300)
    assert stream == StreamSettings(
        start=LATEST,
        retry=RetryPolicy(attempts=10_000, age=604_800, bisect=True),
        lanes=10,
        destination=FAILED,
        read_share=0.25,
    )


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        ("ParallelizationFactor: 1", "lanes", 1),
        ("TumblingWindowInSeconds: 0", "tumbling_window", 0),
        ("TumblingWindowInSeconds: 900", "tumbling_window", 900),
        ("MaximumRetryAttempts: 0", "retry", RetryPolicy(attempts=0)),
        ("MaximumRetryAttempts: -1", "retry", RetryPolicy()),
        ("MaximumRecordAgeInSeconds: -1", "retry", RetryPolicy()),
        ("MaximumRecordAgeInSeconds: 60", "retry", RetryPolicy(age=60)),
        ("read_share: 1", "read_share", 1.0),
        ("read_share: 0.001", "read_share", 0.001),
        ("read_share: ${SHARE:-0.5}", "read_share", 0.5),
        ("DestinationConfig: {}", "destination", None),
        ("DestinationConfig: {OnFailure: {}}", "destination", None),
        ("DestinationConfig: {OnFailure: {Destination: ''}}", "destination", None),
        ("KMSKeyArn: ''", "destination", None),
        ("FilterCriteria: {}", "destination", None),
    ],
)
def test_what_aws_accepts_is_accepted(tmp_path: Path, line: str, field: str, value: object) -> None:
    for source in (KINESIS, TABLE):
        assert getattr(stream_of(tmp_path, START, line, source=source), field) == value


def test_a_batch_above_ten_needs_no_window_sqs_03(tmp_path: Path) -> None:
    assert load_one(tmp_path, START, "BatchSize: 11")[1].batch == BatchLimits(records=11, window=0)


# keys and their limits

RANGE = "failed to satisfy constraint: Member must have value"
NULL = "1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint: Member must not be null."
ENUM = "failed to satisfy constraint: Member must satisfy enum value set: [LATEST, AT_TIMESTAMP, TRIM_HORIZON]"
AGE = "MaximumRecordAgeInSeconds must be either -1 (forever) or between 60 and 604800 (inclusive)"


@pytest.mark.parametrize("arn", [KINESIS, TABLE])
@pytest.mark.parametrize(
    ("rule", "lines"),
    [
        ("KIN-03", f"StartingPosition: invalid  #! 1 validation error detected: Value 'invalid' at 'startingPosition' {ENUM}"),
        ("KIN-03", f"StartingPosition: latest  #! did you mean LATEST? (AWS: 1 validation error detected: Value 'latest' at 'startingPosition' {ENUM}"),
        ("KIN-03", "StartingPosition: SHARD_END  #! enum value set"),
        ("KIN-03", "StartingPosition:  #! StartingPosition has no value"),
        ("KIN-03", "StartingPosition: [LATEST]  #! is a list"),
        ("API-13", f"{START}\n    BatchSize: 0  #! 'batchSize' {RANGE} greater than or equal to 1"),
        ("API-13", f"{START}\n    BatchSize: 10001  #! 'batchSize' {RANGE} less than or equal to 10000"),
        ("API-14", f"{START}\n    MaximumBatchingWindowInSeconds: 301  #! {RANGE} less than or equal to 300"),
        ("API-15", f"{START}\n    ParallelizationFactor: 0  #! 'parallelizationFactor' {RANGE} greater than or equal to 1"),
        ("API-15", f"{START}\n    ParallelizationFactor: 11  #! ParallelizationFactor is 11, but it must be 1 to 10 (AWS: "),
        ("API-20", f"{START}\n    MaximumRetryAttempts: -2  #! 'maximumRetryAttempts' {RANGE} greater than or equal to -1"),
        ("API-20", f"{START}\n    MaximumRetryAttempts: 10001  #! {RANGE} less than or equal to 10000"),
        ("API-21", f"{START}\n    BisectBatchOnFunctionError: 1  #! must be true or false"),
        ("KIN-08", f"{START}\n    MaximumRecordAgeInSeconds: 59  #! is 59, but it must be -1 (no limit) or 60 to 604800 (AWS: {AGE})"),
        ("KIN-08", f"{START}\n    MaximumRecordAgeInSeconds: 0  #! {AGE}"),
        ("KIN-08", f"{START}\n    MaximumRecordAgeInSeconds: -2  #! is -2, but it must be -1 (no limit) or 60 to 604800 (AWS: {AGE})"),
        ("KIN-08", f"{START}\n    MaximumRecordAgeInSeconds: 604801  #! {AGE}"),
        ("COM-90", f"{START}\n    TumblingWindowInSeconds: -1  #! {RANGE} greater than or equal to 0"),
        ("COM-90", f"{START}\n    TumblingWindowInSeconds: 901  #! 'tumblingWindowInSeconds' {RANGE} less than or equal to 900"),
        ("COM-99", f"{START}\n    TumblingWindowInSeconds: 30\n    ParallelizationFactor: 2  #! with TumblingWindowInSeconds it must be 1"),
        ("API-23", f"{START}\n    FunctionResponseTypes: [x]  #! it must be ReportBatchItemFailures"),
        ("API-25", f"{START}\n    ScalingConfig: {{MaximumConcurrency: 2}}  #! Unsupported 'scalingConfig' parameter for given event source mapping type."),
        ("API-25", f"{START}\n    ScalingConfig: 7  #! ScalingConfig is not for"),
        ("API-26", f"{START}\n    ProvisionedPollerConfig: {{}}  #! Unsupported 'provisionedPollerConfig' parameter for given event source mapping type."),
        ("DST-01", f"{START}\n    DestinationConfig: {{OnSuccess: {{Destination: x}}}}  #! (AWS: Unsupported DestinationConfig parameter for given event source mapping type.)"),
        ("DST-01", f"{START}\n    DestinationConfig:\n      OnSuccess: 7  #! OnSuccess is not for streams"),
        ("DST-01", f"{START}\n    DestinationConfig: {{OnFail: {{}}}}  #! unknown key DestinationConfig.OnFail: did you mean OnFailure?"),
        ("DST-01", f"{START}\n    DestinationConfig: {{OnFailure: {{Type: SQS}}}}  #! Type has no meaning here and can be removed: the ARN"),
        ("KIN-01", f"{START}\n    batchSize: 5  #! did you mean BatchSize?"),
        ("KIN-01", f"{START}\n    zzz: 5  #! the keys here are name, FunctionName, EventSourceArn, Enabled, BatchSize"),
        ("KIN-01", f"{START}\n    Stream: x  #! give its ARN as EventSourceArn"),
        ("INTERFACE", f"{START}\n    read_share: 0  #! read_share is 0, but it must be more than 0 and at most 1"),
        ("INTERFACE", f"{START}\n    read_share: -0.5  #! more than 0 and at most 1"),
        ("INTERFACE", f"{START}\n    read_share: 1.01  #! more than 0 and at most 1"),
        ("INTERFACE", f"{START}\n    read_share: half  #! must be a number in plain digits, as in 0.5"),
        ("INTERFACE", f"{START}\n    read_share: '0.5'  #! remove the quotes"),
        ("INTERFACE", f"{START}\n    read_share: 50%  #! must be a number"),
        ("INTERFACE", f"{START}\n    ReadShare: 0.5  #! unknown key ReadShare"),
    ],
)  # fmt: skip
def test_what_is_refused_of_a_stream_is_a_problem(tmp_path: Path, arn: str, rule: str, lines: str) -> None:
    assert rule
    text = text_of(lines, source=arn)
    check(tmp_path, text)
    assert {problem.where for problem in problems_of(tmp_path, text)} == {"mapping orders-orders"}


@pytest.mark.parametrize("arn", [KINESIS, TABLE])
def test_a_stream_needs_a_starting_position_kin_02(tmp_path: Path, arn: str) -> None:
    (problem,) = problems_of(tmp_path, text_of(source=arn))
    assert problem.line == 5
    assert problem.message.startswith("StartingPosition is missing: give TRIM_HORIZON or LATEST")
    assert ("AT_TIMESTAMP" in problem.message) is (arn == KINESIS)
    assert problem.message.endswith(f"(AWS: {NULL})")


@pytest.mark.parametrize(("kind", "arn"), [("kinesis", KINESIS), ("dynamodb", TABLE)])
def test_parameters_of_other_sources_are_refused_in_awss_words_api_37(tmp_path: Path, kind: str, arn: str) -> None:
    refused = (mapping_schema.PARAMETERS | mapping_schema.OTHER_SOURCES) - SPECS[kind].parameters
    assert {"ScalingConfig", "ProvisionedPollerConfig", "Topics"} <= refused
    for key in sorted(refused):
        (problem,) = problems_of(tmp_path, text_of(START, f"{key}: 1", source=arn))
        assert problem.line == 8
        assert f"Unsupported '{key[0].lower()}{key[1:]}' parameter for given event source mapping type." in problem.message


def test_what_is_ours_for_streams_is_refused_of_queues(tmp_path: Path) -> None:
    check(tmp_path, text_of("read_share: 0.5  #! read_share is not for SQS queues: remove it", source=QUEUE))


def test_all_problems_of_a_stream_come_at_once(tmp_path: Path) -> None:
    check(
        tmp_path,
        text_of(
            "StartingPosition: AT_TIMESTAMP  #! Need to specify a timestamp",
            "BatchSize: 0  #! 1 to 10000",
            "ScalingConfig: {}  #! Unsupported",
            "TumblingWindowInSeconds: 1",
            "ParallelizationFactor: 3  #! it must be 1",
            "MaximumRecordAgeInSeconds: 5  #! 60 to 604800",
            "read_share: 2  #! at most 1",
            "DestinationConfig: {OnFailure: {Destination: x}}  #! is not an ARN",
        ),
    )
