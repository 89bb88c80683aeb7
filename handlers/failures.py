"""Function errors and their documents, as Lambda words them. None of these functions raises, whatever the handler threw."""

import os
import traceback
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Final

from handlers.invoker import FunctionError

RESPONSE_LIMIT: Final = 6_291_556
"""Bytes of an encoded answer (COM-13)."""
_OUR_FOLDER: Final = os.path.dirname(__file__)  # noqa: PTH120 - compared with the file names of frames, which are strings
_UNPRINTABLE: Final = "<exception str() failed>"


def raised(error: BaseException, request_id: str) -> FunctionError:
    """The handler raised. Only an `Exception` is reported by the runtime; anything else ends the process in Lambda."""
    return _exception(error, request_id) if isinstance(error, Exception) else _process_exit(error, request_id)


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


def _exception(error: Exception, request_id: str) -> FunctionError:
    """COM-33."""
    return _reported(_name(error), text_of(error), request_id, _stack(error.__traceback__))


def _process_exit(error: BaseException, request_id: str) -> FunctionError:
    """COM-37. The document does not say what was raised; `message` does."""
    kind = "Runtime.ExitError"
    says = f"RequestId: {request_id} Error: {_exit_reason(error)}"
    cause = "" if isinstance(error, SystemExit) and _is_status(_exit_code(error)) else f" ({_name(error)}: {text_of(error)})"
    return FunctionError(error_type=kind, message=says + cause, document={"errorType": kind, "errorMessage": says})


def _exit_reason(error: BaseException) -> str:
    """How the death of the process shows: Python ends with 1 for a text or an uncaught error, and by SIGINT for an interrupt."""
    if isinstance(error, KeyboardInterrupt):
        return "Runtime exited with error: signal: interrupt"
    code = _exit_code(error) if isinstance(error, SystemExit) else 1
    status = (code or 0) & 0xFF if _is_status(code) else 1
    return f"Runtime exited with error: exit status {status}" if status else "Runtime exited without providing a reason"


def _exit_code(error: SystemExit) -> Any:
    try:
        return error.code
    except BaseException:  # noqa: BLE001 - a property of the user's own class
        return 1


def _is_status(code: Any) -> bool:
    return code is None or isinstance(code, int)


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
