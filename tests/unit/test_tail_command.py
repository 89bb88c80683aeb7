"""What `esm tail` makes of its arguments before it connects to anything."""

import argparse
from pathlib import Path
from typing import Any

import pytest

from pollers.record import LATEST, TRIM_HORIZON, Position
from runtime.commands import CommandError
from runtime.commands.tail import tail
from runtime.commands.tail_mapping import _address, _nobody, _place
from runtime.commands.tail_source import _start

QUEUE = "arn:aws:sqs:eu-west-1:123456789012:orders"
STREAM = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"
CONFIG = """
functions: {f: {Handler: app.handler}}
mappings: [{name: orders, FunctionName: f, EventSourceArn: "arn:aws:sqs:eu-west-1:123456789012:orders"}]
worker: {http: "HTTP", state: "memory://"}
"""


def arguments(target: str, **given: Any) -> argparse.Namespace:
    none: dict[str, Any] = {"config": None, "worker": None, "start": None, "seconds": None, "batches": None}
    return argparse.Namespace(**none | {"target": target, "verbose": False, "peek": False, "json": False} | given)


@pytest.mark.parametrize(
    ("target", "given", "said"),
    [
        ("", {}, "give the name of a mapping"),
        ("orders", {"seconds": 0.0}, "--seconds 0.0"),
        ("orders", {"seconds": float("nan")}, "--seconds nan"),
        ("orders", {"batches": -1}, "--batches -1"),
        ("orders", {"start": "LATEST"}, "--from goes with the ARN of a source"),
        ("orders", {"peek": True}, "--peek goes with the ARN of a source"),
        (QUEUE, {"worker": "x:1"}, "--worker goes with the name of a mapping"),
        (QUEUE, {}, "Say --peek if that is all right"),
        (QUEUE, {"peek": True, "start": "LATEST"}, "a queue has no positions"),
        (STREAM, {"peek": True}, "reading a stream changes nothing"),
        (STREAM, {"start": "yesterday"}, "LATEST, TRIM_HORIZON, or a time"),
        ("arn:aws:kinesis:eu-west-1:12:stream/x", {}, "has the account '12'"),
        ("https://sqs.eu-west-1.amazonaws.com/123456789012/orders", {}, QUEUE),
        ("arn:aws:dynamodb:eu-west-1:123456789012:table/stock", {}, "LatestStreamArn"),
        ("orders", {"worker": "ftp://x"}, "must be the address of a worker's metrics"),
        ("orders", {"config": "/nowhere/esm.yaml"}, "--worker http://HOST:PORT"),
        (STREAM, {"config": "/nowhere/esm.yaml"}, "there is no such file"),
    ],
)
def test_what_makes_no_sense_is_said_in_words(target: str, given: dict[str, Any], said: str) -> None:
    with pytest.raises(CommandError) as told:
        tail(arguments(target, **given))
    assert said in str(told.value)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9090", "http://127.0.0.1:9090"),
        ("http://worker:9090/", "http://worker:9090"),
        ("https://worker/esm/", "https://worker/esm"),
        ("[::1]:9090", "http://[::1]:9090"),
    ],
)
def test_addresses_of_workers(text: str, address: str) -> None:
    assert _address(text) == address


@pytest.mark.parametrize("text", ["", "http://", "http://a:b", "x:99999", "http://u:p@x", "http://x?q", "file:///etc/passwd"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(CommandError, match="--worker"):
        _address(text)


@pytest.mark.parametrize(
    ("http", "address"),
    [
        ("127.0.0.1:9091", "http://127.0.0.1:9091"),
        ("0.0.0.0:9090", "http://127.0.0.1:9090"),
        ("[::]:9090", "http://[::1]:9090"),
        ("worker:80", "http://worker:80"),
    ],
)
def test_the_file_says_where_the_worker_is(http: str, address: str, tmp_path: Path) -> None:
    path = tmp_path / "esm.yaml"
    path.write_text(CONFIG.replace("HTTP", http))
    assert _place(arguments("orders", config=str(path))).address == address


def test_a_port_that_the_worker_chose_itself_must_be_named(tmp_path: Path) -> None:
    path = tmp_path / "esm.yaml"
    path.write_text(CONFIG.replace("HTTP", "127.0.0.1:0"))
    with pytest.raises(CommandError, match="has the port 0"):
        _place(arguments("orders", config=str(path)))


def test_nobody_there_names_the_other_way_with_the_source_s_arn(tmp_path: Path) -> None:
    path = tmp_path / "esm.yaml"
    path.write_text(CONFIG.replace("HTTP", "127.0.0.1:9090"))
    place = _place(arguments("orders", config=str(path)))
    assert _nobody(place, "orders", "refused").endswith(f"esm tail {QUEUE}")
    assert "the file has no mapping clicks, but orders" in _nobody(place, "clicks", "refused")


def test_where_to_begin() -> None:
    assert (_start("latest"), _start("TRIM_HORIZON")) == (LATEST, TRIM_HORIZON)
    assert _start("1545084650.5") == Position.at(1545084650.5)
    assert _start("2018-12-17T22:10:50") == _start("2018-12-17T23:10:50+01:00") == Position.at(1545084650.0)


@pytest.mark.parametrize("text", ["tomorrow", "nan", "-5", "inf", "2999-01-01"])
def test_where_one_cannot_begin(text: str) -> None:
    with pytest.raises(CommandError, match="--from"):
        _start(text)
