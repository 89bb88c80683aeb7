"""The function of `-f`: one of `esm.yaml`, or a handler by its place; and the mapping whose rules hold for it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from handlers.invoker import FunctionSpec
from handlers.python_function import PythonFunction
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


def find_function(text: str, config: Config | None, *, folder: Path, timeout: int | None) -> FunctionSpec:
    """`text`: a key of `functions`, or `module.attribute`, or `path/to/file.py:attribute` below `folder`. Raises UserError."""
    known = list(config.functions) if config is not None else []
    if config is not None and text in config.functions:
        return _timed(config.functions[text], timeout)
    if "." in text:
        name = text.rpartition(":")[0] if ":" in text else text.rpartition(".")[0]
        spec = FunctionSpec(
            name=Path(name).stem.rpartition(".")[2] or "handler", handler=text, code_root=folder, timeout=_TIMEOUT
        )
        return _timed(spec, timeout)
    there = f"the functions are {', '.join(known)}" if known else "there is no esm.yaml here (name one with -c)"
    raise UserError(
        f"-f {text}: no such function:{suggestion(text, known) or f' {there}'}; or give a handler as module.attribute or "
        "path/to/file.py:attribute"
    )


def load(specs: Sequence[FunctionSpec], config: Config | None) -> tuple[list[PythonFunction], list[str]]:
    """The functions, and the names of those that bear one invocation at a time only. Raises UserError."""
    handlers = Handlers(
        file=config.handlers.file if config is not None else "-f",
        functions={spec.name: spec for spec in specs},
        lines={spec.name: config.handlers.lines.get(spec.name, 1) if config is not None else 1 for spec in specs},
        environment=config.handlers.environment if config is not None else {},
    )
    loaded = load_functions(handlers)
    if loaded.problems:
        raise UserError("\n".join(map(str, loaded.problems)))
    return [loaded.functions[spec.name] for spec in specs], list(loaded.one_at_a_time)


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
    exact = [mapping for mapping in own if mapping.source_arn == source_arn]
    if exact or len(own) == 1:
        (mapping,) = exact or own
        return Chosen(mapping=mapping, told=f"by the rules of mapping {mapping.name}")
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
