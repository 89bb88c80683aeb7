"""Our signatures beside those of botocore's own signer."""

import random
from datetime import UTC, datetime
from typing import Final, NamedTuple

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as SdkCredentials
from hypothesis import given, settings
from hypothesis import strategies as st

from pollers.aws.lean.signing import Credentials, Signer

HOSTS: Final = (
    "sqs.eu-west-1.amazonaws.com",
    "123456789012.data-kinesis.us-east-1.amazonaws.com",
    "streams.dynamodb.cn-north-1.amazonaws.com.cn",
    "localhost",
    "127.0.0.1",
    "[::1]",
    "[2001:db8::7]",
)
REGIONS: Final = ("eu-west-1", "us-gov-west-1", "cn-north-1", "us-east-1", "x")
BLANKS: Final = " \t\x0b\x0c\x1c\x85\xa0\u2003"
"""All that Python takes for a blank, which is more than HTTP does."""
MIDNIGHT: Final = 1_753_920_000
"""2025-07-31, 00:00 UTC."""


class Kind(NamedTuple):
    """One kind of request: what a Signer is made of."""

    host: str
    port: int | None
    path: str
    headers: tuple[tuple[str, str], ...]
    region: str
    service: str

    @property
    def netloc(self) -> str:
        return self.host if self.port is None else f"{self.host}:{self.port}"

    def signer(self) -> Signer:
        return Signer(
            method="POST",
            path=self.path,
            host=self.netloc,
            signed=dict(self.headers),
            unsigned={"user-agent": "esm-runtime/1"},
            region=self.region,
            service=self.service,
        )

    def told_by_botocore(self, body: bytes, credentials: Credentials, now: float) -> dict[str, str]:
        """The headers as botocore would send them, names in lower case."""
        headers = {**dict(self.headers), "User-Agent": "esm-runtime/1"}
        request = AWSRequest(method="POST", url=f"http://{self.netloc}{self.path}", data=body, headers=headers)
        request.context["timestamp"] = datetime.fromtimestamp(int(now), UTC).strftime("%Y%m%dT%H%M%SZ")
        auth = SigV4Auth(SdkCredentials(*credentials), self.service, self.region)
        auth._modify_request_before_signing(request)
        signature = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
        auth._inject_signature_to_request(request, signature)
        told = {"host": self.netloc, "content-length": str(len(body))}
        return told | {name.lower(): value for name, value in request.headers.items()}


def taken_apart(request: bytes) -> tuple[str, dict[str, str], bytes]:
    head, _, body = request.partition(b"\r\n\r\n")
    line, *headers = head.decode().split("\r\n")
    pairs = [header.split(": ", 1) for header in headers]
    assert len({name.lower() for name, _ in pairs}) == len(pairs), "a header is sent twice"
    return line, {name.lower(): value for name, value in pairs}, body


def check(kind: Kind, signer: Signer, body: bytes, credentials: Credentials, now: float) -> None:
    line, headers, sent = taken_apart(signer.request(body, credentials, now))
    assert line == f"POST {kind.path} HTTP/1.1"
    assert headers == kind.told_by_botocore(body, credentials, now)
    assert sent == body


WORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=8)
VALUES = st.lists(WORDS | st.text(st.sampled_from(BLANKS), min_size=1, max_size=3), max_size=6).map("".join)
NAMES = st.from_regex(r"x-[a-z0-9][a-z0-9-]{0,10}", fullmatch=True).filter(lambda name: not name.startswith("x-am"))
KINDS = st.builds(
    Kind,
    host=st.sampled_from(HOSTS),
    port=st.none() | st.integers(1, 65535).filter(lambda port: port not in (80, 443)),
    path=st.sampled_from(["/", "/base", "/a/b~c_d-e.f/", "/123456789012/orders"]),
    headers=st.dictionaries(NAMES, VALUES, max_size=4).map(
        lambda more: tuple(
            {"content-type": "application/x-amz-json-1.0", "x-amz-target": "AmazonSQS.ReceiveMessage", **more}.items()
        )
    ),
    region=st.sampled_from(REGIONS),
    service=st.sampled_from(["sqs", "kinesis", "dynamodb"]),
)
CREDENTIALS = st.builds(
    Credentials,
    access_key=st.text("ABCDEFGHIJ0123456789", min_size=1, max_size=20),
    secret_key=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40),
    token=st.none() | st.just("") | VALUES,
)
MOMENTS = st.floats(0, 4_102_444_800) | st.integers(-3, 3).map(lambda seconds: float(MIDNIGHT + seconds))


@settings(max_examples=1000, deadline=None)
@given(kind=KINDS, body=st.binary(max_size=300), credentials=CREDENTIALS, now=MOMENTS)
def test_a_request_is_signed_as_botocore_signs_it(kind: Kind, body: bytes, credentials: Credentials, now: float) -> None:
    check(kind, kind.signer(), body, credentials, now)


STEPS = st.tuples(st.integers(0, 2), st.integers(0, 3), st.sampled_from([0.0, 0.3, 1.0, 61.0, 86_400.0, -1.0, -86_400.0]))


@settings(max_examples=400, deadline=None)
@given(
    kind=KINDS,
    bodies=st.tuples(*[st.binary(max_size=20)] * 3),
    some=st.tuples(CREDENTIALS, CREDENTIALS),
    steps=st.lists(STEPS, max_size=12),
)
def test_what_a_signer_keeps_from_one_request_is_never_in_the_wrong_one(
    kind: Kind, bodies: tuple[bytes, ...], some: tuple[Credentials, ...], steps: list[tuple[int, int, float]]
) -> None:
    """Bodies, credentials (the same ones, equal ones, others) and the time come and go on one signer."""
    people = [*some, Credentials(*some[0]), Credentials(*some[1])]
    signer, now = kind.signer(), float(MIDNIGHT)
    for body, who, passed in steps:
        now += passed
        check(kind, signer, bodies[body], people[who], now)


def test_five_thousand_requests_in_a_row_over_two_midnights() -> None:
    """As a worker lives: one signer, its second, its day and its credentials change under it."""
    chance = random.Random(7)  # noqa: S311  nothing secret
    kind = Kind("sqs.eu-west-1.amazonaws.com", None, "/", (("x-amz-target", "AmazonSQS.ReceiveMessage"),), "eu-west-1", "sqs")
    signer = kind.signer()
    bodies = [chance.randbytes(size) for size in (0, 1, 150, 4000)]
    now, credentials = MIDNIGHT - 43_200.0, Credentials("AKIDA", "secret", None)
    for number in range(5000):
        if number % 400 == 399:
            credentials = Credentials(
                f"AKID{number}", chance.randbytes(20).hex(), chance.choice([None, chance.randbytes(60).hex()])
            )
        check(kind, signer, chance.choice(bodies), credentials, now)
        now += chance.choice([0.0, 0.01, 1.0, 120.0])
    assert now > MIDNIGHT + 86_400


def test_one_body_in_one_second_is_signed_once() -> None:
    kind = Kind("sqs", None, "/", (), "eu-west-1", "sqs")
    signer, credentials, body = kind.signer(), Credentials("a", "b", None), b"{}"
    first = signer.request(body, credentials, 10.1)
    assert signer.request(body, credentials, 10.9) is first
    assert signer.request(body, credentials, 11.0) != first


def test_the_authorization_alone_is_that_of_the_request() -> None:
    kind = Kind("[::1]", 4566, "/", (("x-amz-target", "T"),), "eu-west-1", "sqs")
    credentials = Credentials("a", "b", "t")
    told = kind.told_by_botocore(b"{}", credentials, 10.0)["authorization"]
    assert kind.signer().authorization(b"{}", credentials, 10.0) == told
