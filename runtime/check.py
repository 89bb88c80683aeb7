"""What `esm check` finds beyond the file: handlers that cannot be imported, and what AWS says of the sources."""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial

from handlers.brief_thread import BriefThread
from handlers.destinations import open_destination
from handlers.invoker import FunctionSpec
from handlers.loading import HandlerLoadError
from handlers.python_function import LOG_STREAM, PythonFunction
from handlers.threads import SHARED
from pollers.aws.clients import AwsClients
from pollers.errors import SourceError
from pollers.record import LATEST
from pollers.sqs import SqsQueue
from runtime import app as _worker  # noqa: F401  # handlers are to find everything loaded that a worker has
from runtime.config import Config, DynamodbState, Handlers, Problem, SqliteState
from runtime.core.mapping import EventSourceMapping
from runtime.leases import StateError
from runtime.opening import is_consumer, not_counted, not_told, open_mapping_stream, open_stream, spec_of
from runtime.queue_facts import queue_warnings
from runtime.stores.dynamodb.client import dynamodb_client
from runtime.stores.dynamodb.opening import dynamodb_store
from runtime.stores.sqlite_file import check_file
from runtime.stream_parts import scope_of, starts_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """The functions whose handlers could be imported, and what is wrong with the others."""

    functions: Mapping[str, PythonFunction]
    problems: tuple[Problem, ...]
    one_at_a_time: Mapping[str, Problem]
    """Functions that spoil their own state when two of their invocations run at once -> why, and what to do."""


def load_functions(handlers: Handlers, mappings: Collection[EventSourceMapping] = ()) -> Loaded:
    """Import every handler, with the environment that Lambda would give it as far as one process can."""
    os.environ.update(handlers.environment)
    for name, value in lambda_environment(handlers, mappings).items():
        os.environ.setdefault(name, value)
    # Batches of a queue come several at a time: their handlers cost less one after the other while the loop goes on.
    of_streams = {mapping.function for mapping in mappings if mapping.stream}
    of_streams -= {mapping.function for mapping in mappings if not mapping.stream}
    functions: dict[str, PythonFunction] = {}
    problems: list[Problem] = []
    one_at_a_time: dict[str, Problem] = {}
    for name, spec in handlers.functions.items():

        def problem(message: str, name: str = name) -> Problem:
            return Problem(file=handlers.file, line=handlers.lines[name], message=message, where=f"function {name}")

        try:
            function = functions[name] = PythonFunction.load(spec, threads=BriefThread() if name in of_streams else SHARED)
        except HandlerLoadError as error:
            problems.append(problem(f"{error.error_type}: {error} (looked up in {spec.code_root})"))
            continue
        shared = None if spec.reserved_concurrency in (0, 1) else function.shared_state
        if shared is not None:
            text = f"it keeps {shared} for all of its invocations, and Lambda never runs two side by side in one process"
            one_at_a_time[name] = problem(f"{text}: here it runs one batch at a time. Make it inside the handler to run several")
    return Loaded(functions=functions, problems=tuple(problems), one_at_a_time=one_at_a_time)


def check_extras(config: Config) -> list[Problem]:
    """Loads what single mappings need beside the rest, before any handler: a folder of the user's must not take its place."""
    problems = []
    for mapping in config.mappings:
        try:
            if mapping.stream is not None:
                spec_of(mapping)
        except ImportError as error:
            text = f"deaggregate needs protobuf, which cannot be loaded ({error}): pip install 'esm-runtime[kpl]'"
            line, where = config.mapping_lines[mapping.name], f"mapping {mapping.name}"
            problems.append(Problem(file=config.handlers.file, line=line, message=text, where=where))
    return problems


def check_state(config: Config) -> list[Problem]:
    """Whether the state of streams can be kept where the file says."""
    state = config.worker.state
    if isinstance(state, SqliteState) and any(mapping.stream for mapping in config.mappings):
        try:
            check_file(state.path)
        except StateError as error:
            return [Problem(file=config.worker_file, line=config.worker_line, message=str(error), where="worker")]
    return []


def lambda_environment(handlers: Handlers, mappings: Collection[EventSourceMapping]) -> dict[str, str]:
    """What Lambda sets itself (COM-43, COM-48), where it is the same for all functions and mappings of this process.

    Not LAMBDA_TASK_ROOT: tracing libraries take it for being in Lambda, and look for a daemon and trace ids that are not there.
    """
    found: dict[str, str] = {}
    regions = {mapping.region for mapping in mappings}
    if len(regions) == 1:
        (region,) = regions
        found |= {"AWS_REGION": region, "AWS_DEFAULT_REGION": region}
    if len(handlers.functions) == 1:
        (spec,) = handlers.functions.values()
        found |= {
            "_HANDLER": spec.handler,
            "AWS_LAMBDA_FUNCTION_NAME": spec.name,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(spec.memory_size),
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{spec.name}",
            "AWS_LAMBDA_LOG_STREAM_NAME": LOG_STREAM,
        }
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineFindings:
    """What AWS said: problems stop a mapping from working, warnings do not."""

    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]


async def check_online(config: Config) -> OnlineFindings:
    """Ask AWS about every enabled mapping's source: that it exists, can be read, and fits the function; and its destination."""
    problems: list[Problem] = []
    warnings: list[Problem] = []
    async with AwsClients(lean=config.worker.client == "lean") as clients:
        for mapping in config.mappings:
            if not mapping.enabled:
                continue

            def finding(message: str, name: str = mapping.name) -> Problem:
                line = config.mapping_lines[name]
                return Problem(file=config.handlers.file, line=line, message=message, where=f"mapping {name}")

            try:
                if mapping.stream is None:
                    warnings += map(finding, await _check_queue(clients, mapping, config.functions[mapping.function]))
                else:
                    warnings += map(finding, await _check_stream(clients, mapping))
            except SourceError as error:
                problems.append(finding(str(error)))
            try:
                await _check_table(clients, config, mapping)
            except StateError as error:
                problems.append(finding(str(error)))
            if mapping.stream is not None and mapping.stream.destination is not None:
                probe = await open_destination(mapping.stream.destination, clients, region=mapping.region).probe()
                if probe is not None:
                    (warnings if probe.unverified else problems).append(finding(probe.message))
    return OnlineFindings(problems=tuple(problems), warnings=tuple(warnings))


async def _check_queue(clients: AwsClients, mapping: EventSourceMapping, function: FunctionSpec) -> list[str]:
    """Gives warnings. Raises SourceError.

    Readable is found out as AWS does when a mapping is made, by a receive (SQS-10), but only of an empty queue: a receive counts
    toward the dead-letter queue.
    """
    queue = SqsQueue(clients, mapping.source_arn, windowed=False, observe=not_counted)
    facts = await queue.describe()
    found = queue_warnings(mapping, function, facts)
    if facts.waiting:
        return ["whether messages can be received was not tried: some are waiting, and a receive counts", *found]
    await queue.receive(limit=1, wait=0, visibility=0)
    return found


async def _check_stream(clients: AwsClients, mapping: EventSourceMapping) -> list[str]:
    """Whether the shards can be listed and one of them read, which moves nothing. Gives warnings; raises SourceError.

    KIN-09, DDB-04. By polling, also for a consumer: a subscription would end that of a worker which is running.
    """
    stream = open_stream(mapping.source, mapping.source_arn, clients, observe=not_counted)
    if is_consumer(mapping.source_arn):
        consumed = open_mapping_stream(mapping.source, mapping.source_arn, clients, observe=not_counted, tell=not_told)
        await consumed.describe()
    else:
        await stream.describe()
    shards = await stream.list_shards()
    if shards:
        reader = await stream.open_shard(shards[-1].id, LATEST)
        await reader.read(limit=1)
    if is_consumer(mapping.source_arn):
        return ["whether SubscribeToShard is allowed was not tried: it would end the subscription of a worker that runs"]
    return []


async def _check_table(clients: AwsClients, config: Config, mapping: EventSourceMapping) -> None:
    """Whether a stream's state table can be read and written, which makes and changes nothing. Raises StateError."""
    state = config.worker.state
    if mapping.stream is None or not isinstance(state, DynamodbState):
        return
    store = dynamodb_store(
        state,
        partial(dynamodb_client, clients),
        worker=config.worker.id,
        capacity_used=lambda _kind, _operation, _units: None,
        starts=starts_of([mapping]),
    )
    await store.check_writable(scope_of(mapping))
