"""Amazon Resource Names."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Arn:
    """`arn:partition:service:region:account:resource`; the resource may hold colons."""

    partition: str
    service: str
    region: str
    account: str
    resource: str

    @classmethod
    def parse(cls, text: str) -> "Arn":
        """Raises ValueError when `text` has not the six parts of an ARN."""
        parts = text.split(":", 5)
        if len(parts) != 6 or parts[0] != "arn":  # noqa: PLR2004  # the six parts
            msg = f"{text!r} is not an ARN (arn:partition:service:region:account:resource)"
            raise ValueError(msg)
        return cls(*parts[1:])
