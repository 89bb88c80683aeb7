"""From a handler reference to the function to call. Error types and texts are those of Lambda's runtime (COM-34, COM-35)."""

import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from handlers.code_roots import CODE_ROOTS


class HandlerLoadError(Exception):
    """A handler cannot be loaded. `error_type` is Lambda's word for it, or the class name of what the user's module raised."""

    def __init__(self, error_type: str, message: str) -> None:
        super().__init__(message)
        self.error_type = error_type
        self.message = message


def load_handler(handler: str, code_root: Path) -> Callable[..., Any]:
    """Import what `module.attribute` or `path/to/file.py:attribute` refers to, looked up in the absolute folder `code_root`.

    In `module.attribute` the module may be written with slashes, as in Lambda. The result takes two positional arguments.
    The code root stays on `sys.path`; its modules are shared by all its handlers. Raises HandlerLoadError.
    """
    file, colon, attribute = handler.rpartition(":")
    if not colon:
        module_name, _, attribute = handler.rpartition(".")
        module = _checked_import(module_name, lambda: _import_dotted(handler, module_name, code_root))
    elif file.endswith(".py") and attribute:
        module_name = file
        module = _checked_import(file, lambda: _import_path(file, code_root))
    else:
        raise _malformed(handler)
    try:
        loaded = getattr(module, attribute)
    except AttributeError as error:
        raise HandlerLoadError("Runtime.HandlerNotFound", f"Handler '{attribute}' missing on module '{module_name}'") from error
    _check_callable(loaded, f"Handler '{attribute}' on module '{module_name}'")
    return loaded  # type: ignore[no-any-return]  # it was checked to be callable


def _checked_import(name: str, load: Callable[[], ModuleType]) -> ModuleType:
    """Whatever the user's module does while it is imported ends in a HandlerLoadError."""
    try:
        return load()
    except HandlerLoadError:
        raise
    except (ImportError, OSError) as error:
        kind = "Runtime.ImportModuleError" if isinstance(error, ImportError) else type(error).__name__
        raise HandlerLoadError(kind, f"Unable to import module '{name}': {error}") from error
    except SyntaxError as error:
        raise HandlerLoadError("Runtime.UserCodeSyntaxError", f"Syntax error in module '{name}': {error}") from error
    except SystemExit as error:
        text = f"Unable to import module '{name}': it ends the process (SystemExit: {error})"
        raise HandlerLoadError("Runtime.ExitError", text) from error
    except Exception as error:
        kind = type(error).__name__
        raise HandlerLoadError(kind, f"Unable to import module '{name}': {kind}: {error}") from error


def _import_dotted(handler: str, name: str, code_root: Path) -> ModuleType:
    dotted = name.replace("/", ".")
    if not all(dotted.split(".")) or handler.endswith("."):
        raise _malformed(handler)
    if dotted.partition(".")[0] in sys.builtin_module_names:
        raise HandlerLoadError("Runtime.BuiltInModuleConflict", f"Cannot use built-in module {name} as a handler module")
    return CODE_ROOTS.import_from(CODE_ROOTS.add(_existing(code_root)), dotted)


def _import_path(name: str, code_root: Path) -> ModuleType:
    """By module name where the path makes one (relative imports work then), else by its place."""
    root = CODE_ROOTS.add(_existing(code_root))
    file = Path(os.path.normpath(root.path / name))
    if not file.is_relative_to(root.path):
        raise ImportError(f"it is not below {root.path}")
    if not file.is_file():
        raise ImportError(f"{file} does not exist")
    parts = file.relative_to(root.path).with_suffix("").parts
    parts = parts[:-1] if parts[-1] == "__init__" else parts
    if parts and not any("." in part for part in parts) and parts[0] not in sys.builtin_module_names:
        module = CODE_ROOTS.import_from(root, ".".join(parts))
        if module.__file__ is not None and file.samefile(module.__file__):
            return module
    return CODE_ROOTS.import_file(root, file)


def _existing(code_root: Path) -> Path:
    if not code_root.is_dir():
        raise ImportError(f"the folder {code_root} (CodeUri) does not exist")
    return code_root


def _malformed(handler: str) -> HandlerLoadError:
    expected = "expected module.attribute or path/to/file.py:attribute"
    return HandlerLoadError("Runtime.MalformedHandlerName", f"Bad handler '{handler}': {expected}")


def _check_callable(loaded: Any, what: str) -> None:
    """Lambda finds these mistakes with the first event only; here they show before a record is received."""
    problem = None
    if not callable(loaded):
        problem = f"is not callable (it is of type {type(loaded).__name__})"
    elif _has_kind(loaded, inspect.isgeneratorfunction) or _has_kind(loaded, inspect.isasyncgenfunction):
        problem = "is a generator: it must return its answer, not yield it"
    elif not _takes_two(loaded):
        problem = "does not take two positional arguments (event, context)"
    if problem is not None:
        raise HandlerLoadError("Runtime.HandlerNotFound", f"{what} {problem}")


def is_async(handler: Callable[..., Any]) -> bool:
    """Whether a call gives a coroutine: an `async def`, a partial of one, an object whose `__call__` is one."""
    return _has_kind(handler, inspect.iscoroutinefunction)


def _has_kind(handler: Any, is_kind: Callable[[Any], bool]) -> bool:
    while hasattr(handler, "func") and hasattr(handler, "keywords"):  # functools.partial
        handler = handler.func
    return is_kind(handler) or (not inspect.isroutine(handler) and not inspect.isclass(handler) and is_kind(handler.__call__))


def _takes_two(handler: Callable[..., Any]) -> bool:
    try:
        signature = inspect.signature(handler, follow_wrapped=False)  # a decorator may add arguments of its own
    except (TypeError, ValueError):
        return True  # some builtins and extension functions do not tell
    try:
        signature.bind(None, None)
    except TypeError:
        return False
    return True
