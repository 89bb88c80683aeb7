"""`mappings`: AWS's rules between the keys of an event source mapping, and between mappings.

Where a rule records what AWS says (`spec/` grades A and C), the message holds that text literally, behind ours.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from msgspec import UNSET

from pollers import SPECS
from runtime.config import schema
from runtime.config.arns import ArnError, FunctionReference, QueueArn, parse_function_name, parse_queue_arn
from runtime.config.functions import Functions, no_such_function
from runtime.config.nodes import Entry, Report, read_items
from runtime.config.reading import Block, read_block
from runtime.core.mapping import BatchLimits, EventSourceMapping

_SQS: Final = SPECS["sqs"]
_FIFO_BATCH: Final = 10
_UNWINDOWED_BATCH: Final = 10
_LONGEST_NAME: Final = 128
_WITHOUT_EFFECT: Final = {"Tags": "there is nothing to tag", "MetricsConfig": "metrics are always on"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    """A mapping of the file while it is judged. What could not be read is None and has been reported."""

    block: Block[schema.Mapping]
    queue: QueueArn | None
    function: FunctionReference | None
    number: int
    part: Report = field(repr=False)

    @property
    def name(self) -> str | None:
        """As given, or made from source and function."""
        if self.block.value.name:
            return self.block.value.name
        if self.queue is None or self.function is None or not self.block.sound("name"):
            return None
        name = f"{self.queue.name}-{self.function.name}"
        # Queue names go to 80 characters and function names to 64.
        return name if len(name) <= _LONGEST_NAME else f"{name[:119]}-{sha256(name.encode()).hexdigest()[:8]}"

    @property
    def where(self) -> str:
        return f"mapping {self.name or f'#{self.number}'}"

    def wrong(self, key: str, message: str) -> None:
        self.part.problem(self.block.line_of(*key.split(".")), message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mappings:
    """What `mappings` says; complete only when nothing was reported."""

    values: tuple[EventSourceMapping, ...]
    lines: dict[str, int]
    """Name of a mapping -> where it stands."""


def read_mappings(report: Report, entry: Entry, functions: Functions | None) -> Mappings:
    """Read every mapping. `functions` is None when that part of the file could not be read."""
    items = read_items(report, entry, "mappings")
    if items == []:
        report.problem(entry.line, "mappings is empty, so there is nothing to do: add a mapping")
    candidates = [_candidate(report.part(), number, item, functions) for number, item in enumerate(items or [], start=1)]
    _check_duplicates(candidates, report.file)
    for candidate in candidates:
        report.take(candidate.part, candidate.where)
        for key, reason in _WITHOUT_EFFECT.items():
            if key in candidate.block.lines:
                line = candidate.block.line_of(key)
                report.warning(line, f"{key} has no effect here, {reason}: it can be removed", candidate.where)
    mappings = tuple(_mappings(candidates))
    if mappings and not any(mapping.enabled for mapping in mappings):
        report.warning(entry.line, "every mapping has Enabled: false, so the worker will poll nothing")
    lines = {candidate.name: candidate.block.line for candidate in candidates if candidate.name is not None}
    return Mappings(values=mappings, lines=lines)


def _candidate(part: Report, number: int, item: Entry, functions: Functions | None) -> _Candidate:
    block = read_block(
        part,
        item,
        schema.Mapping,
        name="this",
        strangers=schema.OTHER_SOURCES | schema.MAPPING_STRANGERS.keys(),
        silent=["EventSourceArn"],
    )
    candidate = _Candidate(
        block=block, queue=_queue(part, block), function=_function(part, block, functions), number=number, part=part
    )
    _check_strangers(candidate)
    _check_scaling(candidate)
    _check_not_built(candidate)
    if candidate.queue is not None:
        _check_batch(candidate, candidate.queue)
        _check_region(candidate, candidate.queue)
    return candidate


def _queue(part: Report, block: Block[schema.Mapping]) -> QueueArn | None:
    if "EventSourceArn" not in block.lines:
        if "SelfManagedEventSource" in block.strangers:
            message = "self-managed Apache Kafka is not supported yet: the source must be an SQS queue, given as EventSourceArn"
            part.problem(block.line_of("SelfManagedEventSource"), message)
        elif block.readable:
            message = "EventSourceArn is missing: give the ARN of an SQS queue (AWS: Unrecognized event source.)"
            part.problem(block.line, message)
    elif block.sound("EventSourceArn"):
        try:
            return parse_queue_arn(block.value.event_source_arn)
        except ArnError as fault:
            part.problem(block.line_of("EventSourceArn"), f"EventSourceArn: {fault}")
    return None


def _function(part: Report, block: Block[schema.Mapping], functions: Functions | None) -> FunctionReference | None:
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


def _check_strangers(candidate: _Candidate) -> None:
    """SQS-08, SQS-09, API-37. Of a source that is no queue nothing is said: there the keys may be right."""
    for key in candidate.block.strangers:
        if key in schema.MAPPING_STRANGERS:
            candidate.wrong(key, f"{key} {schema.MAPPING_STRANGERS[key]}")
        elif candidate.queue is not None and key not in _SQS.parameters:
            candidate.wrong(key, f"{key} is not for SQS queues: {_unsupported(key)}")


def _unsupported(key: str) -> str:
    if key == "StartingPosition":
        return "a queue has no position, so remove it (AWS: StartingPosition is not valid for SQS event sources.)"
    if key == "DestinationConfig":
        return (
            "remove it, and give the queue a dead-letter queue (RedrivePolicy) "
            "(AWS: Unsupported DestinationConfig parameter for given event source mapping type.)"
        )
    member = key[:1].lower() + key[1:]
    return f"remove it (AWS: Unsupported '{member}' parameter for given event source mapping type.)"


def _check_batch(candidate: _Candidate, queue: QueueArn) -> None:
    """SQS-02..SQS-05."""
    block, window = candidate.block, candidate.block.value.maximum_batching_window_in_seconds
    if queue.fifo and window > 0:
        candidate.wrong(
            "MaximumBatchingWindowInSeconds",
            f"MaximumBatchingWindowInSeconds is {window}, but the queue is FIFO: remove it "
            "(AWS: Batching window is not supported for FIFO queues)",
        )
    size = _batch_size(block.value)
    if queue.fifo and size > _FIFO_BATCH:
        candidate.wrong("BatchSize", f"BatchSize is {size}, but the queue is FIFO, so it must be 1 to {_FIFO_BATCH}")
    elif size > _UNWINDOWED_BATCH and window == 0 and block.sound("MaximumBatchingWindowInSeconds"):
        candidate.wrong(
            "BatchSize",
            f"BatchSize is {size}, so MaximumBatchingWindowInSeconds must be at least 1 "
            "(AWS: Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10)",
        )


def _batch_size(mapping: schema.Mapping) -> int:
    return _SQS.default_batch_size if mapping.batch_size is UNSET else mapping.batch_size


def _check_scaling(candidate: _Candidate) -> None:
    """SQS-12, SQS-13."""
    block = candidate.block
    pollers = block.value.provisioned_poller_config
    provisioned = any(key.startswith("ProvisionedPollerConfig.") for key in block.lines)
    if provisioned and block.value.scaling_config.maximum_concurrency is not UNSET:
        candidate.wrong(
            "ScalingConfig.MaximumConcurrency",
            "MaximumConcurrency and ProvisionedPollerConfig exclude each other: remove one of them",
        )
    fewest = 2 if pollers.minimum_pollers is UNSET else pollers.minimum_pollers
    most = 200 if pollers.maximum_pollers is UNSET else pollers.maximum_pollers
    if most < fewest:
        candidate.wrong(
            "ProvisionedPollerConfig.MaximumPollers",
            f"MaximumPollers is {most}, but it must be at least MinimumPollers, which is {fewest}",
        )


def _check_not_built(candidate: _Candidate) -> None:
    """What AWS accepts and this program does not do yet is refused, for ignoring it would change what the function sees."""
    block = candidate.block
    if "FilterCriteria" in block.lines and (block.value.filter_criteria.filters or not block.sound("FilterCriteria")):
        candidate.wrong(
            "FilterCriteria", "FilterCriteria is not supported yet: remove it, and let the function skip what it does not want"
        )
    if any(key.startswith("ProvisionedPollerConfig.") for key in block.lines):
        candidate.wrong(
            "ProvisionedPollerConfig",
            "ProvisionedPollerConfig is not supported yet: remove it and bound the mapping with ScalingConfig.MaximumConcurrency",
        )
    for key, value in (("KMSKeyArn", block.value.kms_key_arn), ("KmsKeyArn", block.value.kms_key_arn_of_cloudformation)):
        if value:
            candidate.wrong(key, f"{key} is not supported yet, for all it encrypts is FilterCriteria: remove it")


def _check_region(candidate: _Candidate, queue: QueueArn) -> None:
    """SQS-11: queue and function are in one region, whatever their accounts."""
    if candidate.function and candidate.function.region not in (None, queue.region):
        candidate.wrong(
            "FunctionName",
            f"FunctionName is in region {candidate.function.region}, but the queue is in {queue.region}: "
            "give the function's name alone, or both in one region",
        )


def _check_duplicates(candidates: list[_Candidate], file: str) -> None:
    """API-31, and names that are there twice. The later one is wrong."""
    targets: dict[tuple[str, str], _Candidate] = {}
    names: dict[str, _Candidate] = {}
    for candidate in candidates:
        name, queue, function = candidate.name, candidate.queue, candidate.function
        if queue and function:
            first = targets.setdefault((queue.arn, function.arn_beside(queue)), candidate)
            if first is not candidate:
                candidate.wrong(
                    "EventSourceArn",
                    f"{first.where} on line {first.block.line} ties this queue to this function already: remove one of them "
                    f'(AWS: An event source mapping with SQS arn (" {queue.arn} ") and function (" {function.name} ") already '
                    f"exists. Please update or delete the existing mapping, {first.where} ({file}:{first.block.line}))",
                )
                continue  # their names are the same too, unless given
        first = names.setdefault(name, candidate) if name else candidate
        if first is not candidate:
            candidate.wrong(
                "name", f"the name {name} is that of the mapping on line {first.block.line} already: give one of them another"
            )


def _mappings(candidates: list[_Candidate]) -> Iterator[EventSourceMapping]:
    for candidate in candidates:
        value, name, queue, function = candidate.block.value, candidate.name, candidate.queue, candidate.function
        if name is None or queue is None or function is None:
            continue
        concurrency = value.scaling_config.maximum_concurrency
        yield EventSourceMapping(
            name=name,
            function=function.name,
            function_arn=function.arn_beside(queue),
            source=_SQS.source,
            source_arn=queue.arn,
            batch=BatchLimits(records=_batch_size(value), window=value.maximum_batching_window_in_seconds),
            enabled=value.enabled,
            report_item_failures=bool(value.function_response_types),
            maximum_concurrency=None if concurrency is UNSET else concurrency,
        )
