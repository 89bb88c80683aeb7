"""Function errors and their documents, as Lambda words them.

None of these functions raises, whatever the handler threw. An exception of the user's may have overridden anything, so its type
is asked by `type()` and not `isinstance`, which looks at `__class__`, and its traceback where no subclass can stand in the way.
"""

import os
import traceback
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final

from handlers.invoker import FunctionError

RESPONSE_LIMIT: Final = 6_291_556
"""Bytes of an encoded answer (COM-13)."""
_OUR_FOLDER: Final = os.path.dirname(__file__)  # noqa: PTH120 - compared with the file names of frames, which are strings
_UNPRINTABLE: Final = "<exception str() failed>"


def raised(error: BaseException, request_id: str) -> FunctionError:
    """The handler raised. Only an `Exception` is reported by the runtime; anything else ends the process in Lambda."""
    if not issubclass(type(error), Exception):
        return _process_exit(error, request_id)
    trace: TracebackType | None = vars(BaseException)["__traceback__"].__get__(error)
    return _reported(_name(error), text_of(error), request_id, _stack(trace))  # COM-33


def timed_out(request_id: str, timeout: float, *, still_running: Callable[[], Awaitable[None]] | None = None) -> FunctionError:
    """The time limit of `timeout` seconds passed (COM-36)."""
    message = f"RequestId: {request_id} Error: Task timed out after {timeout:.2f} seconds"
    return FunctionError(
        error_type="Sandbox.Timedout",
        message=message,
        document={"errorType": "Sandbox.Timedout", "errorMessage": message},
        timed_out=True,
        still_running=still_running,
    )


def not_encodable(reason: str, request_id: str) -> FunctionError:
    """What the handler returned is not JSON (COM-31)."""
    return _reported("Runtime.MarshalError", f"Unable to marshal response: {reason}", request_id, [])


def too_large() -> FunctionError:
    """The encoded answer is over RESPONSE_LIMIT (COM-13)."""
    kind = "Function.ResponseSizeTooLarge"
    message = f"Response payload size exceeded maximum allowed payload size ({RESPONSE_LIMIT} bytes)."
    return FunctionError(error_type=kind, message=message, document={"errorMessage": message, "errorType": kind})


def _process_exit(error: BaseException, request_id: str) -> FunctionError:
    """COM-37. The document does not say what was raised; `message` does."""
    kind = "Runtime.ExitError"
    says = f"RequestId: {request_id} Error: {_exit_reason(error)}"
    cause = "" if _exit_status(error) is not None else f" ({_name(error)}: {text_of(error)})"
    return FunctionError(error_type=kind, message=says + cause, document={"errorType": kind, "errorMessage": says})


def _exit_reason(error: BaseException) -> str:
    """How the death of the process shows: Python ends with 1 for a text or an uncaught error, and by SIGINT for an interrupt."""
    if issubclass(type(error), KeyboardInterrupt):
        return "Runtime exited with error: signal: interrupt"
    given = _exit_status(error)
    status = 1 if given is None else given
    return f"Runtime exited with error: exit status {status}" if status else "Runtime exited without providing a reason"


def _exit_status(error: BaseException) -> int | None:
    """The exit status that a SystemExit names, as the system gives it on (8 bits); None where there is none."""
    if not issubclass(type(error), SystemExit):
        return None
    code = vars(SystemExit)["code"].__get__(error)
    if code is None:
        return 0
    return int.__and__(code, 0xFF) if issubclass(type(code), int) else None


def _reported(kind: str, message: str, request_id: str, stack: list[str]) -> FunctionError:
    document = {"errorMessage": message, "errorType": kind, "requestId": request_id, "stackTrace": stack}
    return FunctionError(error_type=kind, message=message, document=document)


def _name(error: BaseException) -> str:
    try:
        return _printable(type(error).__name__)
    except BaseException:  # noqa: BLE001 - a metaclass of the user's may do anything
        return "Exception"


def text_of(error: BaseException) -> str:
    """`str(error)` as text that can be encoded, whatever its `__str__` does."""
    try:
        return _printable(str(error))
    except BaseException:  # noqa: BLE001 - as above
        return _UNPRINTABLE


def _printable(text: str) -> str:
    """A plain str without lone surrogates: these break whoever writes the document to a log or a queue."""
    return str.encode(text, "utf-8", "backslashreplace").decode()


def _stack(trace: TracebackType | None) -> list[str]:
    """The frames as `traceback` formats them, without those of this package."""
    try:
        frames = [
            (frame.filename, frame.lineno or 0, frame.name, frame.line)  # no columns: Lambda shows no carets
            for frame in traceback.extract_tb(trace)
            if os.path.dirname(frame.filename) != _OUR_FOLDER  # noqa: PTH120 - as above
        ]
        return [_printable(line) for line in traceback.format_list(frames)]
    except Exception as error:  # noqa: BLE001 - source lines come from the loader of the user's module
        return [f"  <no stack trace: {_name(error)}>\n"]
