"""What botocore and aiohttp raise, and what a poller makes of it."""

import ssl
from typing import Any

import aiohttp
import pytest
from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

from pollers.aws.arn import Arn
from pollers.aws.errors import REJECTED, THROTTLED, to_source_error
from pollers.errors import SourceError, SourceRejected, SourceUnavailable

DOING = "ReceiveMessage on orders"


def client_error(code: str | None, message: str = "the text") -> boto.ClientError:
    response: Any = {} if code is None else {"Error": {"Code": code, "Message": message}}
    return boto.ClientError(response, "ReceiveMessage")


@pytest.mark.parametrize("code", sorted(REJECTED))
def test_what_somebody_has_to_change_is_rejected(code: str) -> None:
    error = to_source_error(client_error(code), doing=DOING)
    assert type(error) is SourceRejected
    assert (error.code, str(error)) == (code, f"{DOING}: {code}: the text")


@pytest.mark.parametrize("code", [*sorted(THROTTLED), "ServiceUnavailable", "InternalError", "OverLimit", "503", "Unheard.Of"])
def test_throttling_faults_and_unknown_codes_may_pass(code: str) -> None:
    error = to_source_error(client_error(code), doing=DOING)
    assert type(error) is SourceUnavailable
    assert error.code == code


def test_no_code_is_both_throttling_and_rejection() -> None:
    assert not THROTTLED & REJECTED


def test_a_client_error_without_code_or_text_still_says_something() -> None:
    error = to_source_error(client_error(None), doing=DOING)
    assert type(error) is SourceUnavailable
    assert error.code == "Unknown"
    assert "ReceiveMessage" in str(error)
    assert "An error occurred (X)" in str(to_source_error(client_error("X", ""), doing=DOING))


@pytest.mark.parametrize(
    "raised",
    [
        boto.NoCredentialsError(),
        boto.PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"),
        boto.CredentialRetrievalError(provider="sso", error_msg="expired"),
        boto.TokenRetrievalError(provider="sso", error_msg="expired"),
        boto.UnauthorizedSSOTokenError(),
    ],
    ids=lambda each: type(each).__name__,
)
def test_missing_credentials_are_named(raised: Exception) -> None:
    error = to_source_error(raised, doing=DOING)
    assert type(error) is SourceRejected
    assert error.code == "no_credentials"
    assert str(error).startswith(f"{DOING}: no usable AWS credentials: ")


@pytest.mark.parametrize(
    "raised",
    [
        boto.EndpointConnectionError(endpoint_url="http://127.0.0.1:1"),
        boto.ConnectTimeoutError(endpoint_url="http://127.0.0.1:1"),
        boto.ReadTimeoutError(endpoint_url="http://127.0.0.1:1"),
        boto.ConnectionClosedError(endpoint_url="http://127.0.0.1:1"),
        boto.HTTPClientError(error="broken"),
        boto.SSLError(endpoint_url="https://127.0.0.1:1", error="bad certificate"),
        aiohttp.ClientConnectionError("gone"),
        aiohttp.ServerDisconnectedError(),
        aiohttp.ClientPayloadError("cut"),
        TimeoutError(),
        ConnectionResetError("reset"),
        ssl.SSLError("tls"),
    ],
    ids=lambda each: type(each).__name__,
)
def test_no_answer_may_pass(raised: Exception) -> None:
    error = to_source_error(raised, doing=DOING)
    assert type(error) is SourceUnavailable
    assert error.code == "no_answer"
    assert str(error).removeprefix(f"{DOING}: no answer: "), "an exception without a text is named"


@pytest.mark.parametrize(
    "raised",
    [boto.ProfileNotFound(profile="nobody"), boto.NoRegionError(), boto.ParamValidationError(report="bad")],
    ids=lambda each: type(each).__name__,
)
def test_what_botocore_itself_refuses_is_rejected_under_its_name(raised: Exception) -> None:
    error = to_source_error(raised, doing=DOING)
    assert type(error) is SourceRejected
    assert error.code == type(raised).__name__


@pytest.mark.parametrize(
    "raised",
    [ResponseParserError("no JSON"), KeyError("Messages"), TypeError("x"), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad")],
    ids=lambda each: type(each).__name__,
)
def test_a_broken_answer_may_be_better_the_next_time(raised: Exception) -> None:
    error = to_source_error(raised, doing=DOING)
    assert type(error) is SourceUnavailable
    assert error.code == "malformed_answer"
    assert type(raised).__name__ in str(error)


def test_what_is_translated_already_stays_as_it_is() -> None:
    error: SourceError = SourceRejected("x", code="y")
    assert to_source_error(error, doing=DOING) is error


def test_an_arn_has_six_parts_and_its_resource_may_hold_colons() -> None:
    assert Arn.parse("arn:aws-cn:sqs:cn-north-1:1:a:b") == Arn("aws-cn", "sqs", "cn-north-1", "1", "a:b")


@pytest.mark.parametrize("text", ["", "orders", "arn:aws:sqs:eu-west-1:1", "urn:aws:sqs:eu-west-1:1:orders"])
def test_what_is_no_arn_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match="is not an ARN"):
        Arn.parse(text)
