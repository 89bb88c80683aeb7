"""Where records come from. `SPECS` is the table of all sources: a new one adds a row."""

from typing import Final

from pollers.source import QueueSpec
from pollers.sqs import SPEC as SQS

SPECS: Final[dict[str, QueueSpec]] = {spec.source: spec for spec in (SQS,)}
