"""What handlers find in their environment (COM-43, COM-48)."""

from pathlib import Path

from handlers.invoker import FunctionSpec
from runtime.check import lambda_environment
from runtime.config import Handlers
from runtime.core.mapping import BatchLimits, EventSourceMapping


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
