"""SNS topics that keep what is published to them. Pure. A topic must be created; a FIFO topic wants a group."""

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from random import Random
from typing import Any, Final
from uuid import UUID

from runtime.local.errors import Refused

LARGEST: Final = 256 * 1024
"""Bytes of a message with its attributes."""
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,256}(\.fifo)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One message; `at` is in seconds since the epoch."""

    id: str
    topic: str
    """The topic's ARN."""
    at: float
    message: str
    subject: str | None = None
    attributes: dict[str, dict[str, str]]
    """Name -> DataType and StringValue or BinaryValue (base64)."""
    group: str | None = None
    dedup: str | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class Topics:
    """`clock` gives seconds since the epoch."""

    def __init__(self, *, seed: int, clock: Callable[[], float]) -> None:
        self.received: list[Published] = []
        self._clock = clock
        self._rng = Random(f"sns {seed}")  # noqa: S311 - ids that repeat by seed, not secrets
        self._topics: set[str] = set()

    def reset(self) -> None:
        self.received.clear()
        self._topics.clear()

    def topics(self) -> list[str]:
        """ARNs."""
        return sorted(self._topics)

    def create(self, name: str, *, account: str, region: str, fifo: bool) -> str:
        """Gives the ARN, also of a topic that exists. Raises Refused."""
        if _NAME.fullmatch(name) is None or name.endswith(".fifo") is not fifo:
            raise invalid("Invalid parameter: Topic Name")
        arn = f"arn:aws:sns:{region}:{account}:{name}"
        self._topics.add(arn)
        return arn

    def publish(
        self,
        topic: str,
        message: str,
        *,
        subject: str | None,
        attributes: dict[str, dict[str, str]],
        group: str | None,
        dedup: str | None,
    ) -> Published:
        """`topic` is an ARN. Raises Refused."""
        if not topic.startswith("arn:aws:sns:"):
            raise invalid("Invalid parameter: TopicArn")
        if topic not in self._topics:
            raise Refused("NotFound", "Topic does not exist", status=404)
        if not message:
            raise invalid("Invalid parameter: Empty message")
        size = len(message.encode())
        for name, value in attributes.items():
            size += len(name.encode()) + sum(len(text.encode()) for text in value.values())
        if size > LARGEST:
            raise invalid("Invalid parameter: Message too long")
        if topic.endswith(".fifo") and not group:
            raise invalid("Invalid parameter: The MessageGroupId parameter is required for FIFO topics")
        published = Published(
            id=str(UUID(int=self._rng.getrandbits(128), version=4)),
            topic=topic,
            at=self._clock(),
            message=message,
            subject=subject,
            attributes=attributes,
            group=group,
            dedup=dedup,
        )
        self.received.append(published)
        return published


def invalid(message: str) -> Refused:
    return Refused("InvalidParameter", message, status=400)
