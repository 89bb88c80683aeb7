"""`serverless.yml` as CloudFormation: its functions, and a mapping of each `sqs` and `stream` event, as the framework makes them.

What the framework sets where the file says nothing is not what Lambda does: batches of 10 from streams too, from TRIM_HORIZON,
a time limit of 6 seconds, 1024 MB.
"""

import json
from dataclasses import replace
from typing import Final

from runtime.importing.findings import Findings
from runtime.importing.functions import FUNCTION
from runtime.importing.gaps import Gaps
from runtime.importing.resolver import Given
from runtime.importing.values import Block, Items, Place, Text, Value
from runtime.importing.variables import Variables

_RENAMED: Final = {
    "arn": "EventSourceArn",
    "batchSize": "BatchSize",
    "batchWindow": "MaximumBatchingWindowInSeconds",
    "maximumBatchingWindow": "MaximumBatchingWindowInSeconds",
    "enabled": "Enabled",
    "startingPosition": "StartingPosition",
    "startingPositionTimestamp": "StartingPositionTimestamp",
    "parallelizationFactor": "ParallelizationFactor",
    "maximumRetryAttempts": "MaximumRetryAttempts",
    "maximumRecordAgeInSeconds": "MaximumRecordAgeInSeconds",
    "bisectBatchOnFunctionError": "BisectBatchOnFunctionError",
    "tumblingWindowInSeconds": "TumblingWindowInSeconds",
    "functionResponseTypes": "FunctionResponseTypes",
}
_PROVISIONED: Final = "provisionedPollerConfig"
_DEFAULTS: Final[dict[str, dict[str, Value]]] = {
    "sqs": {"BatchSize": 10},
    "stream": {"BatchSize": 10, "StartingPosition": "TRIM_HORIZON"},
}
_TIMEOUT: Final = 6
_MEMORY: Final = 1024
_NOT_YET: Final = {
    "msk": "Amazon MSK (Kafka)",
    "kafka": "self-managed Apache Kafka",
    "activemq": "Amazon MQ",
    "rabbitmq": "Amazon MQ",
    "documentDb": "Amazon DocumentDB",
}


def as_template(root: Block, given: Given, findings: Findings, gaps: Gaps) -> tuple[Block, Given]:
    """The template, and what is given with what `provider` says."""
    variables = Variables(root=root, given=given, gaps=gaps)
    provider = _block(variables, root, "provider")
    region = provider.get("region")
    if given.region is None and isinstance(region, str):
        given = replace(given, region=region)
        variables.given = given
    if given.stack is None:
        stack = provider.get("stackName") or variables.resolve("${self:service}-${sls:stage}", Place(line=1, what="service"))
        given = replace(given, stack=stack if isinstance(stack, str) else None)
    own = _block(variables, root, "resources")
    resources = Block({**own.block("Resources")}, dict(own.block("Resources").lines))
    functions = _functions(root, findings)
    for name in functions:
        line = functions.line(name, 1)
        function = _block(variables, functions, name, f"functions.{name}")
        logical = f"functions.{name}"
        resources.put(logical, _function(name, function, provider, line), line)
        events = function.get("events")
        for number, event in enumerate(events if isinstance(events, Items) else []):
            at = events.line(number, line) if isinstance(events, Items) else line
            made = _event(logical, event, at, findings)
            if made is not None:
                resources.put(f"{logical}.events.{number}", made, at)
    # Parameters and the like are left out: Serverless gives CloudFormation none.
    sections = {key: own[key] for key in ("Mappings", "Conditions", "Parameters") if key in own}
    return Block({**sections, "Resources": resources}, {"Resources": 1}), replace(given, parameters={})


def _functions(root: Block, findings: Findings) -> Block:
    """`functions`, which may be a list of such blocks. What stands in other files is not read."""
    given, line = root.get("functions"), root.line("functions", 1)
    items = given if isinstance(given, Items) else Items([given], (line,))
    found = Block()
    for number, each in enumerate(items):
        at = items.line(number, line)
        if isinstance(each, Block):
            for name, function in each.items():
                found.put(name, function, each.line(name, at))
        else:
            findings.leave_out(at, "functions", "what stands in another file is not read: put its functions here")
    return found


def _block(variables: Variables, parent: Block, key: str, what: str = "") -> Block:
    found = variables.resolve(parent.get(key), Place(line=parent.line(key, 1), what=what or key))
    if isinstance(found, Items):  # `resources` may be a list of such blocks
        merged = Block()
        for each in found:
            for name, value in each.items() if isinstance(each, Block) else ():
                below = merged.get(name)
                if isinstance(below, Block) and isinstance(value, Block):
                    merged[name] = Block({**below, **value}, {**below.lines, **value.lines})
                else:
                    merged[name] = value
        return merged
    return found if isinstance(found, Block) else Block()


def _function(name: str, function: Block, provider: Block, line: int) -> Block:
    properties = Block()

    def put(key: str, own: str, otherwise: Value = None) -> None:
        value = function.get(own, provider.get(own, otherwise))
        if value is not None:
            properties.put(key, value, function.line(own, provider.line(own, line)))

    properties.put("FunctionName", name, line)
    put("Handler", "handler")
    put("Runtime", "runtime", "nodejs20.x")
    put("Timeout", "timeout", _TIMEOUT)
    put("MemorySize", "memorySize", _MEMORY)
    if "reservedConcurrency" in function:
        put("ReservedConcurrentExecutions", "reservedConcurrency")
    if "image" in function:
        properties.put("PackageType", "Image", function.line("image", line))
        del properties["Runtime"]
    if function.get("layers") or provider.get("layers"):
        put("Layers", "layers")
    below, above = provider.block("environment"), function.block("environment")
    if below or above:
        variables = Block({**below, **above}, {**below.lines, **above.lines})
        at = function.line("environment", provider.line("environment", line))
        properties.put("Environment", Block({"Variables": variables}, {"Variables": at}), at)
    module = function.get("module")
    properties.put("CodeUri", module if isinstance(module, str) else ".", function.line("module", line))
    return Block({"Type": FUNCTION, "Properties": properties}, {"Type": line, "Properties": line})


def _event(logical: str, event: Value, line: int, findings: Findings) -> Block | None:
    if isinstance(event, str):
        event = Block({event: None}, {event: line})
    if not isinstance(event, Block) or not event:
        findings.leave_out(line, f"{logical}.events", "an event must be a block that names its kind")
        return None
    kind = next(iter(event))
    if kind not in _DEFAULTS:
        what = (
            f"{_NOT_YET[kind]} is not supported as a source yet"
            if kind in _NOT_YET
            else f"an event of kind {kind} is not polled for"
        )
        findings.leave_out(line, f"{logical}.events", what + ("" if kind in _NOT_YET else ", so nothing here runs it"))
        return None
    given = event[kind]
    settings = given if isinstance(given, Block) and "arn" in given else Block({"arn": given}, {"arn": event.line(kind, line)})
    return _mapping(logical, kind, settings, line, findings)


def _mapping(logical: str, kind: str, settings: Block, line: int, findings: Findings) -> Block:
    properties = Block({"FunctionName": Block({"Ref": logical}), **_DEFAULTS[kind]}, {"FunctionName": line})
    for key in _DEFAULTS[kind]:
        properties.lines[key] = line
    for key, value in settings.items():
        at = settings.line(key, line)
        if key in _RENAMED:
            properties.put(_RENAMED[key], value, at)
        elif key not in _SPECIAL or value is None:
            if key not in ("type", "consumer"):
                findings.leave_out(at, f"{logical}.events.{kind}.{key}", "it has no meaning for this kind of event")
        else:
            properties.put(*_SPECIAL[key](value, at), at)
    if settings.get("consumer"):
        text = "enhanced fan-out is not supported yet: the stream itself is read, with GetRecords"
        findings.note(settings.line("consumer", line), f"{logical}.events.{kind}", text)
    return Block({"Type": "AWS::Lambda::EventSourceMapping", "Properties": properties}, {"Type": line, "Properties": line})


def _response_type(value: Value, line: int) -> tuple[str, Value]:
    return "FunctionResponseTypes", value if isinstance(value, Items) else Items([value], (line,))


def _concurrency(value: Value, line: int) -> tuple[str, Value]:
    return "ScalingConfig", Block({"MaximumConcurrency": value}, {"MaximumConcurrency": line})


def _patterns(value: Value, line: int) -> tuple[str, Value]:
    """Patterns stand in the file as blocks, and go to AWS as JSON."""
    patterns = value if isinstance(value, Items) else Items([value], (line,))
    filters = [
        Block({"Pattern": each if isinstance(each, str | Text) else _json(each)}, {"Pattern": patterns.line(number, line)})
        for number, each in enumerate(patterns)
    ]
    return "FilterCriteria", Block({"Filters": Items(filters, patterns.lines)}, {"Filters": line})


def _json(value: Value) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=str)


def _destinations(value: Value, line: int) -> tuple[str, Value]:
    target = value.get("onFailure") if isinstance(value, Block) else None
    at = value.line("onFailure", line) if isinstance(value, Block) else line
    arn = target["arn"] if isinstance(target, Block) and "arn" in target else target
    inner = Block({"Destination": arn}, {"Destination": at})
    return "DestinationConfig", Block({"OnFailure": inner}, {"OnFailure": at})


def _provisioned(value: Value, line: int) -> tuple[str, Value]:
    return "ProvisionedPollerConfig", value if isinstance(value, Block) else Block(
        {"MinimumPollers": value}, {"MinimumPollers": line}
    )


_SPECIAL: Final = {
    "functionResponseType": _response_type,
    "maximumConcurrency": _concurrency,
    "filterPatterns": _patterns,
    "destinations": _destinations,
    _PROVISIONED: _provisioned,
}
"""Keys that become another shape."""
