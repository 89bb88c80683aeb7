"""The handler of `compose.yaml` for the stream: reads clicks, and fails on those that say `{"poison": true}`."""

import base64
import json
from typing import Any


def handler(event: dict[str, Any], _context: Any) -> None:
    """For a mapping with BisectBatchOnFunctionError: a batch that fails is halved until the poison is alone: others come again.

    After its last retry the poison goes to the on-failure destination, and its shard moves on.
    """
    for record in event["Records"]:
        click = json.loads(base64.b64decode(record["kinesis"]["data"]))
        if click.get("poison"):
            raise ValueError(f"click {click['id']} is poison")
