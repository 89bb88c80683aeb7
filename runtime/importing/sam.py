"""SAM's part of a template, turned into CloudFormation by AWS's own translator (`pip install 'esm-runtime[import]'`).

The translator refuses a document as a whole, and wants code in S3. So it gets one function with one event at a time, without
what has no meaning here, and what it refuses costs that event alone. It is told nothing of parameters: those are worked out
later, on one road with CloudFormation's.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from runtime.importing.findings import Findings
from runtime.importing.values import Block, located

FUNCTION: Final = "AWS::Serverless::Function"
_POLLED: Final = frozenset({"SQS", "Kinesis", "DynamoDB"})
_NOT_YET: Final = {
    "MSK": "Amazon MSK (Kafka)",
    "SelfManagedKafka": "self-managed Apache Kafka",
    "MQ": "Amazon MQ",
    "DocumentDB": "Amazon DocumentDB",
}
_KEPT: Final = ("FunctionName", "Handler", "Runtime", "Timeout", "MemorySize", "ReservedConcurrentExecutions", "Environment")
_CODE: Final = ("CodeUri", "InlineCode", "ImageUri", "PackageType", "Layers", "FileSystemConfigs")
"""Kept from the translator, and put back behind it."""
_STANDING_IN: Final = {
    "CodeUri": "s3://bucket/key",
    "Role": "arn:aws:iam::000000000000:role/role",
    "Handler": "app.handler",
    "Runtime": "python3.13",
}
"""What the translator wants and we do not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Translated:
    """What a document came to."""

    resources: dict[str, Any] = field(default_factory=dict)
    refusal: str = ""
    """Why there are none."""


Translate = Callable[[Sequence[dict[str, Any]]], list[Translated]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Event:
    """One event of a function, to be translated."""

    logical: str
    name: str
    line: int
    block: Block
    known: Block
    """The function's properties and those of Globals, with their lines."""
    document: dict[str, Any]

    @property
    def where(self) -> str:
        return f"{self.logical}.Events.{self.name}"


def expanded(template: Block, findings: Findings, translate: Translate) -> Block:
    """The template with CloudFormation's functions and mappings in place of SAM's. Raises what `translate` does."""
    resources = template.block("Resources")
    defaults = template.block("Globals").block("Function")
    found = Block({}, dict(resources.lines))
    events: list[_Event] = []
    for logical, resource in resources.items():
        found[logical] = resource
        if isinstance(resource, Block) and resource.get("Type") == FUNCTION:
            line = resources.line(logical, 1)
            found[logical] = _function(resource, _merged(defaults, resource.block("Properties")), line)
            events += _events(logical, resource, defaults, line, findings)
    for event, made in zip(events, translate([each.document for each in events]) if events else [], strict=True):
        if made.refusal:
            findings.leave_out(event.line, event.where, f"SAM's translator refuses it: {made.refusal}")
        for name, block, line in _made(event, made.resources, resources):
            found.put(name, block, line)
    return Block({**template, "Resources": found}, template.lines)


def _merged(defaults: Block, own: Block) -> Block:
    """Where a value of Globals or of the function stands, and what it is until the translator says it."""
    merged = Block({**defaults, **own}, {**defaults.lines, **own.lines})
    for key, value in own.items():
        below = defaults.get(key)
        if isinstance(value, Block) and isinstance(below, Block):
            merged[key] = _merged(below, value)
    return merged


def _function(resource: Block, properties: Block, line: int) -> Block:
    kept = [key for key in (*_KEPT, *_CODE) if key in properties]
    inner = Block({key: properties[key] for key in kept}, {key: properties.line(key, line) for key in kept})
    made = Block({"Type": "AWS::Lambda::Function", "Properties": inner}, dict(resource.lines))
    for key in ("Condition", "Metadata"):
        if key in resource:
            made[key] = resource[key]
    return made


def _events(logical: str, resource: Block, defaults: Block, line: int, findings: Findings) -> Iterator[_Event]:
    """The events that something here can run; the others are reported."""
    own = resource.block("Properties")
    events = own.get("Events")
    if not isinstance(events, Block):
        if events is not None:
            findings.leave_out(own.line("Events", line), f"{logical}.Events", "it must be a block of events by name")
        return
    known = _merged(defaults, own)
    for name, block in events.items():
        at, where = events.line(name, line), f"{logical}.Events.{name}"
        if not isinstance(block, Block):
            findings.leave_out(at, where, "it must be a block with Type and Properties")
            continue
        kind = str(block.get("Type"))
        subscribes = kind == "SNS" and block.block("Properties").get("SqsSubscription") not in (None, False)
        if kind in _NOT_YET:
            findings.leave_out(at, where, f"{_NOT_YET[kind]} is not supported as a source yet")
        elif kind not in _POLLED and not subscribes:
            findings.leave_out(at, where, f"an event of type {kind} is not polled for, so nothing here runs it")
        else:
            document = _document(logical, resource, defaults, {name: block})
            yield _Event(logical=logical, name=name, line=at, block=block, known=known, document=document)


def _document(logical: str, resource: Block, defaults: Block, events: dict[str, Any]) -> dict[str, Any]:
    own = resource.block("Properties")
    reduced: dict[str, Any] = {key: own[key] for key in _KEPT if key in own} | {"Events": events}
    common = {key: defaults[key] for key in _KEPT if key in defaults}
    reduced |= {key: value for key, value in _STANDING_IN.items() if key not in reduced and key not in common}
    function: dict[str, Any] = {"Type": FUNCTION, "Properties": reduced}
    function |= {key: resource[key] for key in ("Condition", "IgnoreGlobals") if key in resource}
    return {"Transform": "AWS::Serverless-2016-10-31", "Globals": {"Function": common}, "Resources": {logical: function}}


def _made(event: _Event, made: dict[str, Any], resources: Block) -> Iterator[tuple[str, Block, int]]:
    """The mapping, the function as SAM sees it, and a queue where an SNS event makes one."""
    for name, block in made.items():
        match block.get("Type"):
            case "AWS::Lambda::EventSourceMapping":
                # Under a name that no resource can have: function `Orders` with event `Queue` is made to an `OrdersQueue`.
                yield event.where, _mapping(block, event), event.line
            case "AWS::Lambda::Function" if name == event.logical:
                line = resources.line(name, 1)
                yield name, _function(resources.block(name), _said(block, event.known), line), line
            case "AWS::SQS::Queue" if isinstance(queue := located(block, event.line), Block):
                yield name, queue, event.line


def _said(made: dict[str, Any], known: Block) -> Block:
    """What the translator makes of the function's own keys and of Globals; with `known`, which has the lines and our keys."""
    said = Block({key: known[key] for key in _CODE if key in known}, dict(known.lines))
    for key, value in made.get("Properties", {}).items():
        if key in _KEPT and key in known:
            said[key] = known[key] if value == known[key] else located(value, known.line(key, 1))
    return said


def _mapping(made: dict[str, Any], event: _Event) -> Block:
    """A mapping with the lines of the event that it was made of."""
    given, line = event.block.block("Properties"), event.line
    properties = Block()
    for key, value in made.get("Properties", {}).items():
        at = given.line("Queue", given.line("Stream", line)) if key == "EventSourceArn" else given.line(key, line)
        own = given.get(key)
        properties.put(key, own if value == own else located(value, at), at)
    block = Block({"Type": made["Type"], "Properties": properties}, {"Type": line, "Properties": line})
    if "Condition" in made:
        block.put("Condition", located(made["Condition"], line), line)
    return block
