"""`esm schema`: the JSON Schema of `esm.yaml`, for editors."""

import argparse
import json
from importlib import metadata

from runtime.commands import ExitCode
from runtime.config.json_schema import json_schema


def schema(_: argparse.Namespace) -> ExitCode:
    print(json.dumps(json_schema(metadata.version("esm-runtime")), indent=2, ensure_ascii=False))
    return ExitCode.OK
