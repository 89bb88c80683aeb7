"""One request on its way through an operation: the typed reading of its parameters. What is not supported is refused."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from runtime.local.dynamodb.refusals import invalid, not_found, serialization, unsupported
from runtime.local.dynamodb.store import DynamoDB
from runtime.local.dynamodb.tables import Table
from runtime.local.state import Caller

Answer = dict[str, Any]
_HARMLESS: Final = {"ReturnConsumedCapacity": "NONE", "ReturnItemCollectionMetrics": "NONE"}
"""Parameters that every operation may be given with this value, which asks for nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request."""

    store: DynamoDB
    caller: Caller
    operation: str
    body: Mapping[str, Any]

    def check_parameters(self, known: Collection[str]) -> None:
        """Refuses what AWS may know and this endpoint does not, rather than ignore it."""
        for name, value in self.body.items():
            if name not in known and _HARMLESS.get(name) != value:
                raise unsupported(f"{name} in {self.operation}")

    def table(self) -> Table:
        """The table that TableName, a name or an ARN, means. Raises Refused."""
        found = self.store.find(self.text("TableName"), account=self.caller.account, region=self.caller.region)
        if found is None:
            raise not_found("")
        return found

    def text(self, parameter: str) -> str:
        found = self.maybe_text(parameter)
        if not found:
            raise invalid(
                f"1 validation error detected: Value null at '{camel(parameter)}' failed to satisfy constraint: "
                "Member must not be null"
            )
        return found

    def maybe_text(self, parameter: str) -> str | None:
        found = self.body.get(parameter)
        if found is not None and not isinstance(found, str):
            raise serialization(f"{parameter} must be a string")
        return found

    def choice(self, parameter: str, choices: Collection[str], default: str) -> str:
        """Choices that AWS has and this endpoint has not are refused too."""
        found = self.maybe_text(parameter) or default
        if found not in choices:
            raise unsupported(f"the value {found} for {parameter} in {self.operation}; it must be one of {', '.join(choices)}")
        return found

    def flag(self, parameter: str, *, default: bool) -> bool:
        found = self.body.get(parameter, default)
        if not isinstance(found, bool):
            raise serialization(f"{parameter} must be true or false")
        return found

    def limit(self, parameter: str, most: int | None = None) -> int | None:
        """A number of at least 1."""
        found = self.body.get(parameter)
        if found is None:
            return None
        if type(found) is not int:
            raise serialization(f"{parameter} must be an integer")
        if found < 1 or (most is not None and found > most):
            bound = "greater than or equal to 1" if found < 1 else f"less than or equal to {most}"
            raise invalid(
                f"1 validation error detected: Value '{found}' at '{camel(parameter)}' failed to satisfy constraint: "
                f"Member must have value {bound}"
            )
        return found

    def part(self, parameter: str) -> dict[str, Any]:
        """A structure."""
        found = self.body.get(parameter)
        if not isinstance(found, dict):
            raise serialization(f"{parameter} must be a structure")
        return found

    def parts(self, parameter: str) -> list[dict[str, Any]]:
        """A list of structures."""
        found = self.body.get(parameter, [])
        if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
            raise serialization(f"{parameter} must be a list of structures")
        return found


def camel(parameter: str) -> str:
    """As AWS names it in messages."""
    return parameter[0].lower() + parameter[1:]
