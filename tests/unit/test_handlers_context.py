"""The context object (COM-40..46)."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from handlers.context import LambdaContext, executed_version, new_log_stream

ARN = "arn:aws:lambda:eu-west-1:123456789012:function:orders"


def context(**changed: Any) -> LambdaContext:
    given: dict[str, Any] = {
        "request_id": "r-1",
        "function_name": "orders",
        "function_arn": ARN,
        "memory_limit": "128",
        "log_stream": "2026/01/02/[$LATEST]0123",
        "timeout": 3,
        "now": 1000.0,
    }
    return LambdaContext(**{**given, **changed})


def test_it_has_every_attribute_that_lambda_gives() -> None:  # COM-40, COM-41, COM-43, COM-45
    made = context()
    assert made.aws_request_id == "r-1"
    assert made.function_name == "orders"
    assert made.function_version == "$LATEST"
    assert made.invoked_function_arn == ARN
    assert made.memory_limit_in_mb == "128"
    assert made.log_group_name == "/aws/lambda/orders"
    assert made.log_stream_name == "2026/01/02/[$LATEST]0123"
    assert (made.client_context, made.tenant_id, made.w3c()) == (None, None, {})
    assert made.identity.cognito_identity_id is None
    assert made.identity.cognito_identity_pool_id is None
    assert repr(made).startswith("LambdaContext([aws_request_id=r-1,log_group_name=/aws/lambda/orders,")


@pytest.mark.parametrize(
    ("arn", "version"),
    [(ARN, "$LATEST"), (f"{ARN}:7", "7"), (f"{ARN}:live", "$LATEST"), (f"{ARN}:$LATEST", "$LATEST"), ("9", "$LATEST")],
)
def test_the_version_is_the_number_that_the_arn_names(arn: str, version: str) -> None:  # COM-44
    assert executed_version(arn) == version
    assert context(function_arn=arn).invoked_function_arn == arn


def test_a_function_whose_name_is_a_number_has_no_version() -> None:
    assert executed_version("arn:aws:lambda:eu-west-1:123456789012:function:42") == "$LATEST"


@pytest.mark.parametrize(("now", "left"), [(1000.0, 3000), (1001.5, 1500), (1002.9996, 1), (1003.0, 0), (2000.0, 0)])
def test_remaining_time_is_whole_milliseconds_and_never_negative(
    monkeypatch: pytest.MonkeyPatch, now: float, left: int
) -> None:  # COM-42
    made = context()
    monkeypatch.setattr("handlers.context.time.time", lambda: now)
    assert made.get_remaining_time_in_millis() == left
    assert type(made.get_remaining_time_in_millis()) is int


def test_log_writes_to_standard_output_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    context().log("a line\n")
    context().log(5)
    assert capsys.readouterr().out == "a line\n5"


def test_middleware_may_hang_its_own_attributes_on_it() -> None:
    made = context()
    made.secrets = {"a": 1}  # type: ignore[attr-defined]  # what a middleware does
    assert made.secrets == {"a": 1}  # type: ignore[attr-defined]  # as above


def test_a_log_stream_has_lambdas_form_and_is_new_each_time() -> None:
    streams = {new_log_stream(datetime(2026, 1, 2, tzinfo=UTC)) for _ in range(3)}
    assert len(streams) == 3
    assert all(re.fullmatch(r"2026/01/02/\[\$LATEST][0-9a-f]{32}", stream) for stream in streams)
