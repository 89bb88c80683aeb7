"""A template of any kind as a draft: what kind it is shows in its keys."""

from pathlib import Path

from runtime.config.problems import ConfigError, Problem, suggestion
from runtime.importing.cloudformation import draft_of
from runtime.importing.code import Folders
from runtime.importing.findings import Draft, Findings
from runtime.importing.gaps import Gaps
from runtime.importing.reading import Source, read_source
from runtime.importing.resolver import Given, Resolver
from runtime.importing.sam import FUNCTION, expanded
from runtime.importing.serverless import as_template
from runtime.importing.translating import TranslatorFailed, TranslatorMissing, translate
from runtime.importing.values import Block


def import_template(path: Path, given: Given, *, into: Path) -> tuple[Draft, Findings]:
    """Read a template. `into`: the folder that paths are to be relative to.

    Raises `ConfigError` when there is nothing to be had at all: the file cannot be read, is no template, or takes a
    translator that is not installed.
    """
    source = read_source(path)
    findings = Findings(file=source.file, notes=list(source.notes))
    folders = Folders(template=str(path.absolute().parent), esm=str(into.absolute()))
    try:
        return _draft(source, given, findings, folders), findings
    except RecursionError:
        raise _error(source, "the file is nested too deeply to be worked out") from None
    except (TranslatorMissing, TranslatorFailed) as error:
        raise _error(source, str(error)) from error


def _draft(source: Source, given: Given, findings: Findings, folders: Folders) -> Draft:
    template, gaps = source.root, Gaps()
    if "Resources" not in template and template.get("functions") is not None and "provider" in template:
        template, given = as_template(template, given, findings, gaps)
    elif not isinstance(template.get("Resources"), Block):
        raise _error(source, "there are no `Resources` here, nor the `provider` and `functions` of a serverless.yml")
    else:
        _check_parameters(source, given)
    if "Transform" in template and "AWS::LanguageExtensions" in str(template["Transform"]):
        findings.note(template.line("Transform", 1), "Transform", "Fn::ForEach of AWS::LanguageExtensions is not expanded")
    if any(isinstance(each, Block) and each.get("Type") == FUNCTION for each in template.block("Resources").values()):
        template = expanded(template, findings, translate)
    return draft_of(template, Resolver(template=template, given=given, gaps=gaps), findings, folders)


def _check_parameters(source: Source, given: Given) -> None:
    known = list(source.root.block("Parameters"))
    for name in given.parameters:
        if name not in known:
            advice = suggestion(name, known) or f" the parameters are {', '.join(known) or 'none'}"
            raise _error(source, f"--parameter {name}: the template has no such parameter:{advice}")


def _error(source: Source, message: str) -> ConfigError:
    return ConfigError([Problem(file=source.file, line=1, message=message)])
