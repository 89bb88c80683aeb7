"""A mapping of the file while it is judged."""

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from pollers import SPECS
from pollers.source import QueueSpec, StreamSpec
from runtime.config import mapping_schema
from runtime.config.arns import FunctionReference, SourceArn
from runtime.config.nodes import Report
from runtime.config.reading import Block

SPEC_OF: Final = {spec.service: spec for spec in SPECS.values()}
"""Service of a source's ARN -> its row."""
_KINDS: Final = {"sqs": "SQS queue", "kinesis": "Kinesis stream", "dynamodb": "DynamoDB stream"}
_LONGEST_NAME: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A source whose ARN was found to be right."""

    arn: SourceArn
    spec: QueueSpec | StreamSpec

    @property
    def kind(self) -> str:
        """In words, as in `SQS queue`."""
        return _KINDS.get(self.spec.source, self.spec.source)

    @property
    def noun(self) -> str:
        return "queue" if isinstance(self.spec, QueueSpec) else "stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What could not be read is None and has been reported."""

    block: Block[mapping_schema.Mapping]
    source: Source | None
    function: FunctionReference | None
    number: int
    name: str | None = None
    """As given, or made from source and function."""
    part: Report = field(repr=False)

    @property
    def where(self) -> str:
        return f"mapping {self.name or f'#{self.number}'}"

    def made_name(self, *more: str) -> str | None:
        """The name of a mapping that was given none: of the source and the function, then `more`; None when it has one."""
        if self.block.value.name or self.source is None or self.function is None or not self.block.sound("name"):
            return None
        name = "-".join([self.source.arn.name, self.function.name, *more])
        # Queue names go to 80 characters, those of streams to 128, of tables to 255, of functions to 64.
        return name if len(name) <= _LONGEST_NAME else f"{name[:119]}-{sha256(name.encode()).hexdigest()[:8]}"

    def wrong(self, key: str, message: str) -> None:
        self.part.problem(self.block.line_of(*key.split(".")), message)

    def unwise(self, key: str, message: str) -> None:
        self.part.warning(self.block.line_of(*key.split(".")), message)

    def given(self, key: str) -> bool:
        """The key stands there and is read: it is not one of those that the source does not take."""
        return key in self.block.lines and key not in self.block.strangers
