"""What handlers find in their environment (COM-43, COM-48), and the threads in which they run."""

import dataclasses
import os
from pathlib import Path

import pytest

from handlers.code_roots import CODE_ROOTS
from handlers.invoker import FunctionSpec, Succeeded
from pollers.record import LATEST
from runtime.check import lambda_environment, load_functions
from runtime.config import Handlers
from runtime.core.mapping import BatchLimits, EventSourceMapping, StreamSettings


def handlers(*names: str) -> Handlers:
    specs = {name: FunctionSpec(name=name, handler="app.handler", code_root=Path("/code"), memory_size=512) for name in names}
    return Handlers(file="esm.yaml", functions=specs, lines=dict.fromkeys(names, 1), environment={})


def mapping(region: str) -> EventSourceMapping:
    return EventSourceMapping(
        name=region,
        function="orders",
        function_arn=f"arn:aws:lambda:{region}:123456789012:function:orders",
        source="sqs",
        source_arn=f"arn:aws:sqs:{region}:123456789012:orders",
        batch=BatchLimits(records=10),
    )


def test_com_48_one_function_in_one_region_finds_what_lambda_sets() -> None:
    found = lambda_environment(handlers("orders"), [mapping("eu-west-1"), mapping("eu-west-1")])
    assert found.pop("AWS_LAMBDA_LOG_STREAM_NAME").count("[$LATEST]") == 1
    assert found == {
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "_HANDLER": "app.handler",
        "AWS_LAMBDA_FUNCTION_NAME": "orders",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
        "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/orders",
    }


def test_what_differs_between_functions_or_regions_is_not_set() -> None:
    assert lambda_environment(handlers("orders", "refunds"), [mapping("eu-west-1"), mapping("us-east-1")]) == {}
    assert lambda_environment(handlers("orders"), [mapping("eu-west-1"), mapping("us-east-1")]).keys().isdisjoint({"AWS_REGION"})


async def test_functions_that_only_streams_call_have_a_thread_for_brief_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "told.py").write_text("import threading\ndef handler(event, context): return threading.current_thread().name\n")
    monkeypatch.setattr(os, "environ", dict(os.environ))
    names = ("of_a_stream", "of_a_queue", "of_both", "of_none")
    specs = {name: FunctionSpec(name=name, handler="told.handler", code_root=tmp_path) for name in names}
    found = Handlers(file="esm.yaml", functions=specs, lines=dict.fromkeys(names, 1), environment={})

    def calls(function: str, *, stream: bool) -> EventSourceMapping:
        settings = StreamSettings(start=LATEST) if stream else None
        return dataclasses.replace(mapping("eu-west-1"), function=function, stream=settings)

    mappings = [
        calls("of_a_stream", stream=True),
        calls("of_a_queue", stream=False),
        calls("of_both", stream=True),
        calls("of_both", stream=False),
    ]
    try:
        loaded = load_functions(found, mappings)
    finally:
        CODE_ROOTS.close()
    brief = set()
    for name, function in loaded.functions.items():
        outcome = await function.invoke(dict, request_id="r", function_arn="arn")
        assert isinstance(outcome, Succeeded)
        if outcome.response == "handler-brief":
            brief.add(name)
    assert brief == {"of_a_stream"}
