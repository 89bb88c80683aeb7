"""`functions`: rules that a single key cannot tell, and the specs that come out."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from msgspec import UNSET

from handlers.invoker import FunctionSpec
from runtime.config import schema
from runtime.config.nodes import Entry, Report, read_entries
from runtime.config.problems import shown, suggestion
from runtime.config.reading import Block, is_name, read_block


@dataclass(frozen=True, slots=True, kw_only=True)
class Functions:
    """What `functions` says."""

    specs: dict[str, FunctionSpec]
    environment: dict[str, str]
    """`Environment.Variables` of all functions, merged."""
    lines: dict[str, int]
    """Where `Handler` stands, for the functions with which nothing is wrong."""


def read_functions(report: Report, entry: Entry, folder: Path) -> Functions:
    """Read every function. `folder` is absolute: the one that `CodeUri` starts from."""
    blocks: dict[str, Block[schema.Function]] = {}
    lines: dict[str, int] = {}
    entries = read_entries(report, entry, "functions")
    if entries == {}:
        report.problem(entry.line, "functions is empty: add the function that a mapping runs")
    for name, found in (entries or {}).items():
        part = report.part()
        is_name(part, name, found, schema.FunctionKey, "functions")
        blocks[name] = read_block(part, found, schema.Function, name="this", strangers=schema.FUNCTION_STRANGERS)
        _check_function(part, blocks[name], folder)
        if not part.problems:
            lines[name] = blocks[name].line_of("Handler")
        report.take(part, f"function {shown(name)}")
    return Functions(
        specs={name: _spec(name, block.value, folder) for name, block in blocks.items()},
        environment=_merged_environment(report, blocks),
        lines=lines,
    )


def _check_function(part: Report, block: Block[schema.Function], folder: Path) -> None:
    for key, found in block.strangers.items():
        part.problem(found.line, f"{key} {schema.FUNCTION_STRANGERS[key]}")
    if block.sound("CodeUri"):
        _check_code_uri(part, block, folder)
    _check_variables(part, block)


def _check_code_uri(part: Report, block: Block[schema.Function], folder: Path) -> None:
    given, line = block.value.code_uri, block.line_of("CodeUri")
    place = _code_root(folder, given)
    if given.startswith(("s3://", "http://", "https://")):
        part.problem(line, f"CodeUri is {shown(given)}, but code is only read from a folder: fetch it, and name its folder")
    elif given.lower().endswith((".zip", ".jar")):
        part.problem(line, f"CodeUri is {shown(given)}, but code is only read from a folder: unpack it, and name its folder")
    elif os.path.isfile(place):  # noqa: PTH113  # unlike Path.is_file it is False, not an error, for a name that cannot be
        part.problem(line, f"CodeUri is {shown(given)}, which is a file: name the folder that it is in")
    elif not os.path.isdir(place):  # noqa: PTH112  # as above
        part.problem(line, f"CodeUri is {shown(given)}, but there is no folder {shown(str(place))}: create it or name another")


def _check_variables(part: Report, block: Block[schema.Function]) -> None:
    variables = block.value.environment.variables
    for name in sorted(schema.RESERVED_VARIABLES):
        line = block.lines.get(f"Environment.Variables.{name}")
        if line is None:
            continue
        part.problem(
            line,
            f"Environment.Variables sets {name}, which Lambda sets itself: remove it (AWS: Lambda was unable to configure your "
            "environment variables because the environment variables you have provided contains reserved keys that are "
            f"currently not supported for modification. Reserved keys used in this request: {name})",
        )
    size = len(json.dumps(variables, separators=(",", ":"), ensure_ascii=False).encode())
    if size > schema.MAX_ENVIRONMENT_BYTES:
        part.problem(
            block.line_of("Environment", "Variables"),
            f"Environment.Variables takes {size} bytes as JSON, but {schema.MAX_ENVIRONMENT_BYTES} is the most: shorten it "
            "(AWS: Lambda was unable to configure your environment variables because the environment variables you have "
            "provided exceeded the 4KB limit.)",
        )


def _merged_environment(report: Report, blocks: dict[str, Block[schema.Function]]) -> dict[str, str]:
    """One process has one environment, so two functions cannot give one name different values."""
    merged: dict[str, str] = {}
    owners: dict[str, tuple[str, int]] = {}
    for function, block in blocks.items():
        for name, value in block.value.environment.variables.items():
            line = block.line_of("Environment", "Variables", name)
            text = str(value)
            if merged.setdefault(name, text) != text:
                other, place = owners[name]
                report.problem(
                    line,
                    f"Environment.Variables gives {name} another value than function {other} does on line {place}, "
                    "and all functions share one environment: give both the same value, or rename one",
                    f"function {function}",
                )
            owners.setdefault(name, (function, line))
    return merged


def _spec(name: str, function: schema.Function, folder: Path) -> FunctionSpec:
    reserved = function.reserved_concurrent_executions
    return FunctionSpec(
        name=name,
        handler=function.handler,
        code_root=_code_root(folder, function.code_uri),
        timeout=function.timeout,
        memory_size=function.memory_size,
        reserved_concurrency=None if reserved is UNSET else reserved,
    )


def _code_root(folder: Path, code_uri: str) -> Path:
    return Path(os.path.normpath(folder / code_uri))


def no_such_function(name: str, functions: Functions) -> str:
    """The message for a `FunctionName` that names none (API-34)."""
    known = list(functions.specs)
    advice = suggestion(name, known) or f" the functions are {', '.join(known) or 'none'}"
    return f"FunctionName {name} is not among `functions`:{advice} (AWS: Function does not exist)"
