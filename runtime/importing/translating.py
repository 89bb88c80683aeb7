"""AWS's SAM translator, in a process of its own: `python -m runtime.importing.translating`, JSON in and JSON out.

It brings boto3 and pydantic, and a function's folder may hold others of them, which its handler is to find: a worker that has run
the translator itself would have ours loaded already.
"""

import json
import logging
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any, Final

from runtime.importing.sam import Translated

_REGION: Final = "us-east-1"
"""Without one the translator looks for it; references to the region stay what they are all the same."""
_PLUGIN: Final = "make_policy_template_for_function_plugin"


class TranslatorMissing(Exception):
    """The optional dependency is not installed."""

    def __init__(self) -> None:
        super().__init__("SAM templates take AWS's translator, which is not installed: pip install 'esm-runtime[import]'")


class TranslatorFailed(Exception):
    """It ended without an answer; the text is the last that it said."""


def translate(documents: Sequence[dict[str, Any]]) -> list[Translated]:
    """What each document comes to, in their order. Raises `TranslatorMissing` and `TranslatorFailed`."""
    if find_spec("samtranslator") is None:
        raise TranslatorMissing
    done = subprocess.run(  # nothing of the template is in the command
        [sys.executable, "-P", "-m", "runtime.importing.translating"],
        input=json.dumps(list(documents)).encode(),
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise TranslatorFailed(f"AWS's SAM translator ended without an answer: {said[-1] if said else done.returncode}")
    return [Translated(resources=resources, refusal=refusal) for resources, refusal in json.loads(done.stdout)]


def _answers(documents: list[dict[str, Any]]) -> list[tuple[dict[str, Any], str]]:
    from boto3.session import Session  # noqa: PLC0415  # only in the process of its own, and optional
    from samtranslator.model.exceptions import InvalidDocumentException  # noqa: PLC0415  # as above
    from samtranslator.parser.parser import Parser  # noqa: PLC0415  # as above
    from samtranslator.translator import translator  # noqa: PLC0415  # as above

    # It checks its own policy templates for each document, which is nine tenths of its time, and no policy is in ours.
    if make := getattr(translator, _PLUGIN, None):
        setattr(translator, _PLUGIN, cache(make))
    session = Session(aws_access_key_id="none", aws_secret_access_key="none", region_name=_REGION)  # noqa: S106  # made up
    parameters = {name: {"Ref": name} for name in ("AWS::Region", "AWS::Partition")}
    found: list[tuple[dict[str, Any], str]] = []
    for document in documents:
        try:
            made = translator.Translator({}, Parser(), boto_session=session).translate(document, parameters)
        except InvalidDocumentException as refusal:
            found.append(({}, "; ".join(cause.message for cause in refusal.causes)))
        except Exception as error:  # noqa: BLE001  # values of wrong types make it fail in a hundred ways
            found.append(({}, f"{type(error).__name__}: {error}"))
        else:
            found.append((made["Resources"], ""))
    return found


def main() -> None:
    logging.disable()  # it tells of its own metrics
    json.dump(_answers(json.load(sys.stdin)), sys.stdout)


if __name__ == "__main__":
    main()
