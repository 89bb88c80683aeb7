"""The example handlers, called as users' handlers are."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import handlers.examples
import handlers.examples.item_failures
import handlers.examples.orders
from handlers.code_roots import CODE_ROOTS
from handlers.invoker import FunctionError, FunctionSpec, Outcome, Succeeded
from handlers.python_function import PythonFunction

EXAMPLES = Path(str(handlers.examples.__file__)).parent


@pytest.fixture(autouse=True)
def _no_work(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for module in (handlers.examples.orders, handlers.examples.item_failures):
        monkeypatch.setattr(module, "WORK_SECONDS", 0)
    yield
    CODE_ROOTS.close()


def message(number: int, body: object, *, deliveries: int = 1) -> dict[str, Any]:
    text = body if isinstance(body, str) else json.dumps(body)
    return {"messageId": f"m-{number}", "body": text, "attributes": {"ApproximateReceiveCount": str(deliveries)}}


async def call(name: str, *records: dict[str, Any]) -> Outcome:
    spec = FunctionSpec(name=name, handler=f"handlers.examples.{name}.handler", code_root=EXAMPLES.parent.parent)
    arn = f"arn:aws:lambda:eu-west-1:123456789012:function:{name}"
    return await PythonFunction.load(spec).invoke(lambda: {"Records": list(records)}, request_id="r", function_arn=arn)


async def test_orders_adds_up_the_items() -> None:
    assert await call("orders", message(1, {"quantity": 2}), message(2, {})) == Succeeded(response={"items": 3})


async def test_orders_fails_the_batch_for_a_message_that_is_no_json() -> None:
    outcome = await call("orders", message(1, {}), message(2, "no json"))
    assert isinstance(outcome, FunctionError)
    assert outcome.error_type == "JSONDecodeError"


async def test_item_failures_reports_each_message_once_or_twice_and_then_no_more() -> None:
    reported = []
    for deliveries in (1, 2, 3):
        outcome = await call("item_failures", *(message(n, {}, deliveries=deliveries) for n in range(30)))
        assert isinstance(outcome, Succeeded)
        reported.append({item["itemIdentifier"] for item in outcome.response["batchItemFailures"]})
    assert [len(reported[0]), len(reported[2])] == [30, 0]
    assert 0 < len(reported[1]) < 30


async def test_poison_reports_the_poison_and_not_its_neighbours() -> None:
    records = [
        message(1, {"a": 1}),
        message(2, {"poison": True}),
        message(3, "no json"),
        message(4, [1]),
        message(5, {"poison": False}),
    ]
    expected = {"batchItemFailures": [{"itemIdentifier": "m-2"}, {"itemIdentifier": "m-3"}]}
    assert await call("poison", *records) == Succeeded(response=expected)


@pytest.mark.parametrize("name", ["orders", "item_failures", "poison"])
def test_examples_are_short(name: str) -> None:
    assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) < 40
