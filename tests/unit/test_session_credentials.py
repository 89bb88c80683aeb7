"""Credentials of a session: kept, refreshed, and looked for anew when a service refuses them."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from aiobotocore.credentials import AioCredentials, AioRefreshableCredentials
from aiobotocore.session import AioSession, get_session
from botocore import exceptions as boto

from pollers.aws.clients import AwsClients
from pollers.aws.credentials import SessionCredentials
from pollers.aws.errors import to_source_error
from pollers.aws.hot import DELETE, RECEIVE
from pollers.aws.lean.operation import LeanOperation
from pollers.aws.lean.signing import Credentials
from pollers.errors import SourceRejected

SAMPLE: Final = {"QueueUrl": "https://sqs.eu-west-1.amazonaws.com/123456789012/q"}


class Watch:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Provider:
    """The chain of providers; `give` makes what it finds."""

    def __init__(self, give: Callable[[], Any]) -> None:
        self.give = give
        self.questions = 0

    async def load_credentials(self) -> Any:
        self.questions += 1
        await asyncio.sleep(0)
        return self.give()


def session_of(provider: Provider) -> AioSession:
    session = get_session()
    session.register_component("credential_provider", provider)
    return session


def static(key: str) -> AioCredentials:
    return AioCredentials(key, "secret", None)


@pytest.fixture
def credentials_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    path = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    write(path, "AKIDONE")
    return path


def write(path: Path, key: str, third: str = "t") -> None:
    path.write_text(f"[default]\naws_access_key_id={key}\naws_secret_access_key=secret\naws_session_token={third}\n")


async def test_credentials_are_looked_at_once_a_second_and_stay_the_same_object_while_they_are_equal() -> None:
    provider, watch = Provider(lambda: static("A")), Watch()
    credentials = SessionCredentials(session_of(provider), clock=watch)
    first = await credentials.current()
    source = await credentials._session.get_credentials()
    source.access_key = "B"
    watch.now += 0.9
    assert await credentials.current() is first
    watch.now += 0.2
    second = await credentials.current()
    assert (first and first.access_key, second and second.access_key) == ("A", "B")
    watch.now += 2
    assert await credentials.current() is second
    assert provider.questions == 1


async def test_without_any_there_are_none_and_the_chain_is_asked_again() -> None:
    found: list[AioCredentials] = []
    credentials = SessionCredentials(session_of(Provider(lambda: found[0] if found else None)))
    assert await credentials.current() is None
    found.append(static("A"))
    assert await credentials.current() == Credentials("A", "secret", None)


async def test_credentials_that_expire_are_refreshed_before_they_do() -> None:
    refreshed: list[int] = []

    def metadata() -> dict[str, str]:
        ends = datetime.now(UTC) + timedelta(minutes=5 if not refreshed else 60)
        return {"access_key": f"A{len(refreshed)}", "secret_key": "s", "token": "t", "expiry_time": ends.isoformat()}

    async def refresh() -> dict[str, str]:
        refreshed.append(1)
        return metadata()

    made = AioRefreshableCredentials.create_from_metadata(metadata(), refresh_using=refresh, method="test")
    watch = Watch()
    credentials = SessionCredentials(session_of(Provider(lambda: made)), clock=watch)
    assert await credentials.current() == Credentials("A1", "s", "t")
    watch.now += 60
    assert await credentials.current() == Credentials("A1", "s", "t")
    assert len(refreshed) == 1


async def test_unchanged_credentials_are_asked_for_at_most_every_five_seconds() -> None:
    provider, watch = Provider(lambda: static("A")), Watch()
    credentials = SessionCredentials(session_of(provider), clock=watch)
    refused = await credentials.current()
    assert refused is not None
    asked = provider.questions
    for seconds, questions in ((0, 1), (4.9, 1), (0.2, 2), (4.9, 2), (0.2, 3)):
        watch.now += seconds
        assert await credentials.renewed(refused) is None
        assert provider.questions == asked + questions


async def test_fifty_who_were_refused_ask_once_and_all_get_the_new_ones() -> None:
    key = ["A"]
    provider = Provider(lambda: static(key[0]))
    credentials = SessionCredentials(session_of(provider), clock=Watch())
    refused = await credentials.current()
    assert refused is not None
    key[0], asked = "B", provider.questions
    got = await asyncio.gather(*(credentials.renewed(refused) for _ in range(50)))
    assert set(got) == {Credentials("B", "secret", None)}
    assert provider.questions == asked + 1
    assert await credentials.renewed(refused) == Credentials("B", "secret", None)
    assert provider.questions == asked + 1


async def test_one_whose_credentials_were_already_replaced_gets_the_new_ones_without_a_question() -> None:
    provider = Provider(lambda: static("A"))
    credentials = SessionCredentials(session_of(provider), clock=Watch())
    await credentials.current()
    asked = provider.questions
    assert await credentials.renewed(Credentials("older", "secret", None)) == Credentials("A", "secret", None)
    assert provider.questions == asked


async def test_a_chain_that_finds_nothing_leaves_what_there_was() -> None:
    found = [static("A")]
    provider = Provider(lambda: found[0] if found else None)
    credentials = SessionCredentials(session_of(provider), clock=Watch())
    refused = await credentials.current()
    assert refused is not None
    found.clear()
    assert await credentials.renewed(refused) is None
    assert await credentials.current() == refused


@pytest.mark.parametrize("part", ["access_key", "token"])
@pytest.mark.parametrize("ends", ["\n", "\r", "\r\nx-evil: 1", "\0"])
async def test_credentials_with_a_line_break_are_told_and_never_sent(part: str, ends: str) -> None:
    """A secret that was read from a file with its last line break: it would end the header, or begin another."""
    parts = {"access_key": "AKID", "secret_key": "s", "token": "t"}
    made = AioCredentials(**{**parts, part: parts[part] + ends})
    credentials = SessionCredentials(session_of(Provider(lambda: made)))
    with pytest.raises(boto.CredentialRetrievalError) as raised:
        await credentials.current()
    told = to_source_error(raised.value, doing="the first ReceiveMessage")
    assert isinstance(told, SourceRejected)
    assert f"the {part.replace('_', ' ')} has a line break in it" in str(told)


# the SDK's own clients


async def signing_key(client: Any) -> str:
    """The access key that the client signs with."""
    key: str = (await client._request_signer._credentials.get_frozen_credentials()).access_key
    return key


async def test_a_rewritten_credentials_file_is_read_and_the_clients_of_the_sdk_heal_with_it(credentials_file: Path) -> None:
    async with AwsClients() as clients:
        client = await clients.client("sqs", "eu-west-1", retries=False)
        operation = await clients.operation(RECEIVE, "eu-west-1", SAMPLE)
        assert isinstance(operation, LeanOperation)
        refused = await clients._credentials.current()
        assert refused is not None
        write(credentials_file, "AKIDTWO", "u")
        assert await clients._credentials.renewed(refused) == Credentials("AKIDTWO", "secret", "u")
        assert await signing_key(client) == "AKIDTWO"
        assert await signing_key(await clients.client("sqs", "eu-west-2", retries=False)) == "AKIDTWO"
        assert isinstance(await clients.operation(DELETE, "eu-west-1", {**SAMPLE, "Entries": []}), LeanOperation)


def lasting(key: str) -> AioRefreshableCredentials:
    """Such as a credential_process gives that tells when they expire."""
    ends = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    metadata = {"access_key": key, "secret_key": "secret", "token": "t", "expiry_time": ends}

    async def refresh() -> dict[str, str]:
        return metadata

    return AioRefreshableCredentials.create_from_metadata(metadata, refresh_using=refresh, method="test")


@pytest.mark.usefixtures("credentials_file")
@pytest.mark.parametrize(("before", "after"), [(lasting, lasting), (lasting, static), (static, lasting), (static, static)])
async def test_the_clients_of_the_sdk_heal_whatever_kind_of_credentials_follows(
    before: Callable[[str], Any], after: Callable[[str], Any]
) -> None:
    """Revoked before they expire: the SDK itself would go on with them until then, or for ever."""
    found = [before("AKIDONE")]
    async with AwsClients() as clients:
        clients._session.register_component("credential_provider", Provider(lambda: found[0]))
        client = await clients.client("kinesis", "eu-west-1", retries=False)
        assert await signing_key(client) == "AKIDONE"
        found[0] = after("AKIDTWO")
        await clients._see_answer({"Error": {"Code": "ExpiredToken"}})
        assert await signing_key(client) == "AKIDTWO"
        assert await signing_key(await clients.client("sqs", "eu-west-1", retries=False)) == "AKIDTWO"
        assert isinstance(await clients.operation(RECEIVE, "eu-west-1", SAMPLE), LeanOperation)
        current = await clients._credentials.current()
        assert current is not None
        assert current.access_key == "AKIDTWO"


@pytest.mark.parametrize("parsed", [{}, {"Error": {}}, {"Error": {"Code": "AccessDenied"}}, {"Messages": []}])
async def test_other_answers_of_the_sdk_ask_for_no_credentials(parsed: dict[str, Any], credentials_file: Path) -> None:
    async with AwsClients() as clients:
        client = await clients.client("sqs", "eu-west-1", retries=False)
        write(credentials_file, "AKIDTWO")
        await clients._see_answer(parsed)
        assert await signing_key(client) == "AKIDONE"
