"""`mappings`: AWS's rules for the keys of every event source mapping, and between mappings; `queues` and `streams` have the rest.

Where a rule records what AWS says (`spec/` grades A and C), the message holds that text literally, behind ours.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from msgspec import UNSET

from pollers.source import QueueSpec, StreamSpec
from runtime.config import mapping_schema
from runtime.config.arns import ArnError, FunctionReference, parse_function_name, parse_source_arn
from runtime.config.candidate import SPEC_OF, Candidate, Source
from runtime.config.filters import read_criteria
from runtime.config.functions import Functions, no_such_function
from runtime.config.nodes import Entry, Report, read_items
from runtime.config.queues import check_batch, check_scaling
from runtime.config.reading import Block, peek, read_block
from runtime.config.streams import ON_SUCCESS, read_stream
from runtime.core.filtering import FilterCriteria
from runtime.core.mapping import BatchLimits, EventSourceMapping, StreamSettings

_WITHOUT_EFFECT: Final = {
    "Tags": "there is nothing to tag",
    "MetricsConfig": "metrics are always on",
    "KMSKeyArn": "all it encrypts in AWS is FilterCriteria, and those stand in this file",
    "KmsKeyArn": "all it encrypts in AWS is FilterCriteria, and those stand in this file",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """A candidate, and what only a stream has: None for queues, and where that could not be read."""

    candidate: Candidate
    stream: StreamSettings | None
    criteria: FilterCriteria | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mappings:
    """What `mappings` says; complete only when nothing was reported."""

    values: tuple[EventSourceMapping, ...]
    lines: dict[str, int]
    """Name of a mapping -> where it stands."""


def read_mappings(report: Report, entry: Entry, functions: Functions | None, now: float) -> Mappings:
    """Read every mapping. `functions` is None when that part of the file could not be read; `now` is seconds since the epoch."""
    items = read_items(report, entry, "mappings")
    if items == []:
        report.problem(entry.line, "mappings is empty, so there is nothing to do: add a mapping")
    read = [_candidate(report.part(), number, item, functions) for number, item in enumerate(items or [], start=1)]
    candidates = _named(read)
    judged = [_judged(candidate, now) for candidate in candidates]
    _check_duplicates(candidates, report.file)
    for candidate in candidates:
        report.take(candidate.part, candidate.where)
        report.take_warnings(candidate.part, candidate.where)
    mappings = tuple(_mappings(judged))
    if mappings and not any(mapping.enabled for mapping in mappings):
        report.warning(entry.line, "every mapping has Enabled: false, so the worker will poll nothing")
    lines = {candidate.name: candidate.block.line for candidate in candidates if candidate.name is not None}
    return Mappings(values=mappings, lines=lines)


def _candidate(part: Report, number: int, item: Entry, functions: Functions | None) -> Candidate:
    """Read one mapping. Which keys it may have hangs on its source, so that is looked at first."""
    source = _source(peek(part, item, "EventSourceArn"))
    block = read_block(
        part,
        item,
        mapping_schema.Mapping,
        name="this",
        strangers=mapping_schema.OTHER_SOURCES | mapping_schema.MAPPING_STRANGERS.keys() | {ON_SUCCESS} | _not_taken(source),
        silent=["EventSourceArn"],
    )
    _check_source(part, block, source)
    return Candidate(
        block=block,
        source=source if isinstance(source, Source) else None,
        function=_function(part, block, functions),
        number=number,
        part=part,
    )


def _source(text: str | None) -> Source | ArnError | None:
    if text is None:
        return None
    try:
        arn = parse_source_arn(text)
    except ArnError as fault:
        return fault
    return Source(arn=arn, spec=SPEC_OF[arn.service])


def _not_taken(source: Source | ArnError | None) -> frozenset[str]:
    """Keys that the source does not take, and which are not read, therefore. Of an unknown source none is known to be wrong."""
    if not isinstance(source, Source):
        return frozenset()
    ours = mapping_schema.STREAM_KEYS if isinstance(source.spec, QueueSpec) else frozenset()
    return (mapping_schema.PARAMETERS - source.spec.parameters) | ours


def _check_source(part: Report, block: Block[mapping_schema.Mapping], source: Source | ArnError | None) -> None:
    what = "an SQS queue, a Kinesis stream or a DynamoDB stream"
    if "EventSourceArn" not in block.lines:
        if "SelfManagedEventSource" in block.strangers:
            message = f"self-managed Apache Kafka is not supported yet: the source must be {what}, given as EventSourceArn"
            part.problem(block.line_of("SelfManagedEventSource"), message)
        elif block.readable:
            message = f"EventSourceArn is missing: give the ARN of {what} (AWS: Unrecognized event source.)"
            part.problem(block.line, message)
    elif block.sound("EventSourceArn") and isinstance(source, ArnError):
        part.problem(block.line_of("EventSourceArn"), f"EventSourceArn: {source}")


def _function(part: Report, block: Block[mapping_schema.Mapping], functions: Functions | None) -> FunctionReference | None:
    if not block.sound("FunctionName"):
        return None
    try:
        function = parse_function_name(block.value.function_name)
    except ArnError as fault:
        part.problem(block.line_of("FunctionName"), f"FunctionName: {fault}")
        return None
    if functions is not None and function.name not in functions.specs:
        part.problem(block.line_of("FunctionName"), no_such_function(function.name, functions))
    return function


def _named(candidates: list[Candidate]) -> list[Candidate]:
    """Names for those that have none. A later one of another kind of source that would have the same is told apart by its kind.

    What an earlier one is called never hangs on a later one, for the positions of a stream are kept under its name.
    """
    kinds: dict[str, Source] = {}
    named: list[Candidate] = []
    for candidate in candidates:
        name = candidate.block.value.name or candidate.made_name()
        if candidate.source and name and name == candidate.made_name():
            first = kinds.setdefault(name, candidate.source)
            if first.spec is not candidate.source.spec:
                taken, name = name, candidate.made_name(candidate.source.spec.source)
                if isinstance(candidate.source.spec, StreamSpec):
                    text = f"the {first.kind} before it is called {taken}, so this one is called {name} while that is there"
                    candidate.unwise("name", f"{text}: give it a name of its own, for its positions are kept under it")
        named.append(replace(candidate, name=name))
    return named


def _judged(candidate: Candidate, now: float) -> _Judged:
    """The rules between keys."""
    stream = criteria = None
    _check_strangers(candidate)
    for key, reason in _WITHOUT_EFFECT.items():
        if key in candidate.block.lines and not _is_empty_text(candidate, key):
            candidate.unwise(key, f"{key} has no effect here, {reason}: it can be removed")
    if candidate.source is None or isinstance(candidate.source.spec, QueueSpec):
        check_scaling(candidate)
    if candidate.source is not None:
        _check_region(candidate, candidate.source)
        criteria = read_criteria(candidate, candidate.source.spec)
        match candidate.source.spec:
            case QueueSpec():
                check_batch(candidate, candidate.source.arn, _batch_size(candidate, candidate.source))
            case StreamSpec() as spec:
                stream = read_stream(candidate, candidate.source.arn, spec, now)
    return _Judged(candidate=candidate, stream=stream, criteria=criteria)


def _is_empty_text(candidate: Candidate, key: str) -> bool:
    """As templates write a key that they do not use."""
    value = candidate.block.value
    return {"KMSKeyArn": value.kms_key_arn, "KmsKeyArn": value.kms_key_arn_of_cloudformation}.get(key) == ""


def _check_strangers(candidate: Candidate) -> None:
    """SQS-08, SQS-09, API-37. Where the source is not known the keys may be right, and nothing is said."""
    for key in candidate.block.strangers:
        if key in mapping_schema.MAPPING_STRANGERS:
            candidate.wrong(key, f"{key} {mapping_schema.MAPPING_STRANGERS[key]}")
        elif candidate.source is not None and key != ON_SUCCESS:
            candidate.wrong(key, f"{key} is not for {candidate.source.kind}s: {_unsupported(key, candidate.source)}")


def _unsupported(key: str, source: Source) -> str:
    if key in mapping_schema.STREAM_KEYS:
        return "remove it"
    if key == "StartingPosition":
        return "a queue has no position, so remove it (AWS: StartingPosition is not valid for SQS event sources.)"
    if key == "DestinationConfig":
        return (
            "remove it, and give the queue a dead-letter queue (RedrivePolicy) "
            "(AWS: Unsupported DestinationConfig parameter for given event source mapping type.)"
        )
    advice = "remove it"
    if key == "ScalingConfig":
        advice += ", for what runs at once is the shards times ParallelizationFactor"
    elif key == "StartingPositionTimestamp" and isinstance(source.spec, StreamSpec):
        advice += ", and begin at TRIM_HORIZON or LATEST"
    member = key[:1].lower() + key[1:]
    return f"{advice} (AWS: Unsupported '{member}' parameter for given event source mapping type.)"


def _batch_size(candidate: Candidate, source: Source) -> int:
    size = candidate.block.value.batch_size
    return source.spec.default_batch_size if size is UNSET else size


def _check_region(candidate: Candidate, source: Source) -> None:
    """SQS-11: source and function are in one region, whatever their accounts."""
    if candidate.function and candidate.function.region not in (None, source.arn.region):
        candidate.wrong(
            "FunctionName",
            f"FunctionName is in region {candidate.function.region}, but the {source.noun} is in {source.arn.region}: "
            "give the function's name alone, or both in one region",
        )


def _check_duplicates(candidates: list[Candidate], file: str) -> None:
    """API-31, API-32, and names that are there twice. The later one is wrong."""
    targets: dict[tuple[str, str], Candidate] = {}
    names: dict[str, Candidate] = {}
    for candidate in candidates:
        name, source, function = candidate.name, candidate.source, candidate.function
        if source and function:
            first = targets.setdefault((source.arn.arn, function.arn_beside(source.arn)), candidate)
            if first is not candidate:
                candidate.wrong(
                    "EventSourceArn",
                    f"{first.where} on line {first.block.line} ties this {source.noun} to this function already: remove one of "
                    f"them (AWS: {_conflict(source, function)} Please update or delete the existing mapping, {first.where} "
                    f"({file}:{first.block.line}))",
                )
                continue  # their names are the same too, unless given
        first = names.setdefault(name, candidate) if name else candidate
        if first is not candidate:
            candidate.wrong(
                "name", f"the name {name} is that of the mapping on line {first.block.line} already: give one of them another"
            )


def _conflict(source: Source, function: FunctionReference) -> str:
    if isinstance(source.spec, QueueSpec):
        return f'An event source mapping with SQS arn (" {source.arn.arn} ") and function (" {function.name} ") already exists.'
    return f'The event source arn (" {source.arn.arn} ") and function (" {function.name} ") provided mapping already exists.'


def _mappings(judged: list[_Judged]) -> Iterator[EventSourceMapping]:
    for one in judged:
        candidate, value = one.candidate, one.candidate.block.value
        name, source, function = candidate.name, candidate.source, candidate.function
        if name is None or source is None or function is None:
            continue
        concurrency = value.scaling_config.maximum_concurrency
        yield EventSourceMapping(
            name=name,
            function=function.name,
            function_arn=function.arn_beside(source.arn),
            source=source.spec.source,
            source_arn=source.arn.arn,
            batch=BatchLimits(records=_batch_size(candidate, source), window=value.maximum_batching_window_in_seconds),
            enabled=value.enabled,
            report_item_failures=bool(value.function_response_types),
            maximum_concurrency=None if concurrency is UNSET else concurrency,
            stream=one.stream,
            criteria=one.criteria,
        )
