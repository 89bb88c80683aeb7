"""What the lean client takes from the SDK's: where a request goes and how it looks, or why the SDK's client has to make it."""

import json
import os
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore import UNSIGNED
from botocore.httpsession import get_cert_path

from pollers.aws.clients import AwsClients
from pollers.aws.hot import DELETE, DYNAMODB_PAGE, EXTEND, KINESIS_PAGE, RECEIVE, HotKind, SdkOperation
from pollers.aws.lean.operation import LeanOperation
from pollers.aws.lean.signing import Credentials
from pollers.aws.lean.template import NotCovered, Template, endpoint_of, hold_back_when_asked, take_template
from pollers.errors import SourceError, SourceRejected, SourceUnavailable

STREAM: Final = "arn:aws:kinesis:eu-west-1:123456789012:stream/orders"
KINDS: Final = (RECEIVE, DELETE, EXTEND, KINESIS_PAGE, DYNAMODB_PAGE)
SDK_COUNTS: Final = {"amz-sdk-invocation-id", "amz-sdk-request"}
KEYS: Final = Credentials("AKIDMADEUP", "made-up", "token")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith("AWS_") or name.lower().endswith(("_proxy", "_ca_bundle")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEYS.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEYS.secret_key)
    monkeypatch.setenv("AWS_SESSION_TOKEN", KEYS.token or "")


def sample_of(kind: HotKind, base: str = "https://sqs.eu-west-1.amazonaws.com") -> dict[str, Any]:
    queue = f"{base}/123456789012/orders"
    entry = {"Id": "0", "ReceiptHandle": "h\u00e9 \u20ac\U0001f600"}
    samples: dict[HotKind, dict[str, Any]] = {
        RECEIVE: {"QueueUrl": queue, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 20, "MessageSystemAttributeNames": ["All"]},
        DELETE: {"QueueUrl": queue, "Entries": [entry]},
        EXTEND: {"QueueUrl": queue, "Entries": [{**entry, "VisibilityTimeout": 30}]},
        KINESIS_PAGE: {"ShardIterator": "AAA==", "Limit": 100, "StreamARN": STREAM},
        DYNAMODB_PAGE: {"ShardIterator": "AAA==", "Limit": 100},
    }
    return samples[kind]


class Seen(Exception):
    """Carries what the SDK's client was about to send."""


async def sent_by_sdk(client: Any, kind: HotKind, sample: Mapping[str, Any]) -> Any:
    def see(request: Any, **_: Any) -> None:
        raise Seen(request)

    event = f"before-send.{client.meta.service_model.service_id.hyphenize()}.{kind.name}"
    client.meta.events.register(event, see)
    try:
        await getattr(client, kind.method)(**sample)
    except Seen as seen:
        return seen.args[0]
    finally:
        client.meta.events.unregister(event, see)
    raise AssertionError


def headers_of(request: Any) -> dict[str, str]:
    """As botocore made them, without those in which it counts its tries."""
    told = {name.lower(): value.decode() if isinstance(value, bytes) else value for name, value in request.headers.items()}
    return {name: value for name, value in told.items() if name not in SDK_COUNTS}


def check_same_request(template: Template, request: Any) -> None:
    """For the body and the second of `request`."""
    headers = headers_of(request)
    moment = datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    head, _, body = template.signer.request(request.body, KEYS, moment).partition(b"\r\n\r\n")
    line, *lines = head.decode().split("\r\n")
    told = {name.lower(): value for name, value in (each.split(": ", 1) for each in lines)}
    place, _, path = request.url.partition("://")[2].partition("/")
    assert line == f"POST /{path} HTTP/1.1"
    host = told.pop("host")
    assert told.pop("accept-encoding") == "identity"  # the SDK's transport adds it
    assert told == headers
    assert host == place
    assert body == request.body
    assert template.url == request.url


@pytest.mark.parametrize("kind", KINDS, ids=[f"{kind.service}-{kind.name}" for kind in KINDS])
async def test_a_request_is_what_the_sdk_would_send_in_the_same_second(kind: HotKind) -> None:
    async with AwsClients() as clients:
        client = await clients.client(kind.service, "eu-west-1", retries=kind.retries)
        sample = sample_of(kind)
        template = await take_template(client, kind.method, sample, KEYS)
        request = await sent_by_sdk(client, kind, sample)
        check_same_request(template, request)
        assert json.loads(request.body) == sample


@pytest.mark.parametrize("kind", KINDS, ids=[f"{kind.service}-{kind.name}" for kind in KINDS])
async def test_without_a_token_none_is_sent(kind: HotKind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_SESSION_TOKEN")
    async with AwsClients() as clients:
        client = await clients.client(kind.service, "eu-west-1", retries=kind.retries)
        template = await take_template(client, kind.method, sample_of(kind), KEYS._replace(token=None))
        assert b"security-token" not in template.signer.request(b"{}", KEYS._replace(token=None), 0).lower()


# endpoints

ENDPOINTS: Final[list[tuple[HotKind, str, dict[str, str], str]]] = [
    (RECEIVE, "eu-west-1", {}, "https://sqs.eu-west-1.amazonaws.com/"),
    (RECEIVE, "cn-north-1", {}, "https://sqs.cn-north-1.amazonaws.com.cn/"),
    (RECEIVE, "us-east-1", {"AWS_USE_FIPS_ENDPOINT": "true"}, "https://sqs-fips.us-east-1.amazonaws.com/"),
    (RECEIVE, "us-gov-west-1", {"AWS_USE_FIPS_ENDPOINT": "true"}, "https://sqs.us-gov-west-1.amazonaws.com/"),
    (RECEIVE, "us-east-1", {"AWS_USE_DUALSTACK_ENDPOINT": "true"}, "https://sqs.us-east-1.api.aws/"),
    (
        RECEIVE,
        "us-east-1",
        {"AWS_USE_DUALSTACK_ENDPOINT": "true", "AWS_USE_FIPS_ENDPOINT": "true"},
        "https://sqs-fips.us-east-1.api.aws/",
    ),
    (RECEIVE, "eu-west-1", {"AWS_ENDPOINT_URL": "http://localhost:4566"}, "http://localhost:4566/"),
    (RECEIVE, "eu-west-1", {"AWS_ENDPOINT_URL": "https://gateway.example:8443/aws/sqs"}, "https://gateway.example:8443/aws/sqs"),
    (RECEIVE, "eu-west-1", {"AWS_ENDPOINT_URL_SQS": "http://[::1]:9324"}, "http://[::1]:9324/"),
    (RECEIVE, "eu-west-1", {"AWS_ENDPOINT_URL": "http://[2001:db8::1]"}, "http://[2001:db8::1]/"),
    (RECEIVE, "eu-west-1", {"AWS_ENDPOINT_URL_KINESIS": "http://localhost:1"}, "https://sqs.eu-west-1.amazonaws.com/"),
    (KINESIS_PAGE, "eu-west-1", {}, "https://123456789012.data-kinesis.eu-west-1.amazonaws.com/"),
    (
        KINESIS_PAGE,
        "us-east-1",
        {"AWS_USE_FIPS_ENDPOINT": "true"},
        "https://123456789012.data-kinesis-fips.us-east-1.amazonaws.com/",
    ),
    (KINESIS_PAGE, "eu-west-1", {"AWS_USE_DUALSTACK_ENDPOINT": "true"}, "https://123456789012.data-kinesis.eu-west-1.api.aws/"),
    (KINESIS_PAGE, "eu-west-1", {"AWS_ENDPOINT_URL": "http://localhost:4567"}, "http://localhost:4567/"),
    (DYNAMODB_PAGE, "eu-west-1", {}, "https://streams.dynamodb.eu-west-1.amazonaws.com/"),
    (DYNAMODB_PAGE, "us-east-1", {"AWS_USE_FIPS_ENDPOINT": "true"}, "https://streams.dynamodb-fips.us-east-1.amazonaws.com/"),
]


@pytest.mark.parametrize(
    ("kind", "region", "more", "url"), ENDPOINTS, ids=[f"{number}-{row[3]}" for number, row in enumerate(ENDPOINTS)]
)
async def test_a_request_goes_where_the_sdk_would_send_it(
    kind: HotKind, region: str, more: dict[str, str], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in more.items():
        monkeypatch.setenv(name, value)
    async with AwsClients() as clients:
        client = await clients.client(kind.service, region, retries=kind.retries)
        sample = sample_of(kind, client.meta.endpoint_url.rstrip("/"))
        template = await take_template(client, kind.method, sample, KEYS)
        check_same_request(template, await sent_by_sdk(client, kind, sample))
        assert template.url == url
        endpoint = endpoint_of(client, template, lambda _ca, _verify: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        place = url.partition("://")[2].partition("/")[0]
        name, _, port = place.rpartition(":") if place[-1].isdigit() and not place.endswith("]") else (place, "", "")
        assert endpoint.host == name.strip("[]")
        assert endpoint.port == int(port or {"https": 443, "http": 80}[url.partition(":")[0]])
        assert (endpoint.tls is not None) is url.startswith("https")


async def test_each_account_has_its_own_endpoint_and_each_service_its_own_connections() -> None:
    """Kinesis: the ARN of the stream decides. One endpoint for two services is asked over connections of each."""
    async with AwsClients() as clients:
        for account in ("111111111111", "222222222222"):
            arn = STREAM.replace("123456789012", account)
            sample = {**sample_of(KINESIS_PAGE), "StreamARN": arn}
            assert await clients.operation(KINESIS_PAGE, "eu-west-1", sample, place=arn) is await clients.operation(
                KINESIS_PAGE, "eu-west-1", sample, place=arn
            )
        for kind in (RECEIVE, DELETE, EXTEND):
            await clients.operation(kind, "eu-west-1", sample_of(kind))
        assert sorted(clients._pools) == [
            "kinesis https://111111111111.data-kinesis.eu-west-1.amazonaws.com/",
            "kinesis https://222222222222.data-kinesis.eu-west-1.amazonaws.com/",
            "sqs https://sqs.eu-west-1.amazonaws.com/",
        ]


async def test_limits_are_those_of_the_client() -> None:
    async with AwsClients() as clients:
        for kind, read in ((RECEIVE, 30), (KINESIS_PAGE, 15)):
            client = await clients.client(kind.service, "eu-west-1", retries=False)
            template = await take_template(client, kind.method, sample_of(kind), KEYS)
            files: list[tuple[str | None, bool]] = []

            def context(ca: str | None, verify: bool, files: list[tuple[str | None, bool]] = files) -> ssl.SSLContext:
                files.append((ca, verify))
                return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

            endpoint = endpoint_of(client, template, context)
            assert (endpoint.connect_timeout, endpoint.read_timeout, endpoint.most) == (5, read, 4096)
            ((ca, verify),) = files
            assert (ca, verify) == (get_cert_path(True), True)


async def test_a_bundle_of_authorities_is_the_one_of_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "missing.pem"))
    async with AwsClients() as clients:
        with pytest.raises(SourceUnavailable, match=r"the first ReceiveMessage.*missing\.pem") as raised:
            await clients.operation(RECEIVE, "eu-west-1", sample_of(RECEIVE))
        assert raised.value.code == "no_answer"


# where the SDK has to do it


class Told:
    """The roads that were told."""

    def __init__(self) -> None:
        self.roads: list[tuple[str, str, str | None]] = []

    def __call__(self, service: str, endpoint: str, reason: str | None) -> None:
        self.roads.append((service, endpoint, reason))

    @property
    def reasons(self) -> list[str | None]:
        return [reason for _, _, reason in self.roads]


@pytest.mark.parametrize(
    ("more", "url", "reason"),
    [
        ({"HTTPS_PROXY": "http://proxy:3128"}, None, "a proxy"),
        ({"https_proxy": "http://proxy:3128"}, None, "a proxy"),
        ({"HTTP_PROXY": "http://proxy:3128"}, None, None),
        ({"HTTP_PROXY": "http://proxy:3128"}, "http://queues.example:9324", "a proxy"),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "amazonaws.com"}, None, None),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "example.com"}, None, "a proxy"),
        ({"HTTP_PROXY": "http://proxy:3128", "NO_PROXY": "*"}, "http://queues.example:9324", None),
        ({"AWS_RETRY_MODE": "adaptive"}, None, "retries in the mode adaptive"),
        ({}, "http://localhost:4566/a%20b", "an endpoint with the path /a%20b"),
        ({}, "http://localhost:4566/a//b", "an endpoint with the path /a//b"),
    ],
)
async def test_settings_that_ask_for_more_are_told_with_the_reason(
    more: dict[str, str], url: str | None, reason: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in more.items():
        monkeypatch.setenv(name, value)
    if url is not None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    told = Told()
    async with AwsClients(tell_road=told) as clients:
        operation = await clients.operation(DELETE, "eu-west-1", sample_of(DELETE, url or "https://sqs.eu-west-1.amazonaws.com"))
        assert type(operation) is (LeanOperation if reason is None else SdkOperation)
        assert told.reasons == [reason]
        assert told.roads[0][0] == "sqs"


async def test_a_road_is_told_once() -> None:
    told = Told()
    async with AwsClients(tell_road=told) as clients:
        for kind in (RECEIVE, DELETE, EXTEND, RECEIVE):
            await clients.operation(kind, "eu-west-1", sample_of(kind))
    assert told.roads == [("sqs", "https://sqs.eu-west-1.amazonaws.com", None)]


async def test_the_sdk_can_be_asked_for() -> None:
    told = Told()
    async with AwsClients(lean=False, tell_road=told) as clients:
        assert type(await clients.operation(RECEIVE, "eu-west-1", sample_of(RECEIVE))) is SdkOperation
    assert told.reasons == ["worker.client is sdk"]


async def test_without_credentials_there_is_no_road(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    async with AwsClients() as clients:
        with pytest.raises(SourceRejected, match="the first ReceiveMessage: no usable AWS credentials"):
            await clients.operation(RECEIVE, "eu-west-1", sample_of(RECEIVE))


async def template_of(**config: Any) -> Template:
    """Of a client with settings that only code can give it."""
    async with get_session().create_client("sqs", region_name="eu-west-1", config=AioConfig(**config)) as client:
        hold_back_when_asked(client)
        template = await take_template(client, "receive_message", sample_of(RECEIVE), KEYS)
        endpoint_of(client, template, lambda _ca, _verify: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        return template


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"client_cert": "cert.pem"}, "a client certificate"),
        ({"client_cert": ("cert.pem", "key.pem")}, "a client certificate"),
        ({"proxies": {"https": "http://proxy:3128"}}, "a proxy"),
        ({"connector_args": {"use_dns_cache": False}}, "a connector of one's own"),
        ({"signature_version": UNSIGNED}, r"requests that are signed otherwise \(none\)"),
    ],
)  # fmt: skip
async def test_a_client_with_settings_of_its_own_is_not_covered(config: dict[str, Any], reason: str) -> None:
    with pytest.raises(NotCovered, match=reason):
        await template_of(**config)


async def test_a_client_with_the_connector_settings_that_we_know_is_covered() -> None:
    assert (await template_of(connector_args={"keepalive_timeout": 3})).host == "sqs.eu-west-1.amazonaws.com"


async def test_a_client_that_hides_its_settings_is_not_covered() -> None:
    async with AwsClients() as clients:
        client = await clients.client("sqs", "eu-west-1", retries=False)
        template = await take_template(client, "receive_message", sample_of(RECEIVE), KEYS)
        session, client._endpoint.http_session = client._endpoint.http_session, object()
        with pytest.raises(NotCovered, match=r"does not show its settings \(.*_proxy_config"):
            endpoint_of(client, template, lambda _ca, _verify: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        client._endpoint.http_session = session


SIGNATURES: Final = {
    "AWS4-ECDSA-P256-SHA256 Credential=AKIDMADEUP/20250731/sqs/aws4_request, SignedHeaders=host, Signature=00": r"signed otherwise \(AWS4-ECDSA-P256-SHA256\)",
    "Bearer abc": r"signed otherwise \(Bearer\)",
    "AWS4-HMAC-SHA256 Credential=AKIDMADEUP/20250731/eu-west-1/sqs/aws4_request, SignedHeaders=host;x-amz-date, Signature=00": "in a way that we do not know",
    "AWS4-HMAC-SHA256 Credential=x, SignedHeaders=host, Signature=00": "in a way that we do not know",
    "AWS4-HMAC-SHA256 ": "in a way that we do not know",
}


@pytest.mark.parametrize(("authorization", "reason"), SIGNATURES.items())
async def test_another_signature_is_not_covered_and_the_sdk_makes_the_requests(authorization: str, reason: str) -> None:
    """SigV4a, a token, or the next thing."""
    told = Told()

    def sign(request: Any, **_: Any) -> None:
        request.headers["Authorization"] = authorization

    async with AwsClients(tell_road=told) as clients:
        client = await clients.client("sqs", "eu-west-1", retries=False)
        client.meta.events.register_first("before-send", sign)
        with pytest.raises(NotCovered, match=reason):
            await take_template(client, "receive_message", sample_of(RECEIVE), KEYS)
        assert type(await clients.operation(RECEIVE, "eu-west-1", sample_of(RECEIVE))) is SdkOperation
        assert told.reasons[0] is not None


async def test_a_request_that_changes_on_its_way_is_not_covered() -> None:
    """Such as by a handler that adds a header after the signature, or signs with a date header of its own."""

    def with_a_query(request: Any, **_: Any) -> None:
        request.url += "?Action=x"

    def without_a_date(request: Any, **_: Any) -> None:
        del request.headers["X-Amz-Date"]

    for change in (with_a_query, without_a_date):
        async with AwsClients() as clients:
            client = await clients.client("sqs", "eu-west-1", retries=False)
            client.meta.events.register_first("before-send", change)
            with pytest.raises(NotCovered):
                await take_template(client, "receive_message", sample_of(RECEIVE), KEYS)


async def test_nothing_is_held_back_but_the_one_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same client goes on to make requests of its own."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    async with AwsClients() as clients:
        client = await clients.client("sqs", "eu-west-1", retries=False)
        sample = sample_of(RECEIVE, "http://127.0.0.1:9")
        await take_template(client, "receive_message", sample, KEYS)
        request = await sent_by_sdk(client, RECEIVE, sample)
        assert request.url == "http://127.0.0.1:9/"


async def test_a_client_that_answers_out_of_itself_is_not_covered() -> None:
    """Such as one that is stubbed."""

    class Stub:
        async def receive_message(self, **_: Any) -> dict[str, Any]:
            return {}

    with pytest.raises(NotCovered, match="a client that sends no requests"):
        await take_template(Stub(), "receive_message", {}, KEYS)


async def test_parameters_that_the_sdk_refuses_are_its_own_error() -> None:
    async with AwsClients() as clients:
        with pytest.raises(SourceError, match="the first GetRecords"):
            await clients.operation(KINESIS_PAGE, "eu-west-1", {"ShardIterator": "A", "StreamARN": "no-arn"})
