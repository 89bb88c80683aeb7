"""A Python function of the user's, called in this process.

An `async def` handler runs in the task that invokes it. A plain one runs in a thread: past its time limit it cannot be stopped,
so the outcome is reported at once and `still_running` says when it really returned.
"""

import asyncio
import functools
import math
from collections.abc import Callable
from typing import Any, Final, Self

import anyio

from handlers.answer import read_answer
from handlers.code_roots import CODE_ROOTS
from handlers.context import LambdaContext, new_log_stream
from handlers.failures import raised, timed_out
from handlers.invoker import FunctionSpec, NotInvoked, Outcome
from handlers.loading import is_async, load_handler
from handlers.shared_state import find_shared_state
from handlers.threads import SHARED, HandlerThreads, WorkRaised

_LOG_STREAM: Final = new_log_stream()


class PythonFunction:
    """One function, as an `Invoker`."""

    def __init__(self, spec: FunctionSpec, handler: Callable[..., Any], *, threads: HandlerThreads = SHARED) -> None:
        self._handler = handler
        self._is_async = is_async(handler)
        self._name = spec.name
        self._timeout = spec.timeout
        self._memory_limit = str(spec.memory_size)
        self._threads = threads

    @property
    def shared_state(self) -> str | None:
        """What two invocations at once would spoil (`handlers.shared_state`); None if nothing was found."""
        return find_shared_state(self._handler, CODE_ROOTS.is_users)

    @classmethod
    def load(cls, spec: FunctionSpec) -> Self:
        """Import the handler that `spec` names. Raises HandlerLoadError."""
        return cls(spec, load_handler(spec.handler, spec.code_root))

    async def invoke(self, event: dict[str, Any], *, request_id: str, function_arn: str) -> Outcome:
        """Call the handler once and say how it ended. Raises nothing but the caller's own cancellation.

        The handler gets `event` itself and may change it. The time limit covers the handler and the encoding of its answer.
        """
        context = LambdaContext(
            request_id=request_id,
            function_name=self._name,
            function_arn=function_arn,
            memory_limit=self._memory_limit,
            log_stream=_LOG_STREAM,
            timeout=self._timeout,
        )
        return await (self._in_this_task if self._is_async else self._in_a_thread)(event, context)

    async def _in_a_thread(self, event: dict[str, Any], context: LambdaContext) -> Outcome:
        request_id = context.aws_request_id
        try:
            call = self._threads.start(functools.partial(_call, self._handler, event, context, request_id))
        except RuntimeError as error:  # the system has no thread left
            return NotInvoked(reason=str(error))
        try:
            outcome = await call.wait(self._timeout)
        except WorkRaised as error:
            return raised(error.__cause__ or error, request_id)
        return outcome or timed_out(request_id, self._timeout, still_running=call.wait_returned)

    async def _in_this_task(self, event: dict[str, Any], context: LambdaContext) -> Outcome:
        request_id = context.aws_request_id
        cancellations = _cancellations()
        try:
            with anyio.move_on_after(self._timeout) as limit:
                value = await self._handler(event, context)
            # Past the limit no return value counts, even of a handler that did not let itself be stopped: Lambda would kill it.
            return timed_out(request_id, self._timeout) if limit.cancel_called else read_answer(value, request_id)
        except BaseException as error:
            # type() and not isinstance, which asks the user's object for its __class__
            if issubclass(type(error), asyncio.CancelledError) and (_cancellations() > cancellations or _scope_is_cancelled()):
                raise  # the caller's; one that the handler made up, or got from a task that it awaits, is an error like any other
            return timed_out(request_id, self._timeout) if limit.cancel_called else raised(error, request_id)


def _call(handler: Callable[..., Any], event: dict[str, Any], context: LambdaContext, request_id: str) -> Outcome:
    """In the thread: all that may take long, and all that may run code of the user's."""
    try:
        return read_answer(handler(event, context), request_id)
    except BaseException as error:  # noqa: BLE001 - sys.exit() in a handler is an outcome like any other (COM-37)
        return raised(error, request_id)


def _cancellations() -> int:
    """How often somebody asked the running task to stop, and was not appeased yet."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


def _scope_is_cancelled() -> bool:
    """Whether a cancel scope of the caller's wants this task to end."""
    return anyio.current_effective_deadline() == -math.inf
