"""`mappings`: AWS's rules for an event source mapping on a queue (SQS-01..SQS-14, API-10..API-3B)."""

from pathlib import Path

import pytest

from pollers import SPECS
from runtime.config import mapping_schema
from runtime.core.mapping import BatchLimits, EventSourceMapping
from tests.unit.test_config_case import FUNCTIONS, MAPPINGS, QUEUE, check, load, problems_of

FIFO = f"{QUEUE}.fifo"


def mapping_of(folder: Path, *lines: str, source: str = QUEUE, function: str = "orders") -> EventSourceMapping:
    text = f"mappings:\n  - FunctionName: {function}\n    EventSourceArn: {source}\n"
    (mapping,) = load(folder, FUNCTIONS + text + "".join(f"    {line}\n" for line in lines)).mappings
    return mapping


def test_a_mapping_gets_awss_defaults_sqs_02(tmp_path: Path) -> None:
    assert mapping_of(tmp_path) == EventSourceMapping(
        name="orders-orders",
        function="orders",
        function_arn="arn:aws:lambda:eu-west-1:123456789012:function:orders",
        source="sqs",
        source_arn=QUEUE,
        batch=BatchLimits(records=10, window=0),
        enabled=True,
        report_item_failures=False,
        maximum_concurrency=None,
    )


def test_a_mapping_is_as_the_file_says(tmp_path: Path) -> None:
    mapping = mapping_of(
        tmp_path,
        "name: mine",
        "Enabled: false",
        "BatchSize: 10000",
        "MaximumBatchingWindowInSeconds: 300",
        "FunctionResponseTypes: [ReportBatchItemFailures]",
        "ScalingConfig: {MaximumConcurrency: 1000}",
    )
    assert (mapping.name, mapping.enabled, mapping.report_item_failures) == ("mine", False, True)
    assert (mapping.batch, mapping.maximum_concurrency) == (BatchLimits(records=10_000, window=300), 1000)


@pytest.mark.parametrize(
    "lines",
    [
        ["BatchSize: 10"],
        ["BatchSize: 11", "MaximumBatchingWindowInSeconds: 1"],
        ["ScalingConfig: {}"],
        ["ScalingConfig: {MaximumConcurrency: 2}", "ProvisionedPollerConfig: {}"],
        ["FilterCriteria: {}"],
        ["FilterCriteria: {Filters: []}"],
        ["FunctionResponseTypes: []"],
        ["KMSKeyArn: ''", "KmsKeyArn: ''"],
        ["Enabled: true"],
    ],
)
def test_what_aws_accepts_is_accepted(tmp_path: Path, lines: list[str]) -> None:
    assert mapping_of(tmp_path, *lines).source_arn == QUEUE


def test_a_fifo_queue_takes_batches_of_ten_without_a_window(tmp_path: Path) -> None:
    mapping = mapping_of(tmp_path, "BatchSize: 10", "MaximumBatchingWindowInSeconds: 0", source=FIFO)
    assert mapping.fifo
    assert mapping.name == "orders.fifo-orders"


RANGE = "failed to satisfy constraint: Member must have value"


@pytest.mark.parametrize(
    ("rule", "lines"),
    [
        ("API-13", f"BatchSize: 0  #! 1 validation error detected: Value '0' at 'batchSize' {RANGE} greater than or equal to 1"),
        ("API-13", f"BatchSize: 10001  #! Value '10001' at 'batchSize' {RANGE} less than or equal to 10000"),
        ("API-14", f"MaximumBatchingWindowInSeconds: -1  #! 'maximumBatchingWindowInSeconds' {RANGE} greater than or equal to 0"),
        ("API-14", f"MaximumBatchingWindowInSeconds: 301  #! 'maximumBatchingWindowInSeconds' {RANGE} less than or equal to 300"),
        ("API-25", f"ScalingConfig: {{MaximumConcurrency: 1}}  #! 'scalingConfig.maximumConcurrency' {RANGE} greater than"),
        ("API-25", f"ScalingConfig: {{MaximumConcurrency: 1001}}  #! 'scalingConfig.maximumConcurrency' {RANGE} less than"),
        ("API-12", "Enabled: 1  #! Enabled is '1', but it must be true or false"),
        ("API-23", "FunctionResponseTypes: ReportBatchItemFailures  #! write [ReportBatchItemFailures]"),
        ("API-23", "FunctionResponseTypes: [ReportBatchItemFailure]  #! did you mean ReportBatchItemFailures?"),
        ("API-23", "FunctionResponseTypes: [ReportBatchItemFailures, x]  #! holds 2 items, but 1 is the most"),
        (
            "SQS-03",
            ("BatchSize: 11  #! BatchSize is 11, so MaximumBatchingWindowInSeconds must be at least 1 (AWS: Maximum batch window "
            "in seconds must be greater than 0 if maximum batch size is greater than 10)"),
        ),
        ("SQS-03", "BatchSize: 11  #! greater than 10\n    MaximumBatchingWindowInSeconds: 0"),
        ("SQS-03", "BatchSize: 11\n    MaximumBatchingWindowInSeconds: x  #! whole number"),
        ("SQS-08", "StartingPosition: LATEST  #! StartingPosition is not valid for SQS event sources."),
        (
            "SQS-09",
            "DestinationConfig: {}  #! Unsupported DestinationConfig parameter for given event source mapping type.",
        ),
        (
            "API-37",
            ("BisectBatchOnFunctionError: true  #! Unsupported 'bisectBatchOnFunctionError' parameter for given event source "
            "mapping type."),
        ),
        ("SQS-12", "ScalingConfig: {maximumConcurrency: 2}  #! did you mean MaximumConcurrency?"),
        (
            "SQS-12",
            ("ScalingConfig: {MaximumConcurrency: 2}  #! exclude each other\n"
            "    ProvisionedPollerConfig: {MinimumPollers: 2}  #! not supported yet"),
        ),
        ("SQS-13", "ProvisionedPollerConfig: {MinimumPollers: 1}  #! 2 to 200  #! not supported yet"),
        ("SQS-13", "ProvisionedPollerConfig: {MinimumPollers: 201}  #! 2 to 200  #! not supported yet"),
        ("SQS-13", "ProvisionedPollerConfig: {MaximumPollers: 1}  #! 2 to 10000  #! not supported yet"),
        ("SQS-13", "ProvisionedPollerConfig: {MinimumPollers: 9, MaximumPollers: 8}  #! at least MinimumPollers  #! not supported yet"),
        ("SQS-13", "ProvisionedPollerConfig: {MaximumPollers: 8}  #! ProvisionedPollerConfig is not supported yet"),
        ("SQS-01", "batchSize: 5  #! unknown key batchSize: did you mean BatchSize?"),
        ("SQS-01", "MaximumBatchingWindow: 5  #! did you mean MaximumBatchingWindowInSeconds?"),
        ("SQS-01", "zzz: 5  #! the keys here are name, FunctionName, EventSourceArn"),
        ("SQS-01", "Queue: x  #! give its ARN as EventSourceArn"),
        ("SQS-01", "Properties: {BatchSize: 1}  #! move the keys below it up"),
        ("SQS-01", "DependsOn: x  #! DependsOn has no meaning here"),
    ],
)  # fmt: skip
def test_what_aws_refuses_is_a_problem(tmp_path: Path, rule: str, lines: str) -> None:
    assert rule
    check(tmp_path, FUNCTIONS + MAPPINGS + f"    {lines}\n")
    problems = problems_of(tmp_path, FUNCTIONS + MAPPINGS + f"    {lines}\n")
    assert {problem.where for problem in problems} == {"mapping orders-orders"}


STREAMS_ALONE = mapping_schema.PARAMETERS - SPECS["sqs"].parameters


@pytest.mark.parametrize(
    "key", sorted((mapping_schema.OTHER_SOURCES | STREAMS_ALONE) - {"StartingPosition", "DestinationConfig"})
)
def test_parameters_of_other_sources_are_refused_in_awss_words_api_37(tmp_path: Path, key: str) -> None:
    (problem,) = problems_of(tmp_path, FUNCTIONS + MAPPINGS + f"    {key}: 1\n")
    assert problem.line == 7
    assert f"Unsupported '{key[0].lower()}{key[1:]}' parameter for given event source mapping type." in problem.message


@pytest.mark.parametrize(
    ("rule", "lines"),
    [
        ("SQS-04", "    MaximumBatchingWindowInSeconds: 1  #! Batching window is not supported for FIFO queues\n"),
        ("SQS-05", "    BatchSize: 11  #! BatchSize is 11, but the queue is FIFO, so it must be 1 to 10\n"),
        ("SQS-05", "    BatchSize: 11  #! 1 to 10\n    MaximumBatchingWindowInSeconds: 1  #! FIFO\n"),
    ],
)
def test_what_fifo_queues_do_not_take_is_a_problem(tmp_path: Path, rule: str, lines: str) -> None:
    assert rule
    check(tmp_path, FUNCTIONS + MAPPINGS.replace(QUEUE, FIFO) + lines)


@pytest.mark.parametrize(
    ("arn", "said"),
    [
        ("orders", "Unrecognized event source."),
        ("arn:aws:sns:eu-west-1:123456789012:orders", "subscribe an SQS queue to it"),
        ("https://sqs.eu-west-1.amazonaws.com/123456789012/orders", "give the queue's ARN, arn:aws:sqs:eu-west-1:123456789012:orders"),
        ("http://localhost:9324/000000000000/orders", "give the queue's ARN, arn:aws:sqs:REGION:000000000000:orders"),
        ("arn:aws:states:eu-west-1:123456789012:x", "'states' is no source: give that of an SQS queue"),
        ("arn:azure:sqs:eu-west-1:123456789012:orders", "the partition 'azure'"),
        ("arn:aws:sqs:europe:123456789012:orders", "the region 'europe'"),
        ("arn:aws:sqs::123456789012:orders", "the region ''"),
        ("arn:aws:sqs:cn-north-1:123456789012:orders", "cn-north-1 belongs to aws-cn"),
        ("arn:aws-cn:sqs:eu-west-1:123456789012:orders", "eu-west-1 belongs to aws"),
        ("arn:aws:sqs:eu-west-1:12345678901:orders", "the account '12345678901'"),
        ("'arn:aws:sqs:eu-west-1:123456789012:'", "the queue name ''"),
        ("arn:aws:sqs:eu-west-1:123456789012:a.b", "the queue name 'a.b'"),
        ("arn:aws:sqs:eu-west-1:123456789012:.fifo", "the queue name '.fifo'"),
        ("arn:aws:sqs:eu-west-1:123456789012:" + "a" * 81, "1 to 80 letters"),
        ("arn:aws:sqs:eu-west-1:123456789012:" + "a" * 76 + ".fifo", "1 to 80 letters"),
        ("'arn:aws:sqs:eu-west-1:123456789012:a b'", "the queue name 'a b'"),
        ("''", "EventSourceArn is empty"),
        ("[]", "is a list"),
        ("!GetAtt Orders.Arn", "EventSourceArn uses !GetAtt, which only CloudFormation can resolve"),
        ("!Ref Orders", "uses !Ref"),
        ("{'Fn::GetAtt': [Orders, Arn]}", "uses Fn::GetAtt"),
        ("arn:aws:kafka:eu-west-1:123456789012:cluster/c/1", "Amazon MSK (Kafka) is not supported yet"),
        ("arn:aws:mq:eu-west-1:123456789012:broker:b:1", "Amazon MQ is not supported yet"),
        ("arn:aws:rds:eu-west-1:123456789012:cluster:c", "Amazon DocumentDB is not supported yet"),
    ],
)  # fmt: skip
def test_a_source_must_be_the_arn_of_a_source_api_11_api_30(tmp_path: Path, arn: str, said: str) -> None:
    text = FUNCTIONS + f"mappings:\n  - FunctionName: orders\n    StartingPosition: LATEST\n    EventSourceArn: {arn}\n"
    (problem,) = problems_of(tmp_path, text)
    assert (problem.line, problem.where) == (7, "mapping #1")
    assert said in problem.message


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:sqs:us-east-1:000000000000:a",
        "arn:aws-cn:sqs:cn-northwest-1:123456789012:Some_Queue-1",
        "arn:aws-us-gov:sqs:us-gov-west-1:123456789012:q",
        "arn:aws-iso-b:sqs:us-isob-east-1:123456789012:q",
        "arn:aws-eusc:sqs:eusc-de-east-1:123456789012:q",
        "arn:aws:sqs:eu-west-1:123456789012:" + "a" * 80,
        "arn:aws:sqs:eu-west-1:123456789012:" + "a" * 75 + ".fifo",
    ],
)
def test_every_partition_has_queues(tmp_path: Path, arn: str) -> None:
    mapping = mapping_of(tmp_path, source=arn)
    partition, region, account = arn.split(":")[1], arn.split(":")[3], arn.split(":")[4]
    assert mapping.region == region
    assert mapping.function_arn == f"arn:{partition}:lambda:{region}:{account}:function:orders"


def test_a_mapping_without_a_source_is_a_problem_api_30(tmp_path: Path) -> None:
    check(tmp_path, FUNCTIONS + "mappings:\n  - FunctionName: orders  #! Unrecognized event source.\n")


def test_self_managed_kafka_is_named(tmp_path: Path) -> None:
    text = (
        "mappings:\n  - FunctionName: orders\n    SelfManagedEventSource: {}  #! self-managed Apache Kafka is not supported yet\n"
    )
    check(tmp_path, FUNCTIONS + text)


@pytest.mark.parametrize(
    ("given", "arn"),
    [
        ("orders", "arn:aws:lambda:eu-west-1:123456789012:function:orders"),
        ("orders:live", "arn:aws:lambda:eu-west-1:123456789012:function:orders:live"),
        ("orders:7", "arn:aws:lambda:eu-west-1:123456789012:function:orders:7"),
        ("orders:$LATEST", "arn:aws:lambda:eu-west-1:123456789012:function:orders:$LATEST"),
        ("210987654321:function:orders", "arn:aws:lambda:eu-west-1:210987654321:function:orders"),
        ("210987654321:function:orders:live", "arn:aws:lambda:eu-west-1:210987654321:function:orders:live"),
        ("arn:aws:lambda:eu-west-1:210987654321:function:orders", "arn:aws:lambda:eu-west-1:210987654321:function:orders"),
        ("arn:aws:lambda:eu-west-1:1:function:orders", None),
        ("arn:aws:lambda:eu-west-1:210987654321:function:orders:a:b", None),
        ("function:orders:live", None),
        ("a b", None),
        ("a" * 65, None),
    ],
)
def test_a_function_name_is_a_name_or_an_arn_with_an_optional_qualifier_api_10(
    tmp_path: Path, given: str, arn: str | None
) -> None:
    if arn is None:
        text = f"mappings:\n  - FunctionName: {given}  #! neither a function's name\n    EventSourceArn: {QUEUE}\n"
        check(tmp_path, FUNCTIONS + text)
    else:
        mapping = mapping_of(tmp_path, function=given)
        assert (mapping.function, mapping.function_arn, mapping.name) == ("orders", arn, "orders-orders")


def test_a_function_that_is_not_there_is_a_problem_api_34(tmp_path: Path) -> None:
    text = "mappings:\n  - EventSourceArn: {}\n    FunctionName: Order  #! did you mean orders? (AWS: Function does not exist)\n"
    check(tmp_path, FUNCTIONS + text.replace("{}", QUEUE))
    text = "mappings:\n  - EventSourceArn: {}\n    FunctionName: x:1  #! FunctionName x is not among `functions`: the functions are\n"
    check(tmp_path, FUNCTIONS + text.replace("{}", QUEUE))


def test_a_function_that_is_wrong_is_there_all_the_same(tmp_path: Path) -> None:
    check(tmp_path, "functions:\n  orders:\n    Handler: x  #! Handler is 'x'\n" + MAPPINGS)
    check(tmp_path, MAPPINGS.replace("mappings:", "mappings:  #! functions is missing"))


def test_function_and_queue_are_in_one_region_sqs_11(tmp_path: Path) -> None:
    text = f"mappings:\n  - EventSourceArn: {QUEUE}\n    FunctionName: arn:aws:lambda:us-east-1:123456789012:function:orders  #! is in region us-east-1\n"  # fmt: skip
    check(tmp_path, FUNCTIONS + text)


SECOND = f"  - FunctionName: orders\n    EventSourceArn: {QUEUE}"


def test_a_second_mapping_of_queue_and_function_is_a_problem_api_31(tmp_path: Path) -> None:
    said = f'  #! An event source mapping with SQS arn (" {QUEUE} ") and function (" orders ") already exists.'
    check(tmp_path, FUNCTIONS + MAPPINGS + SECOND + said + "\n")
    check(tmp_path, FUNCTIONS + MAPPINGS + "    Enabled: false\n" + SECOND + said + "\n    name: other\n")
    check(tmp_path, FUNCTIONS + MAPPINGS + SECOND + "  #! mapping orders-orders on line 5\n")


def test_a_queue_may_feed_several_functions_and_qualifiers_api_3b(tmp_path: Path) -> None:
    text = FUNCTIONS + "  audit: {Handler: a.b}\n" + MAPPINGS + f"  - {{FunctionName: audit, EventSourceArn: '{QUEUE}'}}\n"
    assert [mapping.name for mapping in load(tmp_path, text).mappings] == ["orders-orders", "orders-audit"]
    text = FUNCTIONS + MAPPINGS + SECOND.replace("FunctionName: orders", "FunctionName: orders:live") + "\n    name: live\n"
    assert [mapping.function_arn[-4:] for mapping in load(tmp_path, text).mappings] == ["ders", "live"]


def test_the_names_of_mappings_are_unique_also_those_made_up(tmp_path: Path) -> None:
    elsewhere = SECOND.replace("eu-west-1", "us-east-1")
    said = "  #! the name orders-orders is that of the mapping on line 5 already"
    check(tmp_path, FUNCTIONS + MAPPINGS + elsewhere.replace("\n", said + "\n", 1) + "\n")
    check(tmp_path, FUNCTIONS + MAPPINGS + elsewhere + "\n    name: orders-orders" + said + "\n")
    check(tmp_path, FUNCTIONS + MAPPINGS + elsewhere + "\n    name: other\n")


@pytest.mark.parametrize(("name", "said"), [("a b", "consist of letters"), ("a/b", "consist of letters"), ("a" * 129, "128 is the most"), ("''", "name is empty"), ("12", "put it in quotes")])  # fmt: skip
def test_a_name_has_its_charset_and_length(tmp_path: Path, name: str, said: str) -> None:
    (problem,) = problems_of(tmp_path, FUNCTIONS + MAPPINGS + f"    name: {name}\n")
    assert (problem.line, problem.where) == (7, "mapping #1")
    assert said in problem.message


def test_a_made_up_name_that_is_too_long_is_cut_and_stays_the_same(tmp_path: Path) -> None:
    function, queue = "f" * 64, "q" * 80
    text = f"functions: {{{function}: {{Handler: a.b}}}}\nmappings:\n  - FunctionName: {function}\n    EventSourceArn: {QUEUE[:-6]}{queue}\n"
    name = load(tmp_path, text).mappings[0].name
    assert len(name) == 128
    assert name == load(tmp_path, text).mappings[0].name
    assert name.startswith(queue + "-fff")


@pytest.mark.parametrize(
    "text",
    [
        "mappings: []  #! mappings is empty, so there is nothing to do\n",
        "mappings: {}  #! mappings must be a list\n",
        "mappings:  #! mappings must be a list\n",
        "mappings: [a]  #! this is a single value, but it must be a block\n",
        "mappings:\n  -  #! FunctionName is missing  #! EventSourceArn is missing\n",
    ],
)
def test_there_must_be_a_mapping(tmp_path: Path, text: str) -> None:
    check(tmp_path, FUNCTIONS + text)


def test_there_must_be_mappings(tmp_path: Path) -> None:
    check(tmp_path, FUNCTIONS.replace("functions:", "functions:  #! mappings is missing"))


def test_what_has_no_effect_is_a_warning(tmp_path: Path) -> None:
    extra = "    MetricsConfig: {Metrics: [EventCount]}\n    Tags: {team: 7}\n"
    config = load(tmp_path, FUNCTIONS + MAPPINGS + extra)
    assert [(warning.line, warning.where, warning.message.split(",")[0]) for warning in config.warnings] == [
        (7, "mapping orders-orders", "MetricsConfig has no effect here"),
        (8, "mapping orders-orders", "Tags has no effect here"),
    ]
    load(tmp_path, FUNCTIONS + MAPPINGS + "    Tags: [{Key: team, Value: 7}]\n")
    check(tmp_path, FUNCTIONS + MAPPINGS + "    Tags: [{Kee: team}]  #! did you mean Key?  #! Tags.0.Key is missing\n")
    check(tmp_path, FUNCTIONS + MAPPINGS + "    MetricsConfig: {Metrics: [eventCount]}  #! did you mean EventCount?\n")


def test_a_worker_whose_mappings_are_all_disabled_is_warned_about(tmp_path: Path) -> None:
    config = load(tmp_path, FUNCTIONS + MAPPINGS + "    Enabled: false\n")
    assert [(warning.line, warning.where) for warning in config.warnings] == [(4, "")]
    assert not config.mappings[0].enabled
