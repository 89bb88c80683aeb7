"""Hot operations over a fake of the SDK's client, for sources that are judged by what they ask and what they make of answers."""

import base64
import json
from typing import Any

from pollers.aws.hot import HotKind, HotOperation
from pollers.aws.lean.connection import Content


class FakeOperation(HotOperation):
    """Asks the fake client's method, as the lean and the SDK's road ask theirs; its answers, as AWS writes them, come back as JSON."""

    def __init__(self, client: Any, kind: HotKind) -> None:
        self._client = client
        self._kind = kind

    async def ask(self, body: bytes, *, repeatable: bool = False) -> Content:  # noqa: ARG002  nothing is lost on the way
        answer = await getattr(self._client, self._kind.method)(**json.loads(body))
        return answer if isinstance(answer, bytes) else json.dumps(answer, default=_binary).encode()


def _binary(value: bytes) -> str:
    return base64.b64encode(value).decode()
