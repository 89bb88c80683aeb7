"""CloudFormation's event source mappings and their functions, as a draft of `esm.yaml`: the one road of every template."""

import re
from functools import cache
from typing import Final

from msgspec import inspect, structs

from runtime.config.arns import ArnError, parse_source_arn, split_arn
from runtime.config.candidate import SPEC_OF
from runtime.config.mapping_schema import OTHER_SOURCES, Mapping
from runtime.importing.code import Folders
from runtime.importing.findings import Draft, Findings, MappingDraft
from runtime.importing.fitting import fitted
from runtime.importing.functions import Functions
from runtime.importing.intrinsics import function_of
from runtime.importing.resolver import Resolver
from runtime.importing.resources import CONSUMER
from runtime.importing.values import NO_VALUE, Block, Items, Place, Text, Value, stand_in

MAPPING: Final = "AWS::Lambda::EventSourceMapping"
_CONSUMER_ARN: Final = re.compile(r"(?P<stream>arn:[^:]*:kinesis:[^:]*:[^:]*:stream/[^/]+)/consumer/.*", re.DOTALL)
_CONSUMED: Final = "enhanced fan-out is not supported yet: the stream itself is read, with GetRecords"
_NOT_CARRIED: Final = {
    "KmsKeyArn": "all that it encrypts is FilterCriteria, at AWS",
    "KMSKeyArn": "all that it encrypts is FilterCriteria, at AWS",
    "ProvisionedPollerConfig": "provisioned pollers are AWS's: ScalingConfig and ParallelizationFactor say what runs at once",
    "LoggingConfig": "what is logged is said in `worker`",
}
_SILENT: Final = frozenset({"Tags", "MetricsConfig"})
"""They have no effect, and nobody misses them."""
_NESTED: Final = ("AWS::CloudFormation::Stack", "AWS::Serverless::Application")
_WITHOUT_ARN: Final = "the ARN of its source is not given"


def draft_of(template: Block, resolver: Resolver, findings: Findings, folders: Folders) -> Draft:
    """Every mapping of the template that can run here, with its function."""
    functions = Functions(resolver=resolver, findings=findings, folders=folders)
    mappings: list[MappingDraft] = []
    resources = template.block("Resources")
    for logical, resource in resources.items():
        line = resources.line(logical, 1)
        kind = resource.get("Type") if isinstance(resource, Block) else None
        if kind in _NESTED:
            findings.leave_out(line, logical, "it is a stack of its own, whose template is not read: import that by itself")
        if not isinstance(resource, Block) or kind != MAPPING:
            continue
        if _is_there(resource, resolver, findings, Place(line=line, what=logical)):
            found = _mapping(logical, resource.block("Properties"), line, functions)
            if found is not None:
                mappings.append(found)
    used = {str(each.properties["FunctionName"]).partition(":")[0] for each in mappings}
    drafts = tuple(each for each in functions.drafts.values() if each.key in used)
    return Draft(file=findings.file, functions=drafts, mappings=tuple(mappings))


def _is_there(resource: Block, resolver: Resolver, findings: Findings, place: Place) -> bool:
    condition = resource.get("Condition")
    if condition is None:
        return True
    holds = resolver.condition(condition) if isinstance(condition, str) else None
    if holds is None:
        findings.note(place.line, place.what, f"whether its condition {condition} holds is not known: it was carried over")
    elif not holds:
        findings.leave_out(place.line, place.what, f"its condition {condition} does not hold")
    return holds is not False


def _mapping(logical: str, properties: Block, line: int, functions: Functions) -> MappingDraft | None:
    findings = functions.findings
    arn_line = properties.line("EventSourceArn", line)
    arn = _source(properties, Place(line=arn_line, what=f"{logical}.EventSourceArn"), functions)
    if arn is None:
        what = (
            "self-managed Apache Kafka is not supported as a source yet"
            if "SelfManagedEventSource" in properties
            else _WITHOUT_ARN
        )
        findings.leave_out(line, logical, what)
        return None
    service = _service(arn)
    if service is not None and service not in SPEC_OF:
        findings.leave_out(arn_line, logical, _refusal(arn))
        return None
    name_line = properties.line("FunctionName", line)
    function = functions.named(properties.get("FunctionName"), Place(line=name_line, what=f"{logical}.FunctionName"))
    if function is None:
        return None
    block = Block()
    block.put("FunctionName", function.key + function.qualifier, name_line)
    block.put("EventSourceArn", arn, arn_line)
    for key, kind in _in_order(properties):
        at = properties.line(key, line)
        place = Place(line=at, what=f"{logical}.{key}")
        if reason := _refused(key, properties[key], service):
            findings.leave_out(at, place.what, reason)
            continue
        value = functions.resolver.resolve(properties[key], place)
        fit = fitted(value, kind, place, findings) if kind is not None else value
        if fit is not NO_VALUE and fit is not None:
            block.put(key, fit, at)
    return MappingDraft(line=line, properties=block, origin=logical)


@cache
def _fields() -> dict[str, inspect.Type]:
    info = inspect.type_info(Mapping)
    return {item.encode_name: item.type for item in info.fields} if isinstance(info, inspect.StructType) else {}


def _in_order(properties: Block) -> list[tuple[str, inspect.Type | None]]:
    """Keys to carry over: the known ones in the order of the types, then those that the check of the file will name."""
    kinds = _fields()
    known = [item.encode_name for item in structs.fields(Mapping) if item.encode_name in properties]
    rest = [key for key in properties if key not in kinds]
    gone = {"FunctionName", "EventSourceArn", "name", "read_share", *_SILENT}
    return [(key, kinds.get(key)) for key in [*known, *rest] if key not in gone]


def _refused(key: str, value: Value, service: str | None) -> str:
    if value in (None, "", Block(), Items()):
        return ""
    if key in _NOT_CARRIED:
        return _NOT_CARRIED[key]
    if key in OTHER_SOURCES:
        return f"{key} is for other kinds of sources"
    if key == "DestinationConfig" and service == "sqs":
        return "a queue has no on-failure destination: give it a dead-letter queue (RedrivePolicy)"
    return ""


def _source(properties: Block, place: Place, functions: Functions) -> str | Text | None:
    """The ARN of the source; of a consumer of a stream, that of the stream."""
    given = properties.get("EventSourceArn")
    name = function_of(given)
    argument = given.get(name) if isinstance(given, Block) and name is not None else None
    target = argument[0] if isinstance(argument, Items) and argument else argument
    if functions.resolver.template.block("Resources").block(str(target)).get("Type") == CONSUMER:
        functions.findings.note(place.line, place.what, _CONSUMED)
    value = functions.resolver.resolve(given, place)
    if isinstance(value, str) and (found := _CONSUMER_ARN.fullmatch(value)):
        functions.findings.note(place.line, place.what, _CONSUMED)
        return found["stream"]
    return value if isinstance(value, str | Text) and value else None


def _service(arn: str | Text) -> str | None:
    parts = split_arn(stand_in(arn))
    return parts[1] if parts else None


def _refusal(arn: str | Text) -> str:
    try:
        parse_source_arn(stand_in(arn))
    except ArnError as fault:
        return str(fault)
    return ""
