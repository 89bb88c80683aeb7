"""What `esm check` finds beyond the file: handlers that cannot be imported, and what AWS says of the sources."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from handlers.loading import HandlerLoadError
from handlers.python_function import PythonFunction
from pollers.aws.clients import AwsClients
from pollers.errors import SourceError
from pollers.sqs import SqsQueue
from runtime.config import Config
from runtime.queue_facts import queue_warnings


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """The functions whose handlers could be imported, and what is wrong with the others."""

    functions: Mapping[str, PythonFunction]
    problems: tuple[str, ...]
    one_at_a_time: Mapping[str, str]
    """Functions that spoil their own state when two of their invocations run at once -> why, and what to do."""


def load_functions(config: Config) -> Loaded:
    """Import every handler, with the functions' variables in the environment, as Lambda has them."""
    os.environ.update(config.environment)
    functions: dict[str, PythonFunction] = {}
    problems: list[str] = []
    one_at_a_time: dict[str, str] = {}
    for name, spec in config.functions.items():
        try:
            function = functions[name] = PythonFunction.load(spec)
        except HandlerLoadError as error:
            problems.append(f"function {name}: {error.error_type}: {error} (looked up in {spec.code_root})")
        else:
            shared = None if spec.reserved_concurrency in (0, 1) else function.shared_state
            if shared is not None:
                one_at_a_time[name] = (
                    f"function {name} keeps {shared} for all of its invocations, and Lambda never runs two side by side in one"
                    " process: here it runs one batch at a time. Make it inside the handler to run several"
                )
    return Loaded(functions=functions, problems=tuple(problems), one_at_a_time=one_at_a_time)


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineFindings:
    """What AWS said: problems stop a mapping from working, warnings do not."""

    problems: tuple[str, ...]
    warnings: tuple[str, ...]


async def check_online(config: Config) -> OnlineFindings:
    """Ask AWS about every enabled mapping's source: that it exists, can be read, and fits the function."""
    problems: list[str] = []
    warnings: list[str] = []
    async with AwsClients() as clients:
        for mapping in config.mappings:
            if not mapping.enabled:
                continue
            queue = SqsQueue(clients, mapping.source_arn, windowed=False, observe=_not_counted)
            try:
                facts = await queue.describe()
            except SourceError as error:
                problems.append(f"mapping {mapping.name}: {error}")
                continue
            found = queue_warnings(mapping, config.functions[mapping.function], facts)
            warnings += [f"mapping {mapping.name}: {text}" for text in found]
    return OnlineFindings(problems=tuple(problems), warnings=tuple(warnings))


def _not_counted(operation: str, outcome: str) -> None:
    """A check has no metrics."""
