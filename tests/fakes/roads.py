"""The road that hot requests take in this run: `pytest --client=lean` (the default) or `--client=sdk`. CI runs both."""

import os
from typing import Final

from pollers.aws.clients import AwsClients
from pollers.aws.hot import HotOperation, SdkOperation
from pollers.aws.lean.operation import LeanOperation

VARIABLE: Final = "ESM_TEST_CLIENT"
CLIENTS: Final = ("lean", "sdk")


def chosen_client() -> str:
    return os.environ.get(VARIABLE, CLIENTS[0])


def aws_clients() -> AwsClients:
    """As `worker: {client: ...}` of the chosen road makes them; every hot operation is looked at, so that no road stands in."""
    return _CheckedClients(lean=chosen_client() == "lean")


class _CheckedClients(AwsClients):
    async def operation(self, *arguments: object, **more: object) -> HotOperation:
        made = await super().operation(*arguments, **more)  # type: ignore[arg-type]  # passed on as they are
        expected = LeanOperation if chosen_client() == "lean" else SdkOperation
        assert type(made) is expected, f"{made} is not on the road {chosen_client()}"
        return made
