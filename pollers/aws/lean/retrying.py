"""When the lean client asks again: as the SDK's retry settings say (AWS_RETRY_MODE, AWS_MAX_ATTEMPTS, the profile).

The SDK's own retry handlers decide, from the event by which its endpoint asks them too; so modes, quotas and pauses are theirs.
The mode `adaptive` also slows requests down before they are sent, which only the SDK's client does.
"""

from collections.abc import Mapping
from typing import Any, Final, Self

from botocore.exceptions import ClientError

from pollers.aws.lean.template import NotCovered

_CHECKSUM: Final = "x-amz-crc32"
_QUOTA: Final = 500
"""Retries that the standard mode has in store; each success gives back one that was used."""


class RetrySettings:
    """Of one operation of one client."""

    def __init__(self, client: Any, operation: str) -> None:
        """`operation`: as the service calls it. Raises NotCovered."""
        if (client.meta.config.retries or {}).get("mode") == "adaptive":
            raise NotCovered("retries in the mode adaptive")
        model = client.meta.service_model
        self._emitter = client.meta.events
        self._model = model.operation_model(operation)
        self._name = f"{model.service_id.hyphenize()}.{operation}"
        self.owed = 0
        """Successes to be told, because retries took something from the quota."""

    async def pause(self, attempt: int, context: dict[str, Any], error: Exception) -> float | None:
        """Seconds until the next attempt; None when there is to be none.

        `attempt`: how many there were. `context`: a dict for this request alone, empty at first. `error`: how the last one ended.
        """
        context.setdefault("retries", {})
        answer = _Answered.by(error) if isinstance(error, ClientError) else None
        try:
            answers = await self._emitter.emit(
                f"needs-retry.{self._name}",
                response=None if answer is None else (answer, answer.parsed),
                endpoint=None,
                operation=self._model,
                attempts=attempt,
                caught_exception=error if answer is None else None,
                request_dict={"context": context},
            )
        except Exception as raised:
            if raised is error:  # how the mode legacy says no
                return None
            raise
        pause = next((told for _, told in answers if told is not None), None)
        if pause is None or pause is False:
            return None
        self.owed = _QUOTA
        return float(pause)

    async def succeeded(self, context: dict[str, Any]) -> None:
        """Tell the quota; only needed while something is `owed` to it."""
        self.owed = max(0, self.owed - 1)
        await self._emitter.emit(
            f"after-call.{self._name}", http_response=_Answered(200, {}, {}), parsed={}, model=self._model, context=context
        )


class _Answered:
    """An answer as far as the SDK's retry handlers look at it."""

    def __init__(self, status: int, headers: Mapping[str, str], parsed: dict[str, Any]) -> None:
        self.status_code = status
        self.headers = headers
        self.parsed = parsed

    @classmethod
    def by(cls, error: ClientError) -> Self:
        """Without DynamoDB's checksum, which a handler would compare with content that is not kept."""
        metadata = error.response["ResponseMetadata"]
        headers = {name: value for name, value in metadata["HTTPHeaders"].items() if name.lower() != _CHECKSUM}
        return cls(metadata["HTTPStatusCode"], headers, {"Error": dict(error.response["Error"])})
