"""botocore's descriptions as we read them are those that botocore reads."""

import gzip
from pathlib import Path
from typing import Any

import pytest
from aiobotocore.session import get_session
from botocore.exceptions import DataNotFoundError
from botocore.loaders import Loader

from pollers.aws.models import make_loader

SERVICES = ("sqs", "kinesis", "dynamodbstreams", "s3", "sns", "lambda", "events", "sts")


@pytest.mark.parametrize("kind", ["service-2", "endpoint-rule-set-1"])
@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_described_as_botocore_would(service: str, kind: str) -> None:
    assert make_loader(get_session()).load_service_model(service, kind) == Loader().load_service_model(service, kind)


@pytest.mark.parametrize("name", ["endpoints", "partitions", "sdk-default-configuration", "_retry"])
def test_common_files_are_read_as_botocore_would(name: str) -> None:
    assert make_loader(get_session()).load_data(name) == Loader().load_data(name)


def test_services_are_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """That took longer than all else about a client."""

    def list_them(*_: Any) -> list[str]:
        raise AssertionError("services are listed")

    monkeypatch.setattr(Loader, "list_available_services", list_them)
    assert make_loader(get_session()).load_service_model("sqs", "service-2")["metadata"]["serviceId"] == "SQS"


def test_a_service_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(DataNotFoundError):
        make_loader(get_session()).load_service_model("telegraph", "service-2")


def test_models_of_the_users_own_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder, text in (("plain.json", b'{"is": "plain"}'), ("packed.json.gz", gzip.compress(b'{"is": "packed"}'))):
        (tmp_path / folder).write_bytes(text)
    (tmp_path / "endpoints.json").write_text('{"is": "mine"}')
    monkeypatch.setenv("MODELS", str(tmp_path))
    monkeypatch.setenv("AWS_DATA_PATH", "/nowhere:$MODELS")
    loader = make_loader(get_session())
    assert [loader.load_data(name)["is"] for name in ("plain", "packed", "endpoints")] == ["plain", "packed", "mine"]


def test_a_file_that_is_no_json_is_botocores_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken.json").write_text("{")
    monkeypatch.setenv("AWS_DATA_PATH", str(tmp_path))
    with pytest.raises(ValueError, match="Expecting property name"):
        make_loader(get_session()).load_data("broken")
