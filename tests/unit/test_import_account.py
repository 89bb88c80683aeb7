"""A live account: pages, what AWS fills in, functions that are gone."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from runtime.importing.account import _mappings, account_draft
from runtime.importing.findings import Findings
from runtime.importing.values import Text

FUNCTION = "arn:aws:lambda:eu-west-1:123456789012:function:orders"
QUEUE = "arn:aws:sqs:eu-west-1:123456789012:orders"
STREAM = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"
CONFIGURATION = {
    "FunctionName": "orders",
    "FunctionArn": FUNCTION,
    "Handler": "app.handler",
    "Runtime": "python3.12",
    "Timeout": 30,
    "MemorySize": 128,
    "Environment": {"Variables": {"TEXT": "${kept}"}},
    "Role": "r",
}
OF_A_QUEUE = {
    "UUID": "1",
    "BatchSize": 10,
    "EventSourceArn": QUEUE,
    "EventSourceMappingArn": "x",
    "FunctionArn": FUNCTION,
    "FunctionResponseTypes": [],
    "LastModified": datetime(2026, 1, 1, tzinfo=UTC),
    "MaximumBatchingWindowInSeconds": 0,
    "State": "Enabled",
    "StateTransitionReason": "USER_INITIATED",
}
OF_A_STREAM = {
    "UUID": "2",
    "BatchSize": 100,
    "BisectBatchOnFunctionError": False,
    "DestinationConfig": {"OnFailure": {}},
    "EventSourceArn": STREAM,
    "FunctionArn": f"{FUNCTION}:live",
    "LastProcessingResult": "OK",
    "MaximumRecordAgeInSeconds": -1,
    "MaximumRetryAttempts": -1,
    "ParallelizationFactor": 1,
    "StartingPosition": "AT_TIMESTAMP",
    "StartingPositionTimestamp": datetime(2026, 1, 1, tzinfo=UTC),
    "State": "Disabled",
    "TumblingWindowInSeconds": 0,
}


class Pages:
    """What answers ListEventSourceMappings, one page after another."""

    def __init__(self, pages: Sequence[dict[str, Any]]) -> None:
        self.pages = list(pages)
        self.asked: list[dict[str, Any]] = []

    async def list_event_source_mappings(self, **request: Any) -> dict[str, Any]:
        self.asked.append(request)
        return self.pages[len(self.asked) - 1]


async def test_every_page_is_read_api_05() -> None:
    client = Pages(
        [
            {"EventSourceMappings": [{"UUID": "1"}], "NextMarker": "m"},
            {"EventSourceMappings": [], "NextMarker": "n"},
            {"EventSourceMappings": [{"UUID": "2"}]},
        ]
    )
    assert [each["UUID"] for each in await _mappings(client, "f")] == ["1", "2"]
    assert client.asked == [{"FunctionName": "f"}, {"FunctionName": "f", "Marker": "m"}, {"FunctionName": "f", "Marker": "n"}]


async def test_a_marker_that_stays_the_same_ends_it() -> None:
    client = Pages([{"EventSourceMappings": [{"UUID": "1"}], "NextMarker": "m"}] * 3)
    assert len(await _mappings(client, None)) == 2


def test_what_aws_fills_in_is_not_written_api_40_api_41() -> None:
    findings = Findings(file="account")
    draft = account_draft([OF_A_QUEUE, OF_A_STREAM], {FUNCTION: CONFIGURATION, f"{FUNCTION}:live": CONFIGURATION}, findings)
    assert [each.properties for each in draft.mappings] == [
        {"FunctionName": "orders", "EventSourceArn": QUEUE, "BatchSize": 10},
        {
            "FunctionName": "orders:live",
            "EventSourceArn": STREAM,
            "Enabled": False,
            "BatchSize": 100,
            "StartingPosition": "AT_TIMESTAMP",
            "StartingPositionTimestamp": 1767225600,
        },
    ]
    (function,) = draft.functions
    assert function.properties == {
        "Handler": "app.handler",
        "Timeout": 30,
        "MemorySize": 128,
        "Environment": {"Variables": {"TEXT": "${kept}"}},
    }


def test_what_was_set_is_written() -> None:
    given = {
        **OF_A_STREAM,
        "MaximumRetryAttempts": 5,
        "ParallelizationFactor": 2,
        "DestinationConfig": {"OnFailure": {"Destination": QUEUE}},
        "FilterCriteria": {"Filters": [{"Pattern": "{}"}]},
    }
    draft = account_draft([given], {f"{FUNCTION}:live": CONFIGURATION}, Findings(file="account"))
    found = draft.mappings[0].properties
    assert (found["MaximumRetryAttempts"], found["ParallelizationFactor"]) == (5, 2)
    assert found["DestinationConfig"] == {"OnFailure": {"Destination": QUEUE}}
    assert found["FilterCriteria"] == {"Filters": [{"Pattern": "{}"}]}


def test_a_function_that_is_gone_leaves_its_mapping_api_54() -> None:
    draft = account_draft([OF_A_QUEUE], {FUNCTION: None}, Findings(file="account"))
    assert draft.functions[0].key == "orders"
    assert isinstance(draft.functions[0].properties["Handler"], Text)


def test_code_and_secrets_are_told_and_so_is_that_both_would_poll() -> None:
    findings = Findings(file="account")
    account_draft([OF_A_QUEUE], {FUNCTION: CONFIGURATION}, findings)
    assert ["its code lies in S3" in each.message for each in findings.left_out] == [True]
    said = " ".join(each.message for each in findings.notes)
    assert "see that no secret lies in the file" in said
    assert "AWS polls for it too" in said


def test_mappings_that_cannot_run_here_are_left_out() -> None:
    findings = Findings(file="account")
    kafka = {**OF_A_QUEUE, "UUID": "3", "EventSourceArn": "arn:aws:kafka:eu-west-1:123456789012:cluster/c/u"}
    node = {**OF_A_QUEUE, "UUID": "4"}
    deleting = {**OF_A_QUEUE, "UUID": "5", "State": "Deleting"}
    draft = account_draft([kafka, node, deleting], {FUNCTION: {**CONFIGURATION, "Runtime": "nodejs22.x"}}, findings)
    assert not draft.mappings
    assert sorted(each.where for each in findings.left_out) == ["mapping 3", "mapping 4", "mapping 5"]
