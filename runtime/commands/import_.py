"""`esm import`: a draft of `esm.yaml` on stdout or in a file, and on stderr (or as JSON) what came over and what did not."""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import anyio

from pollers.errors import SourceError
from runtime.commands import CommandError, ExitCode
from runtime.commands.given import given_by
from runtime.config import ConfigError, Problem, in_order, load_text
from runtime.importing.findings import Draft, Findings
from runtime.importing.templates import import_template
from runtime.importing.values import Gap
from runtime.importing.writing import scalar_text, written

_ESM: Final = "esm.yaml"


def import_(arguments: argparse.Namespace) -> ExitCode:
    target = None if arguments.output in (None, "-") else Path(arguments.output)
    _check_arguments(arguments, target)
    draft, findings = _imported(arguments, target)
    text = written(draft, header=(f"Made by `esm import` from {draft.file}.",))
    if target is not None and draft.mappings:
        try:
            target.write_text(text, encoding="utf-8")
        except OSError as error:
            msg = f"{target} cannot be written: {error.strerror or error}"
            raise CommandError(msg) from error
    elif draft.mappings and not arguments.json:
        print(text, end="")
    problems, warnings = _judged(text, target or Path(_ESM), draft) if draft.mappings else ([], [])
    if arguments.json:
        found = _as_json(draft, findings, problems, warnings)
        print(json.dumps(found if target else {**found, "esm.yaml": text}, indent=1, ensure_ascii=False))
    else:
        _print_report(draft, findings, problems, warnings, target)
    return ExitCode.OK if draft.mappings else ExitCode.FAILED


def _check_arguments(arguments: argparse.Namespace, target: Path | None) -> None:
    if (arguments.source is None) is not arguments.from_account:
        raise CommandError("esm import: name a template, or give --from-account, and not both")
    if arguments.function is not None and not arguments.from_account:
        raise CommandError("--function is for --from-account: a template is imported as a whole")
    if target is not None and not arguments.force and (target.exists() or target.is_symlink()):
        msg = f"{target} is there already: give --force to write over it, or another -o"
        raise CommandError(msg)


def _imported(arguments: argparse.Namespace, target: Path | None) -> tuple[Draft, Findings]:
    if arguments.from_account:
        from runtime.importing.account import import_account  # noqa: PLC0415  # the AWS clients, which a template needs none of

        try:
            return anyio.run(import_account, arguments.region or "", arguments.function)
        except SourceError as error:
            raise CommandError(str(error)) from error
    into = target.parent if target else Path()
    try:
        return import_template(Path(arguments.source), given_by(arguments), into=into)
    except ConfigError as error:
        raise CommandError("\n".join(map(str, error.problems))) from error


def _judged(text: str, file: Path, draft: Draft) -> tuple[list[Problem], list[Problem]]:
    """What the check of the file says, with something of its kind for what is still to be given."""
    unset = [gap for gap in draft.gaps if gap.name not in os.environ]
    environ = {**os.environ, **{gap.name: gap.stand_in for gap in unset if gap.stand_in}}
    try:
        return [], list(load_text(text, environ, file=file).warnings)
    except ConfigError as error:
        missing = [f"environment variable {gap.name} is not set" for gap in unset]
        return [each for each in error.problems if not any(text in each.message for text in missing)], []


def _as_json(draft: Draft, findings: Findings, problems: Sequence[Problem], warnings: Sequence[Problem]) -> dict[str, Any]:
    return {
        "carried": [
            {
                "what": each.origin,
                "file": draft.file,
                "line": each.line or None,
                "source": scalar_text(each.properties["EventSourceArn"]),  # type: ignore[arg-type]  # every draft has it as text
                "function": each.properties["FunctionName"],
            }
            for each in draft.mappings
        ],
        "give": [{"name": gap.name, "reason": gap.reason, "file": draft.file, "line": gap.line or None} for gap in draft.gaps],
        "left_out": [_finding(each) for each in in_order(findings.left_out)],
        "notes": [_finding(each) for each in in_order(findings.notes)],
        "problems": [_finding(each) for each in problems],
        "warnings": [_finding(each) for each in warnings],
    }


def _finding(problem: Problem) -> Mapping[str, Any]:
    return {"what": problem.where, "file": problem.file, "line": problem.line or None, "message": problem.message}


def _print_report(
    draft: Draft, findings: Findings, problems: Sequence[Problem], warnings: Sequence[Problem], target: Path | None
) -> None:
    carried = [
        f"{_place(draft.file, each.line)}{each.origin}: {scalar_text(each.properties['EventSourceArn'])} -> "  # type: ignore[arg-type]
        f"{each.properties['FunctionName']}"
        for each in draft.mappings
    ]
    where = f" to {target}" if target and draft.mappings else ""
    _section(f"{draft.file}: {_counted(len(draft.mappings), 'mapping')} carried over{where}", carried)
    _section("not carried over", [_shown(each) for each in in_order(findings.left_out)])
    _section("carried over, but look at it", [_shown(each) for each in in_order(findings.notes)])
    _section("to be given, as environment variables of the worker", [_gap(draft.file, gap) for gap in draft.gaps])
    _section(f"what `esm check` says of {target or _ESM}", [str(each) for each in problems])
    _section(f"warnings of `esm check` for {target or _ESM}", [str(each) for each in warnings])


def _section(title: str, lines: Sequence[str]) -> None:
    if lines or "carried over" in title.partition(": ")[2]:
        print(title, *(f"  {line}" for line in lines), sep="\n", file=sys.stderr)


def _place(file: str, line: int) -> str:
    return f"{file}:{line} " if line else ""


def _shown(problem: Problem) -> str:
    return str(problem) if problem.line else f"{problem.where}: {problem.message}"


def _gap(file: str, gap: Gap) -> str:
    return f"{gap.name} ({file}:{gap.line}): {gap.reason}" if gap.line else f"{gap.name}: {gap.reason}"


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' * (number != 1)}"
