"""A handler called in this process: every way in which it can end (COM-13, COM-20, COM-21, COM-30..37)."""

import asyncio
import functools
import json
import threading
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn

import anyio
import anyio.lowlevel
import pytest

from handlers.context import LambdaContext
from handlers.failures import timed_out
from handlers.invoker import NOT_JSON, FunctionError, FunctionSpec, Invoker, NotInvoked, Outcome, Succeeded
from handlers.python_function import PythonFunction, left_behind
from handlers.threads import HandlerThreads
from tests.fakes.virtual_time import virtual_time

ARN = "arn:aws:lambda:eu-west-1:123456789012:function:orders:live"
LONG = 60


def function(handler: Callable[..., Any], *, timeout: int = LONG, threads: HandlerThreads | None = None) -> PythonFunction:
    spec = FunctionSpec(name="orders", handler="app.handler", code_root=Path("/"), timeout=timeout, memory_size=256)
    return PythonFunction(spec, handler) if threads is None else PythonFunction(spec, handler, threads=threads)


async def invoke(  # the time limit is the function's
    handler: Callable[..., Any],
    event: dict[str, Any] | None = None,
    *,
    timeout: int = LONG,  # noqa: ASYNC109 - as said
) -> Outcome:
    return await function(handler, timeout=timeout).invoke(
        lambda: {} if event is None else event, request_id="r-1", function_arn=ARN
    )


def plain(act: Callable[[], Any]) -> Callable[..., Any]:
    def handler(_event: Any, _context: Any) -> Any:
        return act()

    return handler


def coroutine(act: Callable[[], Any]) -> Callable[..., Any]:
    async def handler(_event: Any, _context: Any) -> Any:
        return act()

    return handler


both = pytest.mark.parametrize("kind", [plain, coroutine])
Kind = Callable[[Callable[[], Any]], Callable[..., Any]]


def throwing(error: BaseException) -> Callable[[], NoReturn]:
    def act() -> NoReturn:
        raise error

    return act


def same_value(value: Any) -> Any:
    return value


async def failed(handler: Callable[..., Any]) -> FunctionError:
    outcome = await invoke(handler)
    assert isinstance(outcome, FunctionError)
    assert outcome.error_type == outcome.document["errorType"]
    json.dumps(outcome.document, ensure_ascii=False).encode()  # goes to logs and destinations
    return outcome


# -- success ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_the_handler_gets_the_event_itself_and_a_context(asynchronous: bool) -> None:
    event, seen = {"Records": [1]}, []

    def handler(event: dict[str, Any], context: LambdaContext) -> str:
        seen.append((event, context, threading.current_thread() is threading.main_thread()))
        del event["Records"]
        return "fine"

    async def async_handler(event: dict[str, Any], context: LambdaContext) -> str:
        return handler(event, context)

    invoker: Invoker = function(async_handler if asynchronous else handler)
    assert await invoker.invoke(lambda: event, request_id="r-1", function_arn=ARN) == Succeeded(response="fine")
    (given, context, in_main_thread) = seen[0]
    assert given is event
    assert event == {}
    assert in_main_thread is asynchronous
    assert (context.aws_request_id, context.function_name, context.invoked_function_arn) == ("r-1", "orders", ARN)
    assert context.memory_limit_in_mb == "256"
    assert 0 < context.get_remaining_time_in_millis() <= LONG * 1000


async def test_log_stream_is_the_same_for_all_invocations_of_the_worker() -> None:
    seen = set()

    def noting(_event: Any, context: LambdaContext) -> None:
        seen.add(context.log_stream_name)

    async def async_noting(event: Any, context: LambdaContext) -> None:
        noting(event, context)

    for handler in (noting, async_noting):
        await invoke(handler)
    assert len(seen) == 1


async def test_an_async_handler_runs_on_the_same_loop_in_a_task_of_its_own() -> None:
    async def handler(_event: Any, _context: Any) -> list[bool]:
        return [asyncio.current_task() is not task, asyncio.get_running_loop() is loop]

    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert await invoke(handler) == Succeeded(response=[True, True])


@virtual_time
async def test_an_async_handler_is_asked_to_stop_once_and_may_clean_up() -> None:
    told: list[str] = []

    async def handler(_event: Any, _context: Any) -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            told.append("began")
            await asyncio.sleep(0.5)
            told.append("done")

    outcome = await invoke(handler, timeout=5)
    assert isinstance(outcome, FunctionError)
    assert outcome.timed_out
    assert outcome.still_running is None
    assert told == ["began", "done"]


@virtual_time
async def test_an_async_handler_that_will_not_stop_is_left_behind_and_costs_nothing() -> None:
    stop = asyncio.Event()
    asked = 0

    async def handler(_event: Any, _context: Any) -> None:
        nonlocal asked
        while not stop.is_set():
            try:
                await stop.wait()
            except asyncio.CancelledError:
                asked += 1

    outcome = await invoke(handler, timeout=5)
    assert isinstance(outcome, FunctionError)
    assert outcome.timed_out
    assert outcome.still_running is not None
    assert left_behind() == 1
    await asyncio.sleep(3600)
    assert asked == 1
    stop.set()
    await outcome.still_running()
    assert left_behind() == 0


@virtual_time
async def test_a_caller_that_is_cancelled_stops_the_handler_too() -> None:
    told: list[str] = []

    async def handler(_event: Any, _context: Any) -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0.5)
            told.append("done")

    with anyio.move_on_after(1):
        await invoke(handler, timeout=900)
    assert told == ["done"]
    assert left_behind() == 0


async def test_partials_and_objects_with_async_call_are_awaited() -> None:
    class Handler:
        async def __call__(self, _event: Any, _context: Any) -> str:
            return "awaited"

    for handler in (Handler(), functools.partial(Handler()), functools.partial(Handler().__call__)):
        assert await invoke(handler) == Succeeded(response="awaited")


@both
@pytest.mark.parametrize(
    ("value", "response"),
    [
        (None, None),
        ({"batchItemFailures": [{"itemIdentifier": "a"}]}, {"batchItemFailures": [{"itemIdentifier": "a"}]}),
        ((1, "ü", 2.5), [1, "ü", 2.5]),
        (Decimal("1.10"), 1.1),
        (Decimal(10**30), 10**30),
        ({1: True, None: False}, {"1": True, "null": False}),
        (b'{"batchItemFailures": []}', {"batchItemFailures": []}),
        (b"no json", NOT_JSON),
        (b"", NOT_JSON),
        (b"\xff", NOT_JSON),
        (b"[" * 100_000, NOT_JSON),
        ("\ud800", "\ud800"),
    ],
)
async def test_the_answer_is_what_its_json_says(kind: Kind, value: object, response: object) -> None:  # COM-31
    assert await invoke(kind(lambda: value)) == Succeeded(response=response)


@pytest.mark.parametrize("value", [float("nan"), Decimal("NaN"), Decimal("-NaN"), Decimal("sNaN")])
async def test_not_a_number_is_an_answer(value: object) -> None:  # COM-31
    outcome = await invoke(plain(lambda: [value]))
    assert isinstance(outcome, Succeeded)
    assert outcome.response[0] != outcome.response[0]


# -- answers that fail --------------------------------------------------------------------------------------------------


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def cyclic() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["itself"] = value
    return value


@both
async def test_an_answer_that_cannot_be_encoded_is_a_function_error(kind: Kind) -> None:  # COM-31
    error = await failed(kind(lambda: {"a": {1, 2}}))
    assert list(error.document.items()) == [
        ("errorMessage", "Unable to marshal response: Object of type set is not JSON serializable"),
        ("errorType", "Runtime.MarshalError"),
        ("requestId", "r-1"),
        ("stackTrace", []),
    ]


class Hostile(dict[str, Any]):
    def items(self) -> NoReturn:
        raise RuntimeError("no items")

    keys = values = __iter__ = items


@both
@pytest.mark.parametrize("make", [cyclic, lambda: nested(100_000), bytearray, object, lambda: {(1, 2): 3}, lambda: 10**5000])
async def test_cyclic_deep_and_odd_answers_are_function_errors(kind: Kind, make: Callable[[], object]) -> None:
    assert (await failed(kind(make))).error_type == "Runtime.MarshalError"


async def test_an_answer_that_raises_on_being_encoded_cannot_break_the_invoker() -> None:
    assert (await failed(plain(lambda: Hostile(a=1)))).error_type == "Runtime.MarshalError"

    class Exiting(Decimal):
        def __str__(self) -> str:
            raise SystemExit(5)

    for kind in (plain, coroutine):
        assert "exit status 5" in (await failed(kind(lambda: Exiting(1)))).message


@both
@pytest.mark.parametrize(("length", "fits"), [(6_291_556, True), (6_291_557, False)])
async def test_an_answer_over_the_limit_is_a_function_error(kind: Kind, length: int, fits: bool) -> None:  # COM-13
    for value in ("x" * (length - 2), b'"' + b"x" * (length - 2) + b'"'):
        outcome = await invoke(kind(functools.partial(same_value, value)))
        if fits:
            assert isinstance(outcome, Succeeded)
        else:
            assert isinstance(outcome, FunctionError)
            assert list(outcome.document.items()) == [
                ("errorMessage", "Response payload size exceeded maximum allowed payload size (6291556 bytes)."),
                ("errorType", "Function.ResponseSizeTooLarge"),
            ]


async def test_a_plain_handler_that_forgot_async_is_told_so() -> None:
    async def work() -> None: ...

    error = await failed(plain(work))  # a coroutine that nobody closed would fail this test with a warning
    assert (
        error.document["errorMessage"]
        == "Unable to marshal response: the handler returned a coroutine; declare it with 'async def'"
    )


async def test_a_plain_handler_that_returns_another_awaitable_is_told_so() -> None:
    class Later:
        def __await__(self) -> Any: ...

    assert "an awaitable (Later) that nobody awaits" in (await failed(plain(Later))).message


# -- exceptions ---------------------------------------------------------------------------------------------------------


@both
async def test_an_exception_gives_lambdas_error_document(kind: Kind) -> None:  # COM-33
    error = await failed(kind(throwing(LookupError("no such order"))))
    assert list(error.document) == ["errorMessage", "errorType", "requestId", "stackTrace"]
    assert error.document["errorMessage"] == error.message == "no such order"
    assert (error.document["errorType"], error.document["requestId"]) == ("LookupError", "r-1")
    handler_frame, act_frame = error.document["stackTrace"]
    assert handler_frame.startswith(f'  File "{__file__}", line ')
    assert handler_frame.endswith(", in handler\n    return act()\n")
    assert act_frame.endswith(", in act\n    raise error\n")


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class ExitsWhenPrinted(Exception):
    def __str__(self) -> str:
        raise SystemExit(9)


class OddName(type):
    @property
    def __name__(cls) -> NoReturn:  # type: ignore[override]  # hostile on purpose
        raise RuntimeError("no name")


class Nameless(Exception, metaclass=OddName):
    pass


class OddAttributes(Exception):
    def __getattribute__(self, name: str) -> NoReturn:
        raise SystemExit(name)


@both
@pytest.mark.parametrize(
    ("error", "name", "text"),
    [
        (Unprintable(), "Unprintable", "<exception str() failed>"),
        (ExitsWhenPrinted(), "ExitsWhenPrinted", "<exception str() failed>"),
        (Nameless("x"), "Exception", "x"),
        (MemoryError(), "MemoryError", ""),
        (ExceptionGroup("several", [ValueError("a"), KeyError("b")]), "ExceptionGroup", "several (2 sub-exceptions)"),
        (ValueError("\ud800 lone"), "ValueError", "\\ud800 lone"),
        (TimeoutError("the handler's own"), "TimeoutError", "the handler's own"),
    ],
)
async def test_odd_exceptions_are_reported_like_any_other(kind: Kind, error: Exception, name: str, text: str) -> None:
    outcome = await failed(kind(throwing(error)))
    assert (outcome.error_type, outcome.message) == (name, text)
    assert not outcome.timed_out


@both
async def test_an_exception_with_hostile_attributes_is_a_function_error(kind: Kind) -> None:
    outcome = await failed(kind(throwing(OddAttributes("x"))))
    assert (outcome.error_type, outcome.message) == ("OddAttributes", "x")
    assert outcome.document["stackTrace"]


class OddBase(BaseException):
    def __getattribute__(self, name: str) -> NoReturn:
        raise ValueError(name)


@both
async def test_a_hostile_exception_that_ends_the_process_is_a_function_error(kind: Kind) -> None:
    assert (await failed(kind(throwing(OddBase())))).error_type == "Runtime.ExitError"


class OddExit(SystemExit):
    @property
    def code(self) -> NoReturn:  # type: ignore[override]  # hostile on purpose
        raise RuntimeError("no code")


class OddStatus(int):
    def __bool__(self) -> NoReturn:
        raise RuntimeError("no truth")

    __and__ = __bool__  # type: ignore[assignment]  # hostile on purpose


@both
@pytest.mark.parametrize(("error", "status"), [(OddExit(4), 4), (SystemExit(OddStatus(6)), 6)])
async def test_an_exit_with_hostile_attributes_is_a_function_error(kind: Kind, error: SystemExit, status: int) -> None:
    assert (await failed(kind(throwing(error)))).message.endswith(f"exit status {status}")


@both
async def test_endless_recursion_is_a_function_error(kind: Kind) -> None:
    def recurse() -> Any:
        return recurse()

    error = await failed(kind(recurse))
    assert error.error_type == "RecursionError"
    assert "[Previous line repeated" in error.document["stackTrace"][-1]
    assert await invoke(kind(lambda: "alive")) == Succeeded(response="alive")


@both
@pytest.mark.parametrize(
    ("error", "says"),
    [
        (SystemExit(), "Runtime exited without providing a reason"),
        (SystemExit(0), "Runtime exited without providing a reason"),
        (SystemExit(3), "Runtime exited with error: exit status 3"),
        (SystemExit(-1), "Runtime exited with error: exit status 255"),
        (SystemExit("no config"), "Runtime exited with error: exit status 1"),
        (KeyboardInterrupt(), "Runtime exited with error: signal: interrupt"),
        (GeneratorExit(), "Runtime exited with error: exit status 1"),
        (asyncio.CancelledError("made up"), "Runtime exited with error: exit status 1"),
        (BaseExceptionGroup("g", [SystemExit(3)]), "Runtime exited with error: exit status 1"),
    ],
)
async def test_ending_the_process_is_a_function_error(kind: Kind, error: BaseException, says: str) -> None:  # COM-37
    outcome = await failed(kind(throwing(error)))
    document = {"errorType": "Runtime.ExitError", "errorMessage": f"RequestId: r-1 Error: {says}"}
    assert list(outcome.document.items()) == list(document.items())
    assert outcome.message.startswith(document["errorMessage"])


async def test_the_message_tells_what_the_document_of_an_exit_does_not() -> None:
    assert (await failed(plain(throwing(SystemExit("no config"))))).message.endswith("exit status 1 (SystemExit: no config)")
    assert (await failed(plain(throwing(SystemExit(3))))).message.endswith("exit status 3")


# -- time limit ---------------------------------------------------------------------------------------------------------

TIMED_OUT = [
    ("errorType", "Sandbox.Timedout"),
    ("errorMessage", "RequestId: r-1 Error: Task timed out after 0.00 seconds"),
]


async def test_a_plain_handler_past_its_limit_is_reported_at_once_and_its_return_later() -> None:  # COM-36
    go_on = threading.Event()
    outcome = await invoke(plain(lambda: go_on.wait(LONG)), timeout=0)
    assert isinstance(outcome, FunctionError)
    assert outcome.timed_out
    assert list(outcome.document.items()) == TIMED_OUT
    assert outcome.still_running is not None
    go_on.set()
    await outcome.still_running()


async def test_an_async_handler_past_its_limit_is_stopped() -> None:  # COM-36
    stopped = []

    async def handler(_event: Any, _context: Any) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            stopped.append(True)

    outcome = await invoke(handler, timeout=0)
    assert isinstance(outcome, FunctionError)
    assert (outcome.timed_out, outcome.still_running, stopped) == (True, None, [True])
    assert list(outcome.document.items()) == TIMED_OUT
    await anyio.lowlevel.checkpoint()  # the task was left clean: nothing cancels it now


def test_the_limit_is_told_with_two_decimals() -> None:  # COM-36
    assert timed_out("r-1", 30).message == "RequestId: r-1 Error: Task timed out after 30.00 seconds"


@pytest.mark.parametrize("end", [lambda: "too late", throwing(ValueError("in cleanup")), throwing(SystemExit(1))])
async def test_what_a_stopped_handler_does_in_its_cleanup_is_still_a_timeout(end: Callable[[], Any]) -> None:
    async def handler(_event: Any, _context: Any) -> Any:
        try:
            await anyio.sleep_forever()
        except asyncio.CancelledError:
            return end()

    assert getattr(await invoke(handler, timeout=0), "timed_out", False)


async def test_a_timeout_of_the_handlers_own_is_an_ordinary_error() -> None:
    async def with_asyncio(_event: Any, _context: Any) -> None:
        async with asyncio.timeout(0):
            await asyncio.sleep(LONG)

    async def with_anyio(_event: Any, _context: Any) -> None:
        with anyio.fail_after(0):
            await anyio.sleep(LONG)

    for handler in (with_asyncio, with_anyio):
        assert (await failed(handler)).error_type == "TimeoutError"


# -- cancellation -------------------------------------------------------------------------------------------------------


async def waiting(event: dict[str, Any], _context: Any) -> None:
    event["started"].set()
    await anyio.sleep_forever()


@pytest.mark.parametrize("by", ["task", "scope"])
async def test_the_callers_cancellation_of_an_async_handler_propagates(by: str) -> None:
    started, ended = anyio.Event(), []

    async def caller() -> None:
        try:
            await invoke(waiting, {"started": started})
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    if by == "scope":
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(caller)
            await started.wait()
            tasks.cancel_scope.cancel()
    else:
        task = asyncio.create_task(caller())
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert ended == ["cancelled"]


async def test_the_callers_cancellation_wins_over_a_timeout_at_the_same_time() -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await invoke(coroutine_that_sleeps, timeout=0)
        pytest.fail("the cancellation was lost")
    assert scope.cancelled_caught


async def coroutine_that_sleeps(_event: Any, _context: Any) -> None:
    await anyio.sleep_forever()


async def test_the_callers_cancellation_does_not_wait_for_a_thread() -> None:
    go_on, started = threading.Event(), anyio.Event()
    loop = asyncio.get_running_loop()

    def handler(_event: Any, _context: Any) -> None:
        loop.call_soon_threadsafe(started.set)
        go_on.wait(LONG)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(invoke, handler)
        await started.wait()
        tasks.cancel_scope.cancel()
    go_on.set()


async def test_a_cancellation_from_a_task_that_the_handler_awaits_is_a_function_error() -> None:
    async def handler(_event: Any, _context: Any) -> None:
        other = asyncio.ensure_future(asyncio.sleep(LONG))
        asyncio.get_running_loop().call_soon(other.cancel)
        await other

    assert (await failed(handler)).message.endswith("exit status 1 (CancelledError: )")


async def test_closing_the_callers_coroutine_is_not_taken_for_a_failure_of_the_handler() -> None:
    went_on = []

    async def caller() -> None:
        await invoke(waiting, {"started": anyio.Event()})
        went_on.append(True)

    async def drive() -> None:
        body = caller()
        body.send(None)
        body.close()  # what a loop does that ends

    await asyncio.create_task(drive())
    assert went_on == []


# -- never invoked ------------------------------------------------------------------------------------------------------


async def test_no_thread_to_be_had_means_not_invoked() -> None:
    threads = HandlerThreads()
    threads.close()
    outcome = await function(plain(lambda: None), threads=threads).invoke(dict, request_id="r", function_arn=ARN)
    assert outcome == NotInvoked(reason="the handler threads are closed")


async def test_a_hundred_concurrent_calls_each_get_their_own_answer() -> None:
    def handler(event: dict[str, int], context: LambdaContext) -> list[Any]:
        return [event["n"], context.aws_request_id]

    outcomes: dict[int, Outcome] = {}
    invoker = function(handler)

    async def one(n: int) -> None:
        outcomes[n] = await invoker.invoke(lambda: {"n": n}, request_id=f"r-{n}", function_arn=ARN)

    async with anyio.create_task_group() as tasks:
        for n in range(100):
            tasks.start_soon(one, n)
    assert outcomes == {n: Succeeded(response=[n, f"r-{n}"]) for n in range(100)}
