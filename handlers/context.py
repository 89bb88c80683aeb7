"""The context object of an invocation (COM-40..46)."""

import sys
import time
import uuid
from datetime import UTC, datetime
from functools import lru_cache


class CognitoIdentity:
    """Always there, always empty: a mapping invokes on nobody's behalf (COM-45)."""

    __slots__ = ("cognito_identity_id", "cognito_identity_pool_id")

    def __init__(self) -> None:
        self.cognito_identity_id: str | None = None
        self.cognito_identity_pool_id: str | None = None

    def __repr__(self) -> str:
        return f"CognitoIdentity(cognito_identity_id={self.cognito_identity_id})"


class LambdaContext:
    """What a handler gets as `context`: the attributes and methods that it has in Lambda (COM-40).

    Handlers and middleware may hang attributes of their own on it.
    """

    __slots__ = (
        "__dict__",  # empty until somebody sets an attribute of his own
        "_deadline",
        "aws_request_id",
        "client_context",
        "function_name",
        "function_version",
        "invoked_function_arn",
        "log_group_name",
        "log_stream_name",
        "memory_limit_in_mb",
        "tenant_id",
    )

    def __init__(
        self,
        *,
        request_id: str,
        function_name: str,
        function_arn: str,
        memory_limit: str,
        log_stream: str,
        timeout: float,
        now: float | None = None,
    ) -> None:
        """`function_arn`: as invoked, with qualifier. `timeout`: seconds. `now`: seconds since the epoch; None asks the clock."""
        self.aws_request_id = request_id
        self.function_name = function_name
        self.function_version = executed_version(function_arn)
        self.invoked_function_arn = function_arn
        self.memory_limit_in_mb = memory_limit
        self.log_group_name = f"/aws/lambda/{function_name}"
        self.log_stream_name = log_stream
        self.client_context: None = None
        self.tenant_id: None = None
        self._deadline = int(((time.time() if now is None else now) + timeout) * 1000)

    @property
    def identity(self) -> CognitoIdentity:
        return CognitoIdentity()

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the time limit, never less than 0 (COM-42)."""
        return max(0, self._deadline - int(time.time() * 1000))

    def log(self, msg: object) -> None:
        """Write to standard output, as it is."""
        sys.stdout.write(str(msg))

    def w3c(self) -> dict[str, str]:
        """The caller's trace context; a mapping has none."""
        return {}

    def __repr__(self) -> str:
        shown = ("aws_request_id", "log_group_name", "log_stream_name", "function_name", "memory_limit_in_mb", "function_version",
                 "invoked_function_arn", "client_context", "identity", "tenant_id")  # fmt: skip
        return f"LambdaContext([{','.join(f'{name}={getattr(self, name)}' for name in shown)}])"


@lru_cache(maxsize=1024)
def executed_version(function_arn: str) -> str:
    """The version that an ARN names; `$LATEST` without one, and for an alias, whose version only AWS knows (COM-44)."""
    parts = function_arn.split(":")  # arn:aws:lambda:region:account:function:name[:qualifier]
    return parts[7] if len(parts) > 7 and parts[7].isdecimal() else "$LATEST"  # noqa: PLR2004 - see the line above


def new_log_stream(now: datetime | None = None) -> str:
    """A log stream name as Lambda forms them, one per execution environment: here one per worker process."""
    return f"{now or datetime.now(UTC):%Y/%m/%d}/[$LATEST]{uuid.uuid4().hex}"
