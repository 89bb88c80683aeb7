"""The function of `-f`: one of `esm.yaml`, or a handler by its place; and the mapping whose rules hold for it."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from handlers.invoker import FunctionSpec, Invoker
from runtime.check import load_functions
from runtime.config import Config, Handlers
from runtime.config.problems import suggestion
from runtime.core.mapping import EventSourceMapping
from runtime.errors import UserError
from runtime.replay.rules import default_mapping

_TIMEOUT: Final = 60
"""Seconds that a handler without a function in `esm.yaml` may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Whose rules hold, and why."""

    mapping: EventSourceMapping
    told: str
    """In words, for the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedFunction:
    """A function that can be called."""

    invoker: Invoker
    concurrency: int | None
    """Most invocations at once; None: no limit. ReservedConcurrentExecutions 0 is none: it stops workers, nobody else."""


def find_function(text: str, config: Config | None, *, folder: Path, timeout: int | None, option: str = "-f") -> FunctionSpec:
    """`text`: a key of `functions`, or `module.attribute`, or `path/to/file.py:attribute`. Raises UserError.

    Modules are looked up in `folder`; a file may lie anywhere.
    """
    known = list(config.functions) if config is not None else []
    if config is not None and text in config.functions:
        return _timed(config.functions[text], timeout)
    if text.endswith(".py"):
        raise UserError(f"{option} {text}: say which function of the file, as in {text}:handler")
    file, colon, attribute = text.rpartition(":")
    if colon and file.endswith(".py"):
        path = folder / file
        inside = path.resolve().is_relative_to(folder.resolve())
        root, handler = (folder, text) if inside else (path.parent.resolve(), f"{path.name}:{attribute}")
        return _timed(FunctionSpec(name=path.stem, handler=handler, code_root=root, timeout=_TIMEOUT), timeout)
    if "." in text:
        module = text.rpartition(".")[0].replace("/", ".")
        name = module.rpartition(".")[2] or "handler"
        return _timed(FunctionSpec(name=name, handler=text, code_root=folder, timeout=_TIMEOUT), timeout)
    there = f"the functions are {', '.join(known)}" if known else "there is no esm.yaml here (name one with -c)"
    raise UserError(
        f"{option} {text}: no such function:{suggestion(text, known) or f' {there}'}; or give a handler as module.attribute or "
        "path/to/file.py:attribute"
    )


def load(spec: FunctionSpec, config: Config | None, mappings: Collection[EventSourceMapping]) -> LoadedFunction:
    """Import its handler, with the environment that a worker with these mappings would give it. Raises UserError."""
    handlers = Handlers(
        file=config.handlers.file if config is not None else "",
        functions={spec.name: spec},
        lines={spec.name: config.handlers.lines.get(spec.name, 0) if config is not None else 0},
        environment=config.handlers.environment if config is not None else {},
    )
    loaded = load_functions(handlers, [mapping for mapping in mappings if mapping.region])
    if loaded.problems:
        known = config is not None and spec.name in config.functions
        raise UserError("\n".join(str(each) if known else f"handler {spec.handler}: {each.message}" for each in loaded.problems))
    limit = 1 if loaded.one_at_a_time else spec.reserved_concurrency or None
    return LoadedFunction(invoker=loaded.functions[spec.name], concurrency=limit)


def choose_mapping(config: Config | None, *, function: str, source: str, source_arn: str, name: str | None = None) -> Chosen:
    """The mapping of that name; else that of this function and source; else the only one of this function and kind of source.

    Raises UserError.
    """
    mappings = config.mappings if config is not None else ()
    if name is not None:
        named = next((mapping for mapping in mappings if mapping.name == name), None)
        if named is None:
            known = [mapping.name for mapping in mappings]
            there = f" there are {', '.join(known)}" if known else " there are none"
            raise UserError(f"--mapping {name}: no such mapping:{suggestion(name, known) or there}")
        if named.source != source:
            raise UserError(f"--mapping {name} is of {named.source}, but the records are of {source}: name another")
        return Chosen(mapping=named, told=f"by the rules of mapping {name}")
    own = [mapping for mapping in mappings if mapping.function == function and mapping.source == source]
    own = [mapping for mapping in own if mapping.source_arn == source_arn] or own
    if len(own) == 1:
        return Chosen(mapping=own[0], told=f"by the rules of mapping {own[0].name}")
    if own:
        names = ", ".join(mapping.name for mapping in own)
        raise UserError(f"function {function} has several mappings of {source}: say whose rules hold with --mapping ({names})")
    return Chosen(
        mapping=default_mapping(source, source_arn, function=function), told=f"by AWS's defaults for {source} (no mapping found)"
    )


def _timed(spec: FunctionSpec, timeout: int | None) -> FunctionSpec:
    if timeout is None:
        return spec
    return replace(spec, timeout=timeout)
