"""`esm.yaml`: from a file to a `Config` that is complete and valid, or to everything that is wrong with it.

    document   file -> YAML nodes             schema     the keys, their types and limits
    nodes      blocks, lists, merge keys      functions  mappings  worker     rules between keys
    scalars, reading   nodes against the schema      queues  streams  destinations     those of one kind of source

Which rules of AWS hold is in section 1 of `spec/sqs.md`, `spec/kinesis.md`, `spec/dynamodb-streams.md` and
`spec/destinations.md`, and in `spec/control-api.md` sections 2 and 3. What AWS accepts but this program does not do yet is
refused, never ignored.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from msgspec import structs

from handlers.invoker import FunctionSpec
from runtime.config import schema
from runtime.config.document import compose, read_document
from runtime.config.functions import read_functions
from runtime.config.mappings import read_mappings
from runtime.config.nodes import Entry, Report, read_entries
from runtime.config.problems import ConfigError, Handlers, Problem, in_order, shown, suggestion
from runtime.config.worker import DynamodbState, MemoryState, SqliteState, State, WorkerConfig, new_worker_id, read_worker
from runtime.core.mapping import EventSourceMapping

__all__ = [
    "Config",
    "ConfigError",
    "DynamodbState",
    "Handlers",
    "MemoryState",
    "Problem",
    "SqliteState",
    "State",
    "WorkerConfig",
    "in_order",
    "load_config",
    "load_nodes",
    "load_text",
    "new_worker_id",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A file that was found to be right, defaults filled in."""

    functions: dict[str, FunctionSpec]
    handlers: Handlers
    """The same functions, as their handlers are to be imported."""
    mappings: tuple[EventSourceMapping, ...]
    """In the order of the file; never empty."""
    mapping_lines: dict[str, int]
    """Name of a mapping -> where it stands."""
    worker: WorkerConfig
    worker_file: str
    worker_line: int
    """Where `worker` stands; 1 when it is not there."""
    warnings: tuple[Problem, ...]
    """What has no effect or will hurt, by line. The file is right all the same."""


def load_config(
    path: Path,
    environ: Mapping[str, str],
    *,
    new_id: Callable[[], str] = new_worker_id,
    clock: Callable[[], float] = time.time,
) -> Config:
    """Read and check the whole file. `environ` is what `${NAME}` looks into; `new_id` names a worker that has no `id`.

    `clock` gives seconds since the epoch: a starting position lies not in the future. Raises `ConfigError`, with all problems,
    and nothing else.
    """
    return _document(read_document(path), path, environ, new_id=new_id, clock=clock)


def load_text(
    text: str,
    environ: Mapping[str, str],
    *,
    file: Path,
    new_id: Callable[[], str] = new_worker_id,
    clock: Callable[[], float] = time.time,
) -> Config:
    """The same for a text that is to stand in `file`."""
    return _document(compose(text, str(file)), file, environ, new_id=new_id, clock=clock)


def _document(
    read: tuple[yaml.Node | None, list[Problem]],
    path: Path,
    environ: Mapping[str, str],
    *,
    new_id: Callable[[], str],
    clock: Callable[[], float],
) -> Config:
    root, problems = read
    if root is None:
        raise ConfigError(problems)
    report = Report(file=str(path), environ=environ, problems=problems)
    sections = _sections(report, root)
    worker = _WorkerPart(report=report, entry=sections.get("worker"))
    return _config(report, sections, worker, _folder_of(path), new_id=new_id, clock=clock)


def load_nodes(
    root: yaml.Node,
    environ: Mapping[str, str],
    *,
    file: Path,
    worker: Path | None,
    warnings: Sequence[Problem] = (),
    new_id: Callable[[], str] = new_worker_id,
    clock: Callable[[], float] = time.time,
) -> Config:
    """The same for nodes that stand for `file`: its `functions` and `mappings`. `worker`: a file that holds that part alone.

    `warnings`: what was found while the nodes were made.
    """
    report = Report(file=str(file), environ=environ, warnings=list(warnings))
    sections = _sections(report, root)
    part = _WorkerPart(report=report, entry=None) if worker is None else _worker_of(worker, environ)
    return _config(report, sections, part, _folder_of(file), new_id=new_id, clock=clock)


@dataclass(frozen=True, slots=True, kw_only=True)
class _WorkerPart:
    """Where `worker` stands: in the same file as the rest, or in one of its own."""

    report: Report
    entry: Entry | None


def _folder_of(path: Path) -> Path:
    return Path(os.path.abspath(path)).parent  # noqa: PTH100  # Path.resolve would follow a link away from the file's folder


def _worker_of(path: Path, environ: Mapping[str, str]) -> _WorkerPart:
    root, problems = read_document(path)
    if root is None:
        raise ConfigError(problems)
    report = Report(file=str(path), environ=environ, problems=problems)
    entries = read_entries(report, Entry(node=root, line=1), "the file") or {}
    for key, entry in entries.items():
        if key != "worker":
            report.problem(
                entry.line, f"with a template only `worker` is read from this file: remove {shown(key)}, or the template"
            )
    return _WorkerPart(report=report, entry=entries.get("worker"))


def _config(
    report: Report,
    sections: Mapping[str, Entry],
    worker_part: _WorkerPart,
    folder: Path,
    *,
    new_id: Callable[[], str],
    clock: Callable[[], float],
) -> Config:
    functions = read_functions(report, sections["functions"], folder) if "functions" in sections else None
    mappings = read_mappings(report, sections["mappings"], functions, clock()) if "mappings" in sections else None
    streams = [mapping for mapping in mappings.values if mapping.stream is not None] if mappings else []
    names, enabled = [mapping.name for mapping in streams], [mapping.name for mapping in streams if mapping.enabled]
    worker = read_worker(worker_part.report, worker_part.entry, new_id, streams=names, enabled=enabled)
    other = [] if worker_part.report is report else worker_part.report.problems
    problems = [*in_order(report.problems), *in_order(other)]
    if functions is None:  # then there is a problem
        raise ConfigError(problems)
    handlers = Handlers(
        file=report.file,
        functions={name: spec for name, spec in functions.specs.items() if name in functions.lines},
        lines=functions.lines,
        environment=functions.environment,
    )
    if problems or mappings is None:
        raise ConfigError(problems, handlers)
    warnings = report.warnings if worker_part.report is report else [*report.warnings, *worker_part.report.warnings]
    return Config(
        functions=functions.specs,
        handlers=handlers,
        mappings=mappings.values,
        mapping_lines=mappings.lines,
        worker=worker,
        worker_file=worker_part.report.file,
        worker_line=worker_part.entry.line if worker_part.entry else 1,
        warnings=in_order(warnings),
    )


def _sections(report: Report, root: yaml.Node) -> dict[str, Entry]:
    """The parts of the file that are there, known ones only."""
    top = Entry(node=root, line=1)
    entries = read_entries(report, top, "the file")
    if entries is None:
        return {}
    known = {item.encode_name: item.required for item in structs.fields(schema.File)}
    for key, entry in entries.items():
        if key not in known:
            advice = suggestion(key, list(known)) or f" the keys here are {', '.join(known)}"
            report.problem(entry.line, f"unknown key {shown(key)}:{advice}")
    for key, required in known.items():
        if required and key not in entries:
            report.problem(1, f"{key} is missing: add it")
    return {key: entry for key, entry in entries.items() if key in known}
