"""A Python function of the user's, called in this process.

An `async def` handler runs on the worker's loop, in a task of its own; a plain one in a thread. A thread cannot be stopped, and a
task may refuse: then the outcome is reported all the same, and `still_running` says when the handler really returned.
"""

import asyncio
import functools
from collections.abc import Callable
from typing import Any, Final, Self

import anyio

from handlers.answer import read_answer
from handlers.code_roots import CODE_ROOTS
from handlers.context import LambdaContext, new_log_stream
from handlers.deadlines import Deadlines
from handlers.failures import raised, timed_out
from handlers.invoker import FunctionSpec, MakeEvent, NotInvoked, Outcome
from handlers.loading import is_async, load_handler
from handlers.shared_state import find_shared_state
from handlers.threads import SHARED, Threads, WorkRaised

LOG_STREAM: Final = new_log_stream()
_CLEAN_UP: Final = 1.0
"""Seconds that an `async def` handler has between being asked to stop and being left behind."""
_LEFT_BEHIND: Final[set[asyncio.Task[None]]] = set()


class PythonFunction:
    """One function, as an `Invoker`."""

    def __init__(self, spec: FunctionSpec, handler: Callable[..., Any], *, threads: Threads = SHARED) -> None:
        self._handler = handler
        self._is_async = is_async(handler)
        self._name = spec.name
        self._task_name = f"handler {spec.name}"
        self._timeout = spec.timeout
        self._memory_limit = str(spec.memory_size)
        self._threads = threads
        self._deadlines: Deadlines | None = None

    @property
    def shared_state(self) -> str | None:
        """What two invocations at once would spoil (`handlers.shared_state`); None if nothing was found."""
        return find_shared_state(self._handler, CODE_ROOTS.is_users)

    @classmethod
    def load(cls, spec: FunctionSpec, *, threads: Threads = SHARED) -> Self:
        """Import the handler that `spec` names. Raises HandlerLoadError."""
        return cls(spec, load_handler(spec.handler, spec.code_root), threads=threads)

    async def invoke(self, make_event: MakeEvent, *, request_id: str, function_arn: str) -> Outcome:
        """Call the handler once and say how it ended. Raises nothing but the caller's own cancellation.

        The handler gets the event itself and may change it. The time limit covers the handler and the encoding of its answer.
        """
        context = LambdaContext(
            request_id=request_id,
            function_name=self._name,
            function_arn=function_arn,
            memory_limit=self._memory_limit,
            log_stream=LOG_STREAM,
            timeout=self._timeout,
        )
        return await (self._in_a_task if self._is_async else self._in_a_thread)(make_event, context)

    async def _in_a_thread(self, make_event: MakeEvent, context: LambdaContext) -> Outcome:
        request_id = context.aws_request_id
        try:
            call = self._threads.start(functools.partial(_call, self._handler, make_event, context, request_id))
        except RuntimeError as error:  # the system has no thread left
            return NotInvoked(reason=str(error))
        try:
            outcome = await call.wait(self._timeout)
        except WorkRaised as error:
            return raised(error.__cause__ or error, request_id)
        return outcome or timed_out(request_id, self._timeout, still_running=call.wait_returned)

    async def _in_a_task(self, make_event: MakeEvent, context: LambdaContext) -> Outcome:
        """In a task of its own, asked to stop once: a handler may clean up, and one that will not stop can be left behind."""
        deadlines = self._of_this_loop()
        loop = deadlines.loop
        began = loop.time()
        ended: asyncio.Future[Outcome | None] = loop.create_future()
        task = loop.create_task(self._guarded(make_event, context, ended), name=self._task_name)
        deadlines.begin(ended)
        try:
            outcome = await ended
            if outcome is not None and loop.time() - began <= self._timeout:  # past it no answer counts, also of a busy loop
                return outcome
            await _stop(task)
        except asyncio.CancelledError:
            with anyio.CancelScope(shield=True):
                await _stop(task)
            raise
        finally:
            deadlines.end(ended)
        still_running = None if task.done() else functools.partial(_wait_ended, task)
        return timed_out(context.aws_request_id, self._timeout, still_running=still_running)

    def _of_this_loop(self) -> Deadlines:
        deadlines, loop = self._deadlines, asyncio.get_running_loop()
        if deadlines is None or deadlines.loop is not loop:
            deadlines = self._deadlines = Deadlines(loop, self._timeout)
        return deadlines

    async def _guarded(self, make_event: MakeEvent, context: LambdaContext, ended: "asyncio.Future[Outcome | None]") -> None:
        """Nothing of the handler's reaches the loop: neither SystemExit nor an exception that nobody fetches."""
        try:
            event = make_event()
        except Exception as error:  # noqa: BLE001 - a bug of ours, for whoever waits
            ended.set_exception(error)
            return
        try:
            outcome = read_answer(await self._handler(event, context), context.aws_request_id)
        except BaseException as error:  # noqa: BLE001 - as in `_call`
            outcome = raised(error, context.aws_request_id)
        if not ended.done():
            ended.set_result(outcome)


def _call(handler: Callable[..., Any], make_event: MakeEvent, context: LambdaContext, request_id: str) -> Outcome:
    """In the thread: all that may take long, and all that may run code of the user's."""
    event = make_event()
    try:
        return read_answer(handler(event, context), request_id)
    except BaseException as error:  # noqa: BLE001 - sys.exit() in a handler is an outcome like any other (COM-37)
        return raised(error, request_id)


async def _stop(task: "asyncio.Task[None]") -> None:
    """Ask the handler to stop, once, and give it a moment to clean up."""
    task.cancel()
    await asyncio.wait((task,), timeout=_CLEAN_UP)
    if not task.done():
        _LEFT_BEHIND.add(task)
        task.add_done_callback(_LEFT_BEHIND.discard)


async def _wait_ended(task: "asyncio.Task[None]") -> None:
    await asyncio.wait((task,))


def left_behind() -> int:
    """How many `async def` handlers were asked to stop and go on all the same. A loop with such tasks never closes."""
    return len(_LEFT_BEHIND)
